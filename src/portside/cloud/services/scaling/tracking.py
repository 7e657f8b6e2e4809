"""Target tracking: the two alarms of a policy, and the capacity that its metric asks for.

Pure. On the way out the metric decides in full: as much as would bring it to the target. On the way in half of
the surplus goes at a time, and never so much that the metric would rise above the target. AWS documents neither
number; docs/decisions/0020-metrics-and-scaling.md says why these.
"""

from __future__ import annotations

import math

from portside.cloud.services.calls import Params

PERIOD = 60
HIGH_PERIODS = 3
LOW_PERIODS = 15
LOW_SHARE = 0.9


def outward(base: int, value: float, target: float) -> int:
    """The capacity that a metric above its target asks for. From nothing, the least that is something."""
    if base <= 0:
        return 1
    return max(base, _fitting(base, value, target))


def inward(base: int, value: float, target: float) -> int:
    """The capacity that a metric below its target leaves."""
    surplus = base - min(base, _fitting(base, value, target))
    return base - math.ceil(surplus / 2)


def _fitting(base: int, value: float, target: float) -> int:
    """The smallest capacity that would keep the metric at its target; a rounding error is no reason for one
    more."""
    return math.ceil(base * value / target - 1e-9)


def alarm(name: str, policy: str, metric: Params, target: float, *, high: bool) -> Params:
    """PutMetricAlarm for one of the two. `metric` names a single metric or, in `Metrics`, an expression."""
    shared = {
        "AlarmName": name,
        "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy}.",
        "ActionsEnabled": True,
        "AlarmActions": [policy],
        "EvaluationPeriods": HIGH_PERIODS if high else LOW_PERIODS,
        "ComparisonOperator": "GreaterThanThreshold" if high else "LessThanThreshold",
        "Threshold": target if high else LOW_SHARE * target,
        "TreatMissingData": "missing",
    }
    if "Metrics" in metric:
        return shared | metric
    return shared | metric | {"Period": PERIOD}


def customized(given: Params) -> Params:
    """The metric of a CustomizedMetricSpecification as alarms want it."""
    if not given.get("Metrics"):
        return {
            key: given[key]
            for key in ("Namespace", "MetricName", "Dimensions", "Statistic", "Unit")
            if given.get(key) is not None
        }
    queries = []
    for each in given["Metrics"]:
        query: Params = {key: each[key] for key in ("Id", "Expression", "Label") if each.get(key) is not None}
        query["ReturnData"] = each.get("ReturnData", True)
        stat = each.get("MetricStat")
        if stat is not None:
            query["MetricStat"] = {"Metric": stat["Metric"], "Period": PERIOD, "Stat": stat["Stat"]}
            if stat.get("Unit"):
                query["MetricStat"]["Unit"] = stat["Unit"]
        queries.append(query)
    return {"Metrics": queries}


def balancer_metric(label: str) -> Params | None:
    """RequestCountPerTarget by a resource label (`app/NAME/ID/targetgroup/NAME/ID`); None if it is none."""
    parts = label.split("/")
    if len(parts) != 6 or parts[0] != "app" or parts[3] != "targetgroup" or not all(parts):
        return None
    return {
        "Namespace": "AWS/ApplicationELB",
        "MetricName": "RequestCountPerTarget",
        "Statistic": "Sum",
        "Dimensions": [
            {"Name": "TargetGroup", "Value": "/".join(parts[3:])},
            {"Name": "LoadBalancer", "Value": "/".join(parts[:3])},
        ],
    }

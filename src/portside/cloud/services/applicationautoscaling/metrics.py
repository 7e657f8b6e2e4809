"""Which metric a policy tracks: predefined ones of ECS and of load balancers, and customized ones.

Pure. Others are refused by name.
"""

from __future__ import annotations

from portside.cloud.services.applicationautoscaling import errors
from portside.cloud.services.calls import Params
from portside.cloud.services.scaling import tracking

_OF_SERVICES = {
    "ECSServiceAverageCPUUtilization": "CPUUtilization",
    "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}
REQUESTS = "ALBRequestCountPerTarget"


def tracked(configuration: Params, resource: str) -> Params:
    """As PutMetricAlarm takes it. Raises AwsError ValidationException."""
    predefined = configuration.get("PredefinedMetricSpecification")
    custom = configuration.get("CustomizedMetricSpecification")
    if (predefined is None) == (custom is None):
        raise errors.invalid(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified."
        )
    if custom is not None:
        return _customized(custom)
    assert predefined is not None
    kind = predefined["PredefinedMetricType"]
    label = predefined.get("ResourceLabel")
    if kind in _OF_SERVICES:
        if label:
            raise errors.invalid(f"Resource label is not allowed for the metric type {kind}.")
        _, cluster, service = resource.split("/")
        return {
            "Namespace": "AWS/ECS",
            "MetricName": _OF_SERVICES[kind],
            "Statistic": "Average",
            "Dimensions": [
                {"Name": "ClusterName", "Value": cluster},
                {"Name": "ServiceName", "Value": service},
            ],
        }
    if kind == REQUESTS:
        found = tracking.balancer_metric(label or "")
        if found is None:
            raise errors.invalid(
                f"Invalid resource label for {REQUESTS}: {label}. It has the form "
                "app/<load-balancer-name>/<load-balancer-id>/targetgroup/<target-group-name>/<target-group-id>."
            )
        return found
    raise errors.invalid(f"The metric type {kind} is not supported for the service namespace ecs.")


def _customized(given: Params) -> Params:
    if given.get("Metrics"):
        if given.get("MetricName") or given.get("Namespace"):
            raise errors.invalid("Metrics cannot be specified together with MetricName or Namespace.")
        if sum(bool(each.get("ReturnData", True)) for each in given["Metrics"]) != 1:
            raise errors.invalid("Exactly one element of Metrics must return data.")
    else:
        for key in ("MetricName", "Namespace", "Statistic"):
            if not given.get(key):
                raise errors.invalid(f"{key} is required in CustomizedMetricSpecification.")
    return tracking.customized(given)

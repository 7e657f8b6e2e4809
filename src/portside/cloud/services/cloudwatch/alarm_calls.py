"""Operations on alarms: putting, describing, setting their state, their history.

Owns what a definition may hold. When an alarm changes its state, and what it does then, is `alarm_loop.py`'s.
Source: the CloudWatch API reference, PutMetricAlarm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudwatch import composite, queries, records
from portside.cloud.services.cloudwatch.evaluate import COMPARISONS, Missing, State
from portside.cloud.services.cloudwatch.records import Alarm, History
from portside.cloud.services.cloudwatch.statistics import STATISTICS, is_percentile

INITIAL = "Unchecked: Initial alarm creation"
MOST_ACTIONS = 5
PAGE = 100
_KEPT_APART = frozenset({"Tags", "AlarmName"})
_UNOFFERED = (
    "ThresholdMetricId", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria", "EvaluationInterval",
    "ActionConfiguration", "ActionsSuppressor",
)  # fmt: skip


class AlarmCalls:
    """Part of `CloudWatchApi`. `_wake` makes the loop look at an alarm, `_move` takes one into a state."""

    _db: Database
    _clock: Clock
    _wake: Callable[[str], None]
    _move: Callable[[Alarm, State, str, str], Alarm]

    @operation("PutMetricAlarm")
    def put_metric_alarm(self, caller: Caller, params: Params) -> Params:
        _check_metric_alarm(params)
        defaults = {"ActionsEnabled": True, "TreatMissingData": "missing"}
        self._put(caller, params, defaults)
        return {}

    @operation("PutCompositeAlarm")
    def put_composite_alarm(self, caller: Caller, params: Params) -> Params:
        _check_actions(params)
        rule = composite.parse(params["AlarmRule"])
        for name in composite.names(rule):
            if records.alarm(self._db, caller.region, name) is None:
                raise queries.invalid(
                    f"Could not save the composite alarm as alarms [{name}] in the alarm rule do not exist"
                )
        self._put(caller, params, {"ActionsEnabled": True})
        return {}

    def _put(self, caller: Caller, params: Params, defaults: Params) -> None:
        name, now = params["AlarmName"], self._clock.now()
        definition = defaults | {key: each for key, each in params.items() if key not in _KEPT_APART}
        with self._db.write() as tx:
            before = records.alarm(tx, caller.region, name)
            if before is not None and before.composite != ("AlarmRule" in definition):
                raise queries.invalid(f"An alarm of another type with the name {name} exists already.")
            if before is None:
                tags = tuple((each["Key"], each["Value"]) for each in params.get("Tags") or ())
                made = Alarm(
                    caller.region, name, definition, State.INSUFFICIENT_DATA, INITIAL, "", now, now, now, 0.0, tags
                )
                self._note(tx, made, "ConfigurationUpdate", f'Alarm "{name}" created')
            else:
                made = replace(before, definition=definition, configured=now)
                self._note(tx, made, "ConfigurationUpdate", f'Alarm "{name}" updated')
            records.save_alarm(tx, made)
            tx.after_commit(lambda: self._wake(made.key))

    def _note(self, tx: Transaction, alarm: Alarm, kind: str, summary: str, data: Any = None) -> None:
        text = json.dumps(data or {"version": "1.0", "type": kind})
        records.note(tx, alarm.region, History(alarm.name, self._clock.now(), kind, summary, text))

    @operation("DescribeAlarms")
    def describe_alarms(self, caller: Caller, params: Params) -> Params:
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix") or ""
        if names and prefix:
            raise queries.invalid("AlarmNames and AlarmNamePrefix cannot be used together.")
        for key in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
            if params.get(key):
                raise queries.invalid(f"portside's local cloud does not offer {key}.")
        kinds = params.get("AlarmTypes") or ["MetricAlarm"] if not names else ["MetricAlarm", "CompositeAlarm"]
        state, action = params.get("StateValue"), params.get("ActionPrefix") or ""
        found = [
            each
            for each in records.alarms(self._db, caller.region)
            if (not names or each.name in names)
            and each.name.startswith(prefix)
            and ("CompositeAlarm" if each.composite else "MetricAlarm") in kinds
            and (not state or each.state == state)
            and (not action or any(one.startswith(action) for one in _actions(each.definition)))
        ]
        begin, size = int(params.get("NextToken") or 0), int(params.get("MaxRecords") or PAGE)
        page = found[begin : begin + size]
        return {
            "MetricAlarms": [shown(each, caller.account) for each in page if not each.composite],
            "CompositeAlarms": [shown(each, caller.account) for each in page if each.composite],
            "NextToken": str(begin + size) if begin + size < len(found) else None,
        }

    @operation("DescribeAlarmsForMetric")
    def describe_alarms_for_metric(self, caller: Caller, params: Params) -> Params:
        wanted = queries.metric_of(params)
        return {
            "MetricAlarms": [
                shown(each, caller.account)
                for each in records.alarms(self._db, caller.region)
                if "MetricName" in each.definition
                and queries.metric_of(each.definition) == wanted
                and params.get("Statistic") in (None, each.definition.get("Statistic"))
                and params.get("Period") in (None, each.definition.get("Period"))
            ]
        }

    @operation("DeleteAlarms")
    def delete_alarms(self, caller: Caller, params: Params) -> Params:
        names = params["AlarmNames"]
        present = {each.name: each for each in records.alarms(self._db, caller.region)}
        unknown = [each for each in names if each not in present]
        if unknown:
            raise AwsError("ResourceNotFound", f"Alarms [{', '.join(unknown)}] do not exist", 404)
        for each in present.values():
            used = composite.names(composite.parse(each.definition["AlarmRule"])) if each.composite else set()
            if each.name not in names and used & set(names):
                raise queries.invalid(
                    f"Alarms [{', '.join(sorted(used & set(names)))}] cannot be deleted: composite "
                    f"alarm {each.name} uses them"
                )
        with self._db.write() as tx:
            for name in names:
                records.delete_alarm(tx, caller.region, name)
                self._note(tx, present[name], "ConfigurationUpdate", f'Alarm "{name}" deleted')
        return {}

    @operation("SetAlarmState")
    def set_alarm_state(self, caller: Caller, params: Params) -> Params:
        """Until the next evaluation."""
        found = self._need(caller, params["AlarmName"])
        data = params.get("StateReasonData") or ""
        if data:
            try:
                json.loads(data)
            except ValueError:
                raise AwsError("InvalidFormat", "StateReasonData was not valid JSON") from None
        self._move(found, State(params["StateValue"]), params["StateReason"], data)
        self._wake(found.key)
        return {}

    @operation("EnableAlarmActions")
    def enable_alarm_actions(self, caller: Caller, params: Params) -> Params:
        return self._switch(caller, params, True)

    @operation("DisableAlarmActions")
    def disable_alarm_actions(self, caller: Caller, params: Params) -> Params:
        return self._switch(caller, params, False)

    def _switch(self, caller: Caller, params: Params, enabled: bool) -> Params:
        with self._db.write() as tx:
            for name in params["AlarmNames"]:
                found = records.alarm(tx, caller.region, name)
                if found is not None:
                    definition = found.definition | {"ActionsEnabled": enabled}
                    records.save_alarm(tx, replace(found, definition=definition))
        return {}

    @operation("DescribeAlarmHistory")
    def describe_alarm_history(self, caller: Caller, params: Params) -> Params:
        start, end = params.get("StartDate"), params.get("EndDate")
        found = [
            each
            for each in records.history(self._db, caller.region, params.get("AlarmName") or "")
            if params.get("HistoryItemType") in (None, each.type)
            and (start is None or each.at >= start)
            and (end is None or each.at <= end)
        ]
        if params.get("ScanBy") == "TimestampAscending":
            found.reverse()
        begin, size = int(params.get("NextToken") or 0), int(params.get("MaxRecords") or PAGE)
        return {
            "AlarmHistoryItems": [
                {
                    "AlarmName": each.alarm,
                    "Timestamp": each.at,
                    "HistoryItemType": each.type,
                    "HistorySummary": each.summary,
                    "HistoryData": each.data,
                }
                for each in found[begin : begin + size]
            ],
            "NextToken": str(begin + size) if begin + size < len(found) else None,
        }

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        found = self._by_arn(caller, params["ResourceARN"])
        return {"Tags": [{"Key": key, "Value": text} for key, text in found.tags]}

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._by_arn(caller, params["ResourceARN"])
        tags = dict(found.tags) | {each["Key"]: each["Value"] for each in params["Tags"]}
        self._save(replace(found, tags=tuple(tags.items())))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._by_arn(caller, params["ResourceARN"])
        self._save(replace(found, tags=tuple(each for each in found.tags if each[0] not in params["TagKeys"])))
        return {}

    def _save(self, alarm: Alarm) -> None:
        with self._db.write() as tx:
            records.save_alarm(tx, alarm)

    def _by_arn(self, caller: Caller, arn: str) -> Alarm:
        return self._need(caller, arn.partition(":alarm:")[2])

    def _need(self, caller: Caller, name: str) -> Alarm:
        found = records.alarm(self._db, caller.region, name)
        if found is None:
            raise AwsError("ResourceNotFound", f"Alarm {name} does not exist", 404)
        return found


def shown(alarm: Alarm, account: str) -> Params:
    """As DescribeAlarms answers."""
    return alarm.definition | {
        "AlarmName": alarm.name,
        "AlarmArn": f"arn:aws:cloudwatch:{alarm.region}:{account}:alarm:{alarm.name}",
        "AlarmConfigurationUpdatedTimestamp": alarm.configured,
        "OKActions": alarm.definition.get("OKActions") or [],
        "AlarmActions": alarm.definition.get("AlarmActions") or [],
        "InsufficientDataActions": alarm.definition.get("InsufficientDataActions") or [],
        "Dimensions": alarm.definition.get("Dimensions") or [],
        "StateValue": alarm.state,
        "StateReason": alarm.reason,
        "StateReasonData": alarm.reason_data or None,
        "StateUpdatedTimestamp": alarm.updated,
        "StateTransitionedTimestamp": alarm.transitioned,
    }


def _actions(definition: Params) -> list[str]:
    return [
        each
        for key in ("OKActions", "AlarmActions", "InsufficientDataActions")
        for each in definition.get(key) or ()
    ]


def _check_actions(params: Params) -> None:
    for key in ("OKActions", "AlarmActions", "InsufficientDataActions"):
        if len(params.get(key) or ()) > MOST_ACTIONS:
            raise queries.invalid(f"Member must have length less than or equal to {MOST_ACTIONS}: {key}")
    for key in _UNOFFERED:
        if params.get(key):
            raise queries.invalid(f"portside's local cloud does not offer {key}.")


def _check_metric_alarm(params: Params) -> None:
    _check_actions(params)
    if params.get("ComparisonOperator") not in COMPARISONS:
        known = params.get("ComparisonOperator")
        raise queries.invalid(
            f"portside's local cloud does not offer the comparison {known} of anomaly detection."
            if known
            else "The parameter ComparisonOperator is required."
        )
    for key in ("EvaluationPeriods", "Threshold"):
        if params.get(key) is None:
            raise queries.invalid(f"The parameter {key} is required.")
    periods = int(params["EvaluationPeriods"])
    if not 1 <= int(params.get("DatapointsToAlarm") or periods) <= periods:
        raise queries.invalid("DatapointsToAlarm must be between 1 and EvaluationPeriods.")
    missing = params.get("TreatMissingData") or "missing"
    if missing not in list(Missing):
        raise queries.invalid(
            f"The value {missing} is not supported for TreatMissingData parameter. Supported "
            f"values are [{', '.join(Missing)}]."
        )
    if params.get("Metrics"):
        if params.get("MetricName") or params.get("Namespace"):
            raise queries.invalid("MetricName and Metrics cannot be specified together.")
        asked = queries.read(params["Metrics"])
        if sum(each.returned for each in asked) != 1:
            raise queries.invalid("Exactly one element of the metrics list should return data.")
        if len({each.metric.period for each in asked if each.metric is not None}) > 1:
            raise queries.invalid("All metrics of an alarm must have the same period.")
        return
    for key in ("MetricName", "Namespace", "Period"):
        if not params.get(key):
            raise queries.invalid(f"The parameter {key} is required.")
    queries.check_period(int(params["Period"]))
    if bool(params.get("Statistic")) == bool(params.get("ExtendedStatistic")):
        raise queries.invalid("Exactly one of Statistic and ExtendedStatistic must be specified.")
    chosen = params.get("Statistic") or params.get("ExtendedStatistic")
    if chosen not in STATISTICS and not is_percentile(str(chosen)):
        raise queries.invalid(f"The value {chosen} for parameter Statistic is not supported.")

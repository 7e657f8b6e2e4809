"""Looks at each alarm once a period, moves it between its states, and takes its actions.

One key per alarm (`region/name`). A new state is committed before its actions are taken, and that they were taken
afterwards (`Alarm.acted`), so that a crash in between repeats an action rather than losing it. Actions of Auto
Scaling repeat every period while the state lasts; topics are told once. Composite alarms are looked at whenever
another alarm of their region has moved.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudwatch import composite, queries, records
from portside.cloud.services.cloudwatch.evaluate import Missing, Rule, State, Value, decide
from portside.cloud.services.cloudwatch.records import Alarm, History
from portside.cloud.services.cloudwatch.statistics import series
from portside.cloud.services.scaling.triggers import ServicePolicies, Trigger

# CloudWatch looks at an alarm once a minute, however long its period is.
LOOKED_AT = 60.0
_BY_STATE = {
    State.OK: "OKActions",
    State.ALARM: "AlarmActions",
    State.INSUFFICIENT_DATA: "InsufficientDataActions",
}


class AlarmLoop:
    """Use: `async with AlarmLoop(...) as loop`, then `loop.wake("region/name")`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        log: Log,
        account: str,
        policies: ServicePolicies | None = None,
    ) -> None:
        self._db = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._log = log.bind(service="cloudwatch")
        self._account = account
        self._policies = policies
        self.loop = Loop("cloudwatch.alarm", self.turn, clock, log)
        self.wake = self.loop.wake

    async def __aenter__(self) -> AlarmLoop:
        await self.loop.__aenter__()
        for each in records.all_alarms(self._db):
            self.wake(each.key)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.loop.__aexit__(None, None, None)

    async def turn(self, key: str) -> TurnResult:
        region, _, name = key.partition("/")
        found = records.alarm(self._db, region, name)
        if found is None:
            return Done()
        value: float | None = None
        # A state whose actions are still to be taken (SetAlarmState, a crash) is not looked past.
        if found.acted:
            state, reason, value = self._look(found)
            if state is not found.state:
                found = self.move(found, state, reason, "")
        await self._act(found, value)
        if found.composite:
            return Done()
        return After(self._interval(found))

    def move(self, alarm: Alarm, state: State, reason: str, data: str) -> Alarm:
        """Into another state: committed, noted in the history, and everything that depends on it is woken."""
        now = self._clock.now()
        changed = state is not alarm.state
        moved = replace(
            alarm,
            state=state,
            reason=reason,
            reason_data=data,
            updated=now,
            transitioned=now if changed else alarm.transitioned,
            # Not taken yet.
            acted=0.0 if changed else alarm.acted,
        )
        with self._db.write() as tx:
            records.save_alarm(tx, moved)
            if changed:
                summary = f"Alarm updated from {alarm.state} to {state}"
                told = {
                    "version": "1.0",
                    "oldState": {"stateValue": alarm.state, "stateReason": alarm.reason},
                    "newState": {"stateValue": state, "stateReason": reason},
                }
                entry = History(alarm.name, now, "StateUpdate", summary, json.dumps(told))
                records.note(tx, alarm.region, entry)
                for each in records.alarms(tx, alarm.region):
                    if each.composite and each.name != alarm.name:
                        tx.after_commit(lambda key=each.key: self.wake(key))  # type: ignore[misc]
        if changed:
            self._log.info("alarm moved", alarm=alarm.name, state=state, reason=reason)
        return moved

    # Looking

    def _look(self, alarm: Alarm) -> tuple[State, str, float | None]:
        """The state that the data give, the reason, and the newest value."""
        if alarm.composite:
            return self._look_at_others(alarm)
        definition = alarm.definition
        periods = int(definition["EvaluationPeriods"])
        rule = Rule(
            definition["ComparisonOperator"],
            float(definition["Threshold"]),
            periods,
            int(definition.get("DatapointsToAlarm") or periods),
            Missing(definition["TreatMissingData"]),
        )
        length = self._pace.wait(float(period_of(definition)))
        end = math.floor(self._clock.now() / length) * length
        asked = queries.read(_queries(definition))

        def fetch(query: queries.MetricQuery) -> list[float | None]:
            start = end - length * rule.length
            found = records.data(self._db, alarm.region, query.metric, start, end, query.unit)
            return [
                None if each is None else each.statistic(query.statistic)
                for each in series(found, end, length, rule.length)
            ]

        values = queries.evaluate(asked, fetch, rule.length)
        (returned,) = [each.id for each in asked if each.returned]
        seen = [
            None if value is None else Value(end - length * (rule.length - index), value)
            for index, value in enumerate(values[returned])
        ]
        state, reason = decide(rule, seen, alarm.state)
        newest = next((each.value for each in reversed(seen) if each is not None), None)
        return state, reason, newest

    def _look_at_others(self, alarm: Alarm) -> tuple[State, str, None]:
        states = {each.name: each.state for each in records.alarms(self._db, alarm.region)}
        rule = composite.parse(alarm.definition["AlarmRule"])
        state = State.ALARM if composite.holds(rule, states.get) else State.OK
        shown = ", ".join(f"{name} is {states.get(name, 'missing')}" for name in sorted(composite.names(rule)))
        return state, f"{alarm.definition['AlarmRule']} is {state is State.ALARM}: {shown}", None

    def _interval(self, alarm: Alarm) -> float:
        return self._pace.wait(min(LOOKED_AT, float(period_of(alarm.definition))))

    # Acting

    async def _act(self, alarm: Alarm, value: float | None) -> None:
        actions = alarm.definition.get(_BY_STATE[alarm.state]) or []
        first = not alarm.acted
        if not actions or not alarm.definition.get("ActionsEnabled", True):
            self._acted(alarm)
            return
        again = [each for each in actions if ":autoscaling:" in each]
        due = not first and self._clock.now() - alarm.acted >= self._period(alarm) - 1e-6
        if not first and not (again and due):
            return
        for each in actions if first else again:
            await self._take(alarm, each, value)
        self._acted(alarm)

    def _period(self, alarm: Alarm) -> float:
        return self._pace.wait(LOOKED_AT if alarm.composite else float(period_of(alarm.definition)))

    def _acted(self, alarm: Alarm) -> None:
        with self._db.write() as tx:
            present = records.alarm(tx, alarm.region, alarm.name)
            # It may have moved on meanwhile, by SetAlarmState.
            if present is not None and present.state is alarm.state and present.updated == alarm.updated:
                records.save_alarm(tx, replace(present, acted=self._clock.now()))

    async def _take(self, alarm: Alarm, action: str, value: float | None) -> None:
        caller = Caller.root(self._account, alarm.region)
        try:
            if action.startswith("arn:aws:sns:"):
                message = json.dumps(announcement(alarm, self._account, self._clock.now()))
                subject = f'{alarm.state}: "{alarm.name}" in {alarm.region}'[:100]
                await self._calls(
                    "sns", "Publish", {"TopicArn": action, "Subject": subject, "Message": message}, caller
                )
            elif ":scalingPolicy:" in action and ":resource/ecs/" in action and self._policies is not None:
                threshold = alarm.definition.get("Threshold")
                await self._policies.execute(
                    Trigger(
                        alarm.region,
                        action,
                        alarm.name,
                        alarm.state,
                        value,
                        None if threshold is None else float(threshold),
                    )
                )
            elif ":scalingPolicy:" in action and ":resource/" not in action:
                params: Params = {"PolicyName": action, "HonorCooldown": True}
                if value is not None and "Threshold" in alarm.definition:
                    params |= {"MetricValue": value, "BreachThreshold": float(alarm.definition["Threshold"])}
                await self._calls("autoscaling", "ExecutePolicy", params, caller)
            else:
                raise AwsError("ValidationError", "portside's local cloud does not offer this kind of action.")
        except AwsError as error:
            self._noted(alarm, f'Failed to execute action {action}. Received error: "{error.message}"')
            self._log.warning("action failed", alarm=alarm.name, action=action, error=error.message)
            return
        self._noted(alarm, f"Successfully executed action {action}")

    def _noted(self, alarm: Alarm, summary: str) -> None:
        entry = History(alarm.name, self._clock.now(), "Action", summary, json.dumps({"version": "1.0"}))
        with self._db.write() as tx:
            records.note(tx, alarm.region, entry)


def period_of(definition: Params) -> int:
    if "Period" in definition:
        return int(definition["Period"])
    return next((int(each["MetricStat"]["Period"]) for each in definition["Metrics"] if "MetricStat" in each), 60)


def _queries(definition: Params) -> list[Params]:
    """The one metric of most alarms in the form of a query."""
    if definition.get("Metrics"):
        given: list[Params] = definition["Metrics"]
        return given
    metric = {key: definition[key] for key in ("Namespace", "MetricName", "Dimensions") if key in definition}
    stat = {
        "Metric": metric,
        "Period": definition["Period"],
        "Stat": definition.get("Statistic") or definition.get("ExtendedStatistic"),
    }
    if definition.get("Unit"):
        stat["Unit"] = definition["Unit"]
    return [{"Id": "m1", "MetricStat": stat, "ReturnData": True}]


def announcement(alarm: Alarm, account: str, now: float) -> Params:
    """The message for a topic, as CloudWatch words it."""
    definition = alarm.definition
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": definition.get("AlarmDescription"),
        "AWSAccountId": account,
        "NewStateValue": alarm.state,
        "NewStateReason": alarm.reason,
        "StateChangeTime": moment,
        "Region": alarm.region,
        "AlarmArn": f"arn:aws:cloudwatch:{alarm.region}:{account}:alarm:{alarm.name}",
        "OKActions": definition.get("OKActions") or [],
        "AlarmActions": definition.get("AlarmActions") or [],
        "InsufficientDataActions": definition.get("InsufficientDataActions") or [],
        "Trigger": {
            key: definition.get(key)
            for key in (
                "MetricName", "Namespace", "Statistic", "Dimensions", "Period", "EvaluationPeriods",
                "ComparisonOperator", "Threshold", "TreatMissingData",
            )
        },
    }  # fmt: skip

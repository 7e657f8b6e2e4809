"""Rollback triggers: alarms that turn an operation back.

Owns what a RollbackConfiguration may say and the watch over its alarms while resources are created or updated and
in the monitoring time after that. What follows from an alarm is decided in `stack_loop.py`.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.services.calls import Calls, Params
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.records import Stack
from portside.cloud.services.cloudformation.session import caller_of

_TYPES = {"AWS::CloudWatch::Alarm": "MetricAlarms", "AWS::CloudWatch::CompositeAlarm": "CompositeAlarms"}
MOST = 5
LONGEST_MINUTES = 180
# How often AWS looks is not known; alarms themselves are evaluated once a minute.
LOOKED_AT = 10.0


def check(configuration: Params) -> Params:
    """The configuration, ValidationError if AWS would not take it."""
    found = configuration.get("RollbackTriggers") or []
    if len(found) > MOST:
        raise invalid(f"A maximum of {MOST} Rollback Triggers may be specified.")
    for each in found:
        if each.get("Type") not in _TYPES:
            raise invalid("Rollback Trigger Type not supported")
        parts = str(each.get("Arn", "")).split(":", 6)
        if len(parts) != 7 or parts[0] != "arn" or parts[2] != "cloudwatch":
            raise invalid("Rollback Trigger's ARN is not a valid ARN")
        if parts[5] != "alarm" or not parts[6]:
            raise invalid("RelativeId of a Rollback Trigger's ARN is incorrect")
    minutes = configuration.get("MonitoringTimeInMinutes") or 0
    if not 0 <= minutes <= LONGEST_MINUTES:
        raise invalid(f"MonitoringTimeInMinutes must be between 0 and {LONGEST_MINUTES}")
    return configuration


class Triggers:
    """The watch over the alarms of running operations."""

    def __init__(self, calls: Calls, clock: Clock, pace: Pace) -> None:
        self._calls = calls
        self._clock = clock
        self._pace = pace
        # Operation -> when its alarms are due; a look too many after a restart does no harm.
        self._due: dict[str, float] = {}

    def monitoring(self, stack: Stack) -> float:
        """The seconds for which alarms are watched once everything is made."""
        return self._pace.wait(60.0 * (stack.spec.rollback.get("MonitoringTimeInMinutes") or 0))

    def sooner(self, stack: Stack, seconds: float) -> float:
        """`seconds`, or less if alarms are to be looked at before."""
        if not stack.spec.rollback.get("RollbackTriggers"):
            return seconds
        return max(0.0, min(seconds, self._due.get(stack.operation, 0.0) - self._clock.now()))

    async def trouble(self, stack: Stack) -> str:
        """Why the operation has to turn back; empty if it has not."""
        triggers = stack.spec.rollback.get("RollbackTriggers") or []
        now = self._clock.now()
        if not triggers or self._due.get(stack.operation, 0.0) > now:
            return ""
        self._due = {key: due for key, due in self._due.items() if due > now}
        for each in triggers:
            state = await self._state(stack, each)
            if state is None:
                return f"Rollback trigger {each['Arn']} does not exist."
            if state == "ALARM":
                return f"Rollback trigger {each['Arn']} went to state ALARM."
        self._due[stack.operation] = now + self._pace.wait(LOOKED_AT)
        return ""

    async def _state(self, stack: Stack, trigger: Params) -> str | None:
        name = str(trigger["Arn"]).split(":", 6)[6]
        kind = _TYPES[trigger["Type"]]
        params = {"AlarmNames": [name], "AlarmTypes": [kind.removesuffix("s")]}
        answer = await self._calls("cloudwatch", "DescribeAlarms", params, caller_of(stack))
        for each in answer.get(kind) or []:
            if each["AlarmName"] == name:
                return str(each.get("StateValue", ""))
        return None

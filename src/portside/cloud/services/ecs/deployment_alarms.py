"""The alarms that a deployment watches.

The calls only. An alarm that is gone counts as one that is silent; that it is there is checked when it is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portside.cloud.services.calls import Caller, Calls, Params

BATCH = 100


@dataclass(frozen=True, slots=True)
class AlarmSeen:
    """`seconds`: how long the alarm looks back, which is how long its silence takes to mean something."""

    firing: bool
    seconds: float


async def look(calls: Calls, caller: Caller, names: Sequence[str]) -> dict[str, AlarmSeen]:
    """Those of the alarms that there are."""
    found: dict[str, AlarmSeen] = {}
    for start in range(0, len(names), BATCH):
        asked: Params = {"AlarmNames": list(names[start : start + BATCH]), "MaxRecords": BATCH}
        answer = await calls("cloudwatch", "DescribeAlarms", asked, caller)
        for each in [*(answer.get("MetricAlarms") or []), *(answer.get("CompositeAlarms") or [])]:
            seconds = float(each.get("Period") or 0) * float(each.get("EvaluationPeriods") or 0)
            found[each["AlarmName"]] = AlarmSeen(each.get("StateValue") == "ALARM", seconds)
    return found


def watched(configuration: Params) -> list[str]:
    """The names that a deployment configuration has watched, none if that is switched off."""
    given = configuration.get("alarms") or {}
    return list(given.get("alarmNames") or []) if given.get("enable") else []

"""The rules of conditions: whether one holds.

VariableCheck and DeploymentWindow are decided at once or by the clock, CloudWatchAlarm by asking for the alarm's
state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.codepipeline import windows
from portside.cloud.services.codepipeline.structure import Rule

MINUTE = 60.0
# A deployment window is waited for; how long, where the rule sets nothing.
LONGEST_WAIT = 7 * 24 * 60 * MINUTE
ALARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Holds:
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    summary: str
    code: str = "JobFailed"


@dataclass(frozen=True, slots=True)
class NotYet:
    seconds: float


Looked = Holds | Broken | NotYet


async def look(
    rule: Rule, configuration: dict[str, str], calls: Calls, caller: Caller, *, since: float, now: float
) -> Looked:
    """`since` is when the rule was first looked at."""
    match rule.provider:
        case "VariableCheck":
            return variable(configuration)
        case "DeploymentWindow":
            limit = since + (rule.timeout * MINUTE if rule.timeout else LONGEST_WAIT)
            return window(configuration, limit, now)
        case _:
            found = await calls(
                "cloudwatch", "DescribeAlarms", {"AlarmNames": [configuration["AlarmName"]]}, caller
            )
            alarms = [*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())]
            states = [str(each.get("StateValue")) for each in alarms]
            return alarm(configuration, states, since, now)


def variable(configuration: dict[str, str]) -> Holds | Broken:
    found, operator = configuration["Variable"], configuration["Operator"]
    wanted = configuration.get("Value", "")
    match operator:
        case "EQ":
            holds = found == wanted
        case "NE":
            holds = found != wanted
        case "CONTAINS":
            holds = wanted in found
        case _:
            try:
                holds = re.fullmatch(wanted, found) is not None
            except re.error as error:
                return Broken(f"{wanted} is no regular expression: {error}", "ConfigurationError")
    return Holds() if holds else Broken(f"Variable check failed: {found} {operator} {wanted} does not hold.")


def window(configuration: dict[str, str], limit: float, now: float) -> Looked:
    if windows.contains(configuration["Cron"], configuration.get("TimeZone") or "UTC", now):
        return Holds()
    if now >= limit:
        return Broken(f"No deployment window of {configuration['Cron']} opened in time.")
    return NotYet(min(MINUTE - now % MINUTE, limit - now))


def alarm(configuration: dict[str, str], states: list[str], since: float, now: float) -> Looked:
    """Breaks if the alarm is, or within WaitTime minutes goes, into one of AlarmStates."""
    name = configuration["AlarmName"]
    if not states:
        return Broken(f"Alarm {name} does not exist.", "ConfigurationError")
    bad = [each.strip() for each in (configuration.get("AlarmStates") or "ALARM").split(",")]
    hit = [each for each in states if each in bad]
    if hit:
        return Broken(f"Alarm {name} is in state {hit[0]}.")
    wait = configuration.get("WaitTime", "0")
    until = since + (int(wait) * MINUTE if wait.isdigit() else 0.0)
    return Holds() if now >= until else NotYet(min(ALARM_SECONDS, until - now))

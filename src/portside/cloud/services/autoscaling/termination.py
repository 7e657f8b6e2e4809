"""Which instances of a group go when it grows smaller.

Pure. Never one that is protected from scale-in. Source: the Amazon EC2 Auto Scaling User Guide, "Configure
termination policies".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Member:
    """An instance in service. `outdated`: it was not launched by what the group launches now; `configuration`: it
    was launched by a launch configuration, which goes before a template; `version` of the template; `key` breaks
    ties."""

    id: str
    zone: str = ""
    protected: bool = False
    launched: float = 0.0
    outdated: bool = False
    configuration: bool = False
    version: int = 0
    key: float = 0.0


Rank = Callable[[Member], float]


def victims(members: Sequence[Member], count: int, policies: Sequence[str], now: float) -> list[str]:
    """At most `count` of the instances, the first to go first."""
    left = [each for each in members if not each.protected]
    chosen: list[str] = []
    for _ in range(min(count, len(left))):
        victim = min(_fullest_zone(left), key=lambda each: (*_ranks(each, policies, now), each.key, each.id))
        left.remove(victim)
        chosen.append(victim.id)
    return chosen


def _fullest_zone(members: Sequence[Member]) -> list[Member]:
    """Whatever the policy says, the zones stay balanced."""
    zones = Counter(each.zone for each in members)
    most = max(zones.values())
    return [each for each in members if zones[each.zone] == most]


def _ranks(each: Member, policies: Sequence[str], now: float) -> tuple[float, ...]:
    found: list[float] = []
    for policy in policies or ("Default",):
        match policy:
            case "OldestInstance":
                found.append(each.launched)
            case "NewestInstance":
                found.append(-each.launched)
            case "OldestLaunchConfiguration" | "OldestLaunchTemplate":
                found += _age(each)
            case "ClosestToNextInstanceHour":
                found.append(_to_the_hour(each, now))
            case "AllocationStrategy":
                continue  # all instances of a group here are of its first choice
            case _:
                found += [*_age(each), _to_the_hour(each, now)]
    return tuple(found)


def _age(each: Member) -> list[float]:
    """Launch configurations before templates, older ones before newer ones."""
    return [float(not each.configuration), float(not each.outdated), float(each.version)]


def _to_the_hour(each: Member, now: float) -> float:
    return HOUR - (now - each.launched) % HOUR

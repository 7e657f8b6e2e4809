"""How many instances a capacity provider's group should have: the M/N rule of cluster auto scaling.

Pure. N is how many instances the group has, M how many it needs for its tasks: those that hold a task that is not
a daemon's, and new ones for tasks that wait. Source: the ECS Developer Guide, "Amazon ECS cluster auto scaling".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY_AND_WANTED = 200.0  # what is published when there are tasks but not a single instance


@dataclass(frozen=True, slots=True)
class Need:
    """What one waiting task asks of an instance."""

    cpu: int
    memory: int
    ports: frozenset[str] = frozenset()
    alone: str = ""  # the task group, where no two of its tasks may share an instance


@dataclass(frozen=True, slots=True)
class Settings:
    """A provider's managed scaling."""

    target: int = 100
    least_step: int = 1
    most_step: int = 10_000


def reservation(needed: int, present: int) -> float:
    """CapacityProviderReservation."""
    if present == 0:
        return EMPTY_AND_WANTED if needed else 100.0
    return 100.0 * needed / present


def additional(waiting: Sequence[Need], cpu: int, memory: int) -> int:
    """How many empty instances of that size the waiting tasks fill. Tasks that no such instance could hold do not
    count: more instances would not help them."""
    bins: list[tuple[int, int, frozenset[str], frozenset[str]]] = []
    for need in sorted(waiting, key=lambda each: (-each.memory, -each.cpu)):
        if need.cpu > cpu or need.memory > memory:
            continue
        alone = frozenset({need.alone} if need.alone else ())
        for number, (free_cpu, free_memory, ports, groups) in enumerate(bins):
            fits = need.cpu <= free_cpu and need.memory <= free_memory
            if fits and not need.ports & ports and not alone & groups:
                bins[number] = (
                    free_cpu - need.cpu,
                    free_memory - need.memory,
                    ports | need.ports,
                    groups | alone,
                )
                break
        else:
            bins.append((cpu - need.cpu, memory - need.memory, need.ports, alone))
    return len(bins)


def wanted(needed: int, settings: Settings) -> int:
    """The number of instances at which the reservation is at its target."""
    return math.ceil(needed * 100 / settings.target)


def step_out(desired: int, goal: int, most: int, settings: Settings) -> int:
    """The next desired capacity on the way up; the same when there is nothing to do."""
    if goal <= desired:
        return desired
    step = min(max(goal - desired, settings.least_step), settings.most_step)
    return max(desired, min(most, desired + step))


def step_in(desired: int, goal: int, least: int, settings: Settings) -> int:
    """The next desired capacity on the way down."""
    if goal >= desired:
        return desired
    step = min(max(desired - goal, settings.least_step), settings.most_step)
    return min(desired, max(least, goal, desired - step))

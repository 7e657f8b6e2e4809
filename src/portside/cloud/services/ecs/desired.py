"""How many tasks of a service there should be, and which of them go first when there are too many.

Pure. REPLICA: the desired count. DAEMON: one per instance that takes part. When and how fast the numbers are
reached is decided in `rollout.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where a task is, in the words of the rollout rules."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Member:
    """A task of a service that has not stopped. `failing` is why it must be replaced, empty if it need not be;
    `evacuate`: its instance is draining. `order` rises with its age in the service. `protected`: scaling in leaves
    it alone."""

    task: str
    deployment: str
    stage: Stage
    healthy: bool = False
    failing: str = ""
    evacuate: bool = False
    instance: str = ""
    zone: str = ""
    order: int = 0
    protected: bool = False


def surplus(members: Sequence[Member], count: int, strategy: str) -> list[Member]:
    """The `count` members to stop first: those that do not work yet, then by the placement strategy.

    `strategy` is the first step's type. Spread keeps the zones balanced; binpack empties the least used
    instance; within equals the youngest goes first.
    """
    remaining = [each for each in members if not each.protected]
    chosen: list[Member] = []
    for _ in range(min(count, len(remaining))):
        zones = Counter(each.zone for each in remaining)
        instances = Counter(each.instance for each in remaining)

        def rank(
            each: Member, zones: Counter[str] = zones, instances: Counter[str] = instances
        ) -> tuple[bool, bool, int, int, int]:
            crowded = instances[each.instance] if strategy == "binpack" else -zones[each.zone]
            return (each.healthy, each.stage is Stage.RUNNING, crowded, -instances[each.instance], -each.order)

        victim = min(remaining, key=rank)
        remaining.remove(victim)
        chosen.append(victim)
    return chosen


def daemon_instances(instances: Sequence[str], members: Sequence[Member]) -> list[str]:
    """The instances that lack a task of the deployment whose members are given."""
    covered = {each.instance for each in members if each.stage is not Stage.STOPPING}
    return [each for each in instances if each not in covered]

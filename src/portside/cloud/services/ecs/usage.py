"""From what containers have used to what a service, a cluster or an instance makes of what it has.

Pure. A service's utilisation is what its tasks use of what they reserve; a cluster's what its tasks use of what
its instances offer. Averages are weighted by what is reserved, as AWS's formula is; minimum and maximum are those
of single tasks (or instances). Source: the ECS Developer Guide, "Amazon ECS CloudWatch metrics".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from portside.cloud.services.calls import Params

UNITS_PER_CPU = 1024
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Used:
    """CPU in ECS's units, on average since the last sample, and memory in MiB. `cpu` is None where a single sample
    tells nothing yet."""

    cpu: float | None
    memory: float

    def __add__(self, other: Used) -> Used:
        cpu = None if self.cpu is None or other.cpu is None else self.cpu + other.cpu
        return Used(cpu, self.memory + other.memory)


NOTHING = Used(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Share:
    """What one task (or instance) used of what it has."""

    used: float
    has: float


def statistics(shares: Iterable[Share]) -> Params | None:
    """A StatisticValues in per cent; None where there is nothing to relate to."""
    counted = [each for each in shares if each.has > 0]
    if not counted:
        return None
    single = [100.0 * each.used / each.has for each in counted]
    overall = 100.0 * sum(each.used for each in counted) / sum(each.has for each in counted)
    return {
        "SampleCount": float(len(counted)),
        "Sum": overall * len(counted),
        "Minimum": min(single),
        "Maximum": max(single),
    }


def between(before: tuple[float, float], cpu: float, at: float) -> float | None:
    """The average in ECS's units between two samples (seconds used, time); None if they say nothing, such as after
    a restart of the container, when its count begins again."""
    seconds = at - before[1]
    if seconds <= 0 or cpu < before[0]:
        return None
    return (cpu - before[0]) / seconds * UNITS_PER_CPU

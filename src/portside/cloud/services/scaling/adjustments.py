"""What a scaling policy asks for: from a capacity, and for steps a breach, to another capacity.

Pure, and shared by the two services that scale. Source: the Amazon EC2 Auto Scaling User Guide, "Step and simple
scaling policies". The services know the cool-downs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that a group may have."""

    least: int
    most: int

    def clamp(self, capacity: int) -> int:
        return max(self.least, min(self.most, capacity))


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`kind` is ChangeInCapacity, ExactCapacity or PercentChangeInCapacity; `least` MinAdjustmentMagnitude."""

    kind: str
    amount: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class StepRange:
    """One step: relative to the threshold; None is without end."""

    lower: float | None
    upper: float | None
    amount: int


def adjusted(capacity: int, adjustment: Adjustment, bounds: Bounds) -> int:
    """The capacity after the adjustment, within bounds."""
    match adjustment.kind:
        case "ExactCapacity":
            return bounds.clamp(adjustment.amount)
        case "PercentChangeInCapacity":
            change = rounded(capacity * adjustment.amount / 100)
            if change and abs(change) < adjustment.least:
                change = int(math.copysign(adjustment.least, change))
            return bounds.clamp(capacity + change)
    return bounds.clamp(capacity + adjustment.amount)


def rounded(change: float) -> int:
    """Towards zero, but never to zero."""
    if 0 < change < 1:
        return 1
    if -1 < change < 0:
        return -1
    return math.trunc(change)


def step(steps: Sequence[StepRange], breach: float) -> int | None:
    """The amount of the step that `breach` (metric minus threshold) falls into, None if into none.

    Above the threshold a step includes its lower bound, below it its upper one.
    """
    for each in steps:
        lower = -math.inf if each.lower is None else each.lower
        upper = math.inf if each.upper is None else each.upper
        if (breach >= 0 and lower <= breach < upper) or (breach < 0 and lower < breach <= upper):
            return each.amount
    return None

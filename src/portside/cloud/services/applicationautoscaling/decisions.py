"""What a policy's wish makes of a service's desired count: bounds, cool-downs, and which way is open.

Pure. The capacity that counts is the number of running tasks, not the desired one. Source: the ECS Developer Guide
on service auto scaling and the Application Auto Scaling API reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portside.cloud.services.scaling.adjustments import Adjustment, Bounds, StepRange, adjusted, step

_UNBOUNDED = Bounds(0, 2**31)


@dataclass(frozen=True, slots=True)
class Situation:
    """`out_base` is the capacity before the last scale-out while that one's cool-down lasts, None afterwards.
    `out_open` and `in_open` say whether a way is open at all: suspended, in a cool-down, in a deployment."""

    running: int
    desired: int
    least: int
    most: int
    out_base: int | None = None
    out_open: bool = True
    in_open: bool = True

    @property
    def base(self) -> int:
        """What a scale-out is counted from: what the last one added has been asked for already."""
        return self.running if self.out_base is None else self.out_base


@dataclass(frozen=True, slots=True)
class Wish:
    """`wanted` is not within bounds yet."""

    wanted: int
    outward: bool


def by_steps(now: Situation, kind: str, steps: Sequence[StepRange], breach: float, magnitude: int) -> Wish | None:
    """The wish of a step policy; None when no step fits, or it changes nothing."""
    amount = step(steps, breach)
    if amount is None:
        return None
    adjustment = Adjustment(kind, amount, magnitude)
    if kind == "ExactCapacity":
        wanted = adjusted(now.running, adjustment, _UNBOUNDED)
        return None if wanted == now.desired else Wish(wanted, wanted > now.desired)
    if amount == 0:
        return None
    return Wish(adjusted(now.base if amount > 0 else now.running, adjustment, _UNBOUNDED), amount > 0)


def resolve(now: Situation, wish: Wish) -> int | None:
    """The new desired count; None when it stays."""
    if wish.outward:
        if not now.out_open or now.desired > now.most:
            return None
        wanted = now.least if now.desired < now.least else min(max(wish.wanted, now.least), now.most)
        return wanted if wanted > now.desired else None
    if not now.in_open or now.desired < now.least:
        return None
    wanted = now.most if now.desired > now.most else max(wish.wanted, now.least)
    return wanted if wanted < now.desired else None

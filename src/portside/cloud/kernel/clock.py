"""Time, as everything else in the cloud sees it.

Owns the only calls to the system clock. `Clock` is a constructor argument wherever time matters, so that
tests can put a virtual one in its place (`portside.testing.clock`). `Pace` shortens AWS's long waits.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Epoch seconds, and waiting until one of them."""

    def now(self) -> float:
        """The present, in seconds since 1970-01-01T00:00:00Z."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Return once `now() >= when`."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep_until(self, when: float) -> None:
        delay = when - time.time()
        await asyncio.sleep(max(0.0, delay))


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a wait that AWS defines takes here.

    Only waiting is shortened (intervals, drains, cool-downs): the number of health checks, their order and
    what they decide stay the same, and the API keeps showing the configured value. Allowances for a user's
    program (grace and start periods, time-outs, stop time-outs) are never shortened, for no setting makes a
    program start faster; nor does a drain end before the requests under way, as long as they may take on AWS.
    """

    factor: float
    floor: float

    def wait(self, seconds: float) -> float:
        """The seconds to really wait for a wait of `seconds` on AWS."""
        if seconds <= 0:
            return 0.0
        return min(seconds, max(self.floor, seconds * self.factor))


AWS_PACE = Pace(factor=1.0, floor=0.0)
FAST_PACE = Pace(factor=0.1, floor=0.2)

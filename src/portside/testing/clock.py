"""Virtual time: jumps to the next deadline when nothing else is left to do.

A clock for tests of anything that takes a `Clock`. Nothing sleeps for real, so an hour of retries takes
milliseconds and always happens in the same order.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

_TURNS_UNTIL_IDLE = 40


class VirtualClock:
    """Starts at `start` epoch seconds and moves only in `advance`, `until` and `idle`."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep_until(self, when: float) -> None:
        if when <= self._now:
            await asyncio.sleep(0)
            return
        wakeup: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (when, next(self._order), wakeup))
        await wakeup

    async def idle(self) -> None:
        """Let everything run that needs no time to pass."""
        for _ in range(_TURNS_UNTIL_IDLE):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking sleepers one deadline after another."""
        end = self._now + seconds
        await self.idle()
        while (due := self._next()) is not None and due <= end:
            await self._jump(due)
        self._now = end

    async def until(self, reached: Callable[[], bool], limit: float = 3600.0) -> None:
        """Let time pass until `reached()`; AssertionError after `limit` virtual seconds."""
        end = self._now + limit
        await self.idle()
        while not reached():
            due = self._next()
            if due is None or due > end:
                raise AssertionError(f"not reached within {limit} virtual seconds")
            await self._jump(due)

    def _next(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def _jump(self, due: float) -> None:
        self._now = max(self._now, due)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            wakeup = heapq.heappop(self._sleepers)[2]
            if not wakeup.done():
                wakeup.set_result(None)
        await self.idle()

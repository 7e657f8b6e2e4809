"""The control loop that every moving part of the cloud is built on.

Owns scheduling, time limits and back-off of turns; what a turn does belongs to the services' `*_loop.py`.
A turn re-reads everything it needs, takes one step, and says when it wants to be called again. It must be
safe to run twice, for it may be cut off at any point and run again after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.workqueue import WorkQueue


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing left to do until the key is woken."""


@dataclass(frozen=True, slots=True)
class After:
    """Call again after so many seconds, or earlier if woken."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing more can be done for this key; the turn has already recorded why."""

    reason: str


TurnResult = Done | After | Failed
Turn = Callable[[str], Awaitable[TurnResult]]

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 30.0


def backoff(failures: int) -> float:
    """Seconds to wait after the given number of failures in a row."""
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 20)))


class Loop:
    """Runs `turn` for each key that is due; at most `workers` at once, one per key.

    Use: `async with Loop(...) as loop`, then `loop.wake(key)`.
    """

    def __init__(
        self, name: str, turn: Turn, clock: Clock, log: Log, *, workers: int = 16, turn_limit: float = 120.0
    ) -> None:
        self.name = name
        self._turn = turn
        self._clock = clock
        self._log = log.bind(loop=name)
        self._workers = workers
        self._turn_limit = turn_limit
        self._queue = WorkQueue()
        self._failures: dict[str, int] = {}
        self._signal = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    def wake(self, key: str, after: float = 0.0) -> None:
        """Make `key` due now, or `after` seconds from now."""
        self._queue.put(key, self._clock.now() + after)
        self._signal.set()

    async def __aenter__(self) -> Loop:
        self._runner = asyncio.create_task(self._run(), name=f"loop:{self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks]
        if self._runner is not None:
            tasks.append(self._runner)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._signal.clear()
            while len(self._tasks) < self._workers:
                key = self._queue.take(self._clock.now())
                if key is None:
                    break
                task = asyncio.create_task(self._work(key), name=f"{self.name}:{key}")
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            await self._wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Only now is the worker free: a signal from within the turn would come too early for a full loop."""
        self._tasks.discard(task)
        self._signal.set()

    async def _wait(self) -> None:
        due = self._queue.next_due()
        if due is None or len(self._tasks) >= self._workers:
            await self._signal.wait()
            return
        # Both tasks are always cancelled here, so that none is left behind when the loop itself is.
        sleeper = asyncio.ensure_future(self._clock.sleep_until(due))
        signal = asyncio.ensure_future(self._signal.wait())
        try:
            await asyncio.wait({sleeper, signal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            signal.cancel()

    async def _work(self, key: str) -> None:
        again: float | None
        try:
            async with asyncio.timeout(self._turn_limit):
                result = await self._turn(key)
        except Exception as error:
            count = self._failures.get(key, 0) + 1
            self._failures[key] = count
            again = self._clock.now() + backoff(count)
            self._log.error("turn failed", key=key, failures=count, error=repr(error), exc_info=error)
        else:
            self._failures.pop(key, None)
            match result:
                case Done():
                    again = None
                case After(seconds):
                    again = self._clock.now() + seconds
                case Failed(reason):
                    again = None
                    self._log.warning("gave up", key=key, reason=reason)
        self._queue.finish(key, self._clock.now(), again)

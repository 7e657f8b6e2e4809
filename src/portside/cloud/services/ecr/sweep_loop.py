"""The loop that removes blobs nobody came back for.

Owns only the timing; what may go is decided in `catalogue.py`.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.services.ecr.catalogue import Catalogue

KEY = "blobs"


class SweepLoop:
    """Use: `async with SweepLoop(...)`. Entering it also tidies what an earlier process left behind."""

    def __init__(self, catalogue: Catalogue, *, clock: Clock, log: Log) -> None:
        self._catalogue = catalogue
        self._loop = Loop("ecr-sweep", self.turn, clock, log, workers=1)

    async def turn(self, key: str) -> TurnResult:
        wait = self._catalogue.sweep()
        return Done() if wait is None else After(wait)

    async def __aenter__(self) -> SweepLoop:
        self._catalogue.tidy()
        self._catalogue.on_loose = lambda: self._loop.wake(KEY)
        await self._loop.__aenter__()
        self._loop.wake(KEY)
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._catalogue.on_loose = lambda: None
        await self._loop.__aexit__(None, None, None)

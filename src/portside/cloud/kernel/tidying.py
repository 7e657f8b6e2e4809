"""Puts the write-ahead log into the state's file while nobody waits. One key: there is one file.

Owns when. In the middle of much work this would stop everybody for as long as dozens of commits take.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Loop, TurnResult

KEY = "state"
QUIET = 2.0
ENOUGH = 100  # commits that are worth it


class Tidying:
    """Use: `async with Tidying(...).loop`, once `resume` was called."""

    def __init__(self, *, database: Database, clock: Clock, log: Log) -> None:
        self._database = database
        self._seen = database.transactions
        self._tidied = database.transactions
        self.loop = Loop("tidying", self.turn, clock, log)

    def resume(self) -> None:
        self.loop.wake(KEY, after=QUIET)

    async def turn(self, key: str) -> TurnResult:
        commits = self._database.transactions
        if commits == self._seen and commits - self._tidied >= ENOUGH:
            self._database.tidy()
            self._tidied = commits
        self._seen = commits
        return After(QUIET)

"""Deletes log events that need not be kept.

Three bounds. A group's retention in days, as on AWS. A stream keeps its newest `stream_bytes` (applied when events
are written). All streams together keep `total_bytes`: beyond it the streams that were written to least recently
lose their oldest events first. On AWS the latter two are a matter of money, here of the machine's disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.services.logs import records

KEY = "retention"
EVERY = 600.0
DAY = 86_400_000
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, in bytes as AWS counts them (text plus 26 per event)."""

    stream_bytes: int = 64 * MIB
    total_bytes: int = 1024 * MIB


class RetentionLoop:
    """Its one key is `retention`."""

    def __init__(self, *, database: Database, clock: Clock, log: Log, bounds: Bounds) -> None:
        self._database = database
        self._clock = clock
        self._log = log.bind(service="logs")
        self._bounds = bounds
        self._unchecked = 0
        self.loop = Loop("logs-retention", self.turn, clock, log, workers=1)

    def wake(self) -> None:
        self.loop.wake(KEY)

    def resume(self) -> None:
        self.wake()

    def written(self, size: int) -> None:
        """Look at the total after every hundredth of it that has been written."""
        self._unchecked += size
        if self._unchecked >= self._bounds.total_bytes // 100:
            self._unchecked = 0
            self.wake()

    async def turn(self, key: str) -> TurnResult:
        now = int(self._clock.now() * 1000)
        groups = records.groups_with_retention(self._database)
        for group in groups:
            assert group.retention is not None
            for stream in records.streams(self._database, group.region, group.name):
                if stream.first_at is not None and stream.first_at < now - group.retention * DAY:
                    with self._database.write() as tx:
                        records.drop_before(tx, stream, now - group.retention * DAY)
        self._bound_total()
        return After(EVERY) if groups else Done()

    def _bound_total(self) -> None:
        streams = records.all_streams(self._database)
        surplus = sum(each.bytes for each in streams) - self._bounds.total_bytes
        for stream in streams:
            if surplus <= 0:
                return
            if stream.bytes:
                with self._database.write() as tx:
                    surplus -= records.drop_oldest(tx, stream, min(surplus, stream.bytes))
                self._log.info("old log events dropped", group=stream.group_name, stream=stream.name)

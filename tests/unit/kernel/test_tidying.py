"""The write-ahead log goes into the file once it is quiet, and never in the middle of work."""

from __future__ import annotations

from pathlib import Path

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.tidying import ENOUGH, QUIET, Tidying
from portside.testing.clock import VirtualClock
from portside.testing.server import quiet_log


def work(database: Database, commits: int) -> None:
    for _ in range(commits):
        with database.write() as tx:
            tx.execute("INSERT INTO thing VALUES (?)", ("x" * 1000,))


async def test_the_log_goes_into_the_file_when_nothing_happens(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    database, clock = Database(file), VirtualClock()
    database.migrate("test", ["CREATE TABLE thing (body TEXT NOT NULL)"])
    database.tidy()
    tidying = Tidying(database=database, clock=clock, log=quiet_log())
    async with tidying.loop:
        tidying.resume()
        empty = file.stat().st_size
        for _ in range(4):
            work(database, ENOUGH)
            await clock.advance(QUIET)
            assert file.stat().st_size == empty, "somebody is at work"
        await clock.advance(QUIET)
        full = file.stat().st_size
        assert full > empty + 4 * ENOUGH * 1000
        work(database, 1)
        await clock.advance(10 * QUIET)
        assert file.stat().st_size == full, "not worth it"
    database.close()

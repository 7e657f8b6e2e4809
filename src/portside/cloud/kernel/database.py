"""Durable state: one SQLite file in WAL mode, one writer.

Owns the connection, transactions and migrations; knows no table. Each service owns its tables and hands its
forward-only migrations to `migrate`. All calls are made from the event loop's thread, and there is never a second
writer to wait for. `write` commits by itself, before it returns; `commit` shares one commit with whatever else is
ready in the same three rounds of the event loop, and returns after it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Value = str | bytes | int | float | None
Row = sqlite3.Row
Found = TypeVar("Found")
# Pages of the write-ahead log (4 KiB each) after which a commit puts it into the file, if it was never quiet
# enough for `tidy`. At SQLite's own 1,000 that took half of the time of small transactions; docs/performance.md.
CHECKPOINT = 32_000
STATEMENTS = 512  # kept prepared


class Transaction:
    """What may be done between BEGIN and COMMIT."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._after: list[Callable[[], None]] = []

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run one statement; returns the number of rows it changed."""
        return self._connection.execute(sql, params).rowcount

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, params).fetchall()

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call `action` once the transaction is durable: this is how loops get woken."""
        self._after.append(action)

    def committed(self) -> None:
        for action in self._after:
            action()


class Database:
    """The state of one cloud."""

    def __init__(self, path: Path | str) -> None:
        if path != ":memory:":
            # There are keys in it; SQLite gives the files beside it the same mode.
            Path(path).touch(mode=0o600)
            Path(path).chmod(0o600)
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
        )
        self._connection.row_factory = sqlite3.Row
        # Nobody else opens the file while a cloud runs: without this every statement asks the system for locks.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # Survives kill -9 of the process. Only a power cut may lose the newest commits, never corrupt.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA busy_timeout = 5000")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (owner TEXT, step INTEGER, PRIMARY KEY (owner, step))"
        )
        # Transactions committed since the start.
        self.transactions = 0
        self._open: Transaction | None = None
        self._handed: list[tuple[Callable[[Transaction], Any], asyncio.Future[Any]]] = []

    def migrate(self, owner: str, steps: Sequence[str]) -> None:
        """Apply the steps of `owner` (each a script) that this file has not seen yet."""
        done = {row["step"] for row in self.read("SELECT step FROM migration WHERE owner = ?", (owner,))}
        for number, script in enumerate(steps, start=1):
            if number in done:
                continue
            with self.write() as tx:
                for statement in _statements(script):
                    tx.execute(statement)
                tx.execute("INSERT INTO migration VALUES (?, ?)", (owner, number))

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, params).fetchall()

    def one(self, sql: str, params: Sequence[Value] = ()) -> Row | None:
        row: Row | None = self._connection.execute(sql, params).fetchone()
        return row

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction: committed at the end of the block, rolled back if it raises. Not to be nested,
        and never held across an await."""
        if self._open is not None:
            raise RuntimeError("a transaction is already open: it must not be held across an await")
        tx = self._open = Transaction(self._connection)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield tx
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
            self.transactions += 1
        finally:
            self._open = None
        tx.committed()

    async def commit(self, work: Callable[[Transaction], Found]) -> Found:
        """Do `work` in a transaction, and return what it returns once that is durable.

        Everything handed over in one round of the event loop, or in the next two, is committed at once, in order.
        What raises undoes nothing but itself; the others are then done anew, so `work` must do nothing but read
        and write the transaction. Handed over by a task that is cancelled before its turn, it is not done.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Found] = loop.create_future()
        self._handed.append((work, done))
        if len(self._handed) == 1:
            # Not at once: what this round makes ready hands over in the next ones.
            loop.call_soon(loop.call_soon, loop.call_soon, self._commit_handed)
        return await done

    def _commit_handed(self) -> None:
        handed = [(work, done) for work, done in self._handed if not done.cancelled()]
        self._handed = []
        if not handed:
            return
        made: list[Any] = []
        try:
            with self.write() as tx:
                made += [work(tx) for work, _ in handed]
        except BaseException as error:
            refused = len(made) < len(handed)  # by one of them, not by the commit
            if refused and len(handed) > 1:
                for work, done in handed:
                    self._commit_one(work, done)
            else:
                for _, done in handed:
                    done.set_exception(error)
        else:
            for (_, done), each in zip(handed, made, strict=True):
                done.set_result(each)

    def _commit_one(self, work: Callable[[Transaction], Any], done: asyncio.Future[Any]) -> None:
        try:
            with self.write() as tx:
                made = work(tx)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(made)

    def tidy(self) -> None:
        """Put the write-ahead log into the file. It takes a tenth of a second: for when nobody waits."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        self._connection.close()


def _statements(script: str) -> Iterator[str]:
    """Cut a script at the semicolons that end a statement (not at those inside a trigger or a literal)."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""

"""Durable state: one SQLite file in WAL mode, one writer.

Owns the connection, transactions and migrations; knows no table. Each service owns its tables and hands its
forward-only migrations to `migrate`. All calls are synchronous and made from the event loop's thread: a
commit takes tens of microseconds, and there is never a second writer to wait for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Value = str | bytes | int | float | None
Row = sqlite3.Row


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
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # Survives kill -9 of the process. Only a power cut may lose the newest commits, never corrupt.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA busy_timeout = 5000")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (owner TEXT, step INTEGER, PRIMARY KEY (owner, step))"
        )
        self._open: Transaction | None = None

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
        finally:
            self._open = None
        tx.committed()

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

"""What is remembered of a group's scaling besides what the ancillary services keep: cool-downs and warm-ups.

Owns the table and its SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value

MIGRATIONS = (
    """
    CREATE TABLE as_group (
        region TEXT NOT NULL, name TEXT NOT NULL, cool_until REAL NOT NULL, warm_until REAL NOT NULL,
        settled INTEGER NOT NULL, PRIMARY KEY (region, name)
    );
    """,
)


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class GroupState:
    """`cool_until`: simple policies wait until then. `warm_until`: instances of the last scale-out are warming up
    until then, `settled` is the capacity from before it."""

    region: str
    name: str
    cool_until: float = 0.0
    warm_until: float = 0.0
    settled: int = 0


def group(db: Reader, region: str, name: str) -> GroupState:
    found = db.read("SELECT * FROM as_group WHERE region = ? AND name = ?", (region, name))
    return GroupState(**dict(found[0])) if found else GroupState(region, name)


def save_group(tx: Transaction, state: GroupState) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_group VALUES (?, ?, ?, ?, ?)",
        (state.region, state.name, state.cool_until, state.warm_until, state.settled),
    )

"""What is remembered of groups that are growing smaller: the capacity that they are to reach, and who is to go.

Owns the two tables and their SQL. Everything else of a group is kept by the ancillary services.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.autoscaling.records import Reader

MIGRATIONS = (
    """
    CREATE TABLE as_goal (
        region TEXT NOT NULL, name TEXT NOT NULL, desired INTEGER NOT NULL, PRIMARY KEY (region, name)
    );
    CREATE TABLE as_leaving (
        region TEXT NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL, since REAL NOT NULL,
        deadline REAL NOT NULL, decrement INTEGER NOT NULL, hooks TEXT NOT NULL,
        PRIMARY KEY (region, instance)
    );
    CREATE INDEX as_leaving_group ON as_leaving (region, name);
    """,
)


class Key(NamedTuple):
    """A group."""

    region: str
    name: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """An instance that is to be terminated. `hooks` are those that nobody has completed yet, in a line; past
    `deadline` they are not waited for. `decrement`: it is not replaced."""

    region: str
    instance: str
    name: str
    since: float
    deadline: float
    decrement: bool
    hooks: str = ""

    def waits(self, now: float) -> bool:
        return bool(self.hooks) and now < self.deadline


def goal(reader: Reader, key: Key) -> int | None:
    """The desired capacity of a group that still has more instances than that."""
    found = reader.read("SELECT desired FROM as_goal WHERE region = ? AND name = ?", key)
    return int(found[0]["desired"]) if found else None


def set_goal(tx: Transaction, key: Key, desired: int | None) -> None:
    tx.execute("DELETE FROM as_goal WHERE region = ? AND name = ?", key)
    if desired is not None:
        tx.execute("INSERT INTO as_goal VALUES (?, ?, ?)", (*key, desired))


def leaving(reader: Reader, key: Key) -> list[Leaving]:
    rows = reader.read("SELECT * FROM as_leaving WHERE region = ? AND name = ? ORDER BY since, instance", key)
    return [Leaving(**{**dict(row), "decrement": bool(row["decrement"])}) for row in rows]


def save_leaving(tx: Transaction, each: Leaving) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_leaving VALUES (?, ?, ?, ?, ?, ?, ?)",
        (each.region, each.instance, each.name, each.since, each.deadline, int(each.decrement), each.hooks),
    )


def forget_leaving(tx: Transaction, each: Leaving) -> None:
    tx.execute("DELETE FROM as_leaving WHERE region = ? AND instance = ?", (each.region, each.instance))


def forget_group(tx: Transaction, key: Key) -> None:
    set_goal(tx, key, None)
    tx.execute("DELETE FROM as_leaving WHERE region = ? AND name = ?", key)


def unfinished(reader: Reader) -> list[Key]:
    """The groups that are not at rest."""
    rows = reader.read(
        "SELECT region, name FROM as_goal UNION SELECT region, name FROM as_leaving ORDER BY region, name"
    )
    return [Key(row["region"], row["name"]) for row in rows]

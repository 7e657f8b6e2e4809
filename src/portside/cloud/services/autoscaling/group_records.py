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
    # Every hook has its own deadline and token; the tables are those of `hook_records.py`.
    """
    CREATE TABLE as_hook (
        region TEXT NOT NULL, name TEXT NOT NULL, hook TEXT NOT NULL, transition TEXT NOT NULL,
        timeout INTEGER NOT NULL, result TEXT NOT NULL, target TEXT NOT NULL, role TEXT NOT NULL,
        metadata TEXT NOT NULL, PRIMARY KEY (region, name, hook)
    );
    CREATE TABLE as_action (
        region TEXT NOT NULL, instance TEXT NOT NULL, hook TEXT NOT NULL, name TEXT NOT NULL,
        transition TEXT NOT NULL, token TEXT NOT NULL, since REAL NOT NULL, deadline REAL NOT NULL,
        ends REAL NOT NULL, timeout INTEGER NOT NULL, result TEXT NOT NULL, PRIMARY KEY (region, instance, hook)
    );
    CREATE INDEX as_action_group ON as_action (region, name);
    CREATE TABLE as_arrival (
        region TEXT NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL, since REAL NOT NULL,
        stage TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (region, instance)
    );
    CREATE INDEX as_arrival_group ON as_arrival (region, name);
    CREATE TABLE as_owed (
        region TEXT NOT NULL, name TEXT NOT NULL, desired INTEGER, failures INTEGER NOT NULL, due REAL NOT NULL,
        PRIMARY KEY (region, name)
    );
    INSERT INTO as_action
        WITH RECURSIVE split (region, instance, name, since, deadline, hook, rest) AS (
            SELECT region, instance, name, since, deadline, '', hooks || char(10) FROM as_leaving WHERE hooks <> ''
            UNION ALL
            SELECT region, instance, name, since, deadline, substr(rest, 1, instr(rest, char(10)) - 1),
                substr(rest, instr(rest, char(10)) + 1) FROM split WHERE rest <> ''
        )
        SELECT region, instance, hook, name, 'autoscaling:EC2_INSTANCE_TERMINATING',
            lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-'
                || hex(randomblob(2)) || '-' || hex(randomblob(6))),
            since, deadline, since + 172800, 3600, 'ABANDON'
        FROM split WHERE hook <> '';
    CREATE TABLE as_leaving_new (
        region TEXT NOT NULL, instance TEXT NOT NULL, name TEXT NOT NULL, since REAL NOT NULL,
        decrement INTEGER NOT NULL, abandoned INTEGER NOT NULL DEFAULT 0, served INTEGER NOT NULL DEFAULT 1,
        PRIMARY KEY (region, instance)
    );
    INSERT INTO as_leaving_new (region, instance, name, since, decrement)
        SELECT region, instance, name, since, decrement FROM as_leaving;
    DROP TABLE as_leaving;
    ALTER TABLE as_leaving_new RENAME TO as_leaving;
    CREATE INDEX as_leaving_group ON as_leaving (region, name);
    """,
)


class Key(NamedTuple):
    """A group."""

    region: str
    name: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """An instance that is to be terminated once no hook of its own waits. `decrement`: it is not replaced;
    `abandoned`: a hook gave its launch up, and what replaces it may have to wait; `served`: it was in service."""

    region: str
    instance: str
    name: str
    since: float
    decrement: bool
    abandoned: bool = False
    served: bool = True


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
    flags = ("decrement", "abandoned", "served")
    return [Leaving(**{**dict(row), **{each: bool(row[each]) for each in flags}}) for row in rows]


def save_leaving(tx: Transaction, each: Leaving) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_leaving VALUES (?, ?, ?, ?, ?, ?, ?)",
        (each.region, each.instance, each.name, each.since, each.decrement, each.abandoned, each.served),
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

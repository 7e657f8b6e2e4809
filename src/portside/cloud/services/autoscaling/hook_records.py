"""Lifecycle hooks, the actions that wait for somebody, and the instances that a group has launched with hooks.

Owns the tables and their SQL; they are made by the migration in `group_records.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.autoscaling.hook_rules import ABANDON, LAUNCHING, Hook
from portside.cloud.services.autoscaling.records import Reader


@dataclass(frozen=True, slots=True)
class Action:
    """A hook that an instance waits for: until `deadline`, which heartbeats of `timeout` seconds move, but never
    beyond `ends`. `result` is what it ends with when nobody has answered by then."""

    region: str
    instance: str
    hook: str
    name: str
    transition: str
    token: str
    since: float
    deadline: float
    ends: float
    timeout: int
    result: str = ABANDON


class Stage(StrEnum):
    """How far a launched instance has come."""

    WAITING = "waiting"
    SERVING = "serving"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance of a group with hooks for launches. One that has no such record has just been launched.
    `reason` says why it was abandoned."""

    region: str
    instance: str
    name: str
    since: float
    stage: Stage
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Owed:
    """What a group owes for launches that were abandoned. `desired`: the ancillary's count that is to be reached
    again at `due`, None when it has been; `failures` in a row."""

    region: str
    name: str
    desired: int | None = None
    failures: int = 0
    due: float = 0.0


# Hooks


def hooks(reader: Reader, key: Key, transition: str = "") -> list[Hook]:
    """Those of a group, of one transition or of both."""
    rows = reader.read(
        """
        SELECT hook AS name, transition, timeout, result, target, role, metadata FROM as_hook
        WHERE region = ? AND name = ? AND ? IN ('', transition) ORDER BY rowid
        """,
        (*key, transition),
    )
    return [Hook(**dict(row)) for row in rows]


def hook(reader: Reader, key: Key, name: str) -> Hook | None:
    return next((each for each in hooks(reader, key) if each.name == name), None)


def save_hook(tx: Transaction, key: Key, each: Hook) -> None:
    tx.execute(
        """
        INSERT INTO as_hook (region, name, hook, transition, timeout, result, target, role, metadata)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (region, name, hook) DO UPDATE SET transition = excluded.transition,
        timeout = excluded.timeout, result = excluded.result, target = excluded.target, role = excluded.role,
        metadata = excluded.metadata
        """,
        (*key, each.name, each.transition, each.timeout, each.result, each.target, each.role, each.metadata),
    )


def forget_hook(tx: Transaction, key: Key, name: str) -> None:
    tx.execute("DELETE FROM as_hook WHERE region = ? AND name = ? AND hook = ?", (*key, name))


# Actions


def actions(reader: Reader, key: Key, instance: str = "") -> list[Action]:
    """Those that wait, of one instance or of all."""
    rows = reader.read(
        "SELECT * FROM as_action WHERE region = ? AND name = ? AND ? IN ('', instance) ORDER BY rowid",
        (*key, instance),
    )
    return [Action(**dict(row)) for row in rows]


def save_action(tx: Transaction, each: Action) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_action VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            each.region,
            each.instance,
            each.hook,
            each.name,
            each.transition,
            each.token,
            each.since,
            each.deadline,
            each.ends,
            each.timeout,
            each.result,
        ),
    )


def forget_action(tx: Transaction, each: Action) -> None:
    tx.execute(
        "DELETE FROM as_action WHERE region = ? AND instance = ? AND hook = ?",
        (each.region, each.instance, each.hook),
    )


def forget_actions(tx: Transaction, key: Key, instance: str) -> None:
    tx.execute("DELETE FROM as_action WHERE region = ? AND instance = ?", (key.region, instance))


# Arrivals


def arrivals(reader: Reader, key: Key) -> dict[str, Arrival]:
    rows = reader.read("SELECT * FROM as_arrival WHERE region = ? AND name = ? ORDER BY rowid", key)
    return {row["instance"]: Arrival(**{**dict(row), "stage": Stage(row["stage"])}) for row in rows}


def save_arrival(tx: Transaction, each: Arrival) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_arrival VALUES (?, ?, ?, ?, ?, ?)",
        (each.region, each.instance, each.name, each.since, each.stage, each.reason),
    )


def forget_arrival(tx: Transaction, key: Key, instance: str) -> None:
    tx.execute("DELETE FROM as_arrival WHERE region = ? AND instance = ?", (key.region, instance))


# What is owed


def owed(reader: Reader, key: Key) -> Owed:
    found = reader.read("SELECT * FROM as_owed WHERE region = ? AND name = ?", key)
    return Owed(**dict(found[0])) if found else Owed(*key)


def save_owed(tx: Transaction, each: Owed) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_owed VALUES (?, ?, ?, ?, ?)",
        (each.region, each.name, each.desired, each.failures, each.due),
    )


# Groups


def forget_group(tx: Transaction, key: Key) -> None:
    for table in ("as_hook", "as_action", "as_arrival", "as_owed"):
        tx.execute(f"DELETE FROM {table} WHERE region = ? AND name = ?", key)


def watched(reader: Reader, region: str = "") -> list[Key]:
    """The groups whose new instances do not serve at once, or that are to launch some: of a region, or all."""
    rows = reader.read(
        """
        SELECT region, name FROM as_hook WHERE transition = ? AND ? IN ('', region)
        UNION SELECT region, name FROM as_arrival WHERE ? IN ('', region)
        UNION SELECT region, name FROM as_owed WHERE desired IS NOT NULL AND ? IN ('', region)
        ORDER BY region, name
        """,
        (LAUNCHING, region, region, region),
    )
    return [Key(row["region"], row["name"]) for row in rows]

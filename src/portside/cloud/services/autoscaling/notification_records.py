"""Who is told of a group's instances, which instances they have been told of, and what they are still to be told.

Owns the three tables and their SQL. A message is written down in the transaction that notes what it tells, and
forgotten once its topic has taken it. See `notifications_loop.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.autoscaling.records import Reader
from portside.cloud.services.calls import Params

MIGRATIONS = (
    """
    CREATE TABLE as_notification (
        region TEXT NOT NULL, name TEXT NOT NULL, topic TEXT NOT NULL, types TEXT NOT NULL,
        PRIMARY KEY (region, name, topic)
    );
    CREATE TABLE as_told (
        region TEXT NOT NULL, name TEXT NOT NULL, instance TEXT NOT NULL, details TEXT NOT NULL,
        cause TEXT NOT NULL DEFAULT '', PRIMARY KEY (region, instance)
    );
    CREATE INDEX as_told_group ON as_told (region, name);
    CREATE TABLE as_message (
        number INTEGER PRIMARY KEY AUTOINCREMENT, region TEXT NOT NULL, name TEXT NOT NULL, topic TEXT NOT NULL,
        subject TEXT NOT NULL, message TEXT NOT NULL
    );
    """,
    "ALTER TABLE as_message ADD COLUMN role TEXT NOT NULL DEFAULT '';",
)


@dataclass(frozen=True, slots=True)
class Notification:
    """A topic of a group, and the types of events that it is told of."""

    region: str
    name: str
    topic: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """An instance that the group was last seen with. `details` are its subnet and zone; `cause` says why it is
    about to go, if that is known."""

    region: str
    name: str
    instance: str
    details: Params
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """`topic` is whom it goes to: see `deliveries.py`. `role` sends it, if there is one."""

    number: int
    topic: str
    subject: str
    message: str
    role: str = ""


def notifications(reader: Reader, region: str, name: str = "") -> list[Notification]:
    """Those of one group, or of all."""
    rows = reader.read(
        "SELECT * FROM as_notification WHERE region = ? AND (? = '' OR name = ?) ORDER BY name, topic",
        (region, name, name),
    )
    return [Notification(**{**dict(row), "types": tuple(row["types"].split())}) for row in rows]


def put(tx: Transaction, each: Notification) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_notification VALUES (?, ?, ?, ?)",
        (each.region, each.name, each.topic, " ".join(each.types)),
    )


def remove(tx: Transaction, key: Key, topic: str) -> None:
    tx.execute("DELETE FROM as_notification WHERE region = ? AND name = ? AND topic = ?", (*key, topic))
    if not notifications(tx, *key):
        tx.execute("DELETE FROM as_told WHERE region = ? AND name = ?", key)


def forget_group(tx: Transaction, key: Key) -> None:
    """Nobody is told of it any more; what was written down before still goes out."""
    for table in ("as_notification", "as_told"):
        tx.execute(f"DELETE FROM {table} WHERE region = ? AND name = ?", key)


def told(reader: Reader, key: Key) -> dict[str, Told]:
    rows = reader.read("SELECT * FROM as_told WHERE region = ? AND name = ? ORDER BY rowid", key)
    return {row["instance"]: Told(**{**dict(row), "details": json.loads(row["details"])}) for row in rows}


def save_told(tx: Transaction, each: Told) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_told VALUES (?, ?, ?, ?, ?)",
        (each.region, each.name, each.instance, json.dumps(each.details), each.cause),
    )


def forget_told(tx: Transaction, each: Told) -> None:
    tx.execute("DELETE FROM as_told WHERE region = ? AND instance = ?", (each.region, each.instance))


def because(tx: Transaction, region: str, instance: str, cause: str) -> None:
    """Note why an instance is about to go; nothing, if nobody is told of it."""
    tx.execute("UPDATE as_told SET cause = ? WHERE region = ? AND instance = ?", (cause, region, instance))


def add(tx: Transaction, key: Key, topic: str, subject: str, message: str, role: str = "") -> None:
    tx.execute(
        "INSERT INTO as_message (region, name, topic, subject, message, role) VALUES (?, ?, ?, ?, ?, ?)",
        (*key, topic, subject, message, role),
    )


def outgoing(reader: Reader, key: Key) -> list[Message]:
    rows = reader.read(
        """
        SELECT number, topic, subject, message, role FROM as_message
        WHERE region = ? AND name = ? ORDER BY number
        """,
        key,
    )
    return [Message(**dict(row)) for row in rows]


def sent(tx: Transaction, each: Message) -> None:
    tx.execute("DELETE FROM as_message WHERE number = ?", (each.number,))


def concerned(reader: Reader, region: str = "") -> list[Key]:
    """The groups with somebody to tell, or something left to be told."""
    rows = reader.read(
        """
        SELECT region, name FROM as_notification WHERE ? IN ('', region)
        UNION SELECT region, name FROM as_message WHERE ? IN ('', region) ORDER BY region, name
        """,
        (region, region),
    )
    return [Key(row["region"], row["name"]) for row in rows]

"""What CloudWatch Logs keeps: groups, streams, and events ordered by time within their stream.

Owns the tables and the SQL. An event's key is (stream, at, number): `number` counts the events of a stream, so
that equal time stamps stay in the order in which they came.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value

EVENT_OVERHEAD = 26  # bytes that AWS counts for each event besides its text
_ROWS_AT_ONCE = 400
_CHUNK = 500

MIGRATIONS = (
    """
    CREATE TABLE log_group (
        region TEXT NOT NULL, name TEXT NOT NULL, arn TEXT NOT NULL, created_at INTEGER NOT NULL,
        retention INTEGER, tags TEXT NOT NULL, PRIMARY KEY (region, name)
    );
    CREATE TABLE log_stream (
        id INTEGER PRIMARY KEY AUTOINCREMENT, region TEXT NOT NULL, group_name TEXT NOT NULL, name TEXT NOT NULL,
        created_at INTEGER NOT NULL, first_at INTEGER, last_at INTEGER, ingested_at INTEGER,
        bytes INTEGER NOT NULL, events INTEGER NOT NULL, token TEXT NOT NULL,
        UNIQUE (region, group_name, name)
    );
    CREATE TABLE log_event (
        stream INTEGER NOT NULL, at INTEGER NOT NULL, number INTEGER NOT NULL, ingested_at INTEGER NOT NULL,
        message TEXT NOT NULL, PRIMARY KEY (stream, at, number)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE log_group ADD COLUMN key TEXT NOT NULL DEFAULT '';
    ALTER TABLE log_group ADD COLUMN class TEXT NOT NULL DEFAULT 'STANDARD';
    ALTER TABLE log_group ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;
    """,
)


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Group:
    """Times are epoch milliseconds, as everywhere in this service. `key` is the KMS key's ARN, empty for none."""

    region: str
    name: str
    arn: str
    created_at: int
    retention: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    key: str = ""
    kind: str = "STANDARD"
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """`bytes` and `events` count what is kept and what ever came; `token` is the last sequence token."""

    id: int
    region: str
    group_name: str
    name: str
    created_at: int
    first_at: int | None
    last_at: int | None
    ingested_at: int | None
    bytes: int
    events: int
    token: str


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A place in a stream."""

    at: int
    number: int


@dataclass(frozen=True, slots=True)
class LogEvent:
    stream: int
    key: Key
    ingested_at: int
    message: str


LAST_CHARACTER = chr(0x10FFFF)
START = Key(-1, -1)
END = Key(2**62, 2**62)


def group(reader: Reader, region: str, name: str) -> Group | None:
    rows = reader.read("SELECT * FROM log_group WHERE region = ? AND name = ?", (region, name))
    return _group(rows[0]) if rows else None


def groups(reader: Reader, region: str, prefix: str = "") -> list[Group]:
    """By name. The range keeps to the index: an account may have thousands."""
    sql = "SELECT * FROM log_group WHERE region = ? AND name >= ? AND name < ? ORDER BY name"
    return [_group(row) for row in reader.read(sql, (region, prefix, prefix + LAST_CHARACTER))]


def groups_with_retention(reader: Reader) -> list[Group]:
    return [_group(row) for row in reader.read("SELECT * FROM log_group WHERE retention IS NOT NULL")]


def _group(row: Row) -> Group:
    return Group(
        row["region"],
        row["name"],
        row["arn"],
        row["created_at"],
        row["retention"],
        json.loads(row["tags"]),
        row["key"],
        row["class"],
        bool(row["protected"]),
    )


def save_group(tx: Transaction, each: Group) -> None:
    tx.execute(
        "INSERT INTO log_group (region, name, arn, created_at, retention, tags, key, class, protected) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (region, name) DO UPDATE SET "
        "retention = excluded.retention, tags = excluded.tags, key = excluded.key, protected = excluded.protected",
        (
            each.region,
            each.name,
            each.arn,
            each.created_at,
            each.retention,
            json.dumps(each.tags),
            each.key,
            each.kind,
            int(each.protected),
        ),
    )


def delete_group(tx: Transaction, region: str, name: str) -> None:
    for each in streams(tx, region, name):
        delete_stream(tx, each)
    tx.execute("DELETE FROM log_group WHERE region = ? AND name = ?", (region, name))


def stream(reader: Reader, region: str, group_name: str, name: str) -> Stream | None:
    rows = reader.read(
        "SELECT * FROM log_stream WHERE region = ? AND group_name = ? AND name = ?", (region, group_name, name)
    )
    return _stream(rows[0]) if rows else None


def streams(reader: Reader, region: str, group_name: str) -> list[Stream]:
    rows = reader.read(
        "SELECT * FROM log_stream WHERE region = ? AND group_name = ? ORDER BY name", (region, group_name)
    )
    return [_stream(row) for row in rows]


def all_streams(reader: Reader) -> list[Stream]:
    """Least recently written first."""
    rows = reader.read("SELECT * FROM log_stream ORDER BY coalesce(ingested_at, created_at), id")
    return [_stream(row) for row in rows]


def _stream(row: Row) -> Stream:
    return Stream(
        row["id"],
        row["region"],
        row["group_name"],
        row["name"],
        row["created_at"],
        row["first_at"],
        row["last_at"],
        row["ingested_at"],
        row["bytes"],
        row["events"],
        row["token"],
    )


def create_stream(tx: Transaction, region: str, group_name: str, name: str, created_at: int) -> None:
    tx.execute(
        "INSERT INTO log_stream (region, group_name, name, created_at, bytes, events, token) "
        "VALUES (?, ?, ?, ?, 0, 0, '')",
        (region, group_name, name, created_at),
    )


def delete_stream(tx: Transaction, each: Stream) -> None:
    tx.execute("DELETE FROM log_event WHERE stream = ?", (each.id,))
    tx.execute("DELETE FROM log_stream WHERE id = ?", (each.id,))


def append(tx: Transaction, each: Stream, events: Sequence[tuple[int, str]], ingested_at: int, token: str) -> None:
    """Add (time, text) pairs to a stream, and note its sequence token."""
    number = each.events
    for start in range(0, len(events), _ROWS_AT_ONCE):
        rows = events[start : start + _ROWS_AT_ONCE]
        values: list[Value] = []
        for at, message in rows:
            values += (each.id, at, number, ingested_at, message)
            number += 1
        marks = ", ".join(["(?, ?, ?, ?, ?)"] * len(rows))
        tx.execute(f"INSERT INTO log_event VALUES {marks}", values)
    if events:
        size = sum(len(message.encode()) + EVENT_OVERHEAD for _, message in events)
        tx.execute(
            "UPDATE log_stream SET bytes = bytes + ?, events = ?, ingested_at = ?, "
            "first_at = min(coalesce(first_at, ?), ?), last_at = max(coalesce(last_at, ?), ?) WHERE id = ?",
            (
                size,
                number,
                ingested_at,
                events[0][0],
                events[0][0],
                events[-1][0],
                events[-1][0],
                each.id,
            ),
        )
    tx.execute("UPDATE log_stream SET token = ? WHERE id = ?", (token, each.id))


def after(reader: Reader, stream_id: int, key: Key, start: int, end: int, limit: int) -> list[LogEvent]:
    """Events behind `key` with start <= at < end, oldest first."""
    rows = reader.read(
        "SELECT * FROM log_event WHERE stream = ? AND (at, number) > (?, ?) AND at >= ? AND at < ? "
        "ORDER BY at, number LIMIT ?",
        (stream_id, key.at, key.number, start, end, limit),
    )
    return [_event(row) for row in rows]


def before(reader: Reader, stream_id: int, key: Key, start: int, end: int, limit: int) -> list[LogEvent]:
    """Events in front of `key` with start <= at < end: the last ones, oldest first."""
    rows = reader.read(
        "SELECT * FROM log_event WHERE stream = ? AND (at, number) < (?, ?) AND at >= ? AND at < ? "
        "ORDER BY at DESC, number DESC LIMIT ?",
        (stream_id, key.at, key.number, start, end, limit),
    )
    return [_event(row) for row in reversed(rows)]


def walk(reader: Reader, stream_id: int, key: Key, start: int, end: int) -> Iterator[LogEvent]:
    """All events behind `key`, read in pieces."""
    while True:
        events = after(reader, stream_id, key, start, end, _CHUNK)
        yield from events
        if len(events) < _CHUNK:
            return
        key = events[-1].key


def _event(row: Row) -> LogEvent:
    return LogEvent(row["stream"], Key(row["at"], row["number"]), row["ingested_at"], row["message"])


def drop_oldest(tx: Transaction, each: Stream, wanted: int) -> int:
    """Delete the oldest events until `wanted` bytes are gone or none is left; returns the bytes deleted."""
    gone = 0
    while gone < wanted:
        rows = tx.read(
            "SELECT at, number, length(CAST(message AS BLOB)) AS size FROM log_event WHERE stream = ? "
            "ORDER BY at, number LIMIT ?",
            (each.id, _CHUNK),
        )
        if not rows:
            break
        last = rows[-1]
        for row in rows:
            gone += row["size"] + EVENT_OVERHEAD
            if gone >= wanted:
                last = row
                break
        tx.execute(
            "DELETE FROM log_event WHERE stream = ? AND (at, number) <= (?, ?)",
            (each.id, last["at"], last["number"]),
        )
    _shrunk(tx, each, gone)
    return gone


def drop_before(tx: Transaction, each: Stream, at: int) -> int:
    """Delete the events older than `at`; returns the bytes deleted."""
    rows = tx.read(
        "SELECT coalesce(sum(length(CAST(message AS BLOB)) + ?), 0) AS size FROM log_event "
        "WHERE stream = ? AND at < ?",
        (EVENT_OVERHEAD, each.id, at),
    )
    gone = int(rows[0]["size"])
    if gone:
        tx.execute("DELETE FROM log_event WHERE stream = ? AND at < ?", (each.id, at))
        _shrunk(tx, each, gone)
    return gone


def _shrunk(tx: Transaction, each: Stream, gone: int) -> None:
    tx.execute(
        "UPDATE log_stream SET bytes = max(0, bytes - ?), "
        "first_at = (SELECT min(at) FROM log_event WHERE stream = id) WHERE id = ?",
        (gone, each.id),
    )

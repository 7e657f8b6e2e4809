"""What CloudWatch keeps: metrics with their data, alarms with their history.

Owns the tables and the SQL. Data are kept as long as the longest alarm may look back, and a little longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.services.cloudwatch.evaluate import State
from portside.cloud.services.cloudwatch.statistics import Datum

KEPT = 15 * 24 * 3600.0
HISTORY_KEPT = 14 * 24 * 3600.0

MIGRATIONS = (
    """
    CREATE TABLE cw_metric (
        id INTEGER PRIMARY KEY AUTOINCREMENT, region TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        dimensions TEXT NOT NULL, last REAL NOT NULL, UNIQUE (region, namespace, name, dimensions)
    );
    CREATE TABLE cw_datum (
        metric INTEGER NOT NULL REFERENCES cw_metric (id) ON DELETE CASCADE, at REAL NOT NULL, unit TEXT NOT NULL,
        count REAL NOT NULL, total REAL NOT NULL, minimum REAL NOT NULL, maximum REAL NOT NULL,
        given TEXT NOT NULL
    );
    CREATE INDEX cw_datum_by_metric ON cw_datum (metric, at);
    CREATE TABLE cw_alarm (
        region TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, state TEXT NOT NULL,
        reason TEXT NOT NULL, reason_data TEXT NOT NULL, updated REAL NOT NULL, transitioned REAL NOT NULL,
        configured REAL NOT NULL, acted REAL NOT NULL, tags TEXT NOT NULL, PRIMARY KEY (region, name)
    );
    CREATE TABLE cw_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT, region TEXT NOT NULL, alarm TEXT NOT NULL, at REAL NOT NULL,
        type TEXT NOT NULL, summary TEXT NOT NULL, data TEXT NOT NULL
    );
    CREATE INDEX cw_history_by_alarm ON cw_history (region, alarm, id);
    """,
)

Dimensions = tuple[tuple[str, str], ...]


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Metric:
    """What data are about. `dimensions` in order of their names."""

    namespace: str
    name: str
    dimensions: Dimensions = ()

    @property
    def key(self) -> str:
        return json.dumps(self.dimensions)


@dataclass(frozen=True, slots=True)
class Alarm:
    """`definition` is what PutMetricAlarm or PutCompositeAlarm was given, in its names, without tags.

    `updated` is when the state was last set, `transitioned` when it last changed, `configured` when the definition
    was last put, `acted` when actions that repeat were last taken.
    """

    region: str
    name: str
    definition: dict[str, Any]
    state: State
    reason: str
    reason_data: str
    updated: float
    transitioned: float
    configured: float
    acted: float = 0.0
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.region}/{self.name}"

    @property
    def composite(self) -> bool:
        return "AlarmRule" in self.definition


@dataclass(frozen=True, slots=True)
class History:
    alarm: str
    at: float
    type: str
    summary: str
    data: str


# Metrics


def put_data(tx: Transaction, region: str, metric: Metric, unit: str, data: Iterable[Datum]) -> None:
    rows = tx.read(
        "SELECT id FROM cw_metric WHERE region = ? AND namespace = ? AND name = ? AND dimensions = ?",
        (region, metric.namespace, metric.name, metric.key),
    )
    if not rows:
        tx.execute(
            "INSERT INTO cw_metric (region, namespace, name, dimensions, last) VALUES (?, ?, ?, ?, 0)",
            (region, metric.namespace, metric.name, metric.key),
        )
        rows = tx.read("SELECT last_insert_rowid() AS id")
    number = rows[0]["id"]
    for each in data:
        tx.execute(
            "INSERT INTO cw_datum VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                each.at,
                unit,
                each.count,
                each.total,
                each.minimum,
                each.maximum,
                json.dumps(each.values),
            ),
        )
        tx.execute("UPDATE cw_metric SET last = max(last, ?) WHERE id = ?", (each.at, number))


def data(db: Reader, region: str, metric: Metric, start: float, end: float, unit: str = "") -> list[Datum]:
    """From `start` on, before `end`, in order of time."""
    found = db.read(
        "SELECT d.* FROM cw_datum d JOIN cw_metric m ON m.id = d.metric WHERE m.region = ? AND m.namespace = ? "
        "AND m.name = ? AND m.dimensions = ? AND d.at >= ? AND d.at < ? AND (? = '' OR d.unit = ?) ORDER BY d.at",
        (region, metric.namespace, metric.name, metric.key, start, end, unit, unit),
    )
    return [
        Datum(
            row["at"],
            row["count"],
            row["total"],
            row["minimum"],
            row["maximum"],
            tuple((value, often) for value, often in json.loads(row["given"])),
        )
        for row in found
    ]


def units(db: Reader, region: str, metric: Metric) -> list[str]:
    found = db.read(
        "SELECT DISTINCT d.unit FROM cw_datum d JOIN cw_metric m ON m.id = d.metric WHERE m.region = ? "
        "AND m.namespace = ? AND m.name = ? AND m.dimensions = ?",
        (region, metric.namespace, metric.name, metric.key),
    )
    return [row["unit"] for row in found]


def metrics(db: Reader, region: str, namespace: str = "", name: str = "", since: float = 0.0) -> list[Metric]:
    found = db.read(
        "SELECT * FROM cw_metric WHERE region = ? AND (? = '' OR namespace = ?) AND (? = '' OR name = ?) "
        "AND last >= ? ORDER BY namespace, name, dimensions",
        (region, namespace, namespace, name, name, since),
    )
    return [
        Metric(row["namespace"], row["name"], tuple((k, v) for k, v in json.loads(row["dimensions"])))
        for row in found
    ]


def forget(tx: Transaction, now: float) -> None:
    """Drop what is too old."""
    tx.execute("DELETE FROM cw_datum WHERE at < ?", (now - KEPT,))
    tx.execute("DELETE FROM cw_metric WHERE last < ?", (now - KEPT,))
    tx.execute("DELETE FROM cw_history WHERE at < ?", (now - HISTORY_KEPT,))


# Alarms


def _alarm(row: Row) -> Alarm:
    return Alarm(
        region=row["region"],
        name=row["name"],
        definition=json.loads(row["definition"]),
        state=State(row["state"]),
        reason=row["reason"],
        reason_data=row["reason_data"],
        updated=row["updated"],
        transitioned=row["transitioned"],
        configured=row["configured"],
        acted=row["acted"],
        tags=tuple((key, value) for key, value in json.loads(row["tags"])),
    )


def save_alarm(tx: Transaction, alarm: Alarm) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO cw_alarm VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            alarm.region,
            alarm.name,
            json.dumps(alarm.definition),
            alarm.state,
            alarm.reason,
            alarm.reason_data,
            alarm.updated,
            alarm.transitioned,
            alarm.configured,
            alarm.acted,
            json.dumps(alarm.tags),
        ),
    )


def alarm(db: Reader, region: str, name: str) -> Alarm | None:
    found = db.read("SELECT * FROM cw_alarm WHERE region = ? AND name = ?", (region, name))
    return _alarm(found[0]) if found else None


def alarms(db: Reader, region: str) -> list[Alarm]:
    return [_alarm(row) for row in db.read("SELECT * FROM cw_alarm WHERE region = ? ORDER BY name", (region,))]


def all_alarms(db: Reader) -> list[Alarm]:
    return [_alarm(row) for row in db.read("SELECT * FROM cw_alarm ORDER BY region, name")]


def delete_alarm(tx: Transaction, region: str, name: str) -> None:
    tx.execute("DELETE FROM cw_alarm WHERE region = ? AND name = ?", (region, name))


def note(tx: Transaction, region: str, entry: History) -> None:
    tx.execute(
        "INSERT INTO cw_history (region, alarm, at, type, summary, data) VALUES (?, ?, ?, ?, ?, ?)",
        (region, entry.alarm, entry.at, entry.type, entry.summary, entry.data),
    )


def history(db: Reader, region: str, name: str = "") -> list[History]:
    """Newest first."""
    found = db.read(
        "SELECT * FROM cw_history WHERE region = ? AND (? = '' OR alarm = ?) ORDER BY id DESC",
        (region, name, name),
    )
    return [History(row["alarm"], row["at"], row["type"], row["summary"], row["data"]) for row in found]

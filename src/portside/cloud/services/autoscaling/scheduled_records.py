"""Scheduled actions of Auto Scaling groups as they are kept, and when each is due next.

Owns the table, its SQL and the five fields of Unix's cron, which EC2 Auto Scaling uses. Source: the EC2 Auto
Scaling User Guide, "Scheduled scaling".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.services.calls import Params
from portside.cloud.services.scaling import schedules

MIGRATIONS = (
    """
    CREATE TABLE as_scheduled_action (
        key TEXT PRIMARY KEY, region TEXT NOT NULL, account TEXT NOT NULL, group_name TEXT NOT NULL,
        group_arn TEXT NOT NULL, name TEXT NOT NULL, arn TEXT NOT NULL, spec TEXT NOT NULL, due REAL
    );
    """,
)
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class ScheduledAction:
    """`spec` holds the parameters as they were put, points in time in epoch seconds; `due` is None once there is
    nothing left to do."""

    key: str
    region: str
    account: str
    group_name: str
    group_arn: str
    name: str
    arn: str
    spec: Params
    due: float | None


def key_of(region: str, group: str, name: str) -> str:
    return f"{region}/{group}/{name}"


def one(db: Reader, key: str) -> ScheduledAction | None:
    found = db.read("SELECT * FROM as_scheduled_action WHERE key = ?", (key,))
    return _action(found[0]) if found else None


def every(db: Reader) -> list[ScheduledAction]:
    return [_action(row) for row in db.read("SELECT * FROM as_scheduled_action ORDER BY key")]


def _action(row: Row) -> ScheduledAction:
    return ScheduledAction(**(dict(row) | {"spec": json.loads(row["spec"])}))


def save(tx: Transaction, action: ScheduledAction) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_scheduled_action VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            action.key,
            action.region,
            action.account,
            action.group_name,
            action.group_arn,
            action.name,
            action.arn,
            json.dumps(action.spec),
            action.due,
        ),
    )


def forget(tx: Transaction, key: str) -> None:
    tx.execute("DELETE FROM as_scheduled_action WHERE key = ?", (key,))


def next_run(spec: Params, after: float) -> float | None:
    """The next time later than `after`, within StartTime and EndTime. Raises ScheduleError for what is no cron."""
    start, end = spec.get("StartTime"), spec.get("EndTime")
    if not spec.get("Recurrence"):
        return float(start) if start is not None and float(start) > after else None
    floor = max(after, float(start) - 1.0) if start is not None else after
    zone = spec.get("TimeZone") or ""
    times = [schedules.next_due(each, zone, floor, floor) for each in crons(spec["Recurrence"])]
    due = min((each for each in times if each is not None), default=None)
    return None if due is None or (end is not None and due > float(end)) else due


def crons(recurrence: str) -> list[str]:
    """Five fields as `cron(...)`. Where both kinds of day are given, either is enough, as Unix has it."""
    fields = recurrence.split()
    if len(fields) != 5:
        raise schedules.ScheduleError(f"Given recurrence string:{recurrence} is invalid")
    minute, hour, day, month, weekday = fields
    before, of_week = f"{minute} {hour}", _weekdays(weekday)
    if weekday == "*":
        return [f"cron({before} {day} {month} ? *)"]
    by_week = f"cron({before} ? {month} {of_week} *)"
    return [by_week] if day == "*" else [by_week, f"cron({before} {day} {month} ? *)"]


def _weekdays(field: str) -> str:
    """Unix counts from Sunday, which is both 0 and 7."""
    found: list[str] = []
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low, high = (0, 6) if span == "*" else (_weekday(first), _weekday(last or first))
        high = 6 if step and not last else high
        every_nth = int(step) if step.isdecimal() and int(step) else 1
        found += [_DAYS[number % 7] for number in range(low, high + 1, every_nth)]
    return ",".join(dict.fromkeys(found))


def _weekday(text: str) -> int:
    if text.upper() in _DAYS:
        return _DAYS.index(text.upper())
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise schedules.ScheduleError(f"Given recurrence string is invalid: {text} is no day of the week")

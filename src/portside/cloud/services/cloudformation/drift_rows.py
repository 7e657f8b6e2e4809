"""What drift detections have found, and how far each has come.

Owns the records, their table and their SQL. A finding counts for the operation that the stack was in when it was
made: after another update nothing has been checked yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation.drift import Status
from portside.cloud.services.cloudformation.records import Params, Stack
from portside.cloud.services.cloudformation.rows import Reader

IN_PROGRESS = "DETECTION_IN_PROGRESS"
COMPLETE = "DETECTION_COMPLETE"
FAILED = "DETECTION_FAILED"
MIGRATIONS = (
    """
    CREATE TABLE cfn_detection (
        id TEXT PRIMARY KEY, stack_id TEXT NOT NULL, status TEXT NOT NULL, started REAL NOT NULL,
        record TEXT NOT NULL
    );
    CREATE INDEX cfn_detection_stack ON cfn_detection (stack_id, started);
    CREATE TABLE cfn_drift (
        stack_id TEXT NOT NULL, logical_id TEXT NOT NULL, operation TEXT NOT NULL, status TEXT NOT NULL,
        time REAL NOT NULL, record TEXT NOT NULL, PRIMARY KEY (stack_id, logical_id)
    );
    """,
)


@dataclass(frozen=True, slots=True)
class Detection:
    """`only` names the resources to look at, all of them if it is empty; `done` those that have been."""

    id: str
    stack_id: str
    operation: str
    started: float
    status: str = IN_PROGRESS
    reason: str = ""
    only: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    attempts: int = 0
    drifted: int | None = None
    outcome: str = Status.UNKNOWN.value


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one resource has found."""

    stack_id: str
    logical_id: str
    operation: str
    status: Status
    time: float
    physical_id: str = ""
    type: str = ""
    expected: str = ""
    actual: str = ""
    differences: tuple[Params, ...] = field(default_factory=tuple)


def _dump(record: Any) -> str:
    return json.dumps({name: getattr(record, name) for name in record.__slots__}, separators=(",", ":"))


def save_detection(tx: Transaction, found: Detection) -> None:
    tx.execute(
        "INSERT INTO cfn_detection VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET status = excluded.status, record = excluded.record",
        (found.id, found.stack_id, found.status, found.started, _dump(found)),
    )


def _detection(record: str) -> Detection:
    found = Detection(**json.loads(record))
    return replace(found, only=tuple(found.only), done=tuple(found.done), failed=tuple(found.failed))


def detection(db: Reader, detection_id: str) -> Detection | None:
    rows = db.read("SELECT record FROM cfn_detection WHERE id = ?", (detection_id,))
    return _detection(rows[0]["record"]) if rows else None


def latest(db: Reader, stack_id: str) -> Detection | None:
    rows = db.read(
        "SELECT record FROM cfn_detection WHERE stack_id = ? ORDER BY started DESC, rowid DESC LIMIT 1",
        (stack_id,),
    )
    return _detection(rows[0]["record"]) if rows else None


def running(db: Reader) -> list[str]:
    return [row["id"] for row in db.read("SELECT id FROM cfn_detection WHERE status = ?", (IN_PROGRESS,))]


def save_finding(tx: Transaction, found: Finding) -> None:
    tx.execute(
        "INSERT INTO cfn_drift VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stack_id, logical_id) DO UPDATE SET "
        "operation = excluded.operation, status = excluded.status, time = excluded.time, record = excluded.record",
        (found.stack_id, found.logical_id, found.operation, found.status, found.time, _dump(found)),
    )


def findings(db: Reader, stack: Stack) -> dict[str, Finding]:
    """By logical id; those of earlier operations no longer count."""
    rows = db.read(
        "SELECT record FROM cfn_drift WHERE stack_id = ? AND operation = ? ORDER BY logical_id",
        (stack.id, stack.operation),
    )
    found = [Finding(**json.loads(row["record"])) for row in rows]
    return {
        each.logical_id: replace(each, status=Status(each.status), differences=tuple(each.differences))
        for each in found
    }


def of_stack(db: Reader, stack: Stack) -> Params:
    """`DriftInformation` of a stack."""
    rows = db.read(
        "SELECT status, max(time) AS time FROM cfn_drift WHERE stack_id = ? AND operation = ? GROUP BY status",
        (stack.id, stack.operation),
    )
    if not rows:
        return {"StackDriftStatus": Status.NOT_CHECKED.value}
    drifted = {row["status"] for row in rows} & {Status.MODIFIED, Status.DELETED}
    last = latest(db, stack.id)
    status = Status.DRIFTED if drifted else Status.IN_SYNC
    if not drifted and (last is None or last.operation != stack.operation or last.outcome != Status.IN_SYNC):
        # Single resources have been looked at, which does not tell of the stack.
        status = Status.NOT_CHECKED if last is None or last.operation != stack.operation else Status(last.outcome)
    return {"StackDriftStatus": status.value, "LastCheckTimestamp": max(row["time"] for row in rows)}


def of_resources(db: Reader, stack: Stack) -> dict[str, Params]:
    """`DriftInformation` of the resources that have been checked."""
    rows = db.read(
        "SELECT logical_id, status, time FROM cfn_drift WHERE stack_id = ? AND operation = ?",
        (stack.id, stack.operation),
    )
    return {
        row["logical_id"]: {"StackResourceDriftStatus": row["status"], "LastCheckTimestamp": row["time"]}
        for row in rows
    }

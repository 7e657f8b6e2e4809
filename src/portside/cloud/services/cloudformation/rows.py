"""The SQL of CloudFormation: loads and stores the records of `records.py`.

Reads work on the database or inside a transaction; writes need a transaction. Nested records are kept as JSON in
one column, with the columns that queries need beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.document import dump, load
from portside.cloud.kernel.record import of_members
from portside.cloud.services.cloudformation.records import (
    Applied,
    ChangeSet,
    ChangeSetStatus,
    Event,
    ExecutionStatus,
    Kind,
    Leftover,
    Output,
    Params,
    Phase,
    Resource,
    ResourceStatus,
    Spec,
    Stack,
    StackStatus,
    Step,
    Value,
)


class Reader(Protocol):
    """What `Database` and `Transaction` have in common."""

    def read(self, sql: str, params: Sequence[str | bytes | int | float | None] = ()) -> list[sqlite3.Row]: ...


def _members(record: Any) -> Params:
    # dataclasses.asdict copies every value deeply, which took a quarter of a stack's time.
    return {name: getattr(record, name) for name in record.__slots__}


def _dump_with_step(record: Resource | Leftover, **changes: Any) -> str:
    """What a step has in common with its resource is written once: mostly all of it, in a creation."""
    members = _members(record)
    step = record.step
    if step is not None:
        inner = members["step"] = _members(step)
        if step.shown == step.target.properties:
            inner["shown"] = None
        if step.target == record.applied:
            inner["target"] = None
    return dump(members | changes)


def _pairs(found: Any) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in found)


def _spec(found: Params) -> Spec:
    return of_members(
        Spec,
        found
        | {
            "parameters": tuple(Value(**each) for each in found["parameters"]),
            "tags": _pairs(found["tags"]),
            "capabilities": tuple(found["capabilities"]),
            "notifications": tuple(found["notifications"]),
        },
    )


def _applied(found: Params) -> Applied:
    members = {"tags": _pairs(found["tags"]), "dependencies": tuple(found["dependencies"])}
    return of_members(Applied, found | members)


def _step(found: Params | None, applied: Applied) -> Step | None:
    if found is None:
        return None
    target = applied if found["target"] is None else _applied(found["target"])
    return of_members(
        Step,
        found
        | {
            "kind": Kind(found["kind"]),
            "phase": Phase(found["phase"]),
            "target": target,
            "shown": target.properties if found["shown"] is None else found["shown"],
        },
    )


# Stacks


def _stack(row: sqlite3.Row) -> Stack:
    return _stack_of(row["record"])


@lru_cache(maxsize=256)
def _stack_of(record: str) -> Stack:
    # A turn reads the row of its stack several times, and hardly ever finds it changed. Were there room for
    # fewer than are under way at once, none would be found again.
    found = load(record)
    return of_members(
        Stack,
        found
        | {
            "status": StackStatus(found["status"]),
            "spec": _spec(found["spec"]),
            "previous": _spec(found["previous"]) if found["previous"] else None,
            "outputs": tuple(Output(**each) for each in found["outputs"]),
            "retain": tuple(found["retain"]),
            "failures": tuple(found["failures"]),
            "skip": tuple(found.get("skip", ())),
        },
    )


def save_stack(tx: Transaction, stack: Stack) -> None:
    tx.execute(
        "INSERT INTO cfn_stack (id, region, name, status, created, record) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET status = excluded.status, record = excluded.record",
        (stack.id, stack.region, stack.name, stack.status, stack.created, dump(stack)),
    )


def stack_by_id(db: Reader, stack_id: str) -> Stack | None:
    rows = db.read("SELECT record FROM cfn_stack WHERE id = ?", (stack_id,))
    return _stack(rows[0]) if rows else None


def live_stack(db: Reader, region: str, name: str) -> Stack | None:
    """The stack of that name which is not deleted."""
    rows = db.read(
        "SELECT record FROM cfn_stack WHERE region = ? AND name = ? AND status <> 'DELETE_COMPLETE'",
        (region, name),
    )
    return _stack(rows[0]) if rows else None


def stacks(db: Reader, region: str) -> list[Stack]:
    """Newest first, deleted ones too."""
    rows = db.read("SELECT record FROM cfn_stack WHERE region = ? ORDER BY created DESC, rowid DESC", (region,))
    return [_stack(row) for row in rows]


def busy_stack_ids(db: Reader) -> list[str]:
    rows = db.read(
        "SELECT id FROM cfn_stack WHERE status LIKE '%\\_IN\\_PROGRESS' ESCAPE '\\' "
        "AND status <> 'REVIEW_IN_PROGRESS'"
    )
    return [row["id"] for row in rows]


# Resources


def _resource(row: sqlite3.Row) -> Resource:
    found = load(row["record"])
    applied = _applied(found["applied"])
    return of_members(
        Resource,
        found
        | {
            "status": ResourceStatus(found["status"]),
            "applied": applied,
            "step": _step(found["step"], applied),
            "previous": _applied(found["previous"]) if found["previous"] else None,
        },
    )


def save_resource(tx: Transaction, resource: Resource, changed: float | None = None) -> None:
    """`changed`, if it is another moment than the record has."""
    tx.execute(
        "INSERT INTO cfn_resource (stack_id, logical_id, type, physical_id, status, record) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (stack_id, logical_id) DO UPDATE SET type = excluded.type, "
        "physical_id = excluded.physical_id, status = excluded.status, record = excluded.record",
        (
            resource.stack_id,
            resource.logical_id,
            resource.type,
            resource.applied.physical_id,
            resource.status,
            _dump_with_step(resource, **({} if changed is None else {"changed": changed})),
        ),
    )


def drop_resource(tx: Transaction, stack_id: str, logical_id: str) -> None:
    tx.execute("DELETE FROM cfn_resource WHERE stack_id = ? AND logical_id = ?", (stack_id, logical_id))


def resources(db: Reader, stack_id: str) -> dict[str, Resource]:
    """By logical id, in the order of their creation."""
    rows = db.read("SELECT record FROM cfn_resource WHERE stack_id = ? ORDER BY rowid", (stack_id,))
    found = [_resource(row) for row in rows]
    return {each.logical_id: each for each in found}


def custom_resources(db: Reader, stack_id: str) -> list[Resource]:
    kinds = "(type LIKE 'Custom::%' OR type = 'AWS::CloudFormation::CustomResource')"
    return [
        _resource(row)
        for row in db.read(f"SELECT record FROM cfn_resource WHERE stack_id = ? AND {kinds}", (stack_id,))
    ]


def stack_of_physical(db: Reader, physical_id: str) -> str | None:
    rows = db.read(
        "SELECT stack_id FROM cfn_resource WHERE physical_id = ? AND status NOT LIKE 'DELETE_COMPLETE'",
        (physical_id,),
    )
    return rows[0]["stack_id"] if rows else None


def owner_of(db: Reader, region: str, kind: str, physical_id: str) -> str | None:
    """The id of the stack that a physical resource belongs to."""
    rows = db.read(
        "SELECT s.id AS id FROM cfn_resource r JOIN cfn_stack s ON s.id = r.stack_id WHERE r.physical_id = ? "
        "AND r.type = ? AND s.region = ? AND s.status <> 'DELETE_COMPLETE' "
        "AND r.status NOT IN ('DELETE_COMPLETE', 'DELETE_SKIPPED')",
        (physical_id, kind, region),
    )
    return rows[0]["id"] if rows else None


# Leftovers


def add_leftover(tx: Transaction, leftover: Leftover) -> None:
    tx.execute(
        "INSERT INTO cfn_leftover (stack_id, record) VALUES (?, ?)",
        (leftover.stack_id, _dump_with_step(leftover)),
    )


def save_leftover(tx: Transaction, leftover: Leftover) -> None:
    tx.execute("UPDATE cfn_leftover SET record = ? WHERE number = ?", (_dump_with_step(leftover), leftover.number))


def drop_leftover(tx: Transaction, number: int) -> None:
    tx.execute("DELETE FROM cfn_leftover WHERE number = ?", (number,))


def leftovers(db: Reader, stack_id: str) -> list[Leftover]:
    rows = db.read("SELECT number, record FROM cfn_leftover WHERE stack_id = ? ORDER BY number", (stack_id,))
    found = []
    for row in rows:
        record = load(row["record"])
        applied = _applied(record["applied"])
        changed = {"number": row["number"], "applied": applied, "step": _step(record["step"], applied)}
        found.append(of_members(Leftover, record | changed))
    return found


# Events

_EVENT = "id, stack_id, stack_name, logical_id, physical_id, type, time, status, reason, properties, token"


def add_event(tx: Transaction, event: Event) -> bool:
    """False if the stack has an event of that id already."""
    added = tx.execute(
        f"INSERT OR IGNORE INTO cfn_event ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.id,
            event.stack_id,
            event.stack_name,
            event.logical_id,
            event.physical_id,
            event.type,
            event.time,
            event.status,
            event.reason,
            event.properties,
            event.token,
        ),
    )
    return added == 1


def events(db: Reader, stack_id: str, *, before: int | None = None, limit: int = 100) -> list[tuple[int, Event]]:
    """Newest first, each with its number; `before` continues after an earlier page."""
    rows = db.read(
        f"SELECT number, {_EVENT} FROM cfn_event WHERE stack_id = ? AND (? IS NULL OR number < ?) "
        "ORDER BY number DESC LIMIT ?",
        (stack_id, before, before, limit),
    )
    return [(row["number"], Event(**{key: row[key] for key in row.keys() if key != "number"})) for row in rows]  # noqa: SIM118


def events_after(db: Reader, stack_id: str, number: int, limit: int) -> list[tuple[int, Event]]:
    """Oldest first, those that came after the event of that number."""
    rows = db.read(
        f"SELECT number, {_EVENT} FROM cfn_event WHERE stack_id = ? AND number > ? ORDER BY number LIMIT ?",
        (stack_id, number, limit),
    )
    return [(row["number"], Event(**{key: row[key] for key in row.keys() if key != "number"})) for row in rows]  # noqa: SIM118


# Change sets


def save_change_set(tx: Transaction, change_set: ChangeSet) -> None:
    tx.execute(
        "INSERT INTO cfn_change_set (id, stack_id, name, created, hidden, record) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET hidden = excluded.hidden, record = excluded.record",
        (
            change_set.id,
            change_set.stack_id,
            change_set.name,
            change_set.created,
            int(change_set.hidden),
            dump(change_set),
        ),
    )


def _change_set(row: sqlite3.Row) -> ChangeSet:
    found = load(row["record"])
    return of_members(
        ChangeSet,
        found
        | {
            "status": ChangeSetStatus(found["status"]),
            "execution": ExecutionStatus(found["execution"]),
            "spec": _spec(found["spec"]),
            "changes": tuple(found["changes"]),
            "followers": tuple(found.get("followers", ())),
            "imports": tuple((each[0], each[1], each[2], each[3]) for each in found.get("imports", ())),
        },
    )


def change_sets(db: Reader, stack_id: str) -> list[ChangeSet]:
    """The visible ones of a stack, oldest first."""
    rows = db.read(
        "SELECT record FROM cfn_change_set WHERE stack_id = ? AND hidden = 0 ORDER BY created, rowid", (stack_id,)
    )
    return [_change_set(row) for row in rows]


def change_set_by_id(db: Reader, change_set_id: str) -> ChangeSet | None:
    rows = db.read("SELECT record FROM cfn_change_set WHERE id = ?", (change_set_id,))
    return _change_set(rows[0]) if rows else None


def drop_change_set(tx: Transaction, change_set_id: str) -> None:
    tx.execute("DELETE FROM cfn_change_set WHERE id = ?", (change_set_id,))


# Exports and imports


def exports(db: Reader, region: str) -> list[tuple[str, str, str]]:
    """(name, value, stack id), by name."""
    rows = db.read("SELECT name, value, stack_id FROM cfn_export WHERE region = ? ORDER BY name", (region,))
    return [(row["name"], row["value"], row["stack_id"]) for row in rows]


def export(db: Reader, region: str, name: str) -> str | None:
    """The value behind an export's name."""
    rows = db.read("SELECT value FROM cfn_export WHERE region = ? AND name = ?", (region, name))
    return rows[0]["value"] if rows else None


def set_exports(tx: Transaction, region: str, stack_id: str, wanted: dict[str, str]) -> None:
    tx.execute("DELETE FROM cfn_export WHERE stack_id = ?", (stack_id,))
    for name, value in wanted.items():
        tx.execute("INSERT INTO cfn_export VALUES (?, ?, ?, ?)", (region, name, value, stack_id))


def importers(db: Reader, region: str, name: str) -> list[tuple[str, str]]:
    """(stack id, stack name) of the stacks that import an export."""
    rows = db.read(
        "SELECT s.id AS id, s.name AS name FROM cfn_import i JOIN cfn_stack s ON s.id = i.stack_id "
        "WHERE i.region = ? AND i.name = ? AND s.status <> 'DELETE_COMPLETE' ORDER BY s.name",
        (region, name),
    )
    return [(row["id"], row["name"]) for row in rows]


def add_imports(tx: Transaction, region: str, stack_id: str, names: set[str]) -> None:
    for name in sorted(names):
        tx.execute("INSERT OR IGNORE INTO cfn_import VALUES (?, ?, ?)", (region, name, stack_id))


def set_imports(tx: Transaction, region: str, stack_id: str, names: set[str]) -> None:
    tx.execute("DELETE FROM cfn_import WHERE stack_id = ?", (stack_id,))
    add_imports(tx, region, stack_id, names)


# Client request tokens


def operation_of_token(db: Reader, region: str, stack_id: str, token: str) -> str | None:
    rows = db.read(
        "SELECT operation FROM cfn_token WHERE region = ? AND stack_id = ? AND token = ?",
        (region, stack_id, token),
    )
    return rows[0]["operation"] if rows else None


def add_token(tx: Transaction, region: str, stack_id: str, token: str, operation: str) -> None:
    if token:
        tx.execute("INSERT OR IGNORE INTO cfn_token VALUES (?, ?, ?, ?)", (region, stack_id, token, operation))

"""What Application Auto Scaling keeps: scalable targets with their policies, scheduled actions and activities.

Owns the tables and their SQL. A `spec` is what the user asked for, in the API's names. The key of a target is
`region/resource id`; there is one dimension only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.services.calls import Params

NAMESPACE = "ecs"
# The parameter that holds the configuration of each type of policy.
CONFIGURATIONS = {
    "StepScaling": "StepScalingPolicyConfiguration",
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
}
DIMENSION = "ecs:service:DesiredCount"
ACTIVITIES_KEPT = 6 * 7 * 24 * 3600.0

MIGRATIONS = (
    """
    CREATE TABLE aas_target (
        key TEXT PRIMARY KEY, region TEXT NOT NULL, resource TEXT NOT NULL, arn TEXT NOT NULL,
        least INTEGER NOT NULL, most INTEGER NOT NULL, created_at REAL NOT NULL, spec TEXT NOT NULL,
        tags TEXT NOT NULL, out_until REAL NOT NULL, out_base INTEGER NOT NULL, in_until REAL NOT NULL
    );
    CREATE TABLE aas_policy (
        arn TEXT PRIMARY KEY, target TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
        created_at REAL NOT NULL, spec TEXT NOT NULL, alarms TEXT NOT NULL, settled INTEGER NOT NULL,
        deleted INTEGER NOT NULL, wanted INTEGER, wanted_at REAL NOT NULL
    );
    CREATE INDEX aas_policy_target ON aas_policy (target, name);
    CREATE TABLE aas_action (
        arn TEXT PRIMARY KEY, target TEXT NOT NULL, name TEXT NOT NULL, created_at REAL NOT NULL, due REAL,
        spec TEXT NOT NULL
    );
    CREATE TABLE aas_activity (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, target TEXT NOT NULL,
        wanted INTEGER NOT NULL, status TEXT NOT NULL, applied INTEGER NOT NULL, cause TEXT NOT NULL,
        message TEXT NOT NULL, details TEXT NOT NULL, started_at REAL NOT NULL, ended_at REAL
    );
    CREATE INDEX aas_activity_target ON aas_activity (target, number);
    """,
)

PENDING, IN_PROGRESS, SUCCESSFUL = "Pending", "InProgress", "Successful"
OVERRIDDEN, UNFULFILLED, FAILED = "Overridden", "Unfulfilled", "Failed"
# Who moves an activity from one status to another.
ACTIVITY_TRANSITIONS = {
    (PENDING, IN_PROGRESS): "activity_loop",
    (PENDING, FAILED): "activity_loop",
    (PENDING, OVERRIDDEN): "activity_loop",
    (IN_PROGRESS, SUCCESSFUL): "activity_loop",
    (IN_PROGRESS, OVERRIDDEN): "activity_loop",
    (IN_PROGRESS, UNFULFILLED): "activity_loop",
    (IN_PROGRESS, FAILED): "activity_loop",
}


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """`out_until`: until then only a larger scale-out goes through, counted from `out_base`, the capacity before
    the last one. `in_until`: until then nothing is taken away."""

    key: str
    region: str
    resource: str
    arn: str
    least: int
    most: int
    created_at: float
    spec: Params = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    out_until: float = 0.0
    out_base: int = 0
    in_until: float = 0.0

    @property
    def cluster(self) -> str:
        return self.resource.split("/")[1]

    @property
    def service(self) -> str:
        return self.resource.split("/")[2]

    def suspended(self, what: str) -> bool:
        return bool((self.spec.get("SuspendedState") or {}).get(what))


@dataclass(frozen=True, slots=True)
class Policy:
    """`alarms` are the names of those that belong to the policy, high first; `settled` that they are as they
    should be. `wanted` is what it last asked for on the way in, at `wanted_at`."""

    arn: str
    target: str
    name: str
    kind: str
    created_at: float
    spec: Params = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    settled: bool = True
    deleted: bool = False
    wanted: int | None = None
    wanted_at: float = 0.0

    @property
    def region(self) -> str:
        return self.target.partition("/")[0]

    @property
    def configuration(self) -> Params:
        found: Params = self.spec.get(CONFIGURATIONS[self.kind]) or {}
        return found


@dataclass(frozen=True, slots=True)
class Action:
    """A scheduled action; `due` is None when it will not be any more."""

    arn: str
    target: str
    name: str
    created_at: float
    due: float | None
    spec: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Activity:
    """`applied`: ECS has been told the new count."""

    id: str
    target: str
    wanted: int
    status: str
    applied: bool
    cause: str
    message: str
    details: str
    started_at: float
    ended_at: float | None = None


def _stored(record: object) -> list[Value]:
    found: list[Value] = []
    for value in astuple(record):  # type: ignore[call-overload]
        if isinstance(value, (dict, list)):
            found.append(json.dumps(value))
        else:
            found.append(int(value) if isinstance(value, bool) else value)
    return found


def _target(row: Row) -> Target:
    return Target(**dict(row) | {"spec": json.loads(row["spec"]), "tags": json.loads(row["tags"])})


def _policy(row: Row) -> Policy:
    read = {key: json.loads(row[key]) for key in ("spec", "alarms")}
    return Policy(**dict(row) | read | {key: bool(row[key]) for key in ("settled", "deleted")})


def _action(row: Row) -> Action:
    return Action(**dict(row) | {"spec": json.loads(row["spec"])})


def _activity(row: Row) -> Activity:
    given = {key: row[key] for key in row.keys() if key != "number"}  # noqa: SIM118
    return Activity(**given | {"applied": bool(row["applied"])})


# Targets


def save_target(tx: Transaction, target: Target) -> None:
    tx.execute("INSERT OR REPLACE INTO aas_target VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _stored(target))


def target(db: Reader, key: str) -> Target | None:
    rows = db.read("SELECT * FROM aas_target WHERE key = ?", (key,))
    return _target(rows[0]) if rows else None


def targets(db: Reader, region: str) -> list[Target]:
    rows = db.read("SELECT * FROM aas_target WHERE region = ? ORDER BY created_at, key", (region,))
    return [_target(row) for row in rows]


def delete_target(tx: Transaction, key: str) -> None:
    """With its scheduled actions. Policies are marked, for their alarms have to go first."""
    tx.execute("DELETE FROM aas_target WHERE key = ?", (key,))
    tx.execute("DELETE FROM aas_action WHERE target = ?", (key,))
    tx.execute("UPDATE aas_policy SET deleted = 1, settled = 0 WHERE target = ?", (key,))


# Policies


def save_policy(tx: Transaction, policy: Policy) -> None:
    tx.execute("INSERT OR REPLACE INTO aas_policy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _stored(policy))


def policy(db: Reader, arn: str) -> Policy | None:
    """One that is deleted and not gone yet as well."""
    rows = db.read("SELECT * FROM aas_policy WHERE arn = ?", (arn,))
    return _policy(rows[0]) if rows else None


def policies(db: Reader, target: str) -> list[Policy]:
    rows = db.read(
        "SELECT * FROM aas_policy WHERE target = ? AND deleted = 0 ORDER BY created_at, name", (target,)
    )
    return [_policy(row) for row in rows]


def policies_of_region(db: Reader, region: str) -> list[Policy]:
    rows = db.read(
        "SELECT * FROM aas_policy WHERE target LIKE ? AND deleted = 0 ORDER BY created_at, name", (f"{region}/%",)
    )
    return [_policy(row) for row in rows]


def unsettled_policies(db: Reader) -> list[Policy]:
    return [_policy(row) for row in db.read("SELECT * FROM aas_policy WHERE settled = 0")]


def drop_policy(tx: Transaction, arn: str) -> None:
    tx.execute("DELETE FROM aas_policy WHERE arn = ? AND deleted = 1", (arn,))


# Scheduled actions


def save_action(tx: Transaction, action: Action) -> None:
    tx.execute("INSERT OR REPLACE INTO aas_action VALUES (?, ?, ?, ?, ?, ?)", _stored(action))


def action(db: Reader, arn: str) -> Action | None:
    rows = db.read("SELECT * FROM aas_action WHERE arn = ?", (arn,))
    return _action(rows[0]) if rows else None


def actions(db: Reader, region: str = "") -> list[Action]:
    rows = db.read("SELECT * FROM aas_action WHERE target LIKE ? ORDER BY created_at, name", (f"{region}%",))
    return [_action(row) for row in rows]


def delete_action(tx: Transaction, arn: str) -> None:
    tx.execute("DELETE FROM aas_action WHERE arn = ?", (arn,))


# Activities

_ACTIVITY = "id, target, wanted, status, applied, cause, message, details, started_at, ended_at"


def add_activity(tx: Transaction, activity: Activity) -> None:
    tx.execute(f"INSERT INTO aas_activity ({_ACTIVITY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _stored(activity))
    tx.execute("DELETE FROM aas_activity WHERE ended_at < ?", (activity.started_at - ACTIVITIES_KEPT,))


def save_activity(tx: Transaction, activity: Activity) -> None:
    tx.execute(
        "UPDATE aas_activity SET status = ?, applied = ?, message = ?, ended_at = ? WHERE id = ?",
        (activity.status, int(activity.applied), activity.message, activity.ended_at, activity.id),
    )


def activity(db: Reader, number: str) -> Activity | None:
    rows = db.read("SELECT * FROM aas_activity WHERE id = ?", (number,))
    return _activity(rows[0]) if rows else None


def activities(db: Reader, region: str, target: str = "") -> list[Activity]:
    """Newest first; of one target, or of all of a region."""
    if target:
        rows = db.read("SELECT * FROM aas_activity WHERE target = ? ORDER BY number DESC", (target,))
    else:
        rows = db.read("SELECT * FROM aas_activity WHERE target LIKE ? ORDER BY number DESC", (f"{region}/%",))
    return [_activity(row) for row in rows]


def newest_activity(db: Reader, target: str) -> Activity | None:
    rows = db.read("SELECT * FROM aas_activity WHERE target = ? ORDER BY number DESC LIMIT 1", (target,))
    return _activity(rows[0]) if rows else None


def open_activities(db: Reader) -> list[Activity]:
    return [_activity(row) for row in db.read("SELECT * FROM aas_activity WHERE ended_at IS NULL ORDER BY number")]

"""What is kept of policies of groups that track a target: their alarms, and what they last asked for.

Owns the table and its SQL. The policies themselves are ancillary.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from portside.cloud.kernel.database import Row, Transaction
from portside.cloud.services.autoscaling.records import Reader
from portside.cloud.services.calls import Params

MIGRATIONS = (
    """
    CREATE TABLE as_tracked (
        key TEXT PRIMARY KEY, region TEXT NOT NULL, account TEXT NOT NULL, group_name TEXT NOT NULL,
        name TEXT NOT NULL, arn TEXT NOT NULL, spec TEXT NOT NULL, high TEXT NOT NULL, low TEXT NOT NULL,
        settled INTEGER NOT NULL, wanted INTEGER, wanted_at REAL NOT NULL
    );
    """,
)


@dataclass(frozen=True, slots=True)
class Tracked:
    """`key` is region, group and name. `spec` is the TargetTrackingConfiguration. `settled`: the alarms are as
    they should be. `wanted` is what it last asked for on the way in, at `wanted_at`."""

    key: str
    region: str
    account: str
    group_name: str
    name: str
    arn: str
    spec: Params = field(default_factory=dict)
    high: str = ""
    low: str = ""
    settled: bool = False
    wanted: int | None = None
    wanted_at: float = 0.0

    @property
    def alarms(self) -> list[str]:
        """Those that it has."""
        return [self.high] if self.spec.get("DisableScaleIn") else [self.high, self.low]


def key_of(region: str, group: str, name: str) -> str:
    return f"{region}/{group}/{name}"


def _read(row: Row) -> Tracked:
    return Tracked(**dict(row) | {"spec": json.loads(row["spec"]), "settled": bool(row["settled"])})


def save(tx: Transaction, policy: Tracked) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO as_tracked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            policy.key,
            policy.region,
            policy.account,
            policy.group_name,
            policy.name,
            policy.arn,
            json.dumps(policy.spec),
            policy.high,
            policy.low,
            int(policy.settled),
            policy.wanted,
            policy.wanted_at,
        ),
    )


def one(db: Reader, key: str) -> Tracked | None:
    rows = db.read("SELECT * FROM as_tracked WHERE key = ?", (key,))
    return _read(rows[0]) if rows else None


def every(db: Reader) -> list[Tracked]:
    return [_read(row) for row in db.read("SELECT * FROM as_tracked ORDER BY key")]


def of_group(db: Reader, region: str, group: str) -> list[Tracked]:
    rows = db.read("SELECT * FROM as_tracked WHERE region = ? AND group_name = ? ORDER BY key", (region, group))
    return [_read(row) for row in rows]


def forget(tx: Transaction, key: str) -> None:
    tx.execute("DELETE FROM as_tracked WHERE key = ?", (key,))

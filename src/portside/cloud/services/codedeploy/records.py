"""Applications, deployment groups and deployment configurations as they are kept, and AWS's own configurations.

Owns the table and its SQL. Source of the configurations: the CodeDeploy User Guide, "Working with deployment
configurations".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.services.calls import Params

MIGRATIONS = (
    """
    CREATE TABLE codedeploy_item (
        region TEXT NOT NULL, kind TEXT NOT NULL, application TEXT NOT NULL, name TEXT NOT NULL,
        spec TEXT NOT NULL, tags TEXT NOT NULL, PRIMARY KEY (region, kind, application, name)
    );
    """,
)


class Kind(StrEnum):
    APPLICATION = "application"
    GROUP = "deploymentgroup"
    CONFIG = "deploymentconfig"


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Item:
    """`application` is that of a group, else empty; `spec` is what is shown."""

    region: str
    kind: Kind
    application: str
    name: str
    spec: Params
    tags: dict[str, str] = field(default_factory=dict)


def items(reader: Reader, region: str, kind: Kind, application: str = "") -> list[Item]:
    rows = reader.read(
        "SELECT * FROM codedeploy_item WHERE region = ? AND kind = ? AND application = ? ORDER BY name",
        (region, kind, application),
    )
    return [_item(row) for row in rows]


def one(reader: Reader, region: str, kind: Kind, name: str, application: str = "") -> Item | None:
    rows = reader.read(
        "SELECT * FROM codedeploy_item WHERE region = ? AND kind = ? AND application = ? AND name = ?",
        (region, kind, application, name),
    )
    return _item(rows[0]) if rows else None


def save(tx: Transaction, item: Item) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO codedeploy_item VALUES (?, ?, ?, ?, ?, ?)",
        (item.region, item.kind, item.application, item.name, json.dumps(item.spec), json.dumps(item.tags)),
    )


def forget(tx: Transaction, item: Item) -> None:
    tx.execute(
        "DELETE FROM codedeploy_item WHERE region = ? AND kind = ? AND application = ? AND name = ?",
        (item.region, item.kind, item.application, item.name),
    )


def _item(row: Row) -> Item:
    return Item(
        row["region"],
        Kind(row["kind"]),
        row["application"],
        row["name"],
        json.loads(row["spec"]),
        json.loads(row["tags"]),
    )


def _shift(kind: str, percentage: int, interval: int) -> Params:
    member = "timeBasedCanary" if kind == "TimeBasedCanary" else "timeBasedLinear"
    prefix = "canary" if kind == "TimeBasedCanary" else "linear"
    return {"type": kind, member: {f"{prefix}Percentage": percentage, f"{prefix}Interval": interval}}


def _predefined() -> dict[str, Params]:
    found: dict[str, Params] = {
        "CodeDeployDefault.OneAtATime": _server({"type": "HOST_COUNT", "value": 1}),
        "CodeDeployDefault.HalfAtATime": _server({"type": "FLEET_PERCENT", "value": 50}),
        "CodeDeployDefault.AllAtOnce": _server({"type": "HOST_COUNT", "value": 0}),
    }
    for platform, prefix, canaries in (("Lambda", "Lambda", (5, 10, 15, 30)), ("ECS", "ECS", (5, 15))):
        shifts = {f"Canary10Percent{each}Minutes": ("TimeBasedCanary", each) for each in canaries}
        linear = (1, 2, 3, 10) if platform == "Lambda" else (1, 3)
        for each in linear:
            name = f"Linear10PercentEvery{each}Minute{'' if (platform, each) == ('Lambda', 1) else 's'}"
            shifts[name] = ("TimeBasedLinear", each)
        for name, (kind, minutes) in shifts.items():
            routing = _shift(kind, 10, minutes)
            found[f"CodeDeployDefault.{prefix}{name}"] = {
                "computePlatform": platform,
                "trafficRoutingConfig": routing,
            }
        found[f"CodeDeployDefault.{prefix}AllAtOnce"] = {
            "computePlatform": platform,
            "trafficRoutingConfig": {"type": "AllAtOnce"},
        }
    return found


def _server(healthy: Params) -> Params:
    return {"computePlatform": "Server", "minimumHealthyHosts": healthy}


PREDEFINED = _predefined()
DEFAULTS = {
    "Server": "CodeDeployDefault.OneAtATime",
    "Lambda": "CodeDeployDefault.LambdaAllAtOnce",
    "ECS": "CodeDeployDefault.ECSAllAtOnce",
}

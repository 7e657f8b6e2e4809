"""What ECS keeps of capacity providers, and of the zones of subnets that Fargate tasks were put into.

Owns the two tables and their SQL. FARGATE and FARGATE_SPOT are built in and have no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import names, store
from portside.cloud.services.ecs.store import Reader, Table


class ProviderStatus(StrEnum):
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


# Who moves a provider from one status to another.
PROVIDER_TRANSITIONS: Mapping[tuple[ProviderStatus, ProviderStatus], str] = {
    (ProviderStatus.ACTIVE, ProviderStatus.INACTIVE): "api",
    (ProviderStatus.INACTIVE, ProviderStatus.ACTIVE): "api",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """A capacity provider of an Auto Scaling group. `warm_until`: the instances that were asked for last are
    warming up; `idle_since`: since when the group has had more instances than are needed."""

    arn: str
    region: str
    name: str
    status: ProviderStatus
    group_name: str
    created_at: float
    update_status: str = "CREATE_COMPLETE"
    warm_until: float = 0.0
    idle_since: float | None = None
    spec: Params = field(default_factory=dict)

    @property
    def scaling(self) -> Params:
        found: Params = self.spec["managedScaling"]
        return found

    @property
    def managed(self) -> bool:
        """Does ECS scale the group?"""
        return bool(self.scaling["status"] == "ENABLED")


MIGRATIONS = (
    """
    CREATE TABLE ecs_provider (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
        group_name TEXT NOT NULL, created_at REAL NOT NULL, update_status TEXT NOT NULL,
        warm_until REAL NOT NULL, idle_since REAL, spec TEXT NOT NULL
    );
    CREATE INDEX ecs_provider_region ON ecs_provider (region, status);
    CREATE TABLE ecs_subnet (id TEXT PRIMARY KEY, zone TEXT NOT NULL);
    """,
)

providers = Table("ecs_provider", Provider)


def active(reader: Reader, region: str) -> list[Provider]:
    return providers.where(
        reader, "region = ? AND status = ? ORDER BY created_at, arn", region, ProviderStatus.ACTIVE
    )


def named(reader: Reader, region: str, name: str) -> Provider | None:
    """The ACTIVE one of that name or ARN."""
    found = providers.where(
        reader, "region = ? AND name = ? AND status = ?", region, names.last(name), ProviderStatus.ACTIVE
    )
    return found[0] if found else None


def complete(tx: Transaction, arn: str) -> Provider:
    """What was in progress is done."""
    found = providers.get(tx, arn)
    assert found is not None  # providers are never deleted, only INACTIVE
    after = replace(found, update_status=found.update_status.replace("_IN_PROGRESS", "_COMPLETE"))
    providers.save(tx, after)
    return after


def clusters_with(reader: Reader, region: str, name: str) -> list[str]:
    """The ACTIVE clusters that the provider is associated with."""
    return [
        each.name
        for each in store.clusters.where(reader, "region = ? AND status = 'ACTIVE' ORDER BY name", region)
        if name in (each.spec.get("capacityProviders") or [])
    ]


def of_group(reader: Reader, region: str, group: str) -> str:
    """The name of the provider that an Auto Scaling group belongs to, empty if to none."""
    found = [each.name for each in active(reader, region) if group and each.group_name == group]
    return found[0] if found else ""


def zone_of_subnet(reader: Reader, subnet: str) -> str:
    found = reader.read("SELECT zone FROM ecs_subnet WHERE id = ?", (subnet,))
    return str(found[0]["zone"]) if found else ""


def save_zones(tx: Transaction, zones: Iterable[tuple[str, str]]) -> None:
    """The zone of a subnet never changes."""
    for subnet, zone in zones:
        tx.execute("INSERT OR REPLACE INTO ecs_subnet VALUES (?, ?)", (subnet, zone))

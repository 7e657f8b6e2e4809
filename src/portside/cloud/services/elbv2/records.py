"""Load balancers, target groups, listeners, rules and targets, and the SQL that loads and stores them.

Owns the tables. ARNs are the keys. What a listener does by default is a rule without a priority, so that all
actions are in one place; `elb_use` says which rule sends requests to which target group.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.services.calls import Params
from portside.cloud.services.elbv2.attributes import Attributes
from portside.cloud.services.elbv2.health import Health, HealthSettings, State
from portside.cloud.services.elbv2.rules import groups_of

MIGRATIONS = (
    """
    CREATE TABLE elb_load_balancer (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, created_at REAL NOT NULL,
        dns_name TEXT NOT NULL, scheme TEXT NOT NULL, ip_address_type TEXT NOT NULL, vpc TEXT NOT NULL,
        zones TEXT NOT NULL, security_groups TEXT NOT NULL, attributes TEXT NOT NULL, UNIQUE (region, name));
    CREATE TABLE elb_group (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, created_at REAL NOT NULL,
        protocol TEXT NOT NULL, protocol_version TEXT NOT NULL, port INTEGER NOT NULL, vpc TEXT,
        target_type TEXT NOT NULL, health TEXT NOT NULL, attributes TEXT NOT NULL, UNIQUE (region, name));
    CREATE TABLE elb_listener (
        arn TEXT PRIMARY KEY, load_balancer TEXT NOT NULL REFERENCES elb_load_balancer ON DELETE CASCADE,
        port INTEGER NOT NULL, protocol TEXT NOT NULL, attributes TEXT NOT NULL, UNIQUE (load_balancer, port));
    CREATE TABLE elb_rule (
        arn TEXT PRIMARY KEY, listener TEXT NOT NULL REFERENCES elb_listener ON DELETE CASCADE,
        priority INTEGER, conditions TEXT NOT NULL, actions TEXT NOT NULL);
    CREATE INDEX elb_rule_by_listener ON elb_rule (listener);
    CREATE TABLE elb_use (
        rule TEXT NOT NULL REFERENCES elb_rule ON DELETE CASCADE, target_group TEXT NOT NULL REFERENCES elb_group,
        PRIMARY KEY (rule, target_group));
    CREATE INDEX elb_use_by_group ON elb_use (target_group);
    CREATE TABLE elb_target (
        target_group TEXT NOT NULL REFERENCES elb_group ON DELETE CASCADE, id TEXT NOT NULL, port INTEGER NOT NULL,
        zone TEXT, state TEXT NOT NULL, reason TEXT, description TEXT, successes INTEGER NOT NULL,
        failures INTEGER NOT NULL, counted_at REAL, drained_from REAL,
        PRIMARY KEY (target_group, id, port));
    CREATE TABLE elb_tag (arn TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (arn, key));
    """,
    """
    ALTER TABLE elb_listener ADD COLUMN certificate TEXT NOT NULL DEFAULT '';
    ALTER TABLE elb_listener ADD COLUMN ssl_policy TEXT NOT NULL DEFAULT '';
    ALTER TABLE elb_listener ADD COLUMN certificates TEXT NOT NULL DEFAULT '[]';
    """,
)


class Reader(Protocol):
    """A database or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """`zones` are pairs of availability zone and subnet."""

    arn: str
    region: str
    name: str
    created_at: float
    dns_name: str
    scheme: str
    ip_address_type: str
    vpc: str
    zones: tuple[tuple[str, str], ...]
    security_groups: tuple[str, ...]
    attributes: Attributes = ()

    @property
    def identifier(self) -> str:
        return self.arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class TargetGroup:
    arn: str
    region: str
    name: str
    created_at: float
    protocol: str
    protocol_version: str
    port: int
    vpc: str | None
    target_type: str
    health: HealthSettings = field(default_factory=HealthSettings)
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Listener:
    """`certificate` is the ARN of the default one, `certificates` those that were added; both only with HTTPS."""

    arn: str
    load_balancer: str
    port: int
    protocol: str
    attributes: Attributes = ()
    certificate: str = ""
    ssl_policy: str = ""
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """`priority` None is the listener's default. Conditions and actions are as the API shows them."""

    arn: str
    listener: str
    priority: int | None
    conditions: tuple[Params, ...]
    actions: tuple[Params, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One registration. `drained_from` is when it was deregistered."""

    group: str
    id: str
    port: int
    zone: str | None = None
    health: Health = field(default_factory=Health)
    drained_from: float | None = None

    @property
    def key(self) -> str:
        return f"{self.group}|{self.id}|{self.port}"


# Load balancers


def _load_balancer(row: Row) -> LoadBalancer:
    return LoadBalancer(
        arn=row["arn"],
        region=row["region"],
        name=row["name"],
        created_at=row["created_at"],
        dns_name=row["dns_name"],
        scheme=row["scheme"],
        ip_address_type=row["ip_address_type"],
        vpc=row["vpc"],
        zones=tuple((zone, subnet) for zone, subnet in json.loads(row["zones"])),
        security_groups=tuple(json.loads(row["security_groups"])),
        attributes=_attributes(row),
    )


def _attributes(row: Row) -> Attributes:
    return tuple(sorted(json.loads(row["attributes"]).items()))


def load_balancer(reader: Reader, arn: str) -> LoadBalancer | None:
    rows = reader.read("SELECT * FROM elb_load_balancer WHERE arn = ?", (arn,))
    return _load_balancer(rows[0]) if rows else None


def load_balancers(reader: Reader, region: str | None = None) -> list[LoadBalancer]:
    rows = reader.read(
        "SELECT * FROM elb_load_balancer WHERE ? IS NULL OR region = ? ORDER BY created_at, name", (region, region)
    )
    return [_load_balancer(row) for row in rows]


def store_load_balancer(tx: Transaction, record: LoadBalancer) -> None:
    """Insert, or replace what may change."""
    tx.execute(
        "INSERT INTO elb_load_balancer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET"
        " ip_address_type = excluded.ip_address_type, zones = excluded.zones,"
        " security_groups = excluded.security_groups, attributes = excluded.attributes",
        (
            record.arn,
            record.region,
            record.name,
            record.created_at,
            record.dns_name,
            record.scheme,
            record.ip_address_type,
            record.vpc,
            json.dumps(record.zones),
            json.dumps(record.security_groups),
            json.dumps(dict(record.attributes)),
        ),
    )


# Target groups


def _group(row: Row) -> TargetGroup:
    return TargetGroup(
        arn=row["arn"],
        region=row["region"],
        name=row["name"],
        created_at=row["created_at"],
        protocol=row["protocol"],
        protocol_version=row["protocol_version"],
        port=row["port"],
        vpc=row["vpc"],
        target_type=row["target_type"],
        health=HealthSettings(**json.loads(row["health"])),
        attributes=_attributes(row),
    )


def group(reader: Reader, arn: str) -> TargetGroup | None:
    rows = reader.read("SELECT * FROM elb_group WHERE arn = ?", (arn,))
    return _group(rows[0]) if rows else None


def groups(reader: Reader, region: str | None = None) -> list[TargetGroup]:
    rows = reader.read(
        "SELECT * FROM elb_group WHERE ? IS NULL OR region = ? ORDER BY created_at, name", (region, region)
    )
    return [_group(row) for row in rows]


def store_group(tx: Transaction, record: TargetGroup) -> None:
    """Insert, or replace what may change."""
    tx.execute(
        "INSERT INTO elb_group VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET"
        " health = excluded.health, attributes = excluded.attributes",
        (
            record.arn,
            record.region,
            record.name,
            record.created_at,
            record.protocol,
            record.protocol_version,
            record.port,
            record.vpc,
            record.target_type,
            json.dumps(asdict(record.health)),
            json.dumps(dict(record.attributes)),
        ),
    )


def load_balancers_of(reader: Reader, group_arn: str) -> list[str]:
    """The load balancers with a rule that sends requests to a group."""
    rows = reader.read(
        "SELECT DISTINCT l.load_balancer AS arn FROM elb_use u JOIN elb_rule r ON r.arn = u.rule"
        " JOIN elb_listener l ON l.arn = r.listener WHERE u.target_group = ? ORDER BY 1",
        (group_arn,),
    )
    return [str(row["arn"]) for row in rows]


def groups_of_load_balancer(reader: Reader, arn: str) -> list[str]:
    rows = reader.read(
        "SELECT DISTINCT u.target_group AS arn FROM elb_use u JOIN elb_rule r ON r.arn = u.rule"
        " JOIN elb_listener l ON l.arn = r.listener WHERE l.load_balancer = ? ORDER BY 1",
        (arn,),
    )
    return [str(row["arn"]) for row in rows]


# Listeners and rules


def _listener(row: Row) -> Listener:
    return Listener(
        arn=row["arn"],
        load_balancer=row["load_balancer"],
        port=row["port"],
        protocol=row["protocol"],
        attributes=_attributes(row),
        certificate=row["certificate"],
        ssl_policy=row["ssl_policy"],
        certificates=tuple(json.loads(row["certificates"])),
    )


def listener(reader: Reader, arn: str) -> Listener | None:
    rows = reader.read("SELECT * FROM elb_listener WHERE arn = ?", (arn,))
    return _listener(rows[0]) if rows else None


def listeners(reader: Reader, load_balancer_arn: str | None = None) -> list[Listener]:
    rows = reader.read(
        "SELECT * FROM elb_listener WHERE ? IS NULL OR load_balancer = ? ORDER BY port, load_balancer",
        (load_balancer_arn, load_balancer_arn),
    )
    return [_listener(row) for row in rows]


def store_listener(tx: Transaction, record: Listener) -> None:
    tx.execute(
        "INSERT INTO elb_listener VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET"
        " port = excluded.port, protocol = excluded.protocol, attributes = excluded.attributes,"
        " certificate = excluded.certificate, ssl_policy = excluded.ssl_policy,"
        " certificates = excluded.certificates",
        (
            record.arn,
            record.load_balancer,
            record.port,
            record.protocol,
            json.dumps(dict(record.attributes)),
            record.certificate,
            record.ssl_policy,
            json.dumps(record.certificates),
        ),
    )


def _rule(row: Row) -> Rule:
    return Rule(
        row["arn"],
        row["listener"],
        row["priority"],
        tuple(json.loads(row["conditions"])),
        tuple(json.loads(row["actions"])),
    )


def rule(reader: Reader, arn: str) -> Rule | None:
    rows = reader.read("SELECT * FROM elb_rule WHERE arn = ?", (arn,))
    return _rule(rows[0]) if rows else None


def rules(reader: Reader, listener_arn: str | None = None) -> list[Rule]:
    """In the order in which they are tried: by priority, the default last."""
    rows = reader.read(
        "SELECT * FROM elb_rule WHERE ? IS NULL OR listener = ? ORDER BY priority IS NULL, priority",
        (listener_arn, listener_arn),
    )
    return [_rule(row) for row in rows]


def store_rule(tx: Transaction, record: Rule) -> None:
    tx.execute(
        "INSERT INTO elb_rule VALUES (?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET priority = excluded.priority,"
        " conditions = excluded.conditions, actions = excluded.actions",
        (
            record.arn,
            record.listener,
            record.priority,
            json.dumps(record.conditions),
            json.dumps(record.actions),
        ),
    )
    tx.execute("DELETE FROM elb_use WHERE rule = ?", (record.arn,))
    for arn in groups_of(record.actions):
        tx.execute("INSERT INTO elb_use VALUES (?, ?)", (record.arn, arn))


_TABLES = {"loadbalancer": "elb_load_balancer", "targetgroup": "elb_group", "listener": "elb_listener"}


def delete(tx: Transaction, arn: str) -> None:
    """A load balancer, target group, listener or rule, with what is in it. Its tags go too."""
    kind = arn.split(":", 5)[5].split("/", 1)[0]
    tx.execute(f"DELETE FROM {_TABLES.get(kind, 'elb_rule')} WHERE arn = ?", (arn,))
    tx.execute("DELETE FROM elb_tag WHERE arn = ?", (arn,))
    tx.execute(
        "DELETE FROM elb_tag WHERE (arn LIKE '%:listener/%' AND arn NOT IN (SELECT arn FROM elb_listener))"
        " OR (arn LIKE '%:listener-rule/%' AND arn NOT IN (SELECT arn FROM elb_rule))"
    )


# Targets


def _target(row: Row) -> Target:
    health = Health(
        State(row["state"]),
        row["reason"],
        row["description"],
        row["successes"],
        row["failures"],
        row["counted_at"],
    )
    return Target(row["target_group"], row["id"], row["port"], row["zone"], health, row["drained_from"])


def target(reader: Reader, key: str) -> Target | None:
    group_arn, identifier, port = key.split("|")
    rows = reader.read(
        "SELECT * FROM elb_target WHERE target_group = ? AND id = ? AND port = ?",
        (group_arn, identifier, int(port)),
    )
    return _target(rows[0]) if rows else None


def targets(reader: Reader, group_arn: str | None = None) -> list[Target]:
    rows = reader.read(
        "SELECT * FROM elb_target WHERE ? IS NULL OR target_group = ? ORDER BY target_group, rowid",
        (group_arn, group_arn),
    )
    return [_target(row) for row in rows]


def store_target(tx: Transaction, record: Target) -> None:
    health = record.health
    tx.execute(
        "INSERT INTO elb_target VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (target_group, id, port)"
        " DO UPDATE SET zone = excluded.zone, state = excluded.state, reason = excluded.reason,"
        " description = excluded.description, successes = excluded.successes, failures = excluded.failures,"
        " counted_at = excluded.counted_at, drained_from = excluded.drained_from",
        (
            record.group,
            record.id,
            record.port,
            record.zone,
            health.state.value,
            health.reason,
            health.description,
            health.successes,
            health.failures,
            health.counted_at,
            record.drained_from,
        ),
    )


def delete_target(tx: Transaction, record: Target) -> None:
    tx.execute(
        "DELETE FROM elb_target WHERE target_group = ? AND id = ? AND port = ?",
        (record.group, record.id, record.port),
    )


# Tags


def tags(reader: Reader, arn: str) -> dict[str, str]:
    rows = reader.read("SELECT key, value FROM elb_tag WHERE arn = ? ORDER BY rowid", (arn,))
    return {row["key"]: row["value"] for row in rows}


def store_tags(tx: Transaction, arn: str, pairs: dict[str, str]) -> None:
    for key, value in pairs.items():
        tx.execute(
            "INSERT INTO elb_tag VALUES (?, ?, ?) ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
            (arn, key, value),
        )


def delete_tags(tx: Transaction, arn: str, keys: Sequence[str]) -> None:
    for key in keys:
        tx.execute("DELETE FROM elb_tag WHERE arn = ? AND key = ?", (arn, key))

"""The SQL of ECS's tables: records in, records out.

Owns no rule. Reads take the database or an open transaction alike; writes only a transaction. Columns carry the
names of the records' fields; fields that are collections are kept as JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from portside.cloud.kernel.database import Row, Transaction, Value
from portside.cloud.kernel.document import dump, load
from portside.cloud.services.ecs.records import (
    Cluster,
    Container,
    Definition,
    Deployment,
    Event,
    Instance,
    Service,
    Task,
    TaskStatus,
)

EVENTS_KEPT = 100


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


Record = TypeVar("Record")


class Table(Generic[Record]):
    """Rows of one table as records of one type; the first field is the key."""

    def __init__(self, name: str, kind: type[Record]) -> None:
        self.name = name
        self._kind = kind
        hints = get_type_hints(kind)
        self._columns = [each.name for each in fields(kind)]  # type: ignore[arg-type]
        self._convert = {column: _converter(hints[column]) for column in self._columns}
        marks = ", ".join("?" for _ in self._columns)
        changes = ", ".join(f"{column} = excluded.{column}" for column in self._columns[1:])
        self._save = (
            f"INSERT INTO {name} ({', '.join(self._columns)}) VALUES ({marks}) "
            f"ON CONFLICT ({self._columns[0]}) DO UPDATE SET {changes}"
        )

    def save(self, tx: Transaction, record: Record) -> None:
        tx.execute(self._save, [_stored(getattr(record, column)) for column in self._columns])

    def get(self, reader: Reader, key: str) -> Record | None:
        found = self.where(reader, f"{self._columns[0]} = ?", key)
        return found[0] if found else None

    def where(self, reader: Reader, condition: str, *params: Value) -> list[Record]:
        rows = reader.read(f"SELECT {', '.join(self._columns)} FROM {self.name} WHERE {condition}", params)
        return [self._kind(**{c: self._convert[c](row[c]) for c in self._columns}) for row in rows]

    def count(self, reader: Reader, region: str, cluster: str) -> Counter[str]:
        """How many of a cluster's are in each status."""
        rows = reader.read(
            f"SELECT status, COUNT(*) AS n FROM {self.name} WHERE region = ? AND cluster = ? GROUP BY status",
            (region, cluster),
        )
        return Counter({row["status"]: row["n"] for row in rows})


def _converter(hint: Any) -> Any:
    if hint is bool:
        return bool
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    if getattr(hint, "__origin__", None) in (dict, list):
        return load
    return lambda value: value


def _stored(value: Any) -> Value:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, (dict, list)):
        return dump(value)
    if isinstance(value, bool):
        return int(value)
    stored: Value = value
    return stored


clusters = Table("ecs_cluster", Cluster)
definitions = Table("ecs_definition", Definition)
instances = Table("ecs_instance", Instance)
services = Table("ecs_service", Service)
deployments = Table("ecs_deployment", Deployment)
tasks = Table("ecs_task", Task)
containers = Table("ecs_container", Container)


def next_revision(tx: Transaction, region: str, family: str) -> int:
    """Never given out twice, even after the revision is deleted."""
    tx.execute(
        "INSERT INTO ecs_family VALUES (?, ?, 1) ON CONFLICT (region, family) DO UPDATE SET last = last + 1",
        (region, family),
    )
    rows = tx.read("SELECT last FROM ecs_family WHERE region = ? AND family = ?", (region, family))
    return int(rows[0]["last"])


def live_tasks_of_service(reader: Reader, service: str) -> list[Task]:
    return tasks.where(reader, "service = ? AND status <> ? ORDER BY created_at, arn", service, TaskStatus.STOPPED)


def uncounted_tasks(reader: Reader, service: str) -> list[Task]:
    """Tasks that have stopped or are to stop, and whose end the service has not looked at yet, oldest first."""
    return tasks.where(
        reader,
        "service = ? AND desired = ? AND accounted = 0 ORDER BY stopping_at, arn",
        service,
        TaskStatus.STOPPED,
    )


def live_tasks_of_instance(reader: Reader, instance: str) -> list[Task]:
    return tasks.where(reader, "instance = ? AND status <> ? ORDER BY created_at", instance, TaskStatus.STOPPED)


def live_tasks(reader: Reader) -> list[Task]:
    return tasks.where(reader, "status <> ? ORDER BY created_at", TaskStatus.STOPPED)


def live_tasks_of_cluster(reader: Reader, region: str, cluster: str) -> list[Task]:
    return tasks.where(
        reader,
        "region = ? AND cluster = ? AND status <> ? ORDER BY created_at",
        region,
        cluster,
        TaskStatus.STOPPED,
    )


def containers_of(reader: Reader, task: str) -> list[Container]:
    return containers.where(reader, "task = ? ORDER BY position", task)


def current_deployments(reader: Reader, service: str) -> list[Deployment]:
    """PRIMARY and ACTIVE ones, newest first."""
    return deployments.where(
        reader, "service = ? AND status <> 'INACTIVE' ORDER BY created_at DESC, rowid DESC", service
    )


def instances_of(reader: Reader, region: str, cluster: str) -> list[Instance]:
    """Those that are registered."""
    return instances.where(
        reader, "region = ? AND cluster = ? AND status <> 'INACTIVE' ORDER BY registered_at, arn", region, cluster
    )


def services_of(reader: Reader, region: str, cluster: str) -> list[Service]:
    """Those that are not INACTIVE."""
    return services.where(
        reader, "region = ? AND cluster = ? AND status <> 'INACTIVE' ORDER BY created_at, arn", region, cluster
    )


def forget_tasks(tx: Transaction, before: float) -> None:
    """Tasks that stopped before that time, if their service has counted them."""
    old = "stopped_at < ? AND (service = '' OR accounted = 1)"
    arns = "SELECT arn FROM ecs_task WHERE " + old
    tx.execute(f"DELETE FROM ecs_container WHERE task IN ({arns})", (before,))
    tx.execute(f"DELETE FROM ecs_tag WHERE arn IN ({arns})", (before,))
    tx.execute(f"DELETE FROM ecs_task WHERE {old}", (before,))


def forget_service(tx: Transaction, service: str) -> None:
    """The past of a service that was deleted, when one of the same name is made."""
    tx.execute("DELETE FROM ecs_deployment WHERE service = ?", (service,))
    tx.execute("DELETE FROM ecs_shift WHERE service = ?", (service,))
    tx.execute("DELETE FROM ecs_event WHERE service = ?", (service,))
    tx.execute("DELETE FROM ecs_tag WHERE arn = ?", (service,))


# Events of a service


def add_event(tx: Transaction, event: Event) -> None:
    tx.execute(
        "INSERT INTO ecs_event (id, service, at, message) VALUES (?, ?, ?, ?)",
        (event.id, event.service, event.at, event.message),
    )
    tx.execute(
        "DELETE FROM ecs_event WHERE service = ? AND number NOT IN "
        "(SELECT number FROM ecs_event WHERE service = ? ORDER BY number DESC LIMIT ?)",
        (event.service, event.service, EVENTS_KEPT),
    )


def events_of(reader: Reader, service: str) -> list[Event]:
    """Newest first."""
    rows = reader.read(
        "SELECT id, service, at, message FROM ecs_event WHERE service = ? ORDER BY number DESC", (service,)
    )
    return [Event(row["id"], row["service"], row["at"], row["message"]) for row in rows]


# Tags


def tags_of(reader: Reader, arn: str) -> list[dict[str, str]]:
    rows = reader.read("SELECT key, value FROM ecs_tag WHERE arn = ? ORDER BY rowid", (arn,))
    return [{"key": row["key"], "value": row["value"]} for row in rows]


def set_tags(tx: Transaction, arn: str, tags: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Adds them to those that are there, and returns them: all there are, of something new."""
    wanted = {tag["key"]: tag.get("value", "") for tag in tags}
    if wanted:
        tx.execute(
            f"INSERT INTO ecs_tag VALUES {', '.join(['(?, ?, ?)'] * len(wanted))} "
            "ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
            [value for key in wanted for value in (arn, key, wanted[key])],
        )
    return [{"key": key, "value": value} for key, value in wanted.items()]


def drop_tags(tx: Transaction, arn: str, keys: Iterable[str] | None = None) -> None:
    if keys is None:
        tx.execute("DELETE FROM ecs_tag WHERE arn = ?", (arn,))
    for key in keys or ():
        tx.execute("DELETE FROM ecs_tag WHERE arn = ? AND key = ?", (arn, key))

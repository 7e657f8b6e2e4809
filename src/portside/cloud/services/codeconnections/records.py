"""Connections: the record, the table and its SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value

MIGRATIONS = (
    """
    CREATE TABLE connection (
        id TEXT PRIMARY KEY, region TEXT NOT NULL, arn TEXT NOT NULL, name TEXT NOT NULL, provider TEXT NOT NULL,
        tags TEXT NOT NULL);
    """,
)
PENDING = "PENDING"
AVAILABLE = "AVAILABLE"


@dataclass(frozen=True, slots=True)
class Connection:
    """`arn` is in the form of the service that made it; both services know it under either form."""

    id: str
    region: str
    arn: str
    name: str
    provider: str
    tags: tuple[tuple[str, str], ...] = ()


class Reader(Protocol):
    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


def connection(reader: Reader, region: str, connection_id: str) -> Connection | None:
    found = reader.read("SELECT * FROM connection WHERE id = ? AND region = ?", (connection_id, region))
    return _connection(found[0]) if found else None


def connections(reader: Reader, region: str) -> list[Connection]:
    return [
        _connection(row)
        for row in reader.read("SELECT * FROM connection WHERE region = ? ORDER BY rowid", (region,))
    ]


def _connection(row: Row) -> Connection:
    tags = tuple((key, value) for key, value in json.loads(row["tags"]))
    return Connection(row["id"], row["region"], row["arn"], row["name"], row["provider"], tags)


def save(tx: Transaction, each: Connection) -> None:
    tx.execute(
        "INSERT INTO connection VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET tags = excluded.tags",
        (each.id, each.region, each.arn, each.name, each.provider, json.dumps(each.tags)),
    )


def delete(tx: Transaction, connection_id: str) -> None:
    tx.execute("DELETE FROM connection WHERE id = ?", (connection_id,))

"""Which checkout stands for which repository, and what was last seen in it: the table and its SQL.

Names are compared without regard to case, as GitHub does; a CodeCommit repository is bound under its bare name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from portside.cloud.kernel.database import Row, Transaction, Value

MIGRATIONS = (
    """
    CREATE TABLE repository_binding (
        key TEXT PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL, refs TEXT NOT NULL, bound REAL NOT NULL,
        watched INTEGER NOT NULL);
    """,
)
_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Binding:
    """`refs` are those that were last told to whoever listens. `watched` says that somebody does: without, they
    are of no account."""

    name: str
    path: str
    bound: float
    refs: Mapping[str, str] = field(default_factory=dict)
    watched: bool = False

    @property
    def key(self) -> str:
        return self.name.lower()


class Reader(Protocol):
    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


def is_name(name: str) -> bool:
    parts = name.split("/")
    return len(name) <= LONGEST_NAME and _NAME.fullmatch(name) is not None and not {".", ".."} & set(parts)


def binding(reader: Reader, name: str) -> Binding | None:
    found = reader.read("SELECT * FROM repository_binding WHERE key = ?", (name.lower(),))
    return _binding(found[0]) if found else None


def bindings(reader: Reader) -> list[Binding]:
    return [_binding(row) for row in reader.read("SELECT * FROM repository_binding ORDER BY key")]


def _binding(row: Row) -> Binding:
    return Binding(row["name"], row["path"], row["bound"], json.loads(row["refs"]), bool(row["watched"]))


def save(tx: Transaction, each: Binding) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO repository_binding VALUES (?, ?, ?, ?, ?, ?)",
        (each.key, each.name, each.path, json.dumps(dict(each.refs)), each.bound, each.watched),
    )


def delete(tx: Transaction, name: str) -> None:
    tx.execute("DELETE FROM repository_binding WHERE key = ?", (name.lower(),))

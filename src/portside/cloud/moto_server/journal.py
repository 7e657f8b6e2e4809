"""What makes moto's state durable: a journal of the requests that changed it.

Owns one SQLite file. moto keeps everything in memory and draws identifiers from one random source, so the
same requests, each with the same seed, give the same state again. Requests that only read are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from portside.cloud.kernel.database import Database

MIGRATIONS = (
    """
    CREATE TABLE request (
        seed INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        service TEXT NOT NULL,
        action TEXT NOT NULL,
        method TEXT NOT NULL,
        url TEXT NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL
    );
    """,
)

READING = (
    "Describe", "List", "Get", "Head", "BatchGet", "Search", "Lookup", "Filter", "Scan", "Query", "Simulate",
    "Validate", "Preview",
)  # fmt: skip
# These draw credentials or remember a token although their names say that they read.
WRITING = ("GetSessionToken", "GetFederationToken", "GetRandomPassword")

# Metric data is many small writes; nobody looks further back than this after a restart.
METRIC_SECONDS = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, with the host that AWS would have."""

    service: str
    action: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def writes(self) -> bool:
        """Whether it may change moto's state. In doubt, yes."""
        if self.action:
            return self.action in WRITING or not self.action.startswith(READING)
        return self.method not in ("GET", "HEAD", "OPTIONS")

    @property
    def uploads(self) -> bool:
        """Whether the body is content, whatever its type says. curl calls all that it sends a form, and moto would
        look for fields in it."""
        return self.service == "s3" and self.method == "PUT"


class Journal:
    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._database.migrate("journal", MIGRATIONS)

    def next_seed(self) -> int:
        row = self._database.one("SELECT seq FROM sqlite_sequence WHERE name = 'request'")
        return 1 if row is None else int(row["seq"]) + 1

    def append(self, seed: int, at: float, request: Request) -> None:
        with self._database.write() as tx:
            tx.execute(
                "INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    seed,
                    at,
                    request.service,
                    request.action,
                    request.method,
                    request.url,
                    json.dumps(request.headers),
                    request.body,
                ),
            )

    def forget_old_metrics(self, now: float) -> None:
        with self._database.write() as tx:
            tx.execute("DELETE FROM request WHERE action = 'PutMetricData' AND at < ?", (now - METRIC_SECONDS,))

    def replay(self) -> Iterator[tuple[int, Request]]:
        """Every kept request with its seed, oldest first."""
        for row in self._database.read("SELECT * FROM request ORDER BY seed"):
            yield (
                row["seed"],
                Request(
                    row["service"],
                    row["action"],
                    row["method"],
                    row["url"],
                    json.loads(row["headers"]),
                    row["body"],
                ),
            )

    def services(self) -> set[str]:
        return {row["service"] for row in self._database.read("SELECT DISTINCT service FROM request")}

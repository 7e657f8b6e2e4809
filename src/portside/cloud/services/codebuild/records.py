"""Projects, builds, report groups and reports: frozen records, the transitions of a build, and the SQL.

Owns the tables. What AWS calls the source, the environment and so on of a project stays the document that the user
gave, in the names of the API; a build has its own copy, with the overrides of its start worked in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from portside.cloud.kernel.database import Row, Transaction, Value

Document = dict[str, Any]

MIGRATIONS = (
    """
    CREATE TABLE codebuild_project (
        region TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, builds INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (region, name)
    );
    CREATE TABLE codebuild_build (
        id TEXT PRIMARY KEY, region TEXT NOT NULL, project TEXT NOT NULL, started_at REAL NOT NULL,
        complete INTEGER NOT NULL, token TEXT NOT NULL, document TEXT NOT NULL
    );
    CREATE INDEX codebuild_build_by_project ON codebuild_build (region, project, started_at);
    CREATE TABLE codebuild_report_group (arn TEXT PRIMARY KEY, region TEXT NOT NULL, document TEXT NOT NULL);
    CREATE TABLE codebuild_report (
        arn TEXT PRIMARY KEY, report_group TEXT NOT NULL, region TEXT NOT NULL, created REAL NOT NULL,
        document TEXT NOT NULL, cases TEXT NOT NULL
    );
    """,
)


class Reader(Protocol):
    def read(self, sql: str, params: tuple[Value, ...] = ()) -> list[Row]: ...


class Status(StrEnum):
    """StatusType of the API."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    FAULT = "FAULT"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"


class Stage(StrEnum):
    """What the cloud has to do next for a build. The phases that a client sees are finer."""

    QUEUED = "QUEUED"
    PROVISIONING = "PROVISIONING"
    DOWNLOAD_SOURCE = "DOWNLOAD_SOURCE"
    RUNNING = "RUNNING"
    UPLOAD_ARTIFACTS = "UPLOAD_ARTIFACTS"
    FINALIZING = "FINALIZING"
    COMPLETED = "COMPLETED"


# (from, to) -> who moves it.
TRANSITIONS = {
    (Stage.QUEUED, Stage.PROVISIONING): "build loop: its turn has come",
    (Stage.PROVISIONING, Stage.DOWNLOAD_SOURCE): "execution: role and image are there",
    (Stage.DOWNLOAD_SOURCE, Stage.RUNNING): "execution: the container is made and filled",
    (Stage.RUNNING, Stage.UPLOAD_ARTIFACTS): "execution: the container has ended",
    (Stage.UPLOAD_ARTIFACTS, Stage.FINALIZING): "execution: everything is taken out of the container",
    (Stage.QUEUED, Stage.FINALIZING): "build loop: stopped or out of time",
    (Stage.PROVISIONING, Stage.FINALIZING): "build loop: stopped, out of time, or failed",
    (Stage.DOWNLOAD_SOURCE, Stage.FINALIZING): "build loop: stopped, out of time, or failed",
    (Stage.RUNNING, Stage.FINALIZING): "build loop: stopped, out of time, or failed",
    (Stage.FINALIZING, Stage.COMPLETED): "build loop: nothing is left behind",
}


@dataclass(frozen=True, slots=True)
class Context:
    """Why a phase ended as it did."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """One phase as the client sees it."""

    type: str
    started_at: float
    ended_at: float | None = None
    status: Status | None = None
    contexts: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """`spec` holds the members of the API's Project but for name, ARN and times. `builds` counts. `cache` tells
    the caches apart that were filled before and after an invalidation."""

    region: str
    name: str
    arn: str
    spec: Document
    created: float
    modified: float
    builds: int = 0
    cache: str = ""


@dataclass(frozen=True, slots=True)
class Build:
    """`spec` is the project's, overrides worked in. `pipeline` is what a pipeline handed over, if one did.

    `retries` counts the automatic retries that led to it, of which `retry_of` and `retried_by` are the neighbours.
    """

    id: str
    arn: str
    region: str
    project: str
    number: int
    spec: Document
    initiator: str
    source_version: str
    nonce: str
    directory: str
    started_at: float
    stage: Stage = Stage.QUEUED
    status: Status = Status.IN_PROGRESS
    phases: tuple[PhaseRecord, ...] = ()
    ended_at: float | None = None
    provisioned_at: float | None = None
    stop_asked_at: float | None = None
    attempts: int = 0
    overrides: Document = field(default_factory=dict)
    pipeline: Document | None = None
    token: str = ""
    image: str = ""
    container: str = ""
    buildspec: str | None = None
    repository_url: str = ""
    resolved_version: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    exported: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[Document, ...] = ()
    reports: tuple[str, ...] = ()
    retries: int = 0
    retry_of: str = ""
    retried_by: str = ""

    @property
    def complete(self) -> bool:
        return self.stage is Stage.COMPLETED

    @property
    def uuid(self) -> str:
        return self.id.partition(":")[2]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    @property
    def failed(self) -> bool:
        return any(phase.status not in (None, Status.SUCCEEDED) for phase in self.phases)

    def moved(self, stage: Stage) -> Build:
        assert (self.stage, stage) in TRANSITIONS, (self.stage, stage)
        return replace(self, stage=stage)

    def entered(self, phase: str, at: float) -> Build:
        """In a phase; entering it again after a restart changes nothing."""
        if self.phases and self.phases[-1].type == phase and self.phases[-1].ended_at is None:
            return self
        return replace(self, phases=(*self.phases, PhaseRecord(phase, at)))

    def left(self, status: Status, at: float, contexts: tuple[Context, ...] = ()) -> Build:
        """The phase it is in ends."""
        last = replace(self.phases[-1], ended_at=at, status=status, contexts=contexts)
        return replace(self, phases=(*self.phases[:-1], last))


@dataclass(frozen=True, slots=True)
class ReportGroup:
    """`spec` holds type, exportConfig and tags."""

    arn: str
    region: str
    name: str
    spec: Document
    created: float
    modified: float


@dataclass(frozen=True, slots=True)
class Report:
    """`summary` is the API's testSummary."""

    arn: str
    group: str
    region: str
    name: str
    build: str
    status: str
    created: float
    expires: float
    summary: Document
    truncated: bool = False


# Projects


def project(reader: Reader, region: str, name: str) -> Project | None:
    rows = reader.read("SELECT * FROM codebuild_project WHERE region = ? AND name = ?", (region, name))
    return _project(rows[0]) if rows else None


def projects(reader: Reader, region: str) -> list[Project]:
    rows = reader.read("SELECT * FROM codebuild_project WHERE region = ? ORDER BY name", (region,))
    return [_project(row) for row in rows]


def _project(row: Row) -> Project:
    return Project(**json.loads(row["document"]) | {"builds": row["builds"]})


def save_project(tx: Transaction, record: Project) -> None:
    tx.execute(
        "INSERT INTO codebuild_project VALUES (?, ?, ?, ?) ON CONFLICT (region, name) DO UPDATE SET"
        " document = excluded.document, builds = excluded.builds",
        (record.region, record.name, json.dumps(asdict(record)), record.builds),
    )


def delete_project(tx: Transaction, region: str, name: str) -> None:
    tx.execute("DELETE FROM codebuild_project WHERE region = ? AND name = ?", (region, name))


# Builds


def build(reader: Reader, identifier: str) -> Build | None:
    rows = reader.read("SELECT document FROM codebuild_build WHERE id = ?", (identifier,))
    return _build(rows[0]) if rows else None


def by_uuid(reader: Reader, uuid: str) -> Build | None:
    """The build whose id ends in `uuid`, which no two share."""
    rows = reader.read("SELECT document FROM codebuild_build WHERE id LIKE ?", (f"%:{uuid}",))
    return _build(rows[0]) if rows else None


def unfinished(reader: Reader) -> list[Build]:
    """Builds that are not complete, oldest first."""
    rows = reader.read("SELECT document FROM codebuild_build WHERE complete = 0 ORDER BY started_at, rowid")
    return [_build(row) for row in rows]


def build_ids(reader: Reader, region: str, project_name: str = "", *, newest_first: bool = True) -> list[str]:
    order = "DESC" if newest_first else "ASC"
    condition, values = ("AND project = ?", (region, project_name)) if project_name else ("", (region,))
    rows = reader.read(
        f"SELECT id FROM codebuild_build WHERE region = ? {condition} ORDER BY started_at {order}, rowid {order}",
        values,
    )
    return [str(row["id"]) for row in rows]


def build_by_token(reader: Reader, region: str, project_name: str, token: str, since: float) -> Build | None:
    rows = reader.read(
        "SELECT document FROM codebuild_build WHERE region = ? AND project = ? AND token = ? AND started_at >= ?",
        (region, project_name, token, since),
    )
    return _build(rows[0]) if rows else None


def _build(row: Row) -> Build:
    found = json.loads(row["document"])
    found["stage"] = Stage(found["stage"])
    found["status"] = Status(found["status"])
    found["phases"] = tuple(
        PhaseRecord(
            type=each["type"],
            started_at=each["started_at"],
            ended_at=each["ended_at"],
            status=Status(each["status"]) if each["status"] else None,
            contexts=tuple(Context(**context) for context in each["contexts"]),
        )
        for each in found["phases"]
    )
    for name in ("outputs", "reports"):
        found[name] = tuple(found[name])
    return Build(**found)


def save_build(tx: Transaction, record: Build) -> None:
    tx.execute(
        "INSERT INTO codebuild_build VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " complete = excluded.complete, document = excluded.document",
        (
            record.id, record.region, record.project, record.started_at, int(record.complete), record.token,
            json.dumps(asdict(record)),
        ),
    )  # fmt: skip


def delete_build(tx: Transaction, identifier: str) -> None:
    tx.execute("DELETE FROM codebuild_build WHERE id = ?", (identifier,))


# Report groups and reports


def report_group(reader: Reader, arn: str) -> ReportGroup | None:
    rows = reader.read("SELECT document FROM codebuild_report_group WHERE arn = ?", (arn,))
    return ReportGroup(**json.loads(rows[0]["document"])) if rows else None


def report_groups(reader: Reader, region: str) -> list[ReportGroup]:
    rows = reader.read("SELECT document FROM codebuild_report_group WHERE region = ? ORDER BY arn", (region,))
    return [ReportGroup(**json.loads(row["document"])) for row in rows]


def save_report_group(tx: Transaction, record: ReportGroup) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO codebuild_report_group VALUES (?, ?, ?)",
        (record.arn, record.region, json.dumps(asdict(record))),
    )


def delete_report_group(tx: Transaction, arn: str) -> None:
    tx.execute("DELETE FROM codebuild_report_group WHERE arn = ?", (arn,))


def report(reader: Reader, arn: str) -> Report | None:
    rows = reader.read("SELECT document FROM codebuild_report WHERE arn = ?", (arn,))
    return Report(**json.loads(rows[0]["document"])) if rows else None


def reports(reader: Reader, region: str, group: str = "") -> list[Report]:
    """Newest first."""
    condition, values = ("AND report_group = ?", (region, group)) if group else ("", (region,))
    rows = reader.read(
        f"SELECT document FROM codebuild_report WHERE region = ? {condition} ORDER BY created DESC, arn", values
    )
    return [Report(**json.loads(row["document"])) for row in rows]


def cases_of(reader: Reader, arn: str) -> list[Document]:
    rows = reader.read("SELECT cases FROM codebuild_report WHERE arn = ?", (arn,))
    found: list[Document] = json.loads(rows[0]["cases"]) if rows else []
    return found


def save_report(tx: Transaction, record: Report, cases: list[Document]) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO codebuild_report VALUES (?, ?, ?, ?, ?, ?)",
        (record.arn, record.group, record.region, record.created, json.dumps(asdict(record)), json.dumps(cases)),
    )


def delete_report(tx: Transaction, arn: str) -> None:
    tx.execute("DELETE FROM codebuild_report WHERE arn = ?", (arn,))

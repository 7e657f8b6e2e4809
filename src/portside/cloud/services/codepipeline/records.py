"""Pipelines, executions, stage runs, action runs, rule runs and artifacts, and their tables.

Owns the records and the transition tables; the SQL that loads and stores them is in `rows.py`. An execution
keeps the version of the structure it entered; each stage that it reaches is a `StageRun`, each action begun
there an `ActionRun`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from portside.cloud.services.calls import Params

MIGRATIONS = (
    """
    CREATE TABLE cp_pipeline (
        region TEXT NOT NULL, name TEXT NOT NULL, account TEXT NOT NULL, version INTEGER NOT NULL,
        created REAL NOT NULL, updated REAL NOT NULL, endpoint TEXT NOT NULL, tags TEXT NOT NULL,
        PRIMARY KEY (region, name));
    CREATE TABLE cp_structure (
        region TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, declaration TEXT NOT NULL,
        secrets TEXT NOT NULL, PRIMARY KEY (region, name, version),
        FOREIGN KEY (region, name) REFERENCES cp_pipeline ON DELETE CASCADE);
    CREATE TABLE cp_transition (region TEXT NOT NULL, name TEXT NOT NULL, stage TEXT NOT NULL, side TEXT NOT
        NULL, enabled INTEGER NOT NULL, reason TEXT NOT NULL, changed_by TEXT NOT NULL, changed_at REAL NOT
        NULL, PRIMARY KEY (region, name, stage, side), FOREIGN KEY (region, name) REFERENCES cp_pipeline ON
        DELETE CASCADE);
    CREATE TABLE cp_execution (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, region TEXT NOT
        NULL, pipeline TEXT NOT NULL, version INTEGER NOT NULL, mode TEXT NOT NULL, status TEXT NOT NULL,
        summary TEXT NOT NULL, started REAL NOT NULL, updated REAL NOT NULL, trigger_type TEXT NOT NULL,
        trigger_detail TEXT NOT NULL, variables TEXT NOT NULL, overrides TEXT NOT NULL, rollback_target TEXT
        NOT NULL, stop_reason TEXT, abandon INTEGER NOT NULL, token TEXT NOT NULL, FOREIGN KEY (region,
        pipeline) REFERENCES cp_pipeline ON DELETE CASCADE);
    CREATE INDEX cp_execution_by_pipeline ON cp_execution (region, pipeline, seq);
    CREATE INDEX cp_execution_by_status ON cp_execution (status);
    CREATE TABLE cp_stage (seq INTEGER PRIMARY KEY AUTOINCREMENT, execution TEXT NOT NULL REFERENCES
        cp_execution (id) ON DELETE CASCADE, stage TEXT NOT NULL, phase TEXT NOT NULL, attempt INTEGER NOT
        NULL, entered INTEGER NOT NULL, manual_retries INTEGER NOT NULL, automatic_retries INTEGER NOT NULL,
        summary TEXT NOT NULL, overridden TEXT NOT NULL, UNIQUE (execution, stage));
    CREATE TABLE cp_action (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, execution TEXT NOT
        NULL REFERENCES cp_execution (id) ON DELETE CASCADE, stage TEXT NOT NULL, action TEXT NOT NULL,
        attempt INTEGER NOT NULL, status TEXT NOT NULL, started REAL NOT NULL, updated REAL NOT NULL, body
        TEXT NOT NULL);
    CREATE INDEX cp_action_by_execution ON cp_action (execution, stage);
    CREATE INDEX cp_action_by_status ON cp_action (status);
    CREATE TABLE cp_rule (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, execution TEXT NOT
        NULL REFERENCES cp_execution (id) ON DELETE CASCADE, stage TEXT NOT NULL, moment TEXT NOT NULL, rule
        TEXT NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL, started REAL NOT NULL, updated REAL NOT
        NULL, summary TEXT NOT NULL, code TEXT NOT NULL, configuration TEXT NOT NULL);
    CREATE INDEX cp_rule_by_execution ON cp_rule (execution, stage);
    CREATE TABLE cp_artifact (execution TEXT NOT NULL REFERENCES cp_execution (id) ON DELETE CASCADE, name
        TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL, revision TEXT NOT NULL, PRIMARY KEY
        (execution, name));
    CREATE TABLE cp_variable (execution TEXT NOT NULL REFERENCES cp_execution (id) ON DELETE CASCADE,
        namespace TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (execution, namespace));
    CREATE TABLE cp_cursor (region TEXT NOT NULL, pipeline TEXT NOT NULL, source TEXT NOT NULL, revision TEXT
        NOT NULL, PRIMARY KEY (region, pipeline, source), FOREIGN KEY (region, pipeline) REFERENCES
        cp_pipeline ON DELETE CASCADE);
    CREATE TABLE cp_webhook (region TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, secret TEXT
        NOT NULL, tags TEXT NOT NULL, PRIMARY KEY (region, name));
    """,
)


class ExecutionStatus(StrEnum):
    IN_PROGRESS = "InProgress"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    SUCCEEDED = "Succeeded"
    SUPERSEDED = "Superseded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def live(self) -> bool:
        return self in (ExecutionStatus.IN_PROGRESS, ExecutionStatus.STOPPING)


class Phase(StrEnum):
    """Where a stage run is. ENTRY, ACTIONS, SUCCESS and FAILURE hold the stage's lock."""

    INBOUND = "Inbound"
    ENTRY = "Entry"
    ACTIONS = "Actions"
    SUCCESS = "Success"
    FAILURE = "Failure"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"

    @property
    def holding(self) -> bool:
        return self in (Phase.ENTRY, Phase.ACTIONS, Phase.SUCCESS, Phase.FAILURE)


class RunStatus(StrEnum):
    """Of actions and of rules."""

    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ABANDONED = "Abandoned"


# Who moves what. Stages come back to life by a retry or an override only.
PHASES: Mapping[tuple[Phase, Phase], str] = {
    (Phase.INBOUND, Phase.ENTRY): "pipeline loop",
    (Phase.INBOUND, Phase.ACTIONS): "pipeline loop",
    (Phase.INBOUND, Phase.CANCELLED): "pipeline loop",
    (Phase.ENTRY, Phase.ACTIONS): "pipeline loop, OverrideStageCondition",
    (Phase.ENTRY, Phase.FAILED): "pipeline loop",
    (Phase.ENTRY, Phase.SKIPPED): "pipeline loop",
    (Phase.ENTRY, Phase.STOPPED): "pipeline loop",
    (Phase.ACTIONS, Phase.SUCCESS): "pipeline loop",
    (Phase.ACTIONS, Phase.SUCCEEDED): "pipeline loop",
    (Phase.ACTIONS, Phase.FAILURE): "pipeline loop",
    (Phase.ACTIONS, Phase.FAILED): "pipeline loop",
    (Phase.ACTIONS, Phase.SKIPPED): "pipeline loop",
    (Phase.ACTIONS, Phase.STOPPED): "pipeline loop",
    (Phase.ACTIONS, Phase.ACTIONS): "pipeline loop (automatic retry)",
    (Phase.SUCCESS, Phase.SUCCEEDED): "pipeline loop, OverrideStageCondition",
    (Phase.SUCCESS, Phase.FAILED): "pipeline loop",
    (Phase.SUCCESS, Phase.STOPPED): "pipeline loop",
    (Phase.FAILURE, Phase.FAILED): "pipeline loop",
    (Phase.FAILURE, Phase.SKIPPED): "pipeline loop",
    (Phase.FAILURE, Phase.ACTIONS): "pipeline loop (automatic retry)",
    (Phase.FAILURE, Phase.STOPPED): "pipeline loop",
    (Phase.FAILED, Phase.ACTIONS): "RetryStageExecution, OverrideStageCondition",
    (Phase.FAILED, Phase.ENTRY): "RetryStageExecution",
    (Phase.FAILED, Phase.SUCCEEDED): "OverrideStageCondition",
    (Phase.STOPPED, Phase.ACTIONS): "RetryStageExecution",
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    region: str
    name: str
    account: str
    version: int
    created: float
    updated: float
    endpoint: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.region}/{self.name}"

    @property
    def arn(self) -> str:
        return f"arn:aws:codepipeline:{self.region}:{self.account}:{self.name}"


@dataclass(frozen=True, slots=True)
class Transition:
    stage: str
    side: str
    enabled: bool
    reason: str
    changed_by: str
    changed_at: float


@dataclass(frozen=True, slots=True)
class Override:
    """A revision that a source action must take: `kind` is COMMIT_ID and so on."""

    kind: str
    value: str
    ref: str = ""
    """What the revision was found at, `refs/tags/v1` for one."""


@dataclass(frozen=True, slots=True)
class Execution:
    """`seq` 0 means: not stored yet. `overrides` by source action."""

    id: str
    region: str
    pipeline: str
    version: int
    mode: str
    started: float
    updated: float
    trigger_type: str
    trigger_detail: str = ""
    status: ExecutionStatus = ExecutionStatus.IN_PROGRESS
    summary: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)
    rollback_target: str = ""
    stop_reason: str | None = None
    abandon: bool = False
    token: str = ""
    seq: int = 0

    @property
    def pipeline_key(self) -> str:
        return f"{self.region}/{self.pipeline}"

    @property
    def type(self) -> str:
        return "ROLLBACK" if self.rollback_target else "STANDARD"


@dataclass(frozen=True, slots=True)
class StageRun:
    """`entered` counts up over all entries into stages, so that the latest of a stage can be told; 0 before."""

    execution: str
    stage: str
    phase: Phase = Phase.INBOUND
    attempt: int = 1
    entered: int = 0
    manual_retries: int = 0
    automatic_retries: int = 0
    summary: str = ""
    overridden: tuple[str, ...] = ()
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str
    bucket: str
    key: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a source action found."""

    id: str
    change_id: str
    summary: str
    created: float


@dataclass(frozen=True, slots=True)
class ActionRun:
    """One run of one action. `note` is what its provider wrote down to find its work again."""

    id: str
    execution: str
    stage: str
    action: str
    attempt: int
    started: float
    updated: float
    status: RunStatus = RunStatus.IN_PROGRESS
    role: str = ""
    configuration: dict[str, str] | None = None
    """With variables resolved; None before."""
    inputs: tuple[Artifact, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    revision: Revision | None = None
    token: str = ""
    external_id: str = ""
    external_url: str = ""
    summary: str = ""
    code: str = ""
    message: str = ""
    updated_by: str = ""
    note: Params = field(default_factory=dict)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class RuleRun:
    """One look at one rule of a stage's conditions."""

    id: str
    execution: str
    stage: str
    moment: str
    rule: str
    attempt: int
    started: float
    updated: float
    status: RunStatus = RunStatus.IN_PROGRESS
    summary: str = ""
    code: str = ""
    configuration: dict[str, str] = field(default_factory=dict)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Webhook:
    region: str
    name: str
    definition: dict[str, Any]
    """Without the secret."""
    secret: str = field(default="", repr=False)
    tags: tuple[tuple[str, str], ...] = ()

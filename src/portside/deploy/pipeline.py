"""A pipeline as CodePipeline tells it: its stages and actions, its executions, and what a person can do to it.

Only reads and sends what the API offers. Why an action failed is `explain.py`'s question, what an approval would
let through `preview.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from portside.deploy.api import Aws, error_code
from portside.deploy.errors import DeployError, NotAccepted

IN_PROGRESS = "InProgress"
FAILED = "Failed"
APPROVAL = "Approval"
# How far back executions are looked through for a commit.
HISTORY = 100
# An execution that ended by itself meanwhile, or that somebody else stops.
ENDED = ("PipelineExecutionNotStoppableException", "DuplicatedStopRequestException")


@dataclass(frozen=True, slots=True)
class Commit:
    """What a source action brought. `id` may be any revision: a commit, a version of an object, a digest."""

    id: str = ""
    message: str = ""

    @property
    def short(self) -> str:
        return self.id[:8]

    @property
    def subject(self) -> str:
        return self.message.strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Execution:
    id: str
    status: str
    summary: str = ""
    trigger: str = ""
    commit: Commit = field(default_factory=Commit)
    started: datetime | None = None
    updated: datetime | None = None
    type: str = "STANDARD"

    @property
    def live(self) -> bool:
        return self.status in (IN_PROGRESS, "Stopping")


@dataclass(frozen=True, slots=True)
class Action:
    """`status` is empty while the action has never run. `token` is there while an approval waits."""

    stage: str
    name: str
    category: str
    provider: str
    configuration: dict[str, str]
    status: str = ""
    summary: str = ""
    since: datetime | None = None
    token: str = ""
    external_id: str = ""
    code: str = ""
    message: str = ""

    @property
    def waits_for_person(self) -> bool:
        return self.category == APPROVAL and self.status == IN_PROGRESS


@dataclass(frozen=True, slots=True)
class Stage:
    """`execution` is the one that is in the stage, or was last; `waiting` those that stand before it."""

    name: str
    actions: tuple[Action, ...]
    execution: str = ""
    status: str = ""
    waiting: tuple[str, ...] = ()
    open: bool = True
    closed_why: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """`executions` newest first."""

    name: str
    mode: str
    stages: tuple[Stage, ...]
    executions: tuple[Execution, ...]

    @property
    def newest(self) -> Execution | None:
        """What the pipeline was last asked to do; an execution that a newer one replaced does not count."""
        return next((each for each in self.executions if each.status != "Superseded"), None)

    @property
    def failed(self) -> bool:
        return self.newest is not None and self.newest.status in (FAILED, "Stopped", "Cancelled")

    @property
    def moving(self) -> bool:
        """Whether anything goes on without a person."""
        if any(each.status == IN_PROGRESS and not each.waits_for_person for each in self.actions):
            return True
        held = {stage.execution for stage in self.stages if self.waits_for_person(stage)}
        held |= {each for stage in self.stages for each in stage.waiting}
        return any(each.live and each.id not in held for each in self.executions)

    @property
    def actions(self) -> tuple[Action, ...]:
        return tuple(action for stage in self.stages for action in stage.actions)

    @staticmethod
    def waits_for_person(stage: Stage) -> bool:
        return any(action.waits_for_person for action in stage.actions)

    def stage(self, name: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)

    def execution(self, identifier: str) -> Execution:
        known = (each for each in self.executions if each.id == identifier)
        return next(known, Execution(identifier, ""))


def declaration(aws: Aws, name: str) -> dict[str, Any]:
    """The pipeline as it was declared. Raises DeployError with what to do if there is none."""
    client = aws.client("codepipeline")
    try:
        with aws.errors(f"the pipeline {name} cannot be read"):
            found: dict[str, Any] = client.get_pipeline(name=name)["pipeline"]
    except NotAccepted as error:
        if error_code(error.__cause__ or error) == "PipelineNotFoundException":
            raise DeployError(f"there is no pipeline {name}", "", "Make it with `portside up`.") from None
        raise
    return found


def read(aws: Aws, declared: dict[str, Any]) -> Picture:
    """What the pipeline does now."""
    name = declared["name"]
    with aws.errors(f"the pipeline {name} cannot be read"):
        state = aws.client("codepipeline").get_pipeline_state(name=name)
    found = {row["stageName"]: row for row in state["stageStates"]}
    stages = tuple(_stage(stage, found.get(stage["name"], {})) for stage in declared["stages"])
    return Picture(name, declared.get("executionMode", "SUPERSEDED"), stages, executions(aws, name, 20))


def executions(aws: Aws, name: str, most: int) -> tuple[Execution, ...]:
    """Newest first."""
    paginator = aws.client("codepipeline").get_paginator("list_pipeline_executions")
    with aws.errors(f"the executions of {name} cannot be listed"):
        rows = (
            row for page in paginator.paginate(pipelineName=name) for row in page["pipelineExecutionSummaries"]
        )
        return tuple(_execution(row) for row in islice(rows, most))


def runs(aws: Aws, name: str, execution: str) -> list[dict[str, Any]]:
    """What the actions of one execution were given and gave, newest first."""
    paginator = aws.client("codepipeline").get_paginator("list_action_executions")
    pages = paginator.paginate(pipelineName=name, filter={"pipelineExecutionId": execution})
    with aws.errors(f"the actions of {name} cannot be listed"):
        return [row for page in pages for row in page["actionExecutionDetails"]]


def start(aws: Aws, name: str) -> str:
    with aws.errors(f"{name} cannot be started"):
        return str(aws.client("codepipeline").start_pipeline_execution(name=name)["pipelineExecutionId"])


def stop(aws: Aws, picture: Picture, *, abandon: bool, reason: str) -> Execution:
    """Stops the newest execution that goes on."""
    live = next((each for each in picture.executions if each.live), None)
    if live is None:
        raise DeployError(f"{picture.name} has nothing to stop", "no execution is in progress")
    with aws.errors(f"{picture.name} cannot be stopped"):
        aws.client("codepipeline").stop_pipeline_execution(
            pipelineName=picture.name, pipelineExecutionId=live.id, abandon=abandon, reason=reason
        )
    return live


def close(aws: Aws, name: str, stage: str, reason: str) -> None:
    """Lets nothing more into a stage."""
    with aws.errors(f"{name} cannot be closed before {stage}"):
        aws.client("codepipeline").disable_stage_transition(
            pipelineName=name, stageName=stage, transitionType="Inbound", reason=reason
        )


def abandon_all(aws: Aws, name: str, reason: str) -> None:
    """Ends every execution at once; what its actions began goes on."""
    for each in executions(aws, name, HISTORY):
        if each.live:
            try:
                with aws.errors(f"{name} cannot be stopped"):
                    aws.client("codepipeline").stop_pipeline_execution(
                        pipelineName=name, pipelineExecutionId=each.id, abandon=True, reason=reason
                    )
            except NotAccepted as error:
                if error_code(error.__cause__ or error) not in ENDED:
                    raise


def names(aws: Aws) -> list[str]:
    with aws.errors("the pipelines cannot be listed"):
        pages = aws.client("codepipeline").get_paginator("list_pipelines").paginate()
        return [row["name"] for page in pages for row in page["pipelines"]]


def retry(aws: Aws, picture: Picture, stage_name: str, *, everything: bool) -> Stage:
    """Tries a failed stage again: its failed actions, or all of them. Without a name the one that failed."""
    stage = _to_retry(picture, stage_name)
    with aws.errors(f"{stage.name} cannot be tried again"):
        aws.client("codepipeline").retry_stage_execution(
            pipelineName=picture.name,
            stageName=stage.name,
            pipelineExecutionId=stage.execution,
            retryMode="ALL_ACTIONS" if everything else "FAILED_ACTIONS",
        )
    return stage


def _to_retry(picture: Picture, name: str) -> Stage:
    if name:
        found = picture.stage(name)
        if found is None:
            known = ", ".join(stage.name for stage in picture.stages)
            raise DeployError(
                f"{picture.name} has no stage {name}", f"its stages are {known}", "Name one of them."
            )
        return found
    failed = [stage for stage in picture.stages if stage.status in (FAILED, "Stopped")]
    newest = picture.newest
    latest = [stage for stage in failed if newest is not None and stage.execution == newest.id]
    if not failed:
        raise DeployError(f"{picture.name} has nothing to try again", "no stage failed")
    return (latest or failed)[0]


def waiting(picture: Picture) -> Action:
    """The approval that waits for a person. Raises DeployError if none does."""
    for action in picture.actions:
        if action.waits_for_person and action.token:
            return action
    raise DeployError(
        f"{picture.name} waits for nobody", "no approval is in progress", "See `portside pipeline status`."
    )


def answer(aws: Aws, picture: Picture, action: Action, *, approved: bool, comment: str) -> None:
    """Gives the answer that an approval waits for; the token says which one was meant."""
    with aws.errors(f"the answer to {action.stage} was not taken"):
        aws.client("codepipeline").put_approval_result(
            pipelineName=picture.name,
            stageName=action.stage,
            actionName=action.name,
            token=action.token,
            result={"status": "Approved" if approved else "Rejected", "summary": comment},
        )


def _stage(declared: dict[str, Any], state: dict[str, Any]) -> Stage:
    actions = {row["actionName"]: row for row in state.get("actionStates", [])}
    latest = state.get("latestExecution") or {}
    inbound = state.get("inboundExecutions") or [row for row in [state.get("inboundExecution")] if row]
    transition = state.get("inboundTransitionState") or {}
    return Stage(
        declared["name"],
        tuple(_action(declared["name"], each, actions.get(each["name"], {})) for each in declared["actions"]),
        latest.get("pipelineExecutionId", ""),
        latest.get("status", ""),
        tuple(row["pipelineExecutionId"] for row in inbound),
        transition.get("enabled", True),
        transition.get("disabledReason") or "",
    )


def _action(stage: str, declared: dict[str, Any], state: dict[str, Any]) -> Action:
    latest = state.get("latestExecution") or {}
    error = latest.get("errorDetails") or {}
    return Action(
        stage,
        declared["name"],
        declared["actionTypeId"]["category"],
        declared["actionTypeId"]["provider"],
        declared.get("configuration", {}),
        latest.get("status", ""),
        latest.get("summary") or "",
        latest.get("lastStatusChange"),
        latest.get("token") or "",
        latest.get("externalExecutionId") or "",
        error.get("code") or "",
        error.get("message") or "",
    )


def _execution(row: dict[str, Any]) -> Execution:
    revisions = row.get("sourceRevisions") or [{}]
    return Execution(
        row["pipelineExecutionId"],
        row["status"],
        row.get("statusSummary") or "",
        (row.get("trigger") or {}).get("triggerType") or "",
        Commit(revisions[0].get("revisionId") or "", summary(revisions[0].get("revisionSummary") or "")),
        row.get("startTime"),
        row.get("lastUpdateTime"),
        row.get("executionType") or "STANDARD",
    )


def summary(text: str) -> str:
    """The message of a revision; connected repositories give it within a small JSON document."""
    import json

    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return text
        if isinstance(found, dict) and isinstance(found.get("CommitMessage"), str):
            return str(found["CommitMessage"])
    return text

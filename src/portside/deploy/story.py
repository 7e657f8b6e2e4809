"""What one execution of a pipeline says as it goes: its build's output, then the events of its deployments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from portside.deploy import builds, deployment, pipeline
from portside.deploy.api import Aws
from portside.deploy.events import EventReader
from portside.deploy.pipeline import Execution, Picture


@dataclass(frozen=True, slots=True)
class Told:
    """One line; `stage` says where it comes from."""

    stage: str
    text: str


@dataclass(slots=True)
class _Known:
    builds: set[str] = field(default_factory=set)
    readers: dict[str, EventReader] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)


def tell(aws: Aws, declared: dict[str, Any], *, follow: bool) -> Iterator[Told]:
    """Of the newest execution. `follow`: until it has ended or waits for a person, else what there is now."""
    known = _Known()
    chosen = ""
    while True:
        picture = pipeline.read(aws, declared)
        chosen = chosen or (picture.newest.id if picture.newest else "")
        if not chosen:
            return
        for row in reversed(pipeline.runs(aws, picture.name, chosen)):
            yield from _action(aws, row, known, follow)
        execution = picture.execution(chosen)
        if not follow or at_rest(picture, execution):
            yield from _end(picture, execution)
            return
        aws.clock.sleep(aws.target.poll)


def at_rest(picture: Picture, execution: Execution) -> bool:
    """Whether nothing more happens to an execution without a person or another execution."""
    if not execution.live:
        return True
    for stage in picture.stages:
        if execution.id in stage.waiting:
            return True
        if stage.execution == execution.id and picture.waits_for_person(stage):
            return True
    return False


def _action(aws: Aws, row: dict[str, Any], known: _Known, follow: bool) -> Iterator[Told]:
    stage = row["stageName"]
    provider = row["input"]["actionTypeId"]["provider"]
    result = row.get("output", {}).get("executionResult") or {}
    external = result.get("externalExecutionId") or ""
    if provider == "CodeBuild" and external and external not in known.builds:
        known.builds.add(external)
        lines = builds.follow(aws, external) if follow else iter(builds.everything(aws, external))
        for line in lines:
            yield Told(stage, line)
    if provider == "CloudFormation":
        name = (row["input"].get("configuration") or {}).get("StackName", "")
        yield from _events(aws, stage, name, row, known)
    if row["status"] == pipeline.FAILED and row["actionExecutionId"] not in known.ended:
        known.ended.add(row["actionExecutionId"])
        error = result.get("errorDetails") or {}
        said = error.get("message") or result.get("externalExecutionSummary") or "no reason given"
        yield Told(stage, f"{row['actionName']} failed: {said}")


def _events(aws: Aws, stage: str, stack: str, row: dict[str, Any], known: _Known) -> Iterator[Told]:
    key = row["actionExecutionId"]
    if key in known.ended:
        return
    if key not in known.readers:
        record = deployment.find(aws, stack)
        if record is None:
            return
        known.readers[key] = EventReader(aws, record["StackId"])
    began, ended = row.get("startTime"), row["status"] != pipeline.IN_PROGRESS
    for event in known.readers[key].new():
        if _within(event.at, began, row.get("lastUpdateTime") if ended else None):
            reason = f": {event.reason}" if event.reason else ""
            yield Told(stage, f"{event.logical_id} {event.status}{reason}")
    if ended and row["status"] != pipeline.FAILED:
        known.ended.add(key)


def _within(at: datetime | None, began: datetime | None, ended: datetime | None) -> bool:
    if at is None or began is None:
        return True
    return began <= at and (ended is None or at <= ended)


def _end(picture: Picture, execution: Execution) -> Iterator[Told]:
    for stage in picture.stages:
        if stage.execution == execution.id and picture.waits_for_person(stage):
            yield Told(stage.name, "waits for a person")
            return
    if execution.live:
        return
    last = [stage.name for stage in picture.stages if stage.execution == execution.id]
    yield Told(last[-1] if last else picture.name, f"the execution has {execution.status.lower()}")

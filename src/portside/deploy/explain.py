"""Why an action of a pipeline failed, down to the last lines of the right log.

A failed build is explained by its phase and its own output; a failed deployment by the stack's first failing event
and, for an ECS service, by the task that stopped and what its container printed. What cannot be asked is left out,
never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portside.deploy import builds, deployment
from portside.deploy.api import Aws
from portside.deploy.diagnose import SERVICE, cause, describe_stopped, first_failure, stopped_tasks
from portside.deploy.errors import DeployError
from portside.deploy.events import EventReader, StackEvent
from portside.deploy.pipeline import FAILED, Action, Picture

LINES = 10


@dataclass(frozen=True, slots=True)
class Why:
    """`lines` are the last ones of the log `source`."""

    stage: str
    action: str
    reason: str
    source: str = ""
    lines: tuple[str, ...] = ()


def failures(aws: Aws, picture: Picture) -> tuple[Why, ...]:
    """One for every action that failed in the newest execution to have failed; older failures are history."""
    failed = [each for each in picture.executions if each.status == FAILED]
    last = failed[0].id if failed else ""
    found = []
    for stage in picture.stages:
        if stage.status == FAILED and (not last or stage.execution == last):
            found += [explain(aws, action) for action in stage.actions if action.status == FAILED]
    return tuple(found)


def explain(aws: Aws, action: Action) -> Why:
    said = action.message or action.summary
    try:
        match action.provider:
            case "CodeBuild" if action.external_id:
                return _build(aws, action, said)
            case "CloudFormation":
                return _stack(aws, action, said)
            case "Manual":
                comment = f": {action.summary}" if action.summary else ""
                return Why(action.stage, action.name, f"rejected{comment}" if not action.message else said)
    except DeployError:
        pass
    return Why(action.stage, action.name, said or "no reason given")


def _build(aws: Aws, action: Action, said: str) -> Why:
    build = builds.find(aws, action.external_id)
    reason = said
    if build.broken is not None:
        reason = f"phase {build.broken.name} {build.broken.status}"
        reason += f": {build.broken.context}" if build.broken.context else ""
    lines = builds.tail(aws, build, LINES)
    return Why(action.stage, action.name, reason or said, f"build {build.id}", tuple(lines))


def _stack(aws: Aws, action: Action, said: str) -> Why:
    name = action.configuration.get("StackName", "")
    # A stack that was rolled back out of existence is still known by its id.
    record = deployment.find(aws, action.external_id or name)
    if record is None:
        return Why(action.stage, action.name, said or "no reason given")
    happened = _last_operation(EventReader(aws, record["StackId"]).new())
    first = first_failure(happened)
    if first is None:
        return Why(action.stage, action.name, said or "no reason given")
    reason = cause(aws, record, happened)
    if first.type != SERVICE:
        return Why(action.stage, action.name, reason)
    source, lines = _container(aws, first.physical_id)
    return Why(action.stage, action.name, reason, source, tuple(lines))


def _last_operation(events: list[StackEvent]) -> list[StackEvent]:
    """What happened since the stack was last asked to change."""
    begun = [
        index
        for index, event in enumerate(events)
        if event.about_stack and event.status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")
    ]
    return events[begun[-1] :] if begun else events


def _container(aws: Aws, service: str) -> tuple[str, list[str]]:
    """What the newest task that died of itself printed last."""
    for task in stopped_tasks(aws, service):
        if not describe_stopped(task):
            continue
        for container in task.get("containers", []):
            group, stream = _stream(aws, task, container["name"])
            lines = builds.last_lines(aws, group, stream, LINES)
            if lines:
                identifier = task["taskArn"].rsplit("/", 1)[-1][:8]
                return f"{container['name']} of task {identifier}", lines
    return "", []


def _stream(aws: Aws, task: dict[str, Any], container: str) -> tuple[str, str]:
    with aws.errors("the task definition cannot be read"):
        definition = aws.client("ecs").describe_task_definition(taskDefinition=task["taskDefinitionArn"])
    for declared in definition["taskDefinition"]["containerDefinitions"]:
        options = (declared.get("logConfiguration") or {}).get("options") or {}
        prefix = options.get("awslogs-stream-prefix", "")
        if declared["name"] == container and prefix:
            identifier = task["taskArn"].rsplit("/", 1)[-1]
            return options.get("awslogs-group", ""), f"{prefix}/{container}/{identifier}"
    return "", ""

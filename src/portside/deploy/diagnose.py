"""Why a stack failed: from the first failed resource to what ECS says about its tasks.

CloudFormation names the resource that failed; the reason lies one level deeper, with the service's events, its
stopped tasks and their exit codes. Whatever cannot be asked is left out, never guessed.
"""

from __future__ import annotations

from typing import Any

from portside.deploy.api import Aws
from portside.deploy.errors import DeployError
from portside.deploy.events import StackEvent

SERVICE = "AWS::ECS::Service"
# What the other resources say when one has failed: true, but not the cause.
ECHOES = ("Resource creation cancelled", "Resource update cancelled")

EXIT_CODES = {
    137: "killed (137): out of memory, or it did not stop in time",
    139: "crashed with a segmentation fault (139)",
    143: "ended by SIGTERM (143)",
    127: "a command was not found (127)",
    126: "a command could not be run (126)",
}


def cause(aws: Aws, record: dict[str, Any], happened: list[StackEvent]) -> str:
    """One or two sentences on why."""
    first = first_failure(happened)
    if first is None:
        return str(record.get("StackStatusReason", "")) or "CloudFormation gives no reason"
    said = f"{first.logical_id} ({first.type}): {first.reason or 'no reason given'}"
    if first.type == SERVICE and first.physical_id:
        detail = _service_detail(aws, first.physical_id)
        if detail:
            return f"{said} {detail}"
    return said


def next_step(aws: Aws, record: dict[str, Any], happened: list[StackEvent]) -> str:
    first = first_failure(happened)
    if first is not None and first.type == SERVICE:
        return "See the app's own output: `portside logs`. Then correct it and run `portside up` again."
    name = record["StackName"]
    return f"All events: `aws cloudformation describe-stack-events --stack-name {name}`."


def first_failure(happened: list[StackEvent]) -> StackEvent | None:
    """The event that the others follow from."""
    failed = [e for e in happened if e.failed and not e.about_stack and not e.reason.startswith(ECHOES)]
    return failed[0] if failed else None


def _service_detail(aws: Aws, service_arn: str) -> str:
    """What the newest stopped task of the service died of."""
    told = (describe_stopped(task) for task in stopped_tasks(aws, service_arn))
    return next((text for text in told if text), "")


# ECS's own doing, and no sign of a fault.
PLANNED = ("Scaling activity initiated by",)


def stopped_tasks(aws: Aws, service_arn: str) -> list[dict[str, Any]]:
    """Newest first; those that ECS stopped to make room come last. None where they cannot be read."""
    parts = service_arn.split("/")
    if len(parts) < 3:
        return []
    cluster, service = parts[-2], parts[-1]
    ecs = aws.client("ecs")
    try:
        with aws.errors("the service's tasks cannot be read"):
            arns = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED")["taskArns"]
            tasks = ecs.describe_tasks(cluster=cluster, tasks=arns[:100])["tasks"] if arns else []
    except DeployError:
        return []
    newest = sorted(tasks, key=lambda task: str(task.get("stoppedAt", "")), reverse=True)
    return sorted(newest, key=lambda task: str(task.get("stoppedReason", "")).startswith(PLANNED))


def describe_stopped(task: dict[str, Any]) -> str:
    """`Task 0a1b… stopped: Essential container in task exited; web exited with 1.`"""
    parts = [str(task.get("stoppedReason", ""))]
    for container in task.get("containers", []):
        code = container.get("exitCode")
        reason = container.get("reason")
        if reason:
            parts.append(f"{container['name']}: {reason}")
        elif code:
            parts.append(f"{container['name']} {EXIT_CODES.get(code, f'exited with {code}')}")
    told = "; ".join(part for part in parts if part)
    return f"Task {task['taskArn'].rsplit('/', 1)[-1][:8]} stopped: {told}." if told else ""

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
        if "health checks" in detail:
            detail = f"{detail} {allowances(aws, first.physical_id)}".rstrip()
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


def allowances(aws: Aws, service_arn: str) -> str:
    """The two times that a program is given to start, side by side, for they are taken for each other."""
    parts = service_arn.split("/")
    if len(parts) < 3:
        return ""
    ecs = aws.client("ecs")
    try:
        with aws.errors("the service cannot be read"):
            (service,) = ecs.describe_services(cluster=parts[-2], services=[service_arn])["services"]
            described = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    except (DeployError, ValueError):
        return ""
    grace = service.get("healthCheckGracePeriodSeconds") or 0
    starts = [
        f"{each['name']} {each['healthCheck'].get('startPeriod') or 0} s"
        for each in described["containerDefinitions"]
        if each.get("healthCheck")
    ]
    own = (
        f"the containers' own checks: start period {', '.join(starts)}" if starts else "no container checks itself"
    )
    return f"The load balancer's checks: grace period {grace} s; {own}."


def waiting(aws: Aws, happened: list[StackEvent]) -> str:
    """What an operation that takes too long waits for: resources, and of a service its newest events."""
    newest = {each.logical_id: each for each in happened if not each.about_stack}
    open_ = [each for each in newest.values() if each.status.endswith("_IN_PROGRESS")]
    told = [f"waiting for {', '.join(sorted(each.logical_id for each in open_)) or 'the stack itself'}"]
    for each in open_:
        if each.type == SERVICE and each.physical_id.count("/") >= 2:
            told += _service_events(aws, each.physical_id)
    return "; ".join(told)


def _service_events(aws: Aws, service_arn: str) -> list[str]:
    ecs, cluster = aws.client("ecs"), service_arn.split("/")[-2]
    try:
        with aws.errors("the service cannot be read"):
            (service,) = ecs.describe_services(cluster=cluster, services=[service_arn])["services"]
            draining = _draining(aws, service)
    except (DeployError, ValueError):
        return []
    return [*draining, *(each["message"] for each in service.get("events", [])[:3])]


def _draining(aws: Aws, service: dict[str, Any]) -> list[str]:
    """The targets that old tasks wait for, and how long at most."""
    elb = aws.client("elbv2")
    found = []
    for balancer in service.get("loadBalancers", []):
        group = balancer["targetGroupArn"]
        health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        ids = [
            f"{each['Target']['Id']}:{each['Target'].get('Port', 0)}"
            for each in health
            if each["TargetHealth"]["State"] == "draining"
        ]
        if ids:
            rows = elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
            delay = next((r["Value"] for r in rows if r["Key"] == "deregistration_delay.timeout_seconds"), "300")
            found.append(f"{', '.join(ids)} is draining, {delay} s at the longest")
    return found


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

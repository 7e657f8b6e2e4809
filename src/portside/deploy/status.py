"""What runs: the picture that `portside status` shows, read from the AWS API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from portside.deploy.api import Aws
from portside.deploy.deployment import find, outputs
from portside.deploy.errors import DeployError


@dataclass(frozen=True, slots=True)
class TargetHealth:
    id: str
    port: int
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """An ECS service as DescribeServices and its target group show it."""

    name: str
    cluster: str
    desired: int
    running: int
    pending: int
    image: str
    rollout: str
    rollout_reason: str = ""
    events: tuple[str, ...] = ()
    targets: tuple[TargetHealth, ...] = ()


@dataclass(frozen=True, slots=True)
class StackStatus:
    name: str
    status: str
    reason: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AppStatus:
    stacks: tuple[StackStatus, ...]
    service: ServiceStatus | None
    url: str = ""

    @property
    def healthy(self) -> bool:
        """Everything that was asked for runs and answers."""
        if self.service is None or any(not stack.status.endswith("_COMPLETE") for stack in self.stacks):
            return False
        answering = sum(target.state == "healthy" for target in self.service.targets)
        return self.service.running >= self.service.desired and answering >= self.service.desired


def read(aws: Aws, stacks: list[str], service_stack: str, url_stack: str) -> AppStatus:
    """`stacks` in the order to show them. A stack that does not exist is shown as absent."""
    found = []
    url = ""
    for name in stacks:
        record = find(aws, name)
        if record is None:
            found.append(StackStatus(name, "absent"))
            continue
        values = outputs(record)
        if name == url_stack:
            url = values.get("URL", "")
        found.append(StackStatus(name, record["StackStatus"], record.get("StackStatusReason", ""), values))
    present = any(stack.name == service_stack and stack.status != "absent" for stack in found)
    return AppStatus(tuple(found), service(aws, service_stack) if present else None, url)


def service_arn(aws: Aws, stack: str) -> str:
    """The ECS service that a stack made, empty while there is none."""
    with aws.errors(f"{stack} cannot be read"):
        rows = aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    for row in rows:
        if row["ResourceType"] == "AWS::ECS::Service":
            return str(row.get("PhysicalResourceId", ""))
    return ""


def service(aws: Aws, stack: str) -> ServiceStatus | None:
    """The ECS service of a service stack, None while there is none."""
    arn = service_arn(aws, stack)
    if arn.count("/") < 2:
        return None
    cluster = arn.split("/")[-2]
    ecs = aws.client("ecs")
    with aws.errors(f"the service of {stack} cannot be read"):
        rows = ecs.describe_services(cluster=cluster, services=[arn])["services"]
    if not rows:
        return None
    row = rows[0]
    primary: dict[str, Any] = next((d for d in row["deployments"] if d["status"] == "PRIMARY"), {})
    return ServiceStatus(
        row["serviceName"],
        cluster,
        row["desiredCount"],
        row["runningCount"],
        row["pendingCount"],
        _image(aws, row["taskDefinition"]),
        primary.get("rolloutState", ""),
        primary.get("rolloutStateReason", ""),
        tuple(event["message"] for event in row.get("events", [])[:5]),
        _targets(aws, row),
    )


def _image(aws: Aws, definition: str) -> str:
    with aws.errors("the task definition cannot be read"):
        found = aws.client("ecs").describe_task_definition(taskDefinition=definition)["taskDefinition"]
    return str(found["containerDefinitions"][0]["image"])


def _targets(aws: Aws, row: dict[str, Any]) -> tuple[TargetHealth, ...]:
    found = []
    for balancer in row.get("loadBalancers", []):
        try:
            with aws.errors("the targets cannot be read"):
                answer = aws.client("elbv2").describe_target_health(TargetGroupArn=balancer["targetGroupArn"])
        except DeployError:
            continue
        for target in answer["TargetHealthDescriptions"]:
            health = target["TargetHealth"]
            found.append(
                TargetHealth(
                    target["Target"]["Id"],
                    target["Target"].get("Port", 0),
                    health["State"],
                    health.get("Description", ""),
                )
            )
    return tuple(found)

"""The task metadata endpoint, version 4: what a container can ask about itself and its task.

Pure documents out of records. Source: the ECS Developer Guide, "Amazon ECS task metadata endpoint version 4".
"""

from __future__ import annotations

from datetime import UTC, datetime

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import blueprints, store
from portside.cloud.services.ecs.names import family_and_revision, last, sibling
from portside.cloud.services.ecs.records import Container, ContainerStatus, Task
from portside.cloud.services.ecs.specification import container_name


def find(reader: store.Reader, identifier: str) -> tuple[Task, Container] | None:
    """The container with this id, and its task."""
    found = store.containers.where(reader, "arn LIKE ?", f"%/{identifier}") if identifier.isprintable() else []
    exact = [each for each in found if last(each.arn) == identifier]
    task = store.tasks.get(reader, exact[0].task) if exact else None
    return (task, exact[0]) if task is not None else None


def container(reader: store.Reader, task: Task, each: Container) -> Params:
    definition = store.definitions.get(reader, task.definition)
    assert definition is not None  # definitions in use are never deleted
    plan = blueprints.read(definition.spec, task.spec.get("overrides"))
    blueprint = plan.container(each.name)
    family, revision = family_and_revision(task.definition)
    limits = {"CPU": blueprint.cpu or 2} | ({"Memory": blueprint.memory} if blueprint.memory else {})
    shown: Params = {
        "DockerId": each.engine_id,
        "Name": each.name,
        "DockerName": container_name(task, each.name),
        "Image": each.image,
        "ImageID": each.digest,
        "Labels": {
            "com.amazonaws.ecs.cluster": task.cluster,
            "com.amazonaws.ecs.container-name": each.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": str(revision),
        },
        "DesiredStatus": task.desired,
        "KnownStatus": "PENDING" if each.status is ContainerStatus.CREATED else each.status,
        "Limits": limits,
        "CreatedAt": _time(task.created_at),
        "StartedAt": _time(each.started_at),
        "FinishedAt": _time(each.stopped_at),
        "Type": "NORMAL",
        "ContainerARN": each.arn,
        "Networks": [{"NetworkMode": plan.network, "IPv4Addresses": _addresses(task)}],
    }
    if blueprint.logs is not None:
        options = {"awslogs-group": blueprint.logs.group, "awslogs-region": blueprint.logs.region}
        shown |= {"LogDriver": "awslogs", "LogOptions": options | {"awslogs-stream": each.log_stream}}
    if each.bindings:
        shown["Ports"] = [
            {"ContainerPort": port["containerPort"], "Protocol": port["protocol"], "HostPort": port["hostPort"]}
            for port in each.bindings
        ]
    if each.exit_code is not None:
        shown["ExitCode"] = each.exit_code
    return {key: value for key, value in shown.items() if value is not None}


def task(reader: store.Reader, each: Task, *, tags: bool = False) -> Params:
    family, revision = family_and_revision(each.definition)
    instance = store.instances.get(reader, each.instance)
    shown: Params = {
        "Cluster": sibling(each.arn, "cluster", each.cluster),
        "TaskARN": each.arn,
        "Family": family,
        "Revision": str(revision),
        "ServiceName": last(each.service) if each.service else None,
        "DesiredStatus": each.desired,
        "KnownStatus": each.status,
        "Limits": {"CPU": each.cpu / 1024, "Memory": each.memory},
        "PullStartedAt": _time(each.pull_started_at),
        "PullStoppedAt": _time(each.pull_stopped_at),
        "ExecutionStoppedAt": _time(each.execution_stopped_at),
        "AvailabilityZone": each.zone or (instance.zone if instance is not None else None),
        "LaunchType": each.launch_type,
        "VPCID": instance.attributes.get("ecs.vpc-id") if instance is not None else None,
        "Containers": [container(reader, each, one) for one in store.containers_of(reader, each.arn)],
    }
    if tags:
        shown["TaskTags"] = {tag["key"]: tag["value"] for tag in store.tags_of(reader, each.arn)}
        if instance is not None:
            tagged = store.tags_of(reader, instance.arn)
            shown["ContainerInstanceTags"] = {tag["key"]: tag["value"] for tag in tagged}
    return {key: value for key, value in shown.items() if value is not None}


def _addresses(each: Task) -> list[str]:
    return [each.network["address"]] if each.network.get("address") else []


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")

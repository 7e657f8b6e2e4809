"""What the engine is asked to create for one container of a task.

Pure. Owns names and labels, and what each network mode means for a container: bridge publishes ports at the
address of its instance, host and awsvpc join the holder of the instance or of the task, none has no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portside.cloud.machine.engine import ContainerSpec, HealthCheck, PortBinding, Ulimit
from portside.cloud.services.ecs.blueprints import ContainerBlueprint, TaskBlueprint
from portside.cloud.services.ecs.holders import CLOUD_LABEL
from portside.cloud.services.ecs.names import family_and_revision, last
from portside.cloud.services.ecs.records import Task

TASK_LABEL = "portside.task"
CONTAINER_LABEL = "portside.container"
SMALLEST_CPU_SHARES = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container runs. `address` is its instance's, `holder` the engine's id of the holder that it joins,
    `networks` are additional ones, `hosts` names to be told."""

    address: str
    holder: str = ""
    name_server: str = ""
    networks: tuple[str, ...] = ()
    hosts: Mapping[str, str] | None = None


def container_name(task: Task, name: str) -> str:
    family, revision = family_and_revision(task.definition)
    return f"ecs-{family}-{revision}-{name}-{last(task.arn)}"


def holder_name(task: Task) -> str:
    return f"ecs-holder-{last(task.arn)}"


def has_network(plan: TaskBlueprint, blueprint: ContainerBlueprint) -> bool:
    return plan.network != "none" and not blueprint.isolated


def specification(
    task: Task,
    plan: TaskBlueprint,
    blueprint: ContainerBlueprint,
    image: str,
    environment: dict[str, str],
    place: Place,
    binds: tuple[str, ...],
    cloud: str,
) -> ContainerSpec:
    family, revision = family_and_revision(task.definition)
    check = blueprint.check
    linux = blueprint.linux
    joins = plan.network in ("host", "awsvpc")
    networked = has_network(plan, blueprint)
    of_its_own = networked and not joins
    network = None
    if not networked:
        network = "none"
    elif joins:
        network = f"container:{place.holder}"
    ports = tuple(
        PortBinding(port.container_port, place.address, port.host_port, port.protocol) for port in blueprint.ports
    )
    shared = f"container:{place.holder}"
    return ContainerSpec(
        name=container_name(task, blueprint.name),
        image=image,
        labels={
            **blueprint.labels,
            "com.amazonaws.ecs.cluster": task.cluster,
            "com.amazonaws.ecs.container-name": blueprint.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": str(revision),
            CLOUD_LABEL: cloud,
            TASK_LABEL: task.arn,
            CONTAINER_LABEL: blueprint.name,
        },
        command=blueprint.command,
        entrypoint=blueprint.entry_point,
        environment=environment,
        ports=ports if of_its_own else (),
        cpu_shares=max(SMALLEST_CPU_SHARES, blueprint.cpu),
        memory=blueprint.memory or _task_memory(task),
        memory_reservation=blueprint.memory_reservation,
        network=network,
        hostname=None if joins else blueprint.hostname,
        user=blueprint.user,
        working_directory=blueprint.working_directory,
        init=linux.init,
        read_only=blueprint.read_only,
        extra_hosts={**(place.hosts or {}), **blueprint.extra_hosts} if of_its_own else {},
        binds=binds,
        health_check=None
        if check is None or check.command[0] == "NONE"
        else HealthCheck(check.command, check.interval, check.timeout, check.retries, check.start_period),
        ulimits=tuple(Ulimit(name, soft, hard) for name, soft, hard in blueprint.ulimits),
        also=place.networks if of_its_own else (),
        dns=_name_servers(blueprint, place) if of_its_own else (),
        dns_search=blueprint.dns_search if of_its_own else (),
        links=tuple(_link(task, link) for link in blueprint.links),
        sysctls=blueprint.sysctls,
        volumes_from=tuple(
            container_name(task, name) + (":ro" if read_only else "") for name, read_only in blueprint.volumes_from
        ),
        tmpfs=linux.tmpfs,
        shared_memory=linux.shared_memory,
        swap=linux.swap,
        swappiness=linux.swappiness,
        capabilities_added=linux.added,
        capabilities_dropped=linux.dropped,
        security_options=blueprint.security_options,
        interactive=blueprint.interactive,
        terminal=blueprint.terminal,
        process_namespace=shared if plan.process_namespace == "task" else "",
        ipc_namespace={"task": shared, "none": "none"}.get(plan.ipc_namespace, ""),
    )


def _name_servers(blueprint: ContainerBlueprint, place: Place) -> tuple[str, ...]:
    return blueprint.dns or ((place.name_server,) if place.name_server else ())


def _link(task: Task, link: str) -> str:
    name, _, alias = link.partition(":")
    return f"{container_name(task, name)}:{alias or name}"


def _task_memory(task: Task) -> int | None:
    """A task-level limit holds for a container without one of its own."""
    limit = (task.spec.get("overrides") or {}).get("memory") or task.spec.get("memory")
    return int(limit) if limit else None

"""What to do next with one task.

Pure. `next_step` compares a task's records with what the engine shows and names the single next step;
`task_loop.py` takes it and asks again. A task goes one way only, and a container is never started twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from portside.cloud.machine.engine import ContainerState, Health, Phase, PortBinding
from portside.cloud.services.ecs.blueprints import ContainerBlueprint, Dependency, TaskBlueprint
from portside.cloud.services.ecs.records import (
    Container,
    ContainerStatus,
    HealthStatus,
    StopCode,
    Task,
    TaskStatus,
)

ESSENTIAL_EXITED = "Essential container in task exited"
NETWORK_LOST = "Essential container in task exited: the container that holds the task's network is gone"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
LOG_SECONDS = 10.0  # how long a stopped task waits for the rest of its output to reach the logs


@dataclass(frozen=True, slots=True)
class Create:
    container: str


@dataclass(frozen=True, slots=True)
class Start:
    container: str


@dataclass(frozen=True, slots=True)
class MarkRunning:
    pass


@dataclass(frozen=True, slots=True)
class Register:
    target_group: str


@dataclass(frozen=True, slots=True)
class Attach:
    """The task gets the network that its containers share."""


@dataclass(frozen=True, slots=True)
class Detach:
    """What was the task's own besides its containers goes."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Enter the task in a service registry."""

    registry: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take it out of them."""

    registries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Halt:
    """The task is to stop, for this reason."""

    code: StopCode
    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """Nothing but a change of status."""

    to: TaskStatus


@dataclass(frozen=True, slots=True)
class Deregister:
    target_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitDrain:
    target_groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopContainers:
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before the engine reports something, or so many seconds have passed."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """Stopped and cleaned up."""


Step = (
    Create
    | Start
    | MarkRunning
    | Register
    | Attach
    | Detach
    | Announce
    | Withdraw
    | Halt
    | Move
    | Deregister
    | AwaitDrain
    | StopContainers
    | Remove
    | Wait
    | Rest
)

Records = Mapping[str, Container]


def next_step(task: Task, plan: TaskBlueprint, records: Sequence[Container], now: float) -> Step:
    """The step to take, given records that have just been brought in line with the engine (`observe`)."""
    by_name = {each.name: each for each in records}
    if task.status is TaskStatus.STOPPED:
        return Rest()
    if task.desired is TaskStatus.STOPPED:
        return _stopping(task, plan, by_name, now)
    return _starting(task, plan, by_name, now)


def _starting(task: Task, plan: TaskBlueprint, records: Records, now: float) -> Step:
    for each in plan.containers:
        if each.essential and records[each.name].status is ContainerStatus.STOPPED:
            return Halt(StopCode.ESSENTIAL_EXITED, ESSENTIAL_EXITED)
    if task.status is TaskStatus.PROVISIONING:
        if task.launch_type == "EC2" and not task.instance:
            return Wait()  # until its capacity provider has room for it
        if needs(plan) and not (task.network.get("holder") or task.network.get("joined")):
            return Attach()
        return Move(TaskStatus.PENDING)
    waits = []
    for each in _in_order(plan):
        record = records[each.name]
        if record.status not in (ContainerStatus.PENDING, ContainerStatus.CREATED):
            continue
        for dependency in each.depends_on:
            wait = _unmet(each, dependency, records, now)
            if isinstance(wait, Halt):
                return wait
            if wait is not None:
                waits.append(wait)
                break
        else:
            return Create(each.name) if record.status is ContainerStatus.PENDING else Start(each.name)
    if waits:
        timed = [each.seconds for each in waits if each.seconds is not None]
        return Wait(min(timed) if timed else None)
    if task.status is TaskStatus.PENDING:
        return MarkRunning()
    for balancer in task.balancers:
        if balancer["targetGroupArn"] not in task.registered:
            return Register(balancer["targetGroupArn"])
    for registry in task.network.get("registries") or []:
        if registry["registryArn"] not in task.discovered:
            return Announce(registry["registryArn"])
    return Wait()


def needs(plan: TaskBlueprint) -> bool:
    """Whether the task's containers join a container that holds their address or namespaces."""
    return plan.network in ("awsvpc", "host") or "task" in (plan.process_namespace, plan.ipc_namespace)


def _unmet(each: ContainerBlueprint, dependency: Dependency, records: Records, now: float) -> Wait | Halt | None:
    """None when the dependency is met."""
    target = records[dependency.container]
    started = target.status in (ContainerStatus.RUNNING, ContainerStatus.STOPPED)
    stopped = target.status is ContainerStatus.STOPPED
    match dependency.condition:
        case "START":
            met = started
        case "COMPLETE":
            met = stopped
        case "SUCCESS":
            met = stopped and target.exit_code == 0
            if stopped and not met:
                return Halt(
                    StopCode.FAILED_TO_START,
                    f"ResourceInitializationError: container {each.name} needs container {target.name} to end "
                    f"successfully, but its exit code was {target.exit_code}",
                )
        case _:
            met = target.health is HealthStatus.HEALTHY
    if met:
        return None
    if each.start_timeout is None or target.started_at is None:
        return Wait()
    left = target.started_at + each.start_timeout - now
    if left > 0:
        return Wait(left)
    return Halt(
        StopCode.FAILED_TO_START,
        f"ResourceInitializationError: container {target.name} did not reach {dependency.condition} within the "
        f"startTimeout of {each.start_timeout} seconds that container {each.name} allows",
    )


def _stopping(task: Task, plan: TaskBlueprint, records: Records, now: float) -> Step:
    alive = [each for each in records.values() if each.status is ContainerStatus.RUNNING]
    groups = tuple(task.registered)
    match task.status:
        case TaskStatus.PROVISIONING:
            return Move(TaskStatus.PENDING)
        case TaskStatus.RUNNING if task.balancers or task.network.get("registries"):
            # Even if a registration was cut off before it could be noted: all of them are taken back.
            return Move(TaskStatus.DEACTIVATING)
        case TaskStatus.PENDING | TaskStatus.RUNNING | TaskStatus.ACTIVATING:
            return Move(TaskStatus.STOPPING)
        case TaskStatus.DEACTIVATING:
            if task.discovered:
                return Withdraw(tuple(task.discovered))
            if groups:
                return Deregister(groups)
            # What runs no longer has no connections to drain.
            running = {each.name for each in alive}
            draining = tuple(e["targetGroupArn"] for e in task.balancers if e["containerName"] in running)
            if draining and not task.kill:
                return AwaitDrain(draining)
            return Move(TaskStatus.STOPPING)
        case TaskStatus.STOPPING:
            if alive:
                return StopContainers(_stop_next(plan, {each.name for each in alive}))
            return Move(TaskStatus.DEPROVISIONING)
    left = [each for each in records.values() if each.engine_id]
    if not left:
        own = task.network.get("holder") or task.network.get("joined")
        return Detach() if own or (plan.volumes and not task.network.get("detached")) else Move(TaskStatus.STOPPED)
    deadline = (task.execution_stopped_at or now) + LOG_SECONDS
    if now < deadline and not all(each.logged for each in left):
        return Wait(deadline - now)
    return Remove(tuple(each.name for each in left))


def _in_order(plan: TaskBlueprint) -> list[ContainerBlueprint]:
    """Dependencies before those that depend on them, otherwise as written."""
    ordered: list[ContainerBlueprint] = []
    remaining = list(plan.containers)
    while remaining:
        done = {each.name for each in ordered}
        ready = [e for e in remaining if all(d.container in done for d in e.depends_on)] or remaining[:1]
        ordered.append(ready[0])
        remaining.remove(ready[0])
    return ordered


def _stop_next(plan: TaskBlueprint, alive: set[str]) -> tuple[str, ...]:
    """Those that no running container depends on: shutdown is in reverse order."""
    needed = {d.container for each in plan.containers if each.name in alive for d in each.depends_on}
    return tuple(name for name in sorted(alive) if name not in needed) or tuple(sorted(alive))


@dataclass(frozen=True, slots=True)
class Gone:
    """The engine does not know the container any more."""


def observe(
    record: Container, seen: ContainerState | Gone, now: float, ports: Sequence[PortBinding] = ()
) -> Container:
    """The record brought in line with what the engine shows. `ports`: those that it cannot show, because the
    container has them in another one's network."""
    if record.status is ContainerStatus.STOPPED:
        return record
    if isinstance(seen, Gone):
        return replace(
            record,
            status=ContainerStatus.STOPPED,
            engine_id="",
            stopped_at=now,
            logged=True,
            reason=record.reason or "DockerStateError: the container was removed from outside",
        )
    match seen.phase:
        case Phase.CREATED:
            return replace(record, status=ContainerStatus.CREATED, engine_id=seen.id)
        case Phase.RUNNING:
            return replace(
                record,
                status=ContainerStatus.RUNNING,
                engine_id=seen.id,
                started_at=seen.started_at or now,
                health=_health(seen.health),
                bindings=[
                    {
                        "bindIP": "0.0.0.0",  # noqa: S104 - what AWS shows, nothing listens there
                        "containerPort": port.container_port,
                        "hostPort": port.host_port,
                        "protocol": port.protocol,
                    }
                    for port in (ports or _once(seen))
                ],
            )
    reason = record.reason
    if seen.out_of_memory:
        reason = OUT_OF_MEMORY
    elif seen.error:
        reason = f"CannotStartContainerError: Error response from daemon: {seen.error}"
    return replace(
        record,
        status=ContainerStatus.STOPPED,
        engine_id=seen.id,
        exit_code=seen.exit_code,
        reason=reason,
        started_at=record.started_at or seen.started_at or None,
        stopped_at=seen.finished_at or now,
    )


def _once(seen: ContainerState) -> list[PortBinding]:
    """Engines list a port once for IPv4 and once for IPv6."""
    found: dict[tuple[int, int, str], PortBinding] = {}
    for port in seen.ports:
        found[port.container_port, port.host_port, port.protocol] = port
    return list(found.values())


def _health(seen: Health) -> HealthStatus:
    match seen:
        case Health.HEALTHY:
            return HealthStatus.HEALTHY
        case Health.UNHEALTHY:
            return HealthStatus.UNHEALTHY
    return HealthStatus.UNKNOWN


def task_health(plan: TaskBlueprint, records: Sequence[Container]) -> HealthStatus:
    """HEALTHY when all essential containers with a check are; UNHEALTHY as soon as one of them is."""
    checked = {each.name for each in plan.containers if each.essential and each.check is not None}
    states = [each.health for each in records if each.name in checked]
    if HealthStatus.UNHEALTHY in states:
        return HealthStatus.UNHEALTHY
    if states and all(state is HealthStatus.HEALTHY for state in states):
        return HealthStatus.HEALTHY
    return HealthStatus.UNKNOWN

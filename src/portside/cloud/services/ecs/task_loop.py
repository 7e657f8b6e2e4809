"""Moves every task one step at a time towards what is wanted of it.

The only code that creates, starts, stops and removes the containers of tasks, and that registers them with target
groups. What the next step is, `lifecycle.py` decides; what the engine shows is noted before each step. A step may
be cut off anywhere and is safe to take again: container names are derived from the task, so that what was made
before a crash is found and adopted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.engine import (
    Conflict,
    ContainerSpec,
    ContainerState,
    Engine,
    EngineError,
    HealthCheck,
    Missing,
    PortBinding,
    Rejected,
    Ulimit,
    Unavailable,
)
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.ecs import announcements, blueprints, lifecycle, secrets_source, store
from portside.cloud.services.ecs.blueprints import AwsLogs, ContainerBlueprint, TaskBlueprint
from portside.cloud.services.ecs.images import CannotPull, EnsuredImage, ImageSource, pinned
from portside.cloud.services.ecs.names import account_of, family_and_revision, last
from portside.cloud.services.ecs.records import (
    Container,
    ContainerStatus,
    Instance,
    StopCode,
    Task,
    TaskStatus,
)
from portside.cloud.services.ecs.wakes import Wakes

ENGINE_RETRY = 5.0  # the engine loop wakes tasks earlier when the engine is back
TARGET_RETRY = 10.0
DRAIN_POLL = 1.0
TURN_LIMIT = 3600.0  # a pull may take long; every call inside has its own limit
SMALLEST_CPU_SHARES = 2
SHOWN_SECONDS = 3600.0  # how long stopped tasks can be described

CLOUD_LABEL = "portside.cloud"
TASK_LABEL = "portside.task"
CONTAINER_LABEL = "portside.container"


class _StartFailed(Exception):
    """The container cannot be had; the task is to stop with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TaskLoop:
    """Keys are task ARNs."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        engine: Engine,
        images: ImageSource,
        addresses: Addresses,
        cloud: str,
        wakes: Wakes,
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._log = log.bind(service="ecs")
        self._engine = engine
        self._images = images
        self._addresses = addresses
        self._cloud = cloud
        self._wakes = wakes
        self.loop = Loop("ecs-tasks", self.turn, clock, log, workers=64, turn_limit=TURN_LIMIT)

    def resume(self) -> None:
        for task in store.live_tasks(self._database):
            self.loop.wake(task.arn)

    async def turn(self, key: str) -> TurnResult:
        task = store.tasks.get(self._database, key)
        if task is None or task.status is TaskStatus.STOPPED:
            return Done()
        try:
            return await self._turn(task)
        except Unavailable as error:
            self._waits(task, error.reason)
            return After(ENGINE_RETRY)

    async def _turn(self, task: Task) -> TurnResult:
        definition = store.definitions.get(self._database, task.definition)
        assert definition is not None  # definitions in use are never deleted
        plan = blueprints.read(definition.spec, task.spec.get("overrides"))
        task, records = await self._observe(task, plan)
        step = lifecycle.next_step(task, plan, records, self._clock.now())
        by_name = {each.name: each for each in records}
        match step:
            case lifecycle.Rest():
                return Done()
            case lifecycle.Wait(seconds):
                return Done() if seconds is None else After(seconds)
            case lifecycle.Halt(code, reason):
                self._halt(task.arn, code, reason)
            case lifecycle.Move(to):
                self._move(task.arn, to)
            case lifecycle.MarkRunning():
                self._move(task.arn, TaskStatus.RUNNING)
            case lifecycle.Create(name) | lifecycle.Start(name):
                try:
                    if isinstance(step, lifecycle.Create):
                        await self._create(task, plan.container(name), by_name[name])
                    else:
                        await self._start(task, by_name[name])
                except _StartFailed as error:
                    self._not_started(task, name, error.reason)
            case lifecycle.Register(group):
                return await self._register(task, group, by_name)
            case lifecycle.Deregister(groups):
                return await self._deregister(task, groups, by_name)
            case lifecycle.AwaitDrain(groups):
                if await self._draining(task, groups, by_name):
                    return After(DRAIN_POLL)
                self._move(task.arn, TaskStatus.STOPPING)
            case lifecycle.StopContainers(names):
                await self._stop(task, plan, [by_name[name] for name in names])
            case lifecycle.Remove(names):
                await self._remove(task, [by_name[name] for name in names])
        return After(0)

    # What the engine shows

    async def _observe(self, task: Task, plan: TaskBlueprint) -> tuple[Task, list[Container]]:
        seen: dict[str, ContainerState | lifecycle.Gone] = {}
        for record in store.containers_of(self._database, task.arn):
            if record.engine_id and record.status is not ContainerStatus.STOPPED:
                try:
                    seen[record.name] = await self._engine.inspect(record.engine_id)
                except Missing:
                    seen[record.name] = lifecycle.Gone()
        now = self._clock.now()
        changed = []
        with self._database.write() as tx:
            fresh = store.tasks.get(tx, task.arn)
            assert fresh is not None
            records = []
            for record in store.containers_of(tx, task.arn):
                after = lifecycle.observe(record, seen[record.name], now) if record.name in seen else record
                if after != record:
                    store.containers.save(tx, after)
                    changed.append(after)
                records.append(after)
            health = lifecycle.task_health(plan, records)
            if health is not fresh.health or fresh.waiting_for or changed:
                fresh = replace(fresh, health=health, waiting_for="", version=fresh.version + 1)
                store.tasks.save(tx, fresh)
                if fresh.service:
                    tx.after_commit(lambda: self._wakes.service(fresh.service))
        for record in changed:
            if not record.logged:
                self._wakes.container_logs(record.arn)
        return fresh, records

    def _waits(self, task: Task, reason: str) -> None:
        if task.waiting_for == reason:
            return
        now = self._clock.now()
        self._log.warning("task waits for the engine", task=task.arn, reason=reason)

        def change(tx: Transaction, fresh: Task) -> Task:
            service = store.services.get(tx, fresh.service) if fresh.service else None
            if service is not None:
                text = announcements.task_waits(service.name, fresh.arn, reason)
                announcements.announce(tx, self._ids, service, text, now, complaint=True)
            return replace(fresh, waiting_for=reason)

        self._change(task.arn, change)
        self._wakes.engine("engine")

    # Changes of status

    def _change(self, arn: str, change: Callable[[Transaction, Task], Task]) -> Task:
        with self._database.write() as tx:
            before = store.tasks.get(tx, arn)
            assert before is not None
            after = change(tx, before)
            if after != before:
                after = replace(after, version=before.version + 1)
                store.tasks.save(tx, after)
                if after.service:
                    tx.after_commit(lambda: self._wakes.service(after.service))
        return after

    def _halt(self, arn: str, code: StopCode, reason: str) -> None:
        now = self._clock.now()

        def change(tx: Transaction, task: Task) -> Task:
            return halted(task, code, reason, now)

        self._change(arn, change)

    def _not_started(self, task: Task, name: str, reason: str) -> None:
        now = self._clock.now()

        def change(tx: Transaction, fresh: Task) -> Task:
            for record in store.containers_of(tx, fresh.arn):
                if record.name == name:
                    store.containers.save(
                        tx,
                        replace(
                            record,
                            status=ContainerStatus.STOPPED,
                            reason=reason,
                            stopped_at=now,
                            logged=True,
                        ),
                    )
            return halted(fresh, StopCode.FAILED_TO_START, reason, now)

        self._change(task.arn, change)

    def _move(self, arn: str, to: TaskStatus) -> None:
        now = self._clock.now()

        def change(tx: Transaction, task: Task) -> Task:
            match to:
                case TaskStatus.RUNNING:
                    if task.desired is TaskStatus.STOPPED:
                        return task  # stopped in the meantime: the next turn sees to it
                    return replace(task, status=to, started_at=now, pull_stopped_at=task.pull_stopped_at or now)
                case TaskStatus.DEACTIVATING:
                    groups = [each["targetGroupArn"] for each in task.balancers]
                    return replace(task, status=to, registered=groups)
                case TaskStatus.STOPPING:
                    return replace(task, status=to, stopping_at=task.stopping_at or now)
                case TaskStatus.DEPROVISIONING:
                    for record in store.containers_of(tx, task.arn):
                        if record.status in (ContainerStatus.PENDING, ContainerStatus.CREATED):
                            ended = replace(record, status=ContainerStatus.STOPPED, stopped_at=now, logged=True)
                            store.containers.save(tx, ended)
                    return replace(task, status=to, execution_stopped_at=now)
                case TaskStatus.STOPPED:
                    tx.after_commit(lambda: self._room_again(task))
                    return replace(task, status=to, stopped_at=now)
            return replace(task, status=to)

        self._change(arn, change)

    def _room_again(self, task: Task) -> None:
        """Something may fit now that did not before; and tasks that stopped long ago need not be shown."""
        with self._database.write() as tx:
            store.forget_tasks(tx, self._clock.now() - SHOWN_SECONDS)
        for service in store.services_of(self._database, task.region, task.cluster):
            self._wakes.service(service.arn)

    # Starting

    async def _create(self, task: Task, blueprint: ContainerBlueprint, record: Container) -> None:
        if task.pull_started_at is None:
            now = self._clock.now()
            self._change(task.arn, lambda tx, fresh: replace(fresh, pull_started_at=now))
        caller = self._caller(task)
        image = await self._image(task, blueprint)
        environment = dict(blueprint.environment)
        try:
            environment |= await secrets_source.values(self._calls, blueprint.secrets, caller)
        except secrets_source.SecretsFailed as error:
            raise _StartFailed(error.reason) from None
        if blueprint.logs is not None and record.log_stream:
            await self._log_stream(blueprint.logs, record.log_stream, caller)
        instance = store.instances.get(self._database, task.instance)
        assert instance is not None
        spec = self._spec(task, blueprint, record, image.engine_id, environment, instance)
        try:
            engine_id = await self._engine.create(spec)
        except Conflict:
            engine_id = await self._adopt(task, spec.name)
        except (Rejected, Missing) as error:
            raise _StartFailed(f"CannotCreateContainerError: Error response from daemon: {error.reason}") from None
        stream = record.log_stream
        if blueprint.logs is not None and not stream:
            stream = engine_id
            try:
                await self._log_stream(blueprint.logs, stream, caller)
            except _StartFailed:
                await self._engine.remove(engine_id)
                raise
        with self._database.write() as tx:
            fresh = store.containers.get(tx, record.arn)
            assert fresh is not None
            created = replace(
                fresh,
                status=ContainerStatus.CREATED,
                engine_id=engine_id,
                digest=image.digest,
                log_stream=stream,
            )
            store.containers.save(tx, created)

    async def _adopt(self, task: Task, name: str) -> str:
        """The container of that name, which this task made before it was cut off."""
        state = await self._engine.inspect(name)
        if state.labels.get(CLOUD_LABEL) != self._cloud or state.labels.get(TASK_LABEL) != task.arn:
            raise _StartFailed(
                f"CannotCreateContainerError: Conflict. The container name {name} is in use by another container"
            )
        return state.id

    async def _image(self, task: Task, blueprint: ContainerBlueprint) -> EnsuredImage:
        deployment = store.deployments.get(self._database, task.deployment) if task.deployment else None
        pin = deployment.images.get(blueprint.name) if deployment is not None else None
        try:
            image = await self._images.ensure(pin or blueprint.image, task.region)
        except CannotPull as error:
            raise _StartFailed(error.reason) from None
        if deployment is not None and pin is None:
            # A tag is resolved once per deployment: later tasks run the very same image.
            with self._database.write() as tx:
                fresh = store.deployments.get(tx, deployment.id)
                if fresh is not None and blueprint.name not in fresh.images:
                    images = fresh.images | {blueprint.name: pinned(blueprint.image, image)}
                    store.deployments.save(tx, replace(fresh, images=images))
        return image

    async def _log_stream(self, logs: AwsLogs, stream: str, caller: Caller) -> None:
        where = replace(caller, region=logs.region or caller.region)
        try:
            if logs.create_group:
                await self._unless_there("CreateLogGroup", {"logGroupName": logs.group}, where)
            await self._unless_there(
                "CreateLogStream", {"logGroupName": logs.group, "logStreamName": stream}, where
            )
        except AwsError as error:
            raise _StartFailed(
                "ResourceInitializationError: failed to validate logger args: failed to create Cloudwatch log "
                f"stream: {error.code}: {error.message.rstrip('.')}: {logs.group}"
            ) from None

    async def _unless_there(self, operation: str, params: dict[str, str], caller: Caller) -> None:
        try:
            await self._calls("logs", operation, dict(params), caller)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise

    def _spec(
        self,
        task: Task,
        blueprint: ContainerBlueprint,
        record: Container,
        image: str,
        environment: dict[str, str],
        instance: Instance,
    ) -> ContainerSpec:
        family, revision = family_and_revision(task.definition)
        address = self._addresses.of(instance.ec2_id)
        check = blueprint.check
        labels = {
            **blueprint.labels,
            "com.amazonaws.ecs.cluster": task.cluster,
            "com.amazonaws.ecs.container-name": blueprint.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": str(revision),
            CLOUD_LABEL: self._cloud,
            TASK_LABEL: task.arn,
            CONTAINER_LABEL: blueprint.name,
        }
        network = store.definitions.get(self._database, task.definition)
        isolated = network is not None and network.spec.get("networkMode") == "none"
        ports = tuple(
            PortBinding(port.container_port, address, port.host_port, port.protocol) for port in blueprint.ports
        )
        return ContainerSpec(
            name=f"ecs-{family}-{revision}-{blueprint.name}-{last(task.arn)}",
            image=image,
            labels=labels,
            command=blueprint.command,
            entrypoint=blueprint.entry_point,
            environment=environment,
            ports=() if isolated else ports,
            cpu_shares=max(SMALLEST_CPU_SHARES, blueprint.cpu),
            memory=blueprint.memory or _task_memory(task),
            memory_reservation=blueprint.memory_reservation,
            network="none" if isolated else None,
            hostname=blueprint.hostname,
            user=blueprint.user,
            working_directory=blueprint.working_directory,
            init=blueprint.init,
            read_only=blueprint.read_only,
            extra_hosts=blueprint.extra_hosts,
            health_check=None
            if check is None or check.command[0] == "NONE"
            else HealthCheck(check.command, check.interval, check.timeout, check.retries, check.start_period),
            ulimits=tuple(Ulimit(name, soft, hard) for name, soft, hard in blueprint.ulimits),
        )

    async def _start(self, task: Task, record: Container) -> None:
        try:
            await self._engine.start(record.engine_id)
        except Unavailable:
            raise
        except EngineError as error:
            raise _StartFailed(f"CannotStartContainerError: Error response from daemon: {error.reason}") from None
        self._wakes.container_logs(record.arn)

    # Load balancers

    async def _register(self, task: Task, group: str, records: dict[str, Container]) -> TurnResult:
        target = self._target(task, group, records)
        if target is None:
            reason = "the container publishes no such port"
            self._complain(task, group, reason)
            return After(TARGET_RETRY)
        try:
            await self._calls(
                "elbv2", "RegisterTargets", {"TargetGroupArn": group, "Targets": [target]}, self._caller(task)
            )
        except AwsError as error:
            self._complain(task, group, f"{error.code}: {error.message}")
            return After(TARGET_RETRY)
        now = self._clock.now()

        def change(tx: Transaction, fresh: Task) -> Task:
            if group in fresh.registered:
                return fresh
            service = store.services.get(tx, fresh.service)
            if service is not None:
                text = announcements.registered(service.name, 1, group)
                announcements.announce(tx, self._ids, service, text, now)
            return replace(fresh, registered=[*fresh.registered, group])

        self._change(task.arn, change)
        return After(0)

    def _complain(self, task: Task, group: str, reason: str) -> None:
        now = self._clock.now()
        with self._database.write() as tx:
            service = store.services.get(tx, task.service)
            if service is not None:
                text = announcements.not_registered(service.name, task.arn, group, reason)
                announcements.announce(tx, self._ids, service, text, now, complaint=True)

    async def _deregister_targets(
        self, task: Task, groups: tuple[str, ...], records: dict[str, Container]
    ) -> None:
        for group in groups:
            target = self._target(task, group, records)
            if target is not None and not self._taken_over(task, target["Port"]):
                try:
                    await self._calls(
                        "elbv2",
                        "DeregisterTargets",
                        {"TargetGroupArn": group, "Targets": [target]},
                        self._caller(task),
                    )
                except AwsError as error:
                    if error.status >= 500:
                        raise
                    self._log.info("target was gone already", task=task.arn, group=group, reason=error.message)

    async def _deregister(self, task: Task, groups: tuple[str, ...], records: dict[str, Container]) -> TurnResult:
        await self._deregister_targets(task, groups, records)
        now = self._clock.now()

        def change(tx: Transaction, fresh: Task) -> Task:
            service = store.services.get(tx, fresh.service)
            if service is not None:
                for group in groups:
                    text = announcements.deregistered(service.name, 1, group)
                    announcements.announce(tx, self._ids, service, text, now)
                text = announcements.draining(service.name, fresh.deployment, 1)
                announcements.announce(tx, self._ids, service, text, now)
            return replace(fresh, registered=[])

        self._change(task.arn, change)
        return After(0)

    async def take_back_targets(self, task: Task) -> None:
        """Deregister a task's targets, whatever its status; for the end of the whole cloud."""
        records = {each.name: each for each in store.containers_of(self._database, task.arn)}
        groups = tuple(each["targetGroupArn"] for each in task.balancers)
        try:
            await self._deregister_targets(task, groups, records)
        except AwsError as error:
            self._log.warning("targets stay registered", task=task.arn, reason=error.message)

    async def _draining(self, task: Task, groups: tuple[str, ...], records: dict[str, Container]) -> bool:
        for group in groups:
            target = self._target(task, group, records)
            if target is None:
                continue
            try:
                answer = await self._calls(
                    "elbv2",
                    "DescribeTargetHealth",
                    {"TargetGroupArn": group, "Targets": [target]},
                    self._caller(task),
                )
            except AwsError as error:
                if error.status >= 500:
                    raise
                continue
            for each in answer.get("TargetHealthDescriptions") or []:
                if (each.get("TargetHealth") or {}).get("State") == "draining":
                    return True
        return False

    def _target(self, task: Task, group: str, records: dict[str, Container]) -> dict[str, object] | None:
        instance = store.instances.get(self._database, task.instance)
        for balancer in task.balancers:
            if balancer["targetGroupArn"] == group and instance is not None:
                for binding in records[balancer["containerName"]].bindings:
                    if binding["containerPort"] == balancer["containerPort"]:
                        return {"Id": instance.ec2_id, "Port": binding["hostPort"]}
        return None

    def _taken_over(self, task: Task, port: object) -> bool:
        """Has the engine given the port to another task, after this one's container had ended?"""
        for other in store.live_tasks_of_instance(self._database, task.instance):
            if other.arn != task.arn and other.desired is not TaskStatus.STOPPED:
                for container in store.containers_of(self._database, other.arn):
                    running = container.status is ContainerStatus.RUNNING
                    if running and any(binding["hostPort"] == port for binding in container.bindings):
                        return True
        return False

    # Stopping

    async def _stop(self, task: Task, plan: TaskBlueprint, records: list[Container]) -> None:
        async def one(record: Container) -> None:
            grace = 0 if task.kill else plan.container(record.name).stop_timeout
            try:
                await self._engine.stop(record.engine_id, grace)
            except Missing:
                return  # seen as gone by the next turn

        results = await asyncio.gather(*(one(record) for record in records), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _remove(self, task: Task, records: list[Container]) -> None:
        for record in records:
            if not record.logged:
                self._log.warning("output is lost: the log group did not take it", container=record.arn)
            await self._engine.remove(record.engine_id)
            with self._database.write() as tx:
                fresh = store.containers.get(tx, record.arn)
                assert fresh is not None
                store.containers.save(tx, replace(fresh, engine_id="", logged=True))

    def _caller(self, task: Task) -> Caller:
        account = account_of(task.arn)
        return Caller(
            account,
            task.region,
            f"arn:aws:iam::{account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
        )


def halted(task: Task, code: StopCode | str, reason: str, now: float, *, kill: bool = False) -> Task:
    """The task told to stop. The first reason stays."""
    if task.desired is TaskStatus.STOPPED:
        return replace(task, kill=task.kill or kill)
    return replace(
        task,
        desired=TaskStatus.STOPPED,
        stop_code=str(code),
        stop_reason=reason,
        stopping_at=task.stopping_at or now,
        kill=kill,
    )


def _task_memory(task: Task) -> int | None:
    """A task-level limit holds for a container without one of its own."""
    limit = (task.spec.get("overrides") or {}).get("memory") or task.spec.get("memory")
    return int(limit) if limit else None

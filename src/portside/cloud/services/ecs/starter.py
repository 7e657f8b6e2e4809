"""Makes and starts one container of a task.

On behalf of `task_loop.py`: image, secrets, log stream and specification, and the engine's two calls. Whatever
cannot be had becomes `StartFailed` with AWS's text; an engine that does not answer stays `Unavailable`.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.engine import (
    Conflict,
    ContainerSpec,
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
from portside.cloud.services.ecs import secrets_source, store
from portside.cloud.services.ecs.blueprints import AwsLogs, ContainerBlueprint
from portside.cloud.services.ecs.images import CannotPull, EnsuredImage, ImageSource, pinned
from portside.cloud.services.ecs.names import family_and_revision, last, service_role_caller
from portside.cloud.services.ecs.records import Container, ContainerStatus, Instance, Task

SMALLEST_CPU_SHARES = 2

CLOUD_LABEL = "portside.cloud"
TASK_LABEL = "portside.task"
CONTAINER_LABEL = "portside.container"


class StartFailed(Exception):
    """The container cannot be had; the task is to stop with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Starter:
    """`cloud` is the id that the containers are labelled with."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        calls: Calls,
        engine: Engine,
        images: ImageSource,
        addresses: Addresses,
        cloud: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._calls = calls
        self._engine = engine
        self._images = images
        self._addresses = addresses
        self._cloud = cloud

    async def create(self, task: Task, blueprint: ContainerBlueprint, record: Container) -> None:
        if task.pull_started_at is None:
            self._pulling(task)
        caller = service_role_caller(task.arn)
        image = await self._image(task, blueprint)
        environment = dict(blueprint.environment)
        try:
            environment |= await secrets_source.values(self._calls, blueprint.secrets, caller)
        except secrets_source.SecretsFailed as error:
            raise StartFailed(error.reason) from None
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
            raise StartFailed(f"CannotCreateContainerError: Error response from daemon: {error.reason}") from None
        stream = record.log_stream
        if blueprint.logs is not None and not stream:
            stream = engine_id
            try:
                await self._log_stream(blueprint.logs, stream, caller)
            except StartFailed:
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
            raise StartFailed(
                f"CannotCreateContainerError: Conflict. The container name {name} is in use by another container"
            )
        return state.id

    async def _image(self, task: Task, blueprint: ContainerBlueprint) -> EnsuredImage:
        deployment = store.deployments.get(self._database, task.deployment) if task.deployment else None
        pin = deployment.images.get(blueprint.name) if deployment is not None else None
        try:
            image = await self._images.ensure(pin or blueprint.image, task.region)
        except CannotPull as error:
            raise StartFailed(error.reason) from None
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
            raise StartFailed(
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

    async def start(self, task: Task, record: Container) -> None:
        try:
            await self._engine.start(record.engine_id)
        except Unavailable:
            raise
        except EngineError as error:
            raise StartFailed(f"CannotStartContainerError: Error response from daemon: {error.reason}") from None

    def _pulling(self, task: Task) -> None:
        with self._database.write() as tx:
            fresh = store.tasks.get(tx, task.arn)
            assert fresh is not None
            now = self._clock.now()
            store.tasks.save(tx, replace(fresh, pull_started_at=now, version=fresh.version + 1))


def _task_memory(task: Task) -> int | None:
    """A task-level limit holds for a container without one of its own."""
    limit = (task.spec.get("overrides") or {}).get("memory") or task.spec.get("memory")
    return int(limit) if limit else None

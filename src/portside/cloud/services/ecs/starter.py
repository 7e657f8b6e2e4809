"""Makes and starts one container of a task.

On behalf of `task_loop.py`: image, secrets, log stream and specification, and the engine's two calls. Whatever
cannot be had becomes `StartFailed` with AWS's text; an engine that does not answer stays `Unavailable`.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.engine import Conflict, Engine, EngineError, Missing, Rejected, Unavailable
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.ecs import environment as environments
from portside.cloud.services.ecs import secrets_source, store
from portside.cloud.services.ecs.blueprints import AwsLogs, ContainerBlueprint, TaskBlueprint
from portside.cloud.services.ecs.holders import CLOUD_LABEL
from portside.cloud.services.ecs.identities import Identities, NoRole
from portside.cloud.services.ecs.images import CannotPull, EnsuredImage, ImageSource, pinned
from portside.cloud.services.ecs.names import service_role_caller
from portside.cloud.services.ecs.outside import Outside
from portside.cloud.services.ecs.records import Container, ContainerStatus, Task
from portside.cloud.services.ecs.specification import TASK_LABEL, Place, has_network, specification
from portside.cloud.services.ecs.volumes import VOLUME_LABEL, EngineVolume, binds, engine_volumes


class StartFailed(Exception):
    """The container cannot be had; the task is to stop with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Starter:
    """`cloud` is the id that the containers are labelled with. Holders must be there before (`surround`)."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        calls: Calls,
        engine: Engine,
        images: ImageSource,
        addresses: Addresses,
        identities: Identities,
        outside: Outside,
        cloud: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._calls = calls
        self._engine = engine
        self._images = images
        self._addresses = addresses
        self._identities = identities
        self._outside = outside
        self._cloud = cloud

    async def create(
        self, task: Task, plan: TaskBlueprint, blueprint: ContainerBlueprint, record: Container
    ) -> None:
        if task.pull_started_at is None:
            self._pulling(task)
        try:
            agent = await self._identities.agent(task, plan)
            place, told = await self._place(task, plan, blueprint, record)
            image = await self._image(task, plan, blueprint, agent)
            environment = told | await environments.of_user(self._calls, blueprint, agent)
        except (NoRole, secrets_source.SecretsFailed, environments.FileFailed) as error:
            raise StartFailed(error.reason) from None
        except Rejected as error:
            raise StartFailed(f"ResourceInitializationError: {error.reason}") from None
        logger = self._logger(task, agent)
        if blueprint.logs is not None and record.log_stream:
            await self._log_stream(blueprint.logs, record.log_stream, logger)
        volumes = engine_volumes(task, plan, self._cloud)
        await self._volumes([volumes[mount.volume] for mount in blueprint.mounts])
        spec = specification(
            task,
            plan,
            blueprint,
            image.engine_id,
            environment,
            place,
            binds(plan, blueprint, volumes),
            self._cloud,
        )
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
                await self._log_stream(blueprint.logs, stream, logger)
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

    async def _place(
        self, task: Task, plan: TaskBlueprint, blueprint: ContainerBlueprint, record: Container
    ) -> tuple[Place, dict[str, str]]:
        """Where the container goes, and what its program is told about that."""
        instance = store.instances.get(self._database, task.instance)
        address = self._addresses.of(instance.ec2_id) if instance is not None else ""
        holder = str(task.network.get("holder") or task.network.get("joined") or "")
        if not has_network(plan, blueprint):
            return Place(address, holder), {}
        endpoint = await self._outside.endpoint()
        told = environments.from_agent(task, record, endpoint)
        networks: tuple[str, ...] = ()
        identifier = await self._identities.credential_id(task, plan)
        if identifier:
            where = await self._outside.credentials()
            told |= environments.for_role(identifier, where)
            networks = (where.network,)
        return Place(address, holder, self._outside.name_server(), networks, endpoint.hosts), told

    async def _volumes(self, wanted: list[EngineVolume]) -> None:
        for volume in wanted:
            labels = {CLOUD_LABEL: self._cloud, VOLUME_LABEL: volume.owner}
            try:
                await self._engine.create_volume(volume.name, labels, volume.driver, volume.options)
            except (Rejected, Conflict) as error:
                raise StartFailed(f"CannotCreateVolumeError: Error response from daemon: {error.reason}") from None

    def _logger(self, task: Task, agent: Caller) -> Caller:
        """On EC2 the log driver acts as the instance; only Fargate uses the execution role."""
        return agent if task.launch_type == "FARGATE" else service_role_caller(task.arn)

    async def _adopt(self, task: Task, name: str) -> str:
        """The container of that name, which this task made before it was cut off."""
        state = await self._engine.inspect(name)
        if state.labels.get(CLOUD_LABEL) != self._cloud or state.labels.get(TASK_LABEL) != task.arn:
            raise StartFailed(
                f"CannotCreateContainerError: Conflict. The container name {name} is in use by another container"
            )
        return state.id

    async def _image(
        self, task: Task, plan: TaskBlueprint, blueprint: ContainerBlueprint, agent: Caller
    ) -> EnsuredImage:
        if plan.execution_role and ".dkr.ecr." in blueprint.image:
            await self._log_in(agent)
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

    async def _log_in(self, agent: Caller) -> None:
        """The registry is on this machine and needs no login; but the execution role must be allowed to."""
        try:
            await self._calls("ecr", "GetAuthorizationToken", {}, agent)
        except AwsError as error:
            raise StartFailed(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource "
                f"retrieval failed: unable to retrieve ecr registry auth: {error.code}: {error.message}"
            ) from None

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

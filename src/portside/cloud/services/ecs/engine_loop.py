"""Watches the container engine: wakes the tasks whose containers changed, and removes what belongs to no task.

Events come within moments; because a stream may break and lose some, everything of ours is listed now and then as
well. While the engine does not answer, the agents of all container instances show as disconnected, which is what
placement and service events go by. It holds no connection as long as there is no instance and no task.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.machine.engine import Conflict, ContainerState, Engine, EngineError, Phase, Unavailable
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.holders import CLOUD_LABEL, HOLDER_LABEL
from portside.cloud.services.ecs.records import Container, ContainerStatus, InstanceStatus, TaskStatus
from portside.cloud.services.ecs.specification import CONTAINER_LABEL, TASK_LABEL
from portside.cloud.services.ecs.volumes import VOLUME_LABEL
from portside.cloud.services.ecs.wakes import Wakes

RELIST = 15.0
RETRY = 2.0
KEY = "engine"


class EngineLoop:
    """Its one key is `engine`."""

    def __init__(
        self, *, database: Database, clock: Clock, log: Log, engine: Engine, cloud: str, wakes: Wakes
    ) -> None:
        self._database = database
        self._clock = clock
        self._log = log.bind(service="ecs")
        self._engine = engine
        self._labels = {CLOUD_LABEL: cloud}
        self._wakes = wakes
        self._watcher: asyncio.Task[None] | None = None
        self.loop = Loop("ecs-engine", self.turn, clock, log, workers=1)

    def wake(self) -> None:
        self.loop.wake(KEY)

    def resume(self) -> None:
        if self._needed() or store.tasks.where(self._database, "1 = 1 LIMIT 1"):
            self.wake()

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None

    def _needed(self) -> bool:
        return bool(
            store.instances.where(self._database, "status <> ? LIMIT 1", InstanceStatus.INACTIVE)
            or store.live_tasks(self._database)
        )

    async def turn(self, key: str) -> TurnResult:
        try:
            states = await self._engine.containers(self._labels)
        except Unavailable as error:
            self._connected(False, error.reason)
            return After(RETRY) if self._needed() else Done()
        self._connected(True, "")
        await self._compare(states)
        if not self._needed():
            await self.close()
            return Done()
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(), name="ecs-engine-events")
        return After(RELIST)

    async def _watch(self) -> None:
        """Until the stream ends; the next listing finds out why, and starts it again."""
        try:
            async for event in self._engine.events(self._labels):
                task = event.labels.get(TASK_LABEL)
                task = task or event.labels.get(HOLDER_LABEL)
                if task and event.labels.get(CLOUD_LABEL) == self._labels[CLOUD_LABEL]:
                    self._wakes.task(task)
        except EngineError as error:
            self._log.info("no more events from the engine", reason=error.reason)
        self.loop.wake(KEY, RETRY)

    def _connected(self, connected: bool, reason: str) -> None:
        """Note whether the agents answer, and wake whoever waits for that."""
        changed = store.instances.where(
            self._database, "status <> ? AND connected = ?", InstanceStatus.INACTIVE, int(not connected)
        )
        with self._database.write() as tx:
            for instance in changed:
                store.instances.save(tx, replace(instance, connected=connected, version=instance.version + 1))
        if changed:
            self._log.info("agents connected" if connected else "agents disconnected", reason=reason)
            for region in {each.region for each in changed}:
                self._wakes.providers(region)
            for place in {(each.region, each.cluster) for each in changed}:
                for service in store.services_of(self._database, *place):
                    self._wakes.service(service.arn)
        if connected:
            for task in store.tasks.where(self._database, "waiting_for <> '' AND status <> ?", TaskStatus.STOPPED):
                self._wakes.task(task.arn)

    async def _compare(self, states: list[ContainerState]) -> None:
        tasks = {task.arn for task in store.live_tasks(self._database)}
        records = {
            (record.task, record.name): record
            for task in tasks
            for record in store.containers_of(self._database, task)
        }
        await self._compare_holders([each for each in states if HOLDER_LABEL in each.labels], tasks)
        states = [each for each in states if HOLDER_LABEL not in each.labels]
        shown = {(s.labels.get(TASK_LABEL, ""), s.labels.get(CONTAINER_LABEL, "")): s for s in states}
        for key, state in shown.items():
            if key not in records:
                self._log.warning("container without a task removed", container=state.name)
                await self._engine.remove(state.id)
        for key, record in records.items():
            if _differs(record, shown.get(key)):
                self._wakes.task(record.task)

    async def _compare_holders(self, holders: list[ContainerState], tasks: set[str]) -> None:
        instances = store.instances.where(self._database, "status <> ?", InstanceStatus.INACTIVE)
        owners = tasks | {each.arn for each in instances}
        for state in holders:
            if state.labels[HOLDER_LABEL] not in owners:
                await self._engine.remove(state.id)
        running = {state.id for state in holders if state.phase is Phase.RUNNING}
        for task in store.live_tasks(self._database):
            holder = task.network.get("holder") or task.network.get("joined")
            if holder and holder not in running:
                self._wakes.task(task.arn)
        await self._drop_volumes(owners)

    async def _drop_volumes(self, owners: set[str]) -> None:
        """Volumes of instances that are gone, and of tasks that ended while nobody looked."""
        for name, labels in (await self._engine.volumes(self._labels)).items():
            if labels.get(VOLUME_LABEL) not in owners:
                try:
                    await self._engine.remove_volume(name)
                except Conflict:
                    continue  # a container that is being removed still has it


def _differs(record: Container, state: ContainerState | None) -> bool:
    if record.status is ContainerStatus.STOPPED or not record.engine_id:
        return False
    if state is None:
        return True
    expected = {
        ContainerStatus.PENDING: Phase.CREATED,
        ContainerStatus.CREATED: Phase.CREATED,
        ContainerStatus.RUNNING: Phase.RUNNING,
    }
    return state.phase is not expected[record.status]

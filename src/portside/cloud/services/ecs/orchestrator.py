"""ECS as one part with a life: its API and its loops, built and started together.

Owns the wiring inside the service; the composition root sees only this class. Start: `async with`. What was in
flight when the process ended goes on by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.engine import Engine, Phase
from portside.cloud.services.calls import Calls, Roles, Service
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.api import EcsApi
from portside.cloud.services.ecs.capacity_loop import CapacityLoop
from portside.cloud.services.ecs.engine_loop import EngineLoop
from portside.cloud.services.ecs.fargate import Room
from portside.cloud.services.ecs.holders import CLOUD_LABEL, HOLDER_LABEL
from portside.cloud.services.ecs.identities import Identities
from portside.cloud.services.ecs.images import ImageSource
from portside.cloud.services.ecs.log_loop import LogLoop
from portside.cloud.services.ecs.metrics_loop import MetricsLoop
from portside.cloud.services.ecs.outside import Outside
from portside.cloud.services.ecs.provider_loop import ProviderLoop
from portside.cloud.services.ecs.records import ContainerStatus, StopCode, TaskStatus
from portside.cloud.services.ecs.service_loop import ServiceLoop
from portside.cloud.services.ecs.task_loop import TaskLoop, halted
from portside.cloud.services.ecs.wakes import Wakes

STOP_GRACE = 5
CLOUD_STOPPED = "The local cloud was stopped"


class Ecs:
    """`cloud` is the id that all containers of this cloud are labelled with."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        log: Log,
        engine: Engine,
        images: ImageSource,
        addresses: Addresses,
        roles: Roles,
        outside: Outside,
        cloud: str,
        account: str,
        region: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine = engine
        self._cloud = cloud
        self.identities = Identities(database, ids, clock, roles)
        wakes = self._wakes = Wakes()
        self.capacity = CapacityLoop(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            log=log,
            account=account,
            region=region,
            wakes=wakes,
        )
        room = Room(engine)
        self._api = EcsApi(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            wakes=wakes,
            capacity=self.capacity,
            room=room,
            outside=outside,
            engine=engine,
            log=log,
        )
        self.execute = self._api.execute
        self.services = ServiceLoop(
            database=database, ids=ids, clock=clock, calls=calls, log=log, pace=pace, wakes=wakes, room=room
        )
        self.providers = ProviderLoop(
            database=database,
            ids=ids,
            clock=clock,
            pace=pace,
            calls=calls,
            log=log,
            account=account,
            wakes=wakes,
        )
        self.tasks = TaskLoop(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            log=log,
            engine=engine,
            images=images,
            addresses=addresses,
            identities=self.identities,
            outside=outside,
            cloud=cloud,
            wakes=wakes,
        )
        self.engine = EngineLoop(database=database, clock=clock, log=log, engine=engine, cloud=cloud, wakes=wakes)
        self.logs = LogLoop(database=database, clock=clock, calls=calls, log=log, engine=engine, wakes=wakes)
        self.metrics = MetricsLoop(
            database=database, clock=clock, pace=pace, calls=calls, log=log, account=account, engine=engine
        )
        wakes.task = self.tasks.loop.wake
        wakes.service = self.services.loop.wake
        wakes.container_logs = self.logs.loop.wake
        wakes.capacity = self.capacity.loop.wake
        wakes.engine = self.engine.loop.wake
        wakes.providers = self.providers.loop.wake
        wakes.metrics = self.metrics.loop.wake
        self._stack: AsyncExitStack | None = None

    def service(self) -> Service:
        return self._api.service()

    async def __aenter__(self) -> Ecs:
        stack = self._stack = AsyncExitStack()
        stack.push_async_callback(self.logs.close)
        stack.push_async_callback(self.engine.close)
        for part in (
            self.logs,
            self.tasks,
            self.services,
            self.engine,
            self.capacity,
            self.providers,
            self.metrics,
        ):
            await stack.enter_async_context(part.loop)
        self.resume()
        return self

    def resume(self) -> None:
        """Look at everything that is not at rest."""
        self.capacity.resume()
        self.engine.resume()
        self.services.resume()
        self.tasks.resume()
        self.logs.resume()
        self.providers.resume()
        self.metrics.resume()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = None

    def targets_changed(self) -> None:
        """Something has changed at the load balancers: whoever waits for that looks again at once."""
        for task in store.tasks.where(self._database, "status = ?", TaskStatus.DEACTIVATING):
            self._wakes.task(task.arn)
        for service in store.services.where(self._database, "status <> 'INACTIVE' AND steady_at IS NULL"):
            self._wakes.service(service.arn)

    async def remove_all(self) -> None:
        """Stop and remove every container of this cloud; the tasks show as STOPPED and say why.

        For `cloud stop`, after the loops have ended. Services stay, and make new tasks at the next start. Raises
        EngineError when the engine does not answer.
        """
        for task in store.live_tasks(self._database):
            await self.tasks.targets.take_back(task)
        found = await self._engine.containers({CLOUD_LABEL: self._cloud})
        # A holder has nothing to finish: it is not asked, but removed.
        running = [s.id for s in found if s.phase is Phase.RUNNING and HOLDER_LABEL not in s.labels]
        await asyncio.gather(*(self._engine.stop(each, STOP_GRACE) for each in running))
        rest = [
            container.arn
            for task in store.live_tasks(self._database)
            for container in store.containers_of(self._database, task.arn)
            if container.engine_id and not container.logged
        ]
        await asyncio.gather(*(self.logs.finish(arn) for arn in rest))
        for state in found:
            await self._engine.remove(state.id)
        for volume in await self._engine.volumes({CLOUD_LABEL: self._cloud}):
            await self._engine.remove_volume(volume)
        now = self._clock.now()
        with self._database.write() as tx:
            for task in store.live_tasks(tx):
                for container in store.containers_of(tx, task.arn):
                    ended = replace(
                        container,
                        status=ContainerStatus.STOPPED,
                        engine_id="",
                        logged=True,
                        stopped_at=container.stopped_at or now,
                    )
                    store.containers.save(tx, ended)
                stopped = halted(task, StopCode.USER, CLOUD_STOPPED, now)
                store.tasks.save(
                    tx,
                    replace(
                        stopped,
                        status=TaskStatus.STOPPED,
                        registered=[],
                        discovered=[],
                        network={k: v for k, v in task.network.items() if k not in ("holder", "joined")},
                        execution_stopped_at=stopped.execution_stopped_at or now,
                        stopped_at=now,
                    ),
                )

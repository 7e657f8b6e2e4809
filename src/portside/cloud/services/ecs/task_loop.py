"""Moves every task one step at a time towards what is wanted of it.

The only code that has containers made, started, stopped and removed for tasks, and that has them registered with
target groups. What the next step is, `lifecycle.py` decides; what the engine shows is noted before each step. A
step may be cut off anywhere and is safe to take again: container names are derived from the task, so that what was
made before a crash is found and adopted. `starter.py` and `targets.py` do the calls of a step.
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
    ContainerState,
    Engine,
    Missing,
    Unavailable,
)
from portside.cloud.services.calls import Calls, Params
from portside.cloud.services.ecs import announcements, blueprints, lifecycle, store
from portside.cloud.services.ecs.attachments import Attachments
from portside.cloud.services.ecs.blueprints import TaskBlueprint
from portside.cloud.services.ecs.discovery import Discovery
from portside.cloud.services.ecs.holders import Holders
from portside.cloud.services.ecs.identities import Identities
from portside.cloud.services.ecs.images import ImageSource
from portside.cloud.services.ecs.outside import Outside
from portside.cloud.services.ecs.records import (
    Container,
    ContainerStatus,
    StopCode,
    Task,
    TaskStatus,
)
from portside.cloud.services.ecs.starter import Starter, StartFailed
from portside.cloud.services.ecs.targets import Targets
from portside.cloud.services.ecs.wakes import Wakes

ENGINE_RETRY = 5.0  # the engine loop wakes tasks earlier when the engine is back
TARGET_RETRY = 10.0
DRAIN_POLL = 1.0
TURN_LIMIT = 3600.0  # a pull may take long; every call inside has its own limit
SHOWN_SECONDS = 3600.0  # how long stopped tasks can be described


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
        identities: Identities,
        outside: Outside,
        cloud: str,
        wakes: Wakes,
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._log = log.bind(service="ecs")
        self._engine = engine
        self._starter = Starter(
            database=database,
            clock=clock,
            calls=calls,
            engine=engine,
            images=images,
            addresses=addresses,
            identities=identities,
            outside=outside,
            cloud=cloud,
        )
        self._attachments = Attachments(
            database=database,
            ids=ids,
            calls=calls,
            engine=engine,
            holders=Holders(engine, outside, cloud),
            outside=outside,
            addresses=addresses,
            cloud=cloud,
        )
        self._discovery = Discovery(engine, calls, self._log)
        self.targets = Targets(database, calls, self._log)
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
                        await self._starter.create(task, plan, plan.container(name), by_name[name])
                    else:
                        await self._starter.start(task, by_name[name])
                        self._wakes.container_logs(by_name[name].arn)
                except StartFailed as error:
                    self._not_started(task, name, error.reason)
            case lifecycle.Attach():
                try:
                    network = await self._attachments.attach(task, plan)
                except StartFailed as error:
                    self._halt(task.arn, StopCode.FAILED_TO_START, error.reason)
                else:
                    self._note_network(task.arn, network)
            case lifecycle.Detach():
                self._note_network(task.arn, await self._attachments.detach(task, plan))
            case lifecycle.Announce(registry):
                return await self._announce(task, registry, by_name)
            case lifecycle.Withdraw(registries):
                await self._discovery.withdraw(task, registries)
                self._change(task.arn, lambda tx, fresh: replace(fresh, discovered=[]))
            case lifecycle.Register(group):
                return await self._register(task, group, by_name)
            case lifecycle.Deregister(groups):
                await self._deregister(task, groups, by_name)
            case lifecycle.AwaitDrain(groups):
                if await self.targets.draining(task, groups, by_name):
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
        lost = task.desired is not TaskStatus.STOPPED and not await self._attachments.holds(task)
        now = self._clock.now()
        changed = []
        with self._database.write() as tx:
            fresh = store.tasks.get(tx, task.arn)
            assert fresh is not None
            records = []
            for record in store.containers_of(tx, task.arn):
                after = record
                if record.name in seen:
                    ports = plan.container(record.name).fixed_ports if plan.network == "host" else ()
                    after = lifecycle.observe(record, seen[record.name], now, ports)
                if after != record:
                    store.containers.save(tx, after)
                    changed.append(after)
                records.append(after)
            if lost:
                fresh = halted(fresh, StopCode.ESSENTIAL_EXITED, lifecycle.NETWORK_LOST, now)
                store.tasks.save(tx, fresh)
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
                    tx.after_commit(lambda: self._wakes.metrics(task.region))
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
        self._wakes.providers(task.region)

    def _note_network(self, arn: str, network: Params) -> None:
        self._change(arn, lambda tx, fresh: replace(fresh, network=network))

    # Service registries and load balancers

    async def _announce(self, task: Task, registry: str, records: dict[str, Container]) -> TurnResult:
        problem = await self._discovery.announce(task, registry, records)
        now = self._clock.now()

        def change(tx: Transaction, fresh: Task) -> Task:
            service = store.services.get(tx, fresh.service)
            if problem and service is not None:
                text = announcements.not_discovered(service.name, fresh.arn, registry, problem)
                announcements.announce(tx, self._ids, service, text, now, complaint=True)
            return fresh if problem else replace(fresh, discovered=[*fresh.discovered, registry])

        self._change(task.arn, change)
        return After(TARGET_RETRY if problem else 0)

    async def _register(self, task: Task, group: str, records: dict[str, Container]) -> TurnResult:
        problem = await self.targets.register(task, group, records)
        now = self._clock.now()

        def change(tx: Transaction, fresh: Task) -> Task:
            service = store.services.get(tx, fresh.service)
            if service is not None:
                text = announcements.registered(service.name, 1, group)
                if problem:
                    text = announcements.not_registered(service.name, task.arn, group, problem)
                announcements.announce(tx, self._ids, service, text, now, complaint=bool(problem))
            return fresh if problem else replace(fresh, registered=[*fresh.registered, group])

        self._change(task.arn, change)
        return After(TARGET_RETRY if problem else 0)

    async def _deregister(self, task: Task, groups: tuple[str, ...], records: dict[str, Container]) -> None:
        await self.targets.deregister(task, groups, records)
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

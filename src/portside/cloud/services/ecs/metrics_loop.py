"""Publishes what tasks reserve and what they use, once a minute.

Owns the four metrics of `AWS/ECS` (CPU and memory, reservation and utilisation) and what `AWS/EC2` says of
container instances. A cluster without instances has no reservation, as on AWS. Containers are asked once a period,
many at a time; what could not be observed is not published. Source: the ECS Developer Guide, "Amazon ECS
CloudWatch metrics".
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.machine.engine import Conflict, Engine, EngineError, Missing
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs import names, store, usage
from portside.cloud.services.ecs.records import (
    Container,
    ContainerStatus,
    Instance,
    InstanceStatus,
    Task,
    TaskStatus,
)
from portside.cloud.services.ecs.usage import NOTHING, Share, Used

PERIOD = 60.0
# An engine may answer with its own next sample only, up to a second later; waiting for it costs nothing.
AT_ONCE = 50
MOST_DATA = 500
# A container's first sample stands for all of its life, if that is not much longer than a period.
FIRST = 1.5


class MetricsLoop:
    """Keys are regions."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        log: Log,
        account: str,
        engine: Engine,
    ) -> None:
        self._db = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._log = log.bind(service="ecs")
        self._account = account
        self._engine = engine
        self._room = asyncio.Semaphore(AT_ONCE)
        self._next: dict[str, float] = {}
        # By the engine's id: seconds used, and when that was.
        self._last: dict[str, tuple[float, float]] = {}
        self.loop = Loop("ecs-metrics", self.turn, clock, log)

    def resume(self) -> None:
        regions = {each.region for each in self._instances()}
        regions |= {each.region for each in store.live_tasks(self._db)}
        for region in regions:
            self.loop.wake(region)

    def _instances(self) -> list[Instance]:
        return store.instances.where(self._db, "status <> ?", InstanceStatus.INACTIVE)

    async def turn(self, key: str) -> TurnResult:
        instances = [each for each in self._instances() if each.region == key]
        tasks = [each for each in store.live_tasks(self._db) if each.region == key]
        if not instances and not tasks:
            self._next.pop(key, None)
            return Done()
        now = self._clock.now()
        early = self._next.get(key, 0.0) - now
        if early > 0:
            return After(early)
        running = [each for each in tasks if each.status is TaskStatus.RUNNING]
        used = await self._used(running)
        await self._publish(key, "AWS/ECS", _reservations(instances, tasks, now))
        if used is not None:
            await self._publish(key, "AWS/ECS", _services(running, used, now))
            shares = _shares(instances, running, used)
            await self._publish(key, "AWS/ECS", _clusters(instances, shares, now))
            await self._publish(key, "AWS/EC2", _hosts(instances, shares, now))
        # In the middle of the next period, so that every period has one datum whatever the turn took.
        length = self._pace.wait(PERIOD)
        self._next[key] = (math.floor(now / length) + 1.5) * length
        return After(self._next[key] - self._clock.now())

    async def _publish(self, region: str, namespace: str, data: list[Params]) -> None:
        caller = Caller.root(self._account, region)
        for begin in range(0, len(data), MOST_DATA):
            params = {"Namespace": namespace, "MetricData": data[begin : begin + MOST_DATA]}
            await self._calls("cloudwatch", "PutMetricData", params, caller)

    # Sampling

    async def _used(self, tasks: list[Task]) -> dict[str, Used] | None:
        """What each task uses, by ARN; without those of which nothing is known. None while the engine is away."""
        containers = {
            task.arn: [
                each
                for each in store.containers_of(self._db, task.arn)
                if each.status is ContainerStatus.RUNNING and each.engine_id
            ]
            for task in tasks
        }
        every = [each for found in containers.values() for each in found]
        try:
            samples = await asyncio.gather(*(self._sample(each) for each in every))
        except EngineError as error:
            self._log.warning("usage not sampled", reason=error.reason)
            return None
        by_container = dict(zip((each.arn for each in every), samples, strict=True))
        alive = {each.engine_id for each in every}
        self._last = {key: value for key, value in self._last.items() if key in alive}
        found = {}
        for arn, parts in containers.items():
            of_task = [by_container[each.arn] for each in parts]
            if of_task and None not in of_task:
                found[arn] = sum((each for each in of_task if each is not None), NOTHING)
        return found

    async def _sample(self, container: Container) -> Used | None:
        async with self._room:
            try:
                seen = await self._engine.stats(container.engine_id)
            except (Missing, Conflict):
                return None  # it has ended meanwhile
        before = self._last.get(container.engine_id)
        if before is None and container.started_at is not None:
            young = seen.at - container.started_at <= FIRST * self._pace.wait(PERIOD)
            before = (0.0, container.started_at) if young else None
        self._last[container.engine_id] = (seen.cpu, seen.at)
        cpu = None if before is None else usage.between(before, seen.cpu, seen.at)
        return Used(cpu, seen.memory / usage.MIB)


def _reservations(instances: list[Instance], tasks: list[Task], now: float) -> list[Params]:
    data = []
    for cluster in sorted({each.cluster for each in instances}):
        here = [each for each in instances if each.cluster == cluster]
        placed = [each for each in tasks if each.cluster == cluster and each.instance]
        for name, reserved, offered in (
            ("CPUReservation", sum(t.cpu for t in placed), sum(i.cpu for i in here)),
            ("MemoryReservation", sum(t.memory for t in placed), sum(i.memory for i in here)),
        ):
            value = 100.0 * reserved / offered if offered else 0.0
            data.append(_datum(name, {"ClusterName": cluster}, now) | {"Value": value})
    return data


def _services(tasks: list[Task], used: dict[str, Used], now: float) -> list[Params]:
    data = []
    for service in sorted({each.service for each in tasks if each.service}):
        counted = [each for each in tasks if each.service == service and each.arn in used]
        if not counted:
            continue
        dimensions = {"ClusterName": counted[0].cluster, "ServiceName": names.last(service)}
        data += _pair(dimensions, [(used[each.arn], each.cpu, each.memory) for each in counted], now)
    return data


def _shares(
    instances: list[Instance], tasks: list[Task], used: dict[str, Used]
) -> dict[str, tuple[Used, int, int]]:
    """By ARN: what an instance's tasks use, and what it offers."""
    found = {}
    for instance in instances:
        parts = [used[each.arn] for each in tasks if each.instance == instance.arn and each.arn in used]
        found[instance.arn] = (sum(parts, NOTHING), instance.cpu, instance.memory)
    return found


def _clusters(instances: list[Instance], shares: dict[str, tuple[Used, int, int]], now: float) -> list[Params]:
    data = []
    for cluster in sorted({each.cluster for each in instances}):
        here = [shares[each.arn] for each in instances if each.cluster == cluster]
        data += _pair({"ClusterName": cluster}, here, now)
    return data


def _hosts(instances: list[Instance], shares: dict[str, tuple[Used, int, int]], now: float) -> list[Params]:
    data: list[Params] = []
    for instance in instances:
        data += _one("CPUUtilization", {"InstanceId": instance.ec2_id}, _cpu([shares[instance.arn]]), now)
    for group in sorted({each.group_name for each in instances if each.group_name}):
        here = [shares[each.arn] for each in instances if each.group_name == group]
        data += _one("CPUUtilization", {"AutoScalingGroupName": group}, _cpu(here), now)
    return data


def _pair(dimensions: dict[str, str], parts: list[tuple[Used, int, int]], now: float) -> list[Params]:
    memory = [Share(used.memory, has) for used, _, has in parts]
    return _one("CPUUtilization", dimensions, _cpu(parts), now) + _one(
        "MemoryUtilization", dimensions, memory, now
    )


def _cpu(parts: list[tuple[Used, int, int]]) -> list[Share]:
    return [Share(used.cpu, has) for used, has, _ in parts if used.cpu is not None]


def _one(name: str, dimensions: dict[str, str], shares: Iterable[Share], now: float) -> list[Params]:
    found = usage.statistics(shares)
    return [] if found is None else [_datum(name, dimensions, now) | {"StatisticValues": found}]


def _datum(name: str, dimensions: dict[str, str], now: float) -> Params:
    shown = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"MetricName": name, "Dimensions": shown, "Timestamp": now, "Unit": "Percent"}

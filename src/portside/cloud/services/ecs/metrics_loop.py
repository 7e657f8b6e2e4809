"""Publishes what tasks reserve of their clusters: CPUReservation and MemoryReservation, once a minute.

Owns these two metrics of `AWS/ECS`. A cluster without instances has none, as on AWS. Source: the ECS Developer
Guide, "Amazon ECS CloudWatch metrics".
"""

from __future__ import annotations

import math

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.records import Instance, InstanceStatus

PERIOD = 60.0


class MetricsLoop:
    """Keys are regions."""

    def __init__(
        self, *, database: Database, clock: Clock, pace: Pace, calls: Calls, log: Log, account: str
    ) -> None:
        self._db = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._account = account
        self.loop = Loop("ecs-metrics", self.turn, clock, log)

    def resume(self) -> None:
        for region in {each.region for each in self._instances()}:
            self.loop.wake(region)

    def _instances(self) -> list[Instance]:
        return store.instances.where(self._db, "status <> ?", InstanceStatus.INACTIVE)

    async def turn(self, key: str) -> TurnResult:
        length = self._pace.wait(PERIOD)
        instances = [each for each in self._instances() if each.region == key]
        if not instances:
            return Done()
        now = self._clock.now()
        data: list[Params] = []
        for cluster in sorted({each.cluster for each in instances}):
            here = [each for each in instances if each.cluster == cluster]
            tasks = [each for each in store.live_tasks_of_cluster(self._db, key, cluster) if each.instance]
            for name, used, offered in (
                ("CPUReservation", sum(t.cpu for t in tasks), sum(i.cpu for i in here)),
                ("MemoryReservation", sum(t.memory for t in tasks), sum(i.memory for i in here)),
            ):
                data.append(
                    {
                        "MetricName": name,
                        "Dimensions": [{"Name": "ClusterName", "Value": cluster}],
                        "Timestamp": now,
                        "Unit": "Percent",
                        "Value": 100.0 * used / offered if offered else 0.0,
                    }
                )
        caller = Caller(self._account, key, f"arn:aws:iam::{self._account}:root")
        await self._calls("cloudwatch", "PutMetricData", {"Namespace": "AWS/ECS", "MetricData": data}, caller)
        # In the middle of the next period, so that every period has one datum whatever the turn took.
        middle = (math.floor(now / length) + 1.5) * length
        return After(middle - self._clock.now())

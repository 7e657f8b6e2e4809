"""The ECS world with CloudWatch, EC2 Auto Scaling's policies and Application Auto Scaling, all at a fast pace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from portside.cloud.kernel.clock import FAST_PACE
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.applicationautoscaling.service import ApplicationAutoScaling
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudwatch.api import CloudWatchApi
from portside.testing.server import ACCOUNT, quiet_log
from worlds.ecs import VirtualWorld, virtual_world

RESOURCE = "service/default/web"
SERVICE = {"ServiceNamespace": "ecs", "ResourceId": RESOURCE, "ScalableDimension": "ecs:service:DesiredCount"}


class ScalingWorld:
    """`await scaling.call("PutScalingPolicy", PolicyName="cpu", ...)`: the target is filled in."""

    def __init__(self, world: VirtualWorld, scaling: ApplicationAutoScaling, watch: CloudWatchApi) -> None:
        self.ecs = world
        self.clock = world.clock
        self.engine = world.engine
        self.scaling = scaling
        self.watch = watch

    async def call(self, operation: str, **params: Any) -> Params:
        described = operation.startswith("Describe")
        given: Params = {"ServiceNamespace": "ecs"} if described else dict(SERVICE)
        return await self.ecs.call(operation, given | params, "application-autoscaling")

    async def alarms(self) -> dict[str, str]:
        """The state of each by name."""
        found = await self.ecs.call("DescribeAlarms", {}, "cloudwatch")
        return {each["AlarmName"]: each["StateValue"] for each in found["MetricAlarms"]}

    async def activities(self) -> list[Params]:
        """Newest first."""
        found: list[Params] = (await self.call("DescribeScalingActivities"))["ScalingActivities"]
        return found

    def load(self, cores: float) -> None:
        """Of every task that runs now."""
        for each in self.engine.running:
            self.engine.set_load(each.id, cores=cores)

    def spread(self, cores: float) -> None:
        """A load that the running tasks share."""
        running = self.engine.running
        self.load(cores / len(running) if running else 0.0)

    @property
    def desired(self) -> int:
        return int(self.ecs.service()["desiredCount"])

    @property
    def running(self) -> int:
        return len(self.ecs.running())


@asynccontextmanager
async def scaling_world(path: Path, **more: Any) -> AsyncIterator[ScalingWorld]:
    async with virtual_world(path, pace=FAST_PACE, **more) as world:
        del world.calls.answers["cloudwatch", "PutMetricData"]
        shared = {
            "database": world.database,
            "clock": world.clock,
            "pace": FAST_PACE,
            "calls": world.calls,
            "log": quiet_log(),
            "account": ACCOUNT,
        }
        scaling = ApplicationAutoScaling(ids=Ids(), **shared)
        watch = CloudWatchApi(**shared, policies=scaling.execution)
        world.calls.add(watch.service())
        world.calls.add(scaling.service())
        async with watch, scaling:
            yield ScalingWorld(world, scaling, watch)


async def with_service(made: ScalingWorld, count: int = 1, least: int = 1, most: int = 5) -> None:
    """A service of tasks that reserve a quarter of a core, registered as a target."""
    await made.ecs.register(memory=64, cpu=256)
    await made.ecs.create_service(count=count)
    await made.ecs.until_steady()
    await made.call("RegisterScalableTarget", MinCapacity=least, MaxCapacity=most)

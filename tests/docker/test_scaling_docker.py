"""Service auto scaling on a real engine: a busy container is seen to be busy, and gets company."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.clock import Pace, SystemClock
from portside.cloud.kernel.ids import Ids
from portside.cloud.machine.docker import DockerEngine
from portside.cloud.services.applicationautoscaling.service import ApplicationAutoScaling
from portside.cloud.services.cloudwatch.api import CloudWatchApi
from portside.testing.server import ACCOUNT, quiet_log
from worlds.ecs import World
from worlds.scaling import SERVICE

pytestmark = pytest.mark.docker

# A minute is three seconds.
PACE = Pace(0.05, 0.2)
BUSY = "trap 'exit 0' TERM; while [ ! -e /tmp/quiet ]; do :; done; while sleep 0.2; do :; done"


async def quiet() -> AsyncIterator[bytes]:
    """The file that ends the work."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("quiet"))
    yield content.getvalue()


async def until(reached: Callable[[], Any], limit: float) -> None:
    async with asyncio.timeout(limit):
        while not reached():
            await asyncio.sleep(0.1)


async def test_a_busy_container_gets_company_and_a_quiet_one_loses_it(
    tmp_path: Path, docker: DockerEngine, cloud_id: str, busybox: str
) -> None:
    world = World(tmp_path / "state.db", SystemClock(), docker, PACE, cloud_id)
    del world.calls.answers["cloudwatch", "PutMetricData"]
    shared: dict[str, Any] = {
        "database": world.database,
        "clock": world.clock,
        "pace": PACE,
        "calls": world.calls,
        "log": quiet_log(),
        "account": ACCOUNT,
    }
    scaling = ApplicationAutoScaling(ids=Ids(), **shared)
    watch = CloudWatchApi(**shared, policies=scaling.execution)
    world.calls.add(watch.service())
    world.calls.add(scaling.service())
    world.ec2.launch(1)
    await world.call("CreateCluster")

    def connected() -> bool:
        return bool(world.database.read("SELECT 1 FROM ecs_instance WHERE connected = 1"))

    async with world.ecs, watch, scaling:
        world.ecs.capacity.wake()
        await until(connected, 30)
        await world.register(image=busybox, command=["sh", "-c", BUSY], cpu=128, memory=64, stopTimeout=1)
        await world.create_service()
        await until(lambda: len(world.running()) == 1, 30)
        await world.call(
            "RegisterScalableTarget", {**SERVICE, "MinCapacity": 1, "MaxCapacity": 2}, "application-autoscaling"
        )
        specification = {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
        policy = {
            "PolicyName": "cpu",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 50.0,
                "PredefinedMetricSpecification": specification,
            },
        }
        await world.call("PutScalingPolicy", {**SERVICE, **policy}, "application-autoscaling")
        await until(lambda: len(world.running()) == 2, 40)
        for each in await docker.containers({"portside.cloud": cloud_id}):
            await docker.put_archive(each.id, "/tmp", quiet())
        await until(lambda: world.service()["desiredCount"] == 1, 80)
        await until(lambda: len(world.running()) == 1, 20)
        asked = {"ServiceNamespace": "ecs"}
        found = await world.call("DescribeScalingActivities", asked, "application-autoscaling")
        assert [each["Description"] for each in found["ScalingActivities"]][-1] == "Setting desired count to 2."
        await world.call("DeleteService", {"service": "web", "force": True})
        await until(lambda: not world.tasks(), 30)
    world.database.close()

"""Capacity providers over the real ancillary services: what ECS asks of Auto Scaling and EC2 is really there."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.clock import Pace, SystemClock
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.calls import Params
from portside.testing.engine import RUNS, FakeEngine
from portside.testing.server import ACCOUNT, quiet_log
from worlds.ecs import CALLER, World

EC2 = (
    "DescribeInstances",
    "DescribeInstanceAttribute",
    "DescribeInstanceTypes",
    "DescribeLaunchTemplateVersions",
    "DescribeSubnets",
    "DescribeImages",
    "CreateLaunchTemplate",
    "TerminateInstances",
)
AUTO_SCALING = (
    "CreateAutoScalingGroup",
    "CreateOrUpdateTags",
    "DescribeLifecycleHooks",
    "DeleteLifecycleHook",
    "DescribeTags",
)
PACE = Pace(0.002, 0.05)
SCRIPT = "#!/bin/bash\necho ECS_CLUSTER=default >> /etc/ecs/ecs.config\n"


@asynccontextmanager
async def real(path: Path) -> AsyncIterator[World]:
    clock = SystemClock()
    engine = FakeEngine(clock, {"app": RUNS})
    async with Ancillary(directory=path, account=ACCOUNT, endpoint="", log=quiet_log()) as ancillary:
        world = World(path / "state.db", clock, engine, PACE)

        def ask(service: str, operation: str) -> Callable[[Params], Any]:
            async def answer(params: Params) -> Params:
                found = await ancillary(service, operation, params, CALLER)
                world.ecs.capacity.wake()
                return found

            return answer

        del world.calls.answers["autoscaling", "DescribeAutoScalingGroups"]
        world.calls.answers |= {("ec2", each): ask("ec2", each) for each in EC2}
        world.calls.answers |= {("autoscaling", each): ask("autoscaling", each) for each in AUTO_SCALING}

        async def through(service: str, operation: str, params: Params, caller: Any) -> Params:
            return await ask(service, operation)(params)  # type: ignore[no-any-return]

        api = AutoScalingApi(
            database=world.database,
            clock=clock,
            pace=PACE,
            calls=world.calls,
            log=quiet_log(),
            ancillary=through,
        )
        world.calls.add(api.service())
        assert api.groups is not None
        async with api.groups.loop, world.ecs:
            await world.call("CreateCluster")
            yield world
        await engine.close()
        world.database.close()


async def until(reached: Callable[[], Any], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = reached()
            if await found if hasattr(found, "__await__") else found:
                return
            await asyncio.sleep(0.05)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_group_of_a_launch_template_grows_is_protected_and_is_drained(directory: Path) -> None:
    async with real(directory) as world:
        images = await world.call("DescribeImages", {}, "ec2")
        data = {
            "ImageId": images["Images"][0]["ImageId"],
            "InstanceType": "t3.small",
            "UserData": base64.b64encode(SCRIPT.encode()).decode(),
        }
        await world.call(
            "CreateLaunchTemplate", {"LaunchTemplateName": "nodes", "LaunchTemplateData": data}, "ec2"
        )
        await world.call(
            "CreateAutoScalingGroup",
            {
                "AutoScalingGroupName": "nodes",
                "MinSize": 0,
                "MaxSize": 4,
                "AvailabilityZones": ["us-east-1a"],
                "LaunchTemplate": {"LaunchTemplateName": "nodes", "Version": "$Latest"},
                "NewInstancesProtectedFromScaleIn": True,
            },
            "autoscaling",
        )

        async def group() -> Params:
            found = await world.call(
                "DescribeAutoScalingGroups", {"AutoScalingGroupNames": ["nodes"]}, "autoscaling"
            )
            one: Params = found["AutoScalingGroups"][0]
            return one

        arn = (await group())["AutoScalingGroupARN"]
        await world.call(
            "CreateCapacityProvider",
            {
                "name": "nodes",
                "autoScalingGroupProvider": {
                    "autoScalingGroupArn": arn,
                    "managedScaling": {"status": "ENABLED", "instanceWarmupPeriod": 30},
                    "managedTerminationProtection": "ENABLED",
                },
            },
        )
        assert "AmazonECSManaged" in {each["Key"] for each in (await group())["Tags"]}
        item = {"capacityProvider": "nodes", "weight": 1}
        await world.call(
            "PutClusterCapacityProviders",
            {"cluster": "default", "capacityProviders": ["nodes"], "defaultCapacityProviderStrategy": [item]},
        )
        # A t3.small registers 1945 MiB: three tasks fit on one.
        await world.register(memory=600)
        await world.create_service(count=4)
        await until(lambda: world.steady())
        shown = await group()
        assert (shown["DesiredCapacity"], len(shown["Instances"])) == (2, 2)
        assert all(each["ProtectedFromScaleIn"] for each in shown["Instances"])
        assert {each["capacityProviderName"] for each in world.running()} == {"nodes"}
        # An instance is killed from outside: the group replaces it, and the service its tasks.
        victim = shown["Instances"][0]["InstanceId"]
        await world.call("TerminateInstances", {"InstanceIds": [victim]}, "ec2")
        await until(lambda: len(world.running()) == 4 and world.steady())
        assert victim not in {each["InstanceId"] for each in (await group())["Instances"]}
        # What is no longer needed goes, although everything new is protected.
        await world.call("UpdateService", {"service": "web", "desiredCount": 0})

        async def empty() -> bool:
            return not (await group())["Instances"]

        await until(empty)
        assert (await group())["DesiredCapacity"] == 0

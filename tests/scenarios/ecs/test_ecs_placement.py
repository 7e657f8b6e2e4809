"""Where tasks go, end to end in virtual time: named instances, architectures, queries, zones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from worlds.ecs import VirtualWorld, virtual_world


async def instances(world: VirtualWorld) -> list[str]:
    found: list[str] = (await world.call("ListContainerInstances"))["containerInstanceArns"]
    return found


async def test_start_task_puts_tasks_on_the_instances_that_are_named(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=2) as world:
        await world.register(portMappings=[{"containerPort": 80, "hostPort": 80}])
        first, second = await instances(world)
        await world.call("UpdateContainerInstancesState", {"containerInstances": [second], "status": "DRAINING"})
        answer = await world.call(
            "StartTask",
            {"taskDefinition": "web", "containerInstances": [first, first, second, "nothing"], "startedBy": "me"},
        )
        (task,) = answer["tasks"]
        assert (task["containerInstanceArn"], task["startedBy"]) == (first, "me")
        assert [each["reason"] for each in answer["failures"]] == ["RESOURCE:PORTS", "INACTIVE", "MISSING"]
        await world.until(lambda: len(world.running()) == 1, 30)


async def test_a_task_for_another_architecture_is_not_placed(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.call(
            "RegisterTaskDefinition",
            {
                "family": "web",
                "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
                "containerDefinitions": [{"name": "app", "image": "app", "memory": 64}],
            },
        )
        answer = await world.call("RunTask", {"taskDefinition": "web"})
        assert answer["tasks"] == []
        assert answer["failures"][0]["reason"] == "ATTRIBUTE"
        await world.create_service()
        await world.clock.advance(3)
        assert any("is missing an attribute required by your task" in each for each in world.events())


async def test_a_task_that_wants_a_gpu_is_not_placed(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(resourceRequirements=[{"type": "GPU", "value": "1"}])
        answer = await world.call("RunTask", {"taskDefinition": "web"})
        assert [each["reason"] for each in answer["failures"]] == ["RESOURCE:GPU"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("attribute:ecs.availability-zone == us-east-1a", 1),
        ("attribute:ecs.instance-type =~ t3.*", 3),
        ("attribute:rack exists", 1),
        ("attribute:rack !exists", 2),
        ("task:group == service:web", 1),
        ("task:group == service:web and runningTasksCount == 1", 1),
        ("runningTasksCount < 1", 2),
        ("registeredAt > 2000-01-01T00:00:00Z", 3),
        ("agentConnected == true and not(attribute:rack exists)", 2),
        ("attribute:ecs.availability-zone in [us-east-1a, us-east-1b]", 2),
        ("attribute:ecs.availability-zone not in [us-east-1a]", 2),
        ("attribute:ecs.availability-zone !in [us-east-1a]", 2),
        ("agentVersion >= 1.9.0", 3),
    ],
)
async def test_instances_can_be_asked_for_by_the_query_language(tmp_path: Path, query: str, expected: int) -> None:
    async with virtual_world(tmp_path, instances=3) as world:
        await world.register()
        await world.create_service()
        await world.until_steady()
        rack = {"name": "rack", "value": "7", "targetType": "container-instance"}
        target = (await instances(world))[0]
        await world.call("PutAttributes", {"attributes": [rack | {"targetId": target}]})
        answer = await world.call("ListContainerInstances", {"filter": query})
        assert len(answer["containerInstanceArns"]) == expected


async def test_custom_attributes_have_limits(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        (target,) = await instances(world)

        async def put(name: str, value: str = "x") -> Any:
            return await world.call(
                "PutAttributes", {"attributes": [{"name": name, "value": value, "targetId": target}]}
            )

        for number in range(10):
            await put(f"a{number}")
        with pytest.raises(AwsError) as refused:
            await put("a10")
        assert refused.value.code == "AttributeLimitExceededException"
        for name, value in (("with space", "x"), ("a1", "x" * 129)):
            with pytest.raises(AwsError) as wrong:
                await put(name, value)
            assert wrong.value.code == "InvalidParameterException"


async def test_a_service_is_rebalanced_when_a_zone_comes_back(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=1) as world:
        await world.register(memory=64)
        await world.create_service(count=4)
        await world.until_steady()
        assert world.service()["availabilityZoneRebalancing"] == "ENABLED"
        world.put_instance(2, zone="b")
        least = [4]

        def balanced() -> bool:
            least.append(len(world.running()))
            return Counter(each["availabilityZone"][-1] for each in world.running()) == {"a": 2, "b": 2}

        await world.until(balanced, 900)
        await world.until_steady()
        assert min(least) == 4, "the new task was healthy before the old one was stopped"
        assert any(
            "is not AZ balanced with 4 tasks in us-east-1a, 0 tasks in us-east-1b" in e for e in world.events()
        )
        stopped = len(world.tasks("STOPPED"))
        await world.clock.advance(600)
        assert len(world.tasks("STOPPED")) == stopped, "and then it rests"


async def test_a_service_that_does_not_want_it_stays_where_it_is(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=1) as world:
        await world.register(memory=64)
        await world.create_service(count=4, availabilityZoneRebalancing="DISABLED")
        await world.until_steady()
        world.put_instance(2, zone="b")
        await world.clock.advance(600)
        assert {each["availabilityZone"][-1] for each in world.running()} == {"a"}
        with pytest.raises(AwsError) as refused:
            await world.create_service(
                "other",
                availabilityZoneRebalancing="ENABLED",
                deploymentConfiguration={"maximumPercent": 100},
            )
        assert "maximumPercent" in refused.value.message

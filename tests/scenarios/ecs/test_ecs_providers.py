"""Capacity providers in virtual time: their tasks, their group's size, and Fargate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.testing.server import REGION
from worlds.ecs import VirtualWorld
from worlds.groups import ARN, grouped


async def provider(world: VirtualWorld, name: str, arn: str, *, scaling: Any = None, **more: Any) -> Params:
    given: Params = {"autoScalingGroupArn": arn, **more}
    if scaling is not None:
        given["managedScaling"] = {"status": "ENABLED", **scaling}
    answer = await world.call("CreateCapacityProvider", {"name": name, "autoScalingGroupProvider": given})
    found: Params = answer["capacityProvider"]
    return found


async def associate(world: VirtualWorld, *names: str, default: Any = ()) -> Params:
    answer = await world.call(
        "PutClusterCapacityProviders",
        {
            "cluster": "default",
            "capacityProviders": list(names),
            "defaultCapacityProviderStrategy": list(default),
        },
    )
    found: Params = answer["cluster"]
    return found


def where(world: VirtualWorld) -> Counter[str]:
    return Counter(each.get("capacityProviderName") or "" for each in world.running())


async def test_tasks_are_split_by_base_and_weight_and_stay_on_their_providers_instances(tmp_path: Path) -> None:
    async with grouped(tmp_path, instances=1) as (world, groups):
        one, two = groups.add("one", desired=1), groups.add("two", desired=1)
        await world.clock.advance(2)
        await provider(world, "first", one)
        await provider(world, "second", two)
        await associate(world, "first", "second")
        await world.register(memory=64)
        strategy = [
            {"capacityProvider": "first", "base": 2, "weight": 1},
            {"capacityProvider": "second", "weight": 3},
        ]
        await world.create_service(count=10, capacityProviderStrategy=strategy)
        await world.until_steady()
        assert where(world) == {"first": 4, "second": 6}
        homes = {each["capacityProviderName"]: set() for each in world.running()}
        for each in world.running():
            homes[each["capacityProviderName"]].add(each["containerInstanceArn"])
        assert [len(each) for each in homes.values()] == [1, 1]
        shown = world.service()
        assert "launchType" not in shown
        assert shown["capacityProviderStrategy"] == shown["deployments"][0]["capacityProviderStrategy"]
        assert shown["capacityProviderStrategy"][1] == {"capacityProvider": "second", "weight": 3, "base": 0}


async def test_another_strategy_is_another_deployment(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        await provider(world, "first", groups.add("one", desired=1))
        await provider(world, "second", groups.add("two", desired=1))
        shown = await associate(world, "first", "second", default=[{"capacityProvider": "first", "weight": 1}])
        assert shown["capacityProviders"] == ["first", "second"]
        await world.register(memory=64)
        await world.create_service(count=2)
        await world.until_steady()
        assert where(world) == {"first": 2}, "the cluster's default strategy"
        before = world.service()["deployments"][0]["id"]
        await world.call(
            "UpdateService",
            {"service": "web", "capacityProviderStrategy": [{"capacityProvider": "second", "weight": 1}]},
        )
        await world.until_steady()
        assert where(world) == {"second": 2}
        assert world.service()["deployments"][0]["id"] != before


async def test_a_provider_in_use_stays_associated_and_there(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        await provider(world, "first", groups.add("one", desired=1))
        await associate(world, "first", default=[{"capacityProvider": "first", "weight": 1}])
        await world.register(memory=64)
        await world.create_service(count=1)
        await world.until_steady()
        with pytest.raises(AwsError) as used:
            await associate(world)
        assert used.value.code == "ResourceInUseException"
        with pytest.raises(AwsError) as associated:
            await world.call("DeleteCapacityProvider", {"capacityProvider": "first"})
        assert "associated with cluster" in associated.value.message
        await world.call("DeleteService", {"service": "web", "force": True})
        await world.until(lambda: not world.running())
        await world.clock.advance(60)
        await associate(world)
        gone = await world.call("DeleteCapacityProvider", {"capacityProvider": "first"})
        assert gone["capacityProvider"]["status"] == "INACTIVE"
        left = await world.call("DescribeCapacityProviders", {"capacityProviders": ["first"]})
        assert left["failures"][0]["reason"] == "MISSING"


async def test_managed_scaling_brings_instances_for_waiting_tasks_and_takes_empty_ones_away(
    tmp_path: Path,
) -> None:
    async with grouped(tmp_path) as (world, groups):
        arn = groups.add("one", protected=True)
        made = await provider(
            world, "first", arn, scaling={"targetCapacity": 100}, managedTerminationProtection="ENABLED"
        )
        assert made["autoScalingGroupProvider"]["managedScaling"]["instanceWarmupPeriod"] == 300
        assert groups.groups["one"]["Tags"][0]["Key"] == "AmazonECSManaged"
        await associate(world, "first", default=[{"capacityProvider": "first", "weight": 1}])
        # A t3.small registers 1945 MiB: three tasks fit on one.
        await world.register(memory=600, cpu=128)
        await world.create_service(count=4)
        await world.until_steady()
        assert len(groups.groups["one"]["Instances"]) == 2, "two at once, for four tasks of which three fit on one"
        assert not any("unable to place" in each for each in world.events())
        assert all(groups.protected("one"))
        published = [
            each["MetricData"][0]
            for each in world.calls.asked("cloudwatch", "PutMetricData")
            if each["Namespace"] == "AWS/ECS/ManagedScaling"
        ]
        assert {each["MetricName"] for each in published} == {"CapacityProviderReservation"}
        assert 200.0 in {each["Value"] for each in published}
        assert published_last(world) == 100.0
        await world.call("UpdateService", {"service": "web", "desiredCount": 0})
        await world.until(lambda: not world.running(), 600)
        await world.clock.advance(500)
        assert len(groups.groups["one"]["Instances"]) == 2, "the low alarm wants fifteen minutes of it"
        await world.until(lambda: not groups.groups["one"]["Instances"], 1800)
        assert groups.groups["one"]["DesiredCapacity"] == 0


def published_last(world: VirtualWorld) -> float:
    found = [
        each["MetricData"][0]["Value"]
        for each in world.calls.asked("cloudwatch", "PutMetricData")
        if each["Namespace"] == "AWS/ECS/ManagedScaling"
    ]
    return float(found[-1])


async def test_steps_are_bounded_and_wait_for_warm_up(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        arn = groups.add("one")
        await provider(world, "first", arn, scaling={"maximumScalingStepSize": 1, "instanceWarmupPeriod": 120})
        await associate(world, "first")
        await world.register(memory=1500)
        answer = await world.call(
            "RunTask",
            {
                "taskDefinition": "web",
                "count": 3,
                "capacityProviderStrategy": [{"capacityProvider": "first", "weight": 1}],
            },
        )
        assert [each["lastStatus"] for each in answer["tasks"]] == ["PROVISIONING"] * 3
        assert answer["failures"] == []
        await world.until(lambda: len(world.running()) == 1, 60)
        await world.clock.advance(60)
        assert groups.groups["one"]["DesiredCapacity"] == 1, "one per step, and the first one warms up"
        await world.until(lambda: len(world.running()) == 3, 600)
        assert groups.groups["one"]["DesiredCapacity"] == 3


async def test_tasks_that_no_instance_of_the_group_could_hold_do_not_make_it_grow(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        await provider(world, "first", groups.add("one"), scaling={})
        await associate(world, "first", default=[{"capacityProvider": "first", "weight": 1}])
        await world.register(memory=9000)
        await world.create_service(count=1)
        await world.clock.advance(600)
        assert groups.groups["one"]["DesiredCapacity"] == 0
        assert [each["lastStatus"] for each in world.tasks()] == ["PROVISIONING"]


async def test_a_waiting_task_can_be_stopped(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        await provider(world, "first", groups.add("one", most=0), scaling={})
        await associate(world, "first", default=[{"capacityProvider": "first", "weight": 1}])
        await world.register()
        (task,) = (await world.call("RunTask", {"taskDefinition": "web"}))["tasks"]
        await world.call("StopTask", {"task": task["taskArn"]})
        await world.until(lambda: bool(world.tasks("STOPPED")), 30)
        assert world.tasks("STOPPED")[0]["lastStatus"] == "STOPPED"


async def test_an_instance_that_its_group_takes_away_is_drained_first(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        await provider(world, "first", groups.add("one", desired=2))
        await associate(world, "first", default=[{"capacityProvider": "first", "weight": 1}])
        await world.register(memory=64)
        await world.create_service(count=2)
        await world.until_steady()
        lowest = [2]

        def watch() -> bool:
            lowest.append(len(world.running()))
            return len(groups.groups["one"]["Instances"]) == 1

        groups.set({"AutoScalingGroupName": "one", "DesiredCapacity": 1})
        assert len(world.ec2.instances) == 2, "it waits for its end"
        world.ecs.providers.loop.wake(REGION)
        await world.until(watch, 600)
        await world.until_steady()
        assert min(lowest) == 2, "the replacement ran before the task was stopped"
        assert len(world.ec2.instances) == 1


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"name": "ecs-own"}, "InvalidParameterException", "cannot begin with"),
        ({"name": "first"}, "ClientException", "already exists"),
        ({"name": "other"}, "ClientException", "already being used"),
    ],
)
async def test_what_a_provider_cannot_be(tmp_path: Path, params: Params, code: str, words: str) -> None:
    async with grouped(tmp_path) as (world, groups):
        arn = groups.add("one")
        await provider(world, "first", arn)
        given = params | {"autoScalingGroupProvider": {"autoScalingGroupArn": arn}}
        with pytest.raises(AwsError) as refused:
            await world.call("CreateCapacityProvider", given)
        assert refused.value.code == code
        assert words in refused.value.message


async def test_termination_protection_needs_a_protecting_group(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        arn = groups.add("one")
        with pytest.raises(AwsError) as refused:
            await provider(world, "first", arn, scaling={}, managedTerminationProtection="ENABLED")
        assert "must have instance protection from scale in enabled" in refused.value.message
        with pytest.raises(AwsError) as missing:
            await provider(world, "first", ARN + "none")
        assert "does not exist" in missing.value.message


# Fargate


async def fargate(world: VirtualWorld, cpu: str = "256", memory: str = "512") -> None:
    await world.call(
        "RegisterTaskDefinition",
        {
            "family": "web",
            "cpu": cpu,
            "memory": memory,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "containerDefinitions": [{"name": "app", "image": "app"}],
        },
    )


NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-a", "subnet-b"], "securityGroups": ["sg-1"]}}


async def test_fargate_tasks_have_no_instance_and_spread_over_the_zones(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, _):
        await fargate(world)
        await world.create_service(count=4, launchType="FARGATE", networkConfiguration=NETWORK)
        await world.until_steady()
        tasks = world.running()
        assert Counter(each["availabilityZone"][-1] for each in tasks) == {"a": 2, "b": 2}
        assert not any(each.get("containerInstanceArn") for each in tasks)
        assert {each["launchType"] for each in tasks} == {"FARGATE"}
        assert {each["platformVersion"] for each in tasks} == {"1.4.0"}
        shown = world.service()
        assert (shown["launchType"], shown["platformVersion"], shown["platformFamily"]) == (
            "FARGATE",
            "LATEST",
            "Linux",
        )
        assert shown["networkConfiguration"] == NETWORK


async def test_fargate_providers_are_there_without_being_made(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, _):
        listed = await world.call("DescribeCapacityProviders")
        assert {each["name"] for each in listed["capacityProviders"]} == {"FARGATE", "FARGATE_SPOT"}
        await associate(world, "FARGATE", "FARGATE_SPOT")
        await fargate(world)
        strategy = [
            {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 1},
        ]
        await world.create_service(count=3, capacityProviderStrategy=strategy, networkConfiguration=NETWORK)
        await world.until_steady()
        assert where(world) == {"FARGATE": 2, "FARGATE_SPOT": 1}
        assert {each["launchType"] for each in world.running()} == {"FARGATE"}


async def test_a_fargate_task_larger_than_what_is_left_is_refused(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, _):
        await fargate(world, "1024", "4096")
        answer = await world.call(
            "RunTask",
            {"taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": NETWORK, "count": 3},
        )
        assert len(answer["tasks"]) == 2, "the engine has 2 processors"
        assert answer["failures"][0]["reason"] == "RESOURCE:FARGATE"
        await world.create_service(count=1, launchType="FARGATE", networkConfiguration=NETWORK)
        await world.clock.advance(5)
        assert any("Capacity is unavailable at this time" in each for each in world.events())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"launchType": "FARGATE"}, "Network Configuration must be provided"),
        (
            {
                "launchType": "FARGATE",
                "networkConfiguration": NETWORK,
                "placementStrategy": [{"type": "random"}],
            },
            "Placement strategies are not supported",
        ),
        (
            {
                "launchType": "FARGATE",
                "networkConfiguration": NETWORK,
                "capacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}],
            },
            "Specifying both a launch type and capacity provider strategy",
        ),
        (
            {"launchType": "FARGATE", "networkConfiguration": NETWORK, "platformVersion": "9"},
            "The specified platform does not exist",
        ),
        (
            {
                "capacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}],
                "networkConfiguration": NETWORK,
            },
            "not associated with the cluster",
        ),
        (
            {
                "launchType": "FARGATE",
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-z"]}},
            },
            "The subnet ID 'subnet-z' does not exist",
        ),
    ],
)
async def test_what_a_call_for_fargate_must_say(tmp_path: Path, more: Params, words: str) -> None:
    async with grouped(tmp_path) as (world, _):
        await fargate(world)
        for operation in ("CreateService", "RunTask"):
            named = {"serviceName": "web"} if operation == "CreateService" else {}
            with pytest.raises(AwsError) as refused:
                await world.call(operation, {"taskDefinition": "web"} | named | more)
            assert words in refused.value.message


async def test_a_provider_whose_making_was_cut_off_is_completed(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        arn = groups.add("one")
        put = world.calls.answers.pop(("autoscaling", "PutLifecycleHook"))
        with pytest.raises(AwsError):
            await provider(world, "first", arn)
        world.calls.answers["autoscaling", "PutLifecycleHook"] = put
        assert not groups.hooks
        world.ecs.resume()
        await world.until(lambda: bool(groups.hooks), 30)
        shown = await world.call("DescribeCapacityProviders", {"capacityProviders": ["first"]})
        assert shown["capacityProviders"][0]["updateStatus"] == "CREATE_COMPLETE"


async def test_revisions_and_instances_name_their_provider(tmp_path: Path) -> None:
    async with grouped(tmp_path) as (world, groups):
        await provider(world, "first", groups.add("one", desired=1))
        await associate(world, "first", default=[{"capacityProvider": "first", "weight": 1}])
        await world.register(memory=64)
        arn = await world.create_service(count=1)
        await world.until_steady()
        listed = await world.call("ListServiceDeployments", {"service": arn, "cluster": "default"})
        revision = listed["serviceDeployments"][0]["targetServiceRevisionArn"]
        (shown,) = (await world.call("DescribeServiceRevisions", {"serviceRevisionArns": [revision]}))[
            "serviceRevisions"
        ]
        assert shown["capacityProviderStrategy"] == [{"capacityProvider": "first", "weight": 1, "base": 0}]
        arns = (await world.call("ListContainerInstances"))["containerInstanceArns"]
        (instance,) = (await world.call("DescribeContainerInstances", {"containerInstances": arns}))[
            "containerInstances"
        ]
        assert instance["capacityProviderName"] == "first"

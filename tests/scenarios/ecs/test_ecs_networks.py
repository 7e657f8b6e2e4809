"""Network modes and what hangs on them: a task's own address, host mode's ports, targets, service registries."""

from pathlib import Path
from typing import Any

import pytest

from portside.cloud.machine.engine import Phase
from portside.cloud.protocol.errors import AwsError
from portside.testing.clock import VirtualClock
from portside.testing.engine import RUNS, FakeEngine
from worlds.ecs import VirtualWorld, virtual_world

SUBNETS = {"awsvpcConfiguration": {"subnets": ["subnet-b", "subnet-a"], "securityGroups": ["sg-1"]}}
PORT = {"portMappings": [{"containerPort": 8080}]}


async def define(world: VirtualWorld, mode: str, *containers: dict[str, Any], **more: Any) -> None:
    made = [{"image": "app", "memory": 128, **each} for each in containers or [{"name": "app", **PORT}]]
    await world.call(
        "RegisterTaskDefinition", {"family": "web", "networkMode": mode, "containerDefinitions": made, **more}
    )


def holders(world: VirtualWorld) -> list[Any]:
    return [each for each in world.engine.states if "portside.holder" in each.labels]


async def test_an_awsvpc_task_has_an_address_that_its_containers_share(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "awsvpc", {"name": "app", **PORT}, {"name": "side"})
        await world.call("RunTask", {"taskDefinition": "web", "networkConfiguration": SUBNETS})
        await world.until(lambda: len(world.running()) == 1)
        (task,) = world.running()
        (holder,) = holders(world)
        details = {each["name"]: each["value"] for each in task["attachments"][0]["details"]}
        assert details["privateIPv4Address"] == holder.address
        assert details["subnetId"] == "subnet-a"  # the instance is in zone a
        assert details["networkInterfaceId"].startswith("eni-")
        for container in task["containers"]:
            assert container["networkInterfaces"][0]["privateIpv4Address"] == holder.address
            assert container["networkBindings"] == []
            assert world.engine.spec(container["runtimeId"]).network == f"container:{holder.id}"
        await world.call("StopTask", {"task": task["taskArn"]})
        await world.until(lambda: not world.engine.states)
        (stopped,) = world.tasks("STOPPED")
        assert stopped["attachments"][0]["status"] == "DELETED"


async def test_an_awsvpc_task_needs_a_subnet_in_its_zone(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "awsvpc")
        with pytest.raises(AwsError, match="Network Configuration must be provided"):
            await world.call("RunTask", {"taskDefinition": "web"})
        subnets = {"awsvpcConfiguration": {"subnets": ["subnet-c"]}}
        await world.call("RunTask", {"taskDefinition": "web", "networkConfiguration": subnets})
        await world.until(lambda: bool(world.tasks("STOPPED")))
        (task,) = world.tasks("STOPPED")
        assert task["stopCode"] == "TaskFailedToStart"
        assert "none of the subnets subnet-c is in the Availability Zone" in task["stoppedReason"]


async def test_a_network_is_not_for_bridge_tasks(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "bridge")
        with pytest.raises(AwsError, match="Network Configuration is not valid for the given networkMode"):
            await world.call("RunTask", {"taskDefinition": "web", "networkConfiguration": SUBNETS})


async def test_an_awsvpc_service_registers_its_addresses(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "awsvpc")
        balancer = {"containerName": "app", "containerPort": 8080}
        wrong = world.balancer.group("instances")
        with pytest.raises(AwsError, match="incompatible with the awsvpc network mode"):
            await world.create_service(
                networkConfiguration=SUBNETS, loadBalancers=[{**balancer, "targetGroupArn": wrong}]
            )
        group = world.balancer.group("addresses", kind="ip")
        await world.create_service(
            count=2, networkConfiguration=SUBNETS, loadBalancers=[{**balancer, "targetGroupArn": group}]
        )
        await world.until_steady()
        assert set(world.balancer.groups[group]) == {(each.address, 8080) for each in holders(world)}
        await world.call("UpdateService", {"service": "web", "desiredCount": 0})
        await world.until(lambda: not world.engine.states)
        assert world.balancer.groups[group] == {}


async def test_a_lost_holder_ends_its_task_which_is_replaced(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "awsvpc")
        await world.create_service(networkConfiguration=SUBNETS)
        await world.until_steady()
        (before,) = holders(world)
        world.engine.kill(before.id)
        await world.until(lambda: bool(world.tasks("STOPPED")) and world.steady())
        (stopped,) = world.tasks("STOPPED")
        assert "network is gone" in stopped["stoppedReason"]
        (after,) = [each for each in holders(world) if each.phase is Phase.RUNNING]
        assert after.id != before.id


async def test_a_restarted_cloud_finds_the_holder_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS})
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await define(world, "awsvpc")
        await world.create_service(networkConfiguration=SUBNETS)
        await world.until_steady()
        before = {each.id for each in engine.states}
    async with virtual_world(tmp_path, engine=engine, clock=clock) as again:
        await again.until(again.steady)
        assert {each.id for each in engine.states} == before
    await engine.close()


async def test_host_mode_joins_the_network_of_the_instance(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=2) as world:
        await define(world, "host")
        group = world.balancer.group()
        await world.create_service(
            count=2, loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}]
        )
        await world.until_steady()
        # One task on each instance, for the port is taken on its instance.
        assert len({each["containerInstanceArn"] for each in world.running()}) == 2
        assert {port for _, port in world.balancer.groups[group]} == {8080}
        joined = {world.engine.spec(each["containers"][0]["runtimeId"]).network for each in world.running()}
        assert joined == {f"container:{each.id}" for each in holders(world)}
        for task in world.running():
            (binding,) = task["containers"][0]["networkBindings"]
            assert (binding["containerPort"], binding["hostPort"]) == (8080, 8080)
        addresses = {each.address for each in holders(world)}
        known = world.database.read("SELECT ip FROM address_port WHERE port = 8080")
        assert {row["ip"] for row in known} == addresses
        await world.call("UpdateService", {"service": "web", "desiredCount": 0})
        await world.until(lambda: len(world.engine.states) == 2)
        world.ec2.instances.clear()
        world.ecs.capacity.wake()
        await world.until(lambda: not world.engine.states)


async def test_where_the_bridge_is_elsewhere_both_modes_are_refused(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.outside.bridge_address = ""
        await define(world, "host")
        await world.call("RunTask", {"taskDefinition": "web"})
        await world.until(lambda: bool(world.tasks("STOPPED")))
        assert "bridge is not on this machine" in world.tasks("STOPPED")[0]["stoppedReason"]


REGISTRY = "arn:aws:servicediscovery:us-east-1:000000000000:service/srv-1"


async def test_tasks_are_in_their_service_registry_while_they_run(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "awsvpc")
        await world.create_service(
            count=2, networkConfiguration=SUBNETS, serviceRegistries=[{"registryArn": REGISTRY, "port": 8080}]
        )
        await world.until_steady()
        await world.until(lambda: len(world.registry.entries.get("srv-1", {})) == 2)
        entries = world.registry.entries["srv-1"].values()
        assert {each["AWS_INSTANCE_IPV4"] for each in entries} == {each.address for each in holders(world)}
        assert {each["AWS_INSTANCE_PORT"] for each in entries} == {"8080"}
        assert {each["ECS_SERVICE_NAME"] for each in entries} == {"web"}
        await world.call("UpdateService", {"service": "web", "desiredCount": 0})
        await world.until(lambda: not world.engine.states)
        assert world.registry.entries["srv-1"] == {}


async def test_a_bridge_task_is_registered_with_its_container(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, "bridge")
        with pytest.raises(AwsError, match="containerName and containerPort must be specified"):
            await world.create_service(serviceRegistries=[{"registryArn": REGISTRY}])
        await world.create_service(
            serviceRegistries=[{"registryArn": REGISTRY, "containerName": "app", "containerPort": 8080}]
        )
        await world.until_steady()
        await world.until(lambda: bool(world.registry.entries))
        ((entry),) = world.registry.entries["srv-1"].values()
        assert entry["AWS_INSTANCE_IPV4"] == world.engine.running[0].address


async def test_without_a_name_server_registries_are_refused(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.outside.no_names = "port 53 of 172.17.0.1: permission denied"
        await define(world, "bridge")
        with pytest.raises(AwsError, match="permission denied"):
            await world.create_service(
                serviceRegistries=[{"registryArn": REGISTRY, "containerName": "app", "containerPort": 8080}]
            )

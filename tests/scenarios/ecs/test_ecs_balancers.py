"""Services behind a load balancer: registration, health, draining."""

from pathlib import Path

import pytest

from portside.cloud.protocol.errors import AwsError
from worlds.ecs import VirtualWorld, virtual_world

PORT = [{"containerPort": 3000}]


def behind(group: str) -> dict[str, object]:
    return {"loadBalancers": [{"targetGroupArn": group, "containerName": "app", "containerPort": 3000}]}


async def start(world: VirtualWorld, **more: object) -> str:
    group = world.balancer.group()
    await world.register(portMappings=PORT)
    await world.create_service(**behind(group), **more)
    return group


async def test_a_running_task_is_registered_and_healthy_means_the_target(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.balancer.first_state = "initial"
        group = await start(world, count=2)
        await world.until(lambda: len(world.balancer.groups[group]) == 2)
        shown = {
            (next(iter(world.ec2.instances)), task["containers"][0]["networkBindings"][0]["hostPort"])
            for task in world.running()
        }
        assert set(world.balancer.groups[group]) == shown
        await world.clock.advance(100)
        assert not world.steady(), "time alone does not make a target healthy"
        world.balancer.set_all(group, "healthy")
        await world.until_steady(limit=10)
        events = world.events()
        assert f"(service web) registered 1 targets in (target-group {group})" in events


async def test_br_17_a_target_group_without_a_load_balancer_is_refused(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register(portMappings=PORT)
        group = world.balancer.group(attached=False)
        with pytest.raises(AwsError, match="does not have an associated load balancer") as error:
            await world.create_service(**behind(group))
        assert error.value.code == "InvalidParameterException"
        assert (await world.call("ListServices"))["serviceArns"] == []


async def test_a_wrong_container_or_port_is_refused(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        with pytest.raises(AwsError, match="did not have a container port 3000 defined"):
            await world.create_service(**behind(world.balancer.group()))


async def test_a_task_drains_before_it_stops(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        group = await start(world)
        await world.until_steady()
        world.balancer.drains = True
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        await world.until(lambda: "draining" in world.balancer.groups[group].values())
        await world.clock.advance(200)
        old = [t for t in world.tasks("STOPPED") if t["lastStatus"] == "DEACTIVATING"]
        assert len(old) == 1
        assert len(world.engine.running) == 2, "it still serves"
        assert len(world.service()["deployments"]) == 2
        world.balancer.finish_draining()
        await world.until_steady(limit=10)
        assert len(world.engine.running) == 1
        events = world.events()
        drained = next(i for i, e in enumerate(events) if "has begun draining connections on 1 tasks." in e)
        completed = next(i for i, e in enumerate(events) if "deployment completed" in e)
        assert completed < drained, "newest first: completed after the draining"


async def test_br_07_without_grace_an_unhealthy_task_is_replaced(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.balancer.first_state = "unhealthy"
        group = await start(world)
        await world.until(lambda: bool(world.tasks("STOPPED")))
        stopped = world.tasks("STOPPED")[0]
        assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {group})"
        assert stopped["stopCode"] == "ServiceSchedulerInitiated"
        assert any("is unhealthy in (target-group" in event for event in world.events())
        world.balancer.first_state = "healthy"
        await world.until_steady()


async def test_br_07_within_the_grace_period_it_is_left_alone(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.balancer.first_state = "unhealthy"
        group = await start(world, healthCheckGracePeriodSeconds=60)
        await world.until(lambda: len(world.running()) == 1)
        await world.clock.advance(55)
        world.balancer.set_all(group, "healthy")
        await world.until_steady()
        assert world.tasks("STOPPED") == []
        world.balancer.set_all(group, "unhealthy")
        await world.until(lambda: bool(world.tasks("STOPPED")), limit=30)


async def test_nothing_is_decided_while_the_balancer_does_not_answer(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await start(world, count=2)
        await world.until_steady()
        world.balancer.fails = True
        await world.call("UpdateService", {"service": "web", "forceNewDeployment": True})
        await world.clock.advance(300)
        assert len(world.running()) == 2
        world.balancer.fails = False
        await world.until_steady()


async def test_a_crashed_task_is_not_waited_for(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        group = await start(world)
        await world.until_steady()
        world.balancer.drains = True
        world.engine.kill(world.engine.running[0].id)
        await world.until(lambda: any(t["lastStatus"] == "STOPPED" for t in world.tasks("STOPPED")), limit=2)
        await world.until_steady(limit=5)
        # The engine gave the port to the new task: its target must not be taken back with the old one.
        assert list(world.balancer.groups[group].values()) == ["healthy"]

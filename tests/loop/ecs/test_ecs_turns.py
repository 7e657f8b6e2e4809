"""One turn does one thing: turns called by hand, with the loops not running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from portside.cloud.kernel.clock import Pace
from portside.cloud.kernel.loop import After, Done
from portside.testing.clock import VirtualClock
from portside.testing.engine import RUNS, FakeEngine
from worlds.ecs import VirtualWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[VirtualWorld]:
    """The parts, but nothing that moves by itself."""
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS})
    made = VirtualWorld(tmp_path / "state.db", clock, engine, Pace(1.0, 0.0))
    made.ec2.launch(1)
    await made.call("CreateCluster")
    yield made
    await engine.close()
    made.database.close()


async def run_one(world: VirtualWorld) -> str:
    await world.ecs.capacity.turn("us-east-1")
    await world.ecs.engine.turn("engine")
    await world.register()
    answer = await world.call("RunTask", {"taskDefinition": "web"})
    arn: str = answer["tasks"][0]["taskArn"]
    return arn


async def test_an_instance_registers_disconnected_until_the_engine_has_answered(world: VirtualWorld) -> None:
    assert isinstance(await world.ecs.capacity.turn("us-east-1"), After)
    row = world.database.read("SELECT connected, cpu, memory FROM ecs_instance")[0]
    assert tuple(row) == (0, 2048, 1945)
    assert isinstance(await world.ecs.engine.turn("engine"), After)
    assert world.database.read("SELECT connected FROM ecs_instance")[0]["connected"] == 1
    await world.ecs.engine.close()


async def test_a_task_moves_one_step_a_turn(world: VirtualWorld) -> None:
    arn = await run_one(world)
    turn = world.ecs.tasks.turn

    def shown() -> tuple[str, str, int, int]:
        task = world._now("DescribeTasks", {"tasks": [arn]})["tasks"][0]
        engine = world.engine
        return task["lastStatus"], task["containers"][0]["lastStatus"], len(engine.states), len(engine.running)

    assert shown() == ("PENDING", "PENDING", 0, 0)
    await turn(arn)
    assert shown() == ("PENDING", "PENDING", 1, 0)
    await turn(arn)
    assert shown() == ("PENDING", "PENDING", 1, 1), "started, but not yet seen to run"
    await turn(arn)
    assert shown() == ("RUNNING", "RUNNING", 1, 1)
    assert await turn(arn) == Done()
    await world.call("StopTask", {"task": arn})
    seen = []
    while True:
        await turn(arn)
        seen.append(shown())
        if seen[-1][0] == "STOPPED":
            break
    assert seen == [
        ("STOPPING", "RUNNING", 1, 1),
        ("STOPPING", "RUNNING", 1, 0),
        ("DEPROVISIONING", "STOPPED", 1, 0),
        ("DEPROVISIONING", "STOPPED", 0, 0),
        ("STOPPED", "STOPPED", 0, 0),
    ]
    assert await turn(arn) == Done()
    await world.ecs.engine.close()


async def test_a_turn_may_be_run_twice(world: VirtualWorld) -> None:
    arn = await run_one(world)
    for _ in range(10):
        await world.ecs.tasks.turn(arn)
    assert len(world.engine.created) == 1
    await world.create_service("two")
    for _ in range(5):
        await world.ecs.services.turn("arn:aws:ecs:us-east-1:000000000000:service/default/two")
    assert len(world.tasks()) == 2
    await world.ecs.engine.close()


async def test_a_service_turn_touches_no_container(world: VirtualWorld) -> None:
    await run_one(world)
    await world.create_service("two", count=3)
    await world.ecs.services.turn("arn:aws:ecs:us-east-1:000000000000:service/default/two")
    assert len(world.tasks()) == 4
    assert world.engine.created == []
    await world.ecs.engine.close()


async def test_turns_of_what_is_not_there_are_done(world: VirtualWorld) -> None:
    assert await world.ecs.tasks.turn("arn:none") == Done()
    assert await world.ecs.services.turn("arn:none") == Done()
    assert await world.ecs.logs.turn("arn:none") == Done()
    assert await world.ecs.capacity.turn("eu-west-1") is not None

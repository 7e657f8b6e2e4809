"""The cloud is killed at every write along a delivery: the commit still arrives, built once, asked about once."""

from __future__ import annotations

import asyncio
import json

import pytest

from worlds.pipelines import Killed, World, delivery, template

ROUNDS = 4


async def walk(world: World) -> None:
    """One delivery, begun or taken up wherever it stands."""
    if world.bindings.path("acme/app") is None:
        await world.bindings.bind("acme/app", "/checkout")
    if not (await world.call("ListPipelines"))["pipelines"]:
        await world.create(delivery())
    sql = "SELECT status FROM cp_execution"
    waiting = "SELECT status FROM cp_action WHERE action = 'Approve'"
    await world.patient(lambda: world.dead or world.rows(waiting) != [])
    if not world.dead and world.rows(waiting) == [("InProgress",)]:
        await world.approve()
    await world.patient(lambda: world.dead or world.rows(sql) == [("Succeeded",)])


@pytest.mark.parametrize("part", range(ROUNDS))
async def test_a_kill_at_any_write_neither_loses_nor_doubles_anything(tmp_path, part):
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    number = part + 1
    while True:
        world = World(tmp_path / f"{number}.db")
        world.repositories.commit_files("/checkout", {"service.template": template()})
        world.builds.script = lambda commit: {"build.json": json.dumps({"tag": commit}).encode()}
        commit = (await world.repositories.refs("/checkout"))["refs/heads/main"]
        died = False
        try:
            async with world.running(die_at=number):
                await walk(world)
                died = world.dead
        except Killed:
            died = True
        if not died:
            break
        async with world.running():
            await walk(world)
            assert len(world.builds.started) == 1, number
            assert await world.statuses() == ["Succeeded"], number
            history = (await world.call("ListActionExecutions", pipelineName="app"))["actionExecutionDetails"]
            assert [each["actionName"] for each in reversed(history)] == [
                "Fetch", "Build", "Deploy", "Approve", "Deploy",
            ], number  # fmt: skip
            for name in ("staging", "production"):
                (found,) = (await world.call("DescribeStacks", "cloudformation", StackName=name))["Stacks"]
                assert found["StackStatus"] == "CREATE_COMPLETE", number
                assert found["Outputs"][0]["OutputValue"] == commit
            assert len(world.rows("SELECT id FROM cfn_stack")) == 2
        number += ROUNDS
    assert number > 40

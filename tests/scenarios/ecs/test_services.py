"""Services from creation to deletion, with a fake engine and virtual time."""

from pathlib import Path

from worlds.ecs import virtual_world


async def test_a_service_reaches_a_steady_state(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until(lambda: len(world.running()) == 2)
        assert not world.steady(), "running for a moment is not yet healthy"
        await world.until_steady()
        assert len(world.engine.running) == 2
        events = world.events()
        assert events[0] == "(service web) has reached a steady state."
        assert "deployment completed" in events[1]
        assert events[-1].startswith("(service web) has started 2 tasks: (task ")


async def test_a_killed_task_is_replaced(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service()
        await world.until_steady()
        before = world.running()[0]["taskArn"]
        world.engine.kill(world.engine.running[0].id)
        await world.until(lambda: any(t["taskArn"] != before for t in world.running()), limit=1.0)
        gone = world.tasks("STOPPED")[0]
        assert (gone["taskArn"], gone["stopCode"]) == (before, "EssentialContainerExited")
        assert gone["stoppedReason"] == "Essential container in task exited"
        assert gone["containers"][0]["exitCode"] == 137
        assert len(world.engine.states) == 1, "the dead container is removed"

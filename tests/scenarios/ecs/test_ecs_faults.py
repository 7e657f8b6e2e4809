"""Engines that go away, processes that are killed at any moment: nothing is lost, doubled or left half-made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.machine.engine import Conflict, Unavailable
from portside.testing.clock import VirtualClock
from portside.testing.engine import RUNS, FakeEngine, Program
from worlds.ecs import virtual_world

LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "web",
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "ecs",
        "awslogs-create-group": "true",
    },
}


async def test_an_engine_that_stops_answering_changes_nothing(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until_steady()
        before = [task["taskArn"] for task in world.running()]
        world.engine.go_away()
        await world.clock.advance(120)
        assert [task["taskArn"] for task in world.running()] == before
        instance = (await world.call("ListContainerInstances"))["containerInstanceArns"]
        shown = (await world.call("DescribeContainerInstances", {"containerInstances": instance}))[
            "containerInstances"
        ]
        assert [each["agentConnected"] for each in shown] == [False]
        await world.call("UpdateService", {"service": "web", "desiredCount": 3})
        await world.clock.advance(5)
        assert 'encountered error "AGENT"' in world.events()[0]
        world.engine.available = True
        await world.until_steady()
        assert before == [task["taskArn"] for task in world.running()][:2]


async def test_a_task_waits_for_an_engine_that_is_away_at_the_start(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS})
    engine.available = False
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.register()
        await world.create_service()
        await clock.advance(60)
        assert world.tasks() == []
        assert 'encountered error "AGENT"' in world.events()[0]
        engine.available = True
        await world.until_steady()
    await engine.close()


async def test_an_engine_that_leaves_in_the_middle_of_a_start(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        create = world.engine.create

        async def leave(spec: Any) -> str:
            await create(spec)
            world.engine.go_away()
            raise Unavailable("gone before the answer")

        world.engine.create = leave  # type: ignore[method-assign]
        await world.create_service()
        await world.clock.advance(30)
        assert [task["lastStatus"] for task in world.tasks()] == ["PENDING"]
        assert any("waits for the container engine: gone before the answer" in e for e in world.events())
        world.engine.create = create  # type: ignore[method-assign]
        world.engine.available = True
        await world.until_steady()
        assert len(world.engine.created) == 1, "the one container was found and adopted"


async def test_containers_without_a_task_are_removed(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service()
        await world.until_steady()
        spec = world.engine.created[0]
        labels = {**spec.labels, "portside.task": "arn:aws:ecs:us-east-1:000000000000:task/default/none"}
        stray = await world.engine.create(replace(spec, name="stray", labels=labels))
        other = await world.engine.create(replace(spec, name="other", labels={"portside.cloud": "another"}))
        await world.clock.advance(20)
        left = {state.id for state in world.engine.states}
        assert stray not in left
        assert other in left, "another cloud's containers are never touched"
        assert len(left) == 2


async def test_remove_all_leaves_no_container_and_says_why(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS})
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until_steady()
    # After the loops have ended, as `cloud stop` does.
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        pass
    assert len(engine.states) == 2, "ending the process stops nothing"
    async with virtual_world(tmp_path, engine=engine, clock=clock, instances=1) as world:
        await world.ecs.__aexit__(None, None, None)
        await world.ecs.remove_all()
        assert engine.states == []
        assert {task["stoppedReason"] for task in world.tasks("STOPPED")} == {"The local cloud was stopped"}
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.until_steady()
        assert len(engine.running) == 2, "services come back at the next start"
        assert world.service()["deployments"][0]["failedTasks"] == 0
    await engine.close()


class Mortal(Database):
    """Dies after so many commits: from then on nothing is written any more."""

    left: int | None = None

    @property
    def dead(self) -> bool:
        return self.left is not None and self.left <= 0

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.dead:
            raise ConnectionAbortedError("the process is dead")
        with super().write() as tx:
            yield tx
            if self.left is not None:
                self.left -= 1


class Severed:
    """An engine that cannot be reached any more once the process is dead."""

    def __init__(self, engine: FakeEngine, database: Mortal) -> None:
        self._engine = engine
        self._database = database

    def __getattr__(self, name: str) -> Any:
        if self._database.dead:
            raise Unavailable("the process is dead")
        return getattr(self._engine, name)


@pytest.mark.parametrize("commits", [*range(1, 40), 45, 50, 60, 80])
async def test_killed_after_any_commit_of_a_rolling_update(
    tmp_path: Path, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS, "new": Program(output=("hello",))})
    monkeypatch.setattr("worlds.ecs.Database", Mortal)
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.register(logConfiguration=LOGS)
        await world.create_service(count=2)
        await world.until_steady()
        await world.register(image="new", logConfiguration=LOGS)
        await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
        database = world.database
        assert isinstance(database, Mortal)
        database.left = commits
        severed: Any = Severed(engine, database)
        for part in (world.ecs.tasks, world.ecs.engine, world.ecs.logs):
            part._engine = severed
        await clock.advance(300)
        database.left = None if not database.dead else 0
    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.until_steady()
        await clock.advance(60)
        assert world.steady()
        running = world.running()
        assert len(running) == 2
        assert {task["taskDefinitionArn"].rpartition(":")[2] for task in running} == {"2"}
        # Each task has its container, and there is no other.
        shown = sorted(task["containers"][0]["runtimeId"] for task in running)
        assert sorted(state.id for state in engine.states) == shown
        names = [spec.name for spec in engine.created]
        assert len(names) == len(set(names)), "no container was made twice"
        hellos = (
            await world.call("FilterLogEvents", {"logGroupName": "web", "filterPattern": "hello"}, service="logs")
        )["events"]
        assert len(hellos) == len({each["logStreamName"] for each in hellos}), "no line is doubled"
        assert {each["logStreamName"].rpartition("/")[2] for each in hellos} >= {
            task["taskArn"].rpartition("/")[2] for task in running
        }
    await engine.close()


async def test_settling_twice_changes_nothing(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(count=3)
        await world.until_steady()
        await world.clock.advance(60)
        before = (world.service(), world.tasks(), [state.id for state in world.engine.states])
        world.ecs.resume()
        await world.clock.advance(60)
        assert before == (world.service(), world.tasks(), [state.id for state in world.engine.states])


async def test_a_name_taken_by_a_stranger_is_not_adopted(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.register()
        create = world.engine.create

        async def taken(spec: Any) -> str:
            if not world.engine.created:
                await create(replace(spec, labels={}))
            return await create(spec)

        world.engine.create = taken  # type: ignore[method-assign]
        answer = await world.call("RunTask", {"taskDefinition": "web"})
        arn = answer["tasks"][0]["taskArn"]
        await world.until(lambda: [t["lastStatus"] for t in world.tasks("STOPPED")] == ["STOPPED"])
        assert world.tasks("STOPPED")[0]["taskArn"] == arn
        assert "CannotCreateContainerError: Conflict" in world.tasks("STOPPED")[0]["stoppedReason"]
        assert len(world.engine.states) == 1, "the stranger is left alone"
        with pytest.raises(Conflict):
            await create(world.engine.created[0])

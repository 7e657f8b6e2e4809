"""Scheduled actions of Auto Scaling groups: their times come, and the groups change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling.scheduled_actions_loop import ScheduledActions
from portside.cloud.services.calls import Caller, Params, operations_of
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, quiet_log

USER = Caller.root(ACCOUNT, "us-east-1", "portside")
HOUR = 3600.0


class World:
    def __init__(self, path: Path, clock: VirtualClock) -> None:
        self.clock = clock
        self.group: Params = {
            "AutoScalingGroupName": "g",
            "AutoScalingGroupARN": "arn:g:1",
            "MinSize": 1,
            "MaxSize": 5,
            "DesiredCapacity": 1,
        }
        self.there = True
        self.calls = ScriptedCalls(
            {
                ("autoscaling", "DescribeAutoScalingGroups"): self._groups,
                ("autoscaling", "UpdateAutoScalingGroup"): self._update,
            }
        )
        self.database = Database(path)
        self.actions = ScheduledActions(
            database=self.database, ids=Ids(1), clock=clock, calls=self.calls, log=quiet_log()
        )
        self.operations = operations_of(self.actions)

    def _groups(self, params: Params) -> Params:
        wanted = params.get("AutoScalingGroupNames") or ["g"]
        return {"AutoScalingGroups": [self.group] if self.there and "g" in wanted else []}

    def _update(self, params: Params) -> Params:
        if params.get("DesiredCapacity", 0) > self.group["MaxSize"]:
            raise AwsError("ValidationError", "above max value")
        self.group |= {key: params[key] for key in ("MinSize", "MaxSize", "DesiredCapacity") if key in params}
        return {}

    async def do(self, operation: str, **params: Any) -> Params:
        result: Any = self.operations[operation](USER, {"AutoScalingGroupName": "g"} | params)
        return await result  # type: ignore[no-any-return]

    async def put(self, **params: Any) -> None:
        await self.do("PutScheduledUpdateGroupAction", **({"ScheduledActionName": "a"} | params))

    async def shown(self) -> list[Params]:
        found: list[Params] = (await self.do("DescribeScheduledActions"))["ScheduledUpdateGroupActions"]
        return found


@asynccontextmanager
async def running(path: Path, clock: VirtualClock | None = None) -> AsyncIterator[World]:
    world = World(path, clock or VirtualClock())
    try:
        async with world.actions.loop:
            world.actions.resume()
            yield world
    finally:
        world.database.close()


async def test_one_at_a_time_of_its_own_happens_once_and_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db") as world:
        await world.put(StartTime=world.clock.now() + HOUR, MinSize=2, DesiredCapacity=3)
        (shown,) = await world.shown()
        assert shown["DesiredCapacity"] == 3 and shown["ScheduledActionARN"].endswith("scheduledActionName/a")
        await world.clock.advance(HOUR - 1)
        assert world.group["DesiredCapacity"] == 1
        await world.clock.advance(2)
        assert (world.group["MinSize"], world.group["DesiredCapacity"]) == (2, 3)
        assert await world.shown() == []


async def test_one_that_recurs_comes_again_until_its_end(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db") as world:
        end = world.clock.now() + 2.5 * HOUR
        await world.put(Recurrence="0 * * * *", EndTime=end, DesiredCapacity=4)
        for _ in range(2):
            world.group["DesiredCapacity"] = 1
            await world.clock.advance(HOUR)
            assert world.group["DesiredCapacity"] == 4
        world.group["DesiredCapacity"] = 1
        await world.clock.advance(3 * HOUR)
        assert world.group["DesiredCapacity"] == 1


async def test_a_time_without_the_cloud_is_made_up_for(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running(tmp_path / "s.db", clock) as world:
        await world.put(StartTime=clock.now() + HOUR, DesiredCapacity=2)
    await clock.advance(2 * HOUR)
    async with running(tmp_path / "s.db", clock) as world:
        await clock.advance(1)
        assert world.group["DesiredCapacity"] == 2


async def test_suspended_and_impossible_ones_change_nothing_and_go_on(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db") as world:
        await world.put(Recurrence="0 * * * *", DesiredCapacity=9)
        await world.clock.advance(HOUR)
        assert world.group["DesiredCapacity"] == 1
        await world.put(Recurrence="0 * * * *", DesiredCapacity=3)
        world.group["SuspendedProcesses"] = [{"ProcessName": "ScheduledActions"}]
        await world.clock.advance(HOUR)
        assert world.group["DesiredCapacity"] == 1
        world.group["SuspendedProcesses"] = []
        await world.clock.advance(HOUR)
        assert world.group["DesiredCapacity"] == 3


async def test_a_group_that_is_gone_or_another_takes_its_actions_along(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db") as world:
        await world.put(Recurrence="0 * * * *", DesiredCapacity=3)
        world.group["AutoScalingGroupARN"] = "arn:g:2"
        assert await world.shown() == []
        await world.clock.advance(2 * HOUR)
        assert world.group["DesiredCapacity"] == 1


async def test_what_aws_refuses(tmp_path: Path) -> None:
    async with running(tmp_path / "s.db") as world:
        now = world.clock.now()
        for params in (
            {"StartTime": now + HOUR},
            {"StartTime": now - HOUR, "MinSize": 1},
            {"MinSize": 1},
            {"Recurrence": "x", "MinSize": 1},
            {"Recurrence": "0 25 * * *", "MinSize": 1},
            {"Recurrence": "0 1 * * *", "MinSize": 3, "MaxSize": 2},
            {"Recurrence": "0 1 * * *", "TimeZone": "Nowhere/Else", "MinSize": 1},
        ):
            with pytest.raises(AwsError) as refused:
                await world.put(**params)
            assert refused.value.code == "ValidationError", params
        with pytest.raises(AwsError):
            await world.do("DeleteScheduledAction", ScheduledActionName="none")
        batch = [{"ScheduledActionName": "b", "StartTime": now + HOUR, "MinSize": 2}, {"ScheduledActionName": "c"}]
        answer = await world.do("BatchPutScheduledUpdateGroupAction", ScheduledUpdateGroupActions=batch)
        assert [each["ScheduledActionName"] for each in answer["FailedScheduledUpdateGroupActions"]] == ["c"]
        await world.do("DeleteScheduledAction", ScheduledActionName="b")
        assert await world.shown() == []

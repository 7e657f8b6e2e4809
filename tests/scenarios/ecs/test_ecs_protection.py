"""Scale-in protection of tasks."""

import pytest

from portside.cloud.protocol.errors import AwsError
from worlds.ecs import virtual_world


async def protect(world, *tasks, enabled=True, **more):
    params = {"cluster": "default", "tasks": list(tasks), "protectionEnabled": enabled, **more}
    return await world.call("UpdateTaskProtection", params)


async def shown(world, *tasks):
    return await world.call("GetTaskProtection", {"cluster": "default", "tasks": list(tasks)})


async def test_a_task_is_protected_for_two_hours_or_as_long_as_asked(tmp_path):
    async with virtual_world(tmp_path) as world:
        await world.register()
        await world.create_service(count=2)
        await world.until_steady()
        first, second = (each["taskArn"] for each in world.tasks())
        now = world.clock.now()
        answer = await protect(world, first)
        assert answer["protectedTasks"] == [
            {"taskArn": first, "protectionEnabled": True, "expirationDate": now + 7200}
        ]
        await protect(world, second, expiresInMinutes=5)
        await world.clock.advance(301)
        found = (await shown(world, first, second))["protectedTasks"]
        assert [each["protectionEnabled"] for each in found] == [True, False]
        assert "expirationDate" not in found[1]
        await protect(world, first, enabled=False)
        assert (await shown(world, first))["protectedTasks"][0]["protectionEnabled"] is False


async def test_only_tasks_of_services_that_are_there_can_be_protected(tmp_path):
    async with virtual_world(tmp_path) as world:
        await world.register()
        alone = (await world.call("RunTask", {"taskDefinition": "web"}))["tasks"][0]["taskArn"]
        answer = await protect(world, alone, "0123456789abcdef0123456789abcdef")
        assert answer["protectedTasks"] == []
        assert [each["reason"] for each in answer["failures"]] == ["TASK_NOT_VALID", "MISSING"]


@pytest.mark.parametrize("minutes", [0, -1, 2881])
async def test_a_time_out_of_range_is_refused(tmp_path, minutes):
    async with virtual_world(tmp_path) as world:
        with pytest.raises(AwsError) as caught:
            await protect(world, "0123456789abcdef0123456789abcdef", expiresInMinutes=minutes)
        assert caught.value.code == "InvalidParameterException"


async def test_at_most_ten_tasks_at_once(tmp_path):
    async with virtual_world(tmp_path) as world:
        for tasks in ([], ["a"] * 11):
            with pytest.raises(AwsError) as caught:
                await protect(world, *tasks)
            assert caught.value.code == "InvalidParameterException"

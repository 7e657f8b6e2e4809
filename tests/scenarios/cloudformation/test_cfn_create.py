"""Creating stacks: events, order, failure and roll-back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cfn_world import World, parameter


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state.db").running() as world:
        yield world


async def test_a_stack_is_created_with_the_events_of_aws(world: World) -> None:
    template = {"Resources": {"A": parameter("one")}, "Outputs": {"Name": {"Value": {"Ref": "A"}}}}
    assert await world.create("web", template) == "CREATE_COMPLETE"
    assert await world.events("web") == [
        ("web", "CREATE_IN_PROGRESS", "User Initiated"),
        ("A", "CREATE_IN_PROGRESS", ""),
        ("A", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
        ("A", "CREATE_COMPLETE", ""),
        ("web", "CREATE_COMPLETE", ""),
    ]
    stack = await world.stack("web")
    (name,) = world.fake.parameters
    assert stack["Outputs"] == [
        {"OutputKey": "Name", "OutputValue": name, "Description": None, "ExportName": None}
    ]
    assert name.startswith("web-A-")

"""kill -9 while a stack is given up for what its template's transforms could not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cfn_templates import topic
from cfn_world import World

BEFORE = {"Resources": {"A": topic(DisplayName="one")}}
FAILING = {"Transform": "Mine", "Resources": {"A": topic(DisplayName="two"), "B": topic()}}
EXPAND = ["CAPABILITY_AUTO_EXPAND"]


async def run(path: Path, *, update: bool, commit: int) -> bool:
    """Whether the cloud died at that commit of the operation. Its end is checked in either case."""
    world = World(path / "state.db")
    if update:
        async with world.running():
            assert await world.create("web", BEFORE) == "CREATE_COMPLETE"
    operation = "UpdateStack" if update else "CreateStack"
    async with world.running():
        text = json.dumps(FAILING)
        await world.call(operation, StackName="web", TemplateBody=text, Capabilities=EXPAND)
        world.database.left = commit  # type: ignore[attr-defined]
        await world.settle("web")
        died = world.fake.dead
    async with world.running():
        end = await world.settle("web")
        assert end == ("UPDATE_ROLLBACK_COMPLETE" if update else "ROLLBACK_COMPLETE")
        found: Any = [status for _, status, _ in await world.events("web")]
        assert found.count("UPDATE_ROLLBACK_IN_PROGRESS" if update else "ROLLBACK_IN_PROGRESS") == 1
        assert [each["DisplayName"] for each in world.fake.topics.values()] == (["one"] if update else [])
    return died


@pytest.mark.parametrize("update", [False, True])
async def test_a_crash_after_every_commit_of_a_stack_in_trouble(tmp_path: Path, update: bool) -> None:
    died = 0
    for commit in range(1, 20):
        directory = tmp_path / str(commit)
        directory.mkdir()
        if not await run(directory, update=update, commit=commit):
            break
        died += 1
    assert died >= 2

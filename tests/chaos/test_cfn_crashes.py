"""kill -9 at every call and every commit of a stack's life: nothing is lost, doubled or orphaned."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cfn_templates import definition, refuse, service, topic
from cfn_world import World, parameter


def template(tag: str, *, name: str, more: bool = False) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "Cluster": {"Type": "AWS::ECS::Cluster"},
        "Definition": definition(f"app:{tag}"),
        "Service": service(Cluster={"Ref": "Cluster"}),
        "Named": parameter("x", Properties={"Name": name}),
        "Value": parameter({"Fn::Sub": f"${{Named}}-{tag}"}),
        "Topic": topic(DisplayName=tag),
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
    }
    if more:
        resources["Added"] = {"Type": "AWS::ECR::Repository", "DependsOn": "Value"}
        del resources["Logs"]
    return {"Resources": resources, "Outputs": {"Name": {"Value": {"Ref": "Named"}, "Export": {"Name": "n"}}}}


def alive(world: World) -> dict[str, list[str]]:
    """What the services hold."""
    fake = world.fake
    return {
        "AWS::SSM::Parameter": sorted(fake.parameters),
        "AWS::SNS::Topic": sorted(fake.topics),
        "AWS::Logs::LogGroup": sorted(fake.groups),
        "AWS::ECR::Repository": sorted(fake.repositories),
        "AWS::ECS::Cluster": sorted(k for k, v in fake.clusters.items() if v["status"] == "ACTIVE"),
        "AWS::ECS::TaskDefinition": sorted(
            each["taskDefinitionArn"] for each in fake.definitions if each["status"] == "ACTIVE"
        ),
        "AWS::ECS::Service": sorted(v["serviceArn"] for v in fake.services.values() if v["status"] == "ACTIVE"),
    }


async def check(world: World, stack_id: str, statuses: set[str]) -> None:
    """The stack is at rest, and owns exactly what there is."""
    stack = await world.stack(stack_id)
    assert stack["StackStatus"] in statuses
    owned: dict[str, list[str]] = {kind: [] for kind in alive(world)}
    found = (await world.call("DescribeStackResources", StackName=stack_id))["StackResources"]
    for each in found:
        if each["ResourceStatus"] != "DELETE_COMPLETE":
            owned[each["ResourceType"]].append(each["PhysicalResourceId"])
            assert each["ResourceStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    assert {kind: sorted(names) for kind, names in owned.items()} == alive(world)
    assert world.database.read("SELECT * FROM cfn_leftover") == []
    events = await world.events(stack_id)
    for name in {name for name, _, _ in events}:
        ended = [status for other, status, _ in events if other == name and status.endswith("COMPLETE")]
        for one, other in itertools.pairwise(ended):
            assert (one, other) != ("CREATE_COMPLETE", "CREATE_COMPLETE")


Begin = Callable[[World], Any]


async def create(world: World) -> None:
    body = json.dumps(template("1", name="first"))
    await world.call("CreateStack", StackName="web", TemplateBody=body)


async def update(world: World) -> None:
    body = json.dumps(template("2", name="second", more=True))
    await world.call("UpdateStack", StackName="web", TemplateBody=body)


async def delete(world: World) -> None:
    await world.call("DeleteStack", StackName="web")


def break_repository(world: World) -> None:
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")


def leave(world: World) -> None:
    return None


STORIES: dict[str, tuple[list[Begin], Callable[[World], None], set[str]]] = {
    "create": ([create], leave, {"CREATE_COMPLETE"}),
    "update": ([create, update], leave, {"UPDATE_COMPLETE"}),
    "update that fails": ([create, update], break_repository, {"UPDATE_ROLLBACK_COMPLETE"}),
    "delete": ([create, delete], leave, {"DELETE_COMPLETE"}),
}


async def settle(world: World) -> None:
    stack_id = world.database.read("SELECT id FROM cfn_stack")[0]["id"]
    await world.settle(stack_id)


async def run(path: Path, story: str, *, call: int = 0, commit: int = 0) -> tuple[int, int]:
    """The last act of a story with a crash in it; how many calls and commits it takes without one."""
    steps, disturb, statuses = STORIES[story]
    world = World(path / "state.db")
    async with world.running():
        for step in steps[:-1]:
            await step(world)
            await settle(world)
    disturb(world)
    calls = commits = 0
    died = False
    async with world.running():
        # The call to the API itself is answered; what dies is the work that follows.
        await steps[-1](world)
        start = len(world.fake.made)
        world.fake.die_after = start + call if call else 0
        world.database.left = commit or -1  # type: ignore[attr-defined]
        await settle(world)
        died = world.fake.dead
        calls, commits = len(world.fake.made) - start, -1 - world.database.left  # type: ignore[attr-defined]
        if not died:
            stack_id = world.database.read("SELECT id FROM cfn_stack")[0]["id"]
            await check(world, stack_id, statuses)
    assert died == bool(call or commit)
    if died:
        async with world.running():
            await settle(world)
            stack_id = world.database.read("SELECT id FROM cfn_stack")[0]["id"]
            await check(world, stack_id, statuses)
    return calls, commits


@pytest.mark.parametrize("story", STORIES)
async def test_a_crash_after_every_call(tmp_path: Path, story: str) -> None:
    """The service has acted, and the cloud never heard of it."""
    (tmp_path / "whole").mkdir()
    calls, _ = await run(tmp_path / "whole", story)
    assert calls > 8
    for number in range(1, calls + 1):
        directory = tmp_path / str(number)
        directory.mkdir()
        await run(directory, story, call=number)


@pytest.mark.parametrize("story", STORIES)
async def test_a_crash_after_every_commit(tmp_path: Path, story: str) -> None:
    """The intent is written, and nothing has been done about it."""
    (tmp_path / "whole").mkdir()
    _, commits = await run(tmp_path / "whole", story)
    assert commits > 8
    for number in range(1, commits):
        directory = tmp_path / str(number)
        directory.mkdir()
        await run(directory, story, commit=number)

"""kill -9 at every call and every commit of a stack's life: nothing is lost, doubled or orphaned."""

from __future__ import annotations

import gc
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cfn_templates import definition, refuse, service, topic
from cfn_world import World, parameter
from worlds.launching import Launching, group, launch

Act = Callable[[World], Awaitable[Any]]
REST = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> Iterator[None]:
    """Every crash is followed by a collection, which need not look at what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@dataclass(frozen=True, slots=True)
class Story:
    """`before` leads to where `act` begins, which is struck by crashes; `ends` are the states it may end in."""

    before: tuple[Act, ...]
    act: Act
    ends: frozenset[str]
    disturb: Callable[[World], None] = lambda world: None
    settle: Act | None = None


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


def ask(operation: str, made: Any = None, **more: Any) -> Act:
    params = {"StackName": "web"} | ({} if made is None else {"TemplateBody": json.dumps(made)}) | more

    async def act(world: World) -> None:
        await world.call(operation, **params)

    return act


def break_repository(world: World) -> None:
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")


# A stack in a stack


def store(tag: str) -> Act:
    async def act(world: World) -> None:
        inner = {
            "Resources": {"P": parameter(tag, Properties={"Name": f"p{tag}"}), "T": topic(DisplayName=tag)},
            "Outputs": {"Value": {"Value": {"Ref": "P"}}},
        }
        world.fake.objects["bucket/inner.json"] = json.dumps(inner)

    return act


def outer(bad: bool = False) -> dict[str, Any]:
    url = "https://bucket.s3.amazonaws.com/inner.json"
    resources: dict[str, Any] = {
        "Inner": {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}},
        "After": parameter({"Fn::GetAtt": ["Inner", "Outputs.Value"]}),
    }
    if bad:
        resources["Added"] = {"Type": "AWS::ECR::Repository", "DependsOn": "After"}
    return {"Resources": resources}


# Change sets of stacks in stacks


def wider() -> dict[str, Any]:
    """One that changes, one that comes; between them may come what fails."""
    made = outer(bad=True)
    url = "https://bucket.s3.amazonaws.com/late.json"
    made["Resources"]["Late"] = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {"TemplateURL": url, "Parameters": {"V": {"Fn::GetAtt": ["Inner", "Outputs.Value"]}}},
        "DependsOn": "Added",
    }
    return made


def store_late(world: World) -> None:
    late = {"Parameters": {"V": {"Type": "String"}}, "Resources": {"L": parameter({"Ref": "V"})}}
    world.fake.objects["bucket/late.json"] = json.dumps(late)


async def show(world: World) -> None:
    store_late(world)
    await ask("CreateChangeSet", wider(), ChangeSetName="c", IncludeNestedStacks=True)(world)
    # What was shown is what counts.
    await store("3")(world)


SHOWN = (store("1"), ask("CreateStack", outer()), store("2"), show)
EXECUTE = ask("ExecuteChangeSet", ChangeSetName="c")


# Signals


def signalled() -> dict[str, Any]:
    script = {"Fn::Sub": "cfn-signal --stack ${AWS::StackName} --resource Group\ncfn-signal -e 0 '${Handle}'"}
    wait = {"Handle": {"Ref": "Handle"}, "Count": 2, "Timeout": "600"}
    return {
        "Resources": {
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
            "Launch": launch(script),
            "Group": group(2, CreationPolicy={"ResourceSignal": {"Count": 2}}),
            "Wait": {"Type": "AWS::CloudFormation::WaitCondition", "Properties": wait},
        }
    }


def rolled(kind: str) -> dict[str, Any]:
    policy = {"AutoScalingRollingUpdate": {"MinInstancesInService": 1, "WaitOnResourceSignals": True}}
    script = {"Fn::Sub": "cfn-signal --stack ${AWS::StackName} --resource Group"}
    return {"Resources": {"Launch": launch(script, kind), "Group": group(2, UpdatePolicy=policy)}}


def launching(world: World) -> None:
    Launching(world, boot_seconds=0.3)


CREATE = ask("CreateStack", template("1", name="first"))
UPDATE = ask("UpdateStack", template("2", name="second", more=True))
STORIES = {
    "create": Story((), CREATE, frozenset({"CREATE_COMPLETE"})),
    "create that fails": Story(
        (),
        ask("CreateStack", template("1", name="first", more=True)),
        frozenset({"ROLLBACK_COMPLETE"}),
        break_repository,
    ),
    "update": Story((CREATE,), UPDATE, frozenset({"UPDATE_COMPLETE"})),
    "update that fails": Story((CREATE,), UPDATE, frozenset({"UPDATE_ROLLBACK_COMPLETE"}), break_repository),
    "delete": Story((CREATE,), ask("DeleteStack"), frozenset({"DELETE_COMPLETE"})),
    "stack in a stack": Story((store("1"),), ask("CreateStack", outer()), frozenset({"CREATE_COMPLETE"})),
    "stack in a stack that turns back": Story(
        (store("1"), ask("CreateStack", outer()), store("2")),
        ask("UpdateStack", outer(bad=True)),
        frozenset({"UPDATE_ROLLBACK_COMPLETE"}),
        break_repository,
    ),
    "change sets of a hierarchy": Story(SHOWN, EXECUTE, frozenset({"UPDATE_COMPLETE"})),
    "change sets of a hierarchy that turns back": Story(
        SHOWN, EXECUTE, frozenset({"UPDATE_ROLLBACK_COMPLETE"}), break_repository
    ),
    "signals": Story((), ask("CreateStack", signalled()), frozenset({"CREATE_COMPLETE"}), launching),
    "rolling update": Story(
        (ask("CreateStack", rolled("t3.small")),),
        ask("UpdateStack", rolled("t3.large")),
        frozenset({"UPDATE_COMPLETE"}),
        launching,
    ),
}


def alive(world: World) -> dict[str, list[str]]:
    """What the services hold."""
    fake = world.fake
    groups: Launching | None = getattr(fake, "launching", None)
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
        "AWS::AutoScaling::AutoScalingGroup": sorted(groups.groups) if groups else [],
        "AWS::AutoScaling::LaunchConfiguration": sorted(groups.configurations) if groups else [],
        "AWS::CloudFormation::Stack": sorted(
            row["id"]
            for row in world.database.read("SELECT id FROM cfn_stack WHERE status <> 'DELETE_COMPLETE'")
            if "/web/" not in row["id"]
        ),
    }


async def check(world: World, ends: frozenset[str]) -> None:
    """All stacks are at rest, and own exactly what there is."""
    held = alive(world)
    owned: dict[str, list[str]] = {kind: [] for kind in held}
    for row in world.database.read("SELECT id, name, status FROM cfn_stack"):
        if row["name"] == "web":
            assert row["status"] in ends
        assert not row["status"].endswith("_IN_PROGRESS")
        found = (await world.call("DescribeStackResources", StackName=row["id"]))["StackResources"]
        for each in found:
            if each["ResourceStatus"] == "DELETE_COMPLETE":
                continue
            assert each["ResourceStatus"] in REST
            if each["ResourceType"] in owned:
                owned[each["ResourceType"]].append(each["PhysicalResourceId"])
        events = await world.events(row["id"])
        for name in {name for name, _, _ in events}:
            ended = [status for other, status, _ in events if other == name and status.endswith("COMPLETE")]
            for one, other in itertools.pairwise(ended):
                assert (one, other) != ("CREATE_COMPLETE", "CREATE_COMPLETE")
    assert {kind: sorted(names) for kind, names in owned.items()} == held
    assert "p3" not in world.fake.parameters
    assert world.database.read("SELECT * FROM cfn_leftover") == []
    groups: Launching | None = getattr(world.fake, "launching", None)
    for each in groups.groups.values() if groups else ():
        names = [instance["LaunchConfigurationName"] for instance in each["Instances"]]
        assert names == [each["LaunchConfigurationName"]] * 2


async def settle(world: World) -> None:
    """All stacks come to rest, or the process dies."""

    def at_rest() -> bool:
        busy = "SELECT 1 FROM cfn_stack WHERE status LIKE '%IN_PROGRESS' AND status <> 'REVIEW_IN_PROGRESS'"
        return world.fake.dead or not world.database.read(busy)

    await world.until(at_rest, 4 * 3600.0)


async def prepared(story: Story) -> World:
    world = World()
    async with world.running():
        if story.disturb is launching:
            launching(world)
        for act in story.before:
            await act(world)
            await settle(world)
    return world


async def run(story: Story, past: World, *, call: int = 0, commit: int = 0) -> tuple[int, int]:
    """The act of a story with a crash in it; how many calls and commits it takes without one."""
    world = past.copy()
    story.disturb(world)
    async with world.running():
        # The call to the API itself is answered; what dies is the work that follows.
        await story.act(world)
        start = len(world.fake.made)
        world.fake.die_after = start + call if call else 0
        world.database.left = commit or -1
        await settle(world)
        died = world.fake.dead
        calls, commits = len(world.fake.made) - start, -1 - world.database.left
        if not died:
            await check(world, story.ends)
    assert died == bool(call or commit)
    if died:
        async with world.running():
            await settle(world)
            await check(world, story.ends)
    return calls, commits


@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_after_every_call(name: str) -> None:
    """The service has acted, and the cloud never heard of it."""
    story = STORIES[name]
    past = await prepared(story)
    calls, _ = await run(story, past)
    assert calls > 8
    for number in range(1, calls + 1):
        await run(story, past, call=number)


@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_after_every_commit(name: str) -> None:
    """The intent is written, and nothing has been done about it."""
    story = STORIES[name]
    past = await prepared(story)
    _, commits = await run(story, past)
    assert commits > 8
    for number in range(1, commits):
        await run(story, past, commit=number)

"""Random stacks through their whole lives: every call is answered or refused, and nothing is ever orphaned."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cfn_templates import refuse
from cfn_world import World
from portside.cloud.protocol.errors import AwsError

# 500 examples with every change, 10,000 at night: `make nightly`.
EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 500
# What a name mostly is, so that updates mostly change resources and do not turn one type into another.
USUAL = {"A": "parameter", "B": "topic", "C": "definition", "D": "service", "E": "repository", "F": "group"}
WORDS = st.sampled_from(["one", "two", "three"])
Template = dict[str, Any]
Draw = Callable[..., Any]


def _reference(draw: Draw, earlier: dict[str, str]) -> Any:
    """A text, or a function that gives one, of parameters and of resources that come before."""
    plain = [
        WORDS,
        st.just({"Ref": "P"}),
        st.just({"Fn::Sub": "${AWS::StackName}-${P}"}),
        st.just({"Fn::Join": ["-", ["a", {"Ref": "AWS::Region"}]]}),
        st.just({"Fn::If": ["Big", "big", "small"]}),
        st.just({"Fn::Select": ["1", {"Fn::Split": [",", "x,y,z"]}]}),
        st.just({"Fn::FindInMap": ["M", "top", "second"]}),
    ]
    if not earlier or draw(st.booleans()):
        return draw(st.one_of(plain))
    name = draw(st.sampled_from(sorted(earlier)))
    forms: list[Any] = [{"Ref": name}, {"Fn::Sub": "${" + name + "}-x"}]
    attribute = {"parameter": "Value", "repository": "Arn", "cluster": "Arn", "group": "Arn", "topic": "TopicName"}
    if earlier[name] in attribute:
        forms.append({"Fn::GetAtt": [name, attribute[earlier[name]]]})
    return draw(st.sampled_from(forms))


def _properties(draw: Draw, kind: str, earlier: dict[str, str]) -> tuple[str, dict[str, Any]]:
    named = draw(st.sampled_from(["", "", "", "", "first", "first", "third", "second"]))
    match kind:
        case "parameter":
            found = {"Type": "String", "Value": _reference(draw, earlier)}
            return "AWS::SSM::Parameter", found | ({"Name": named} if named else {})
        case "topic":
            found = {"DisplayName": _reference(draw, earlier)} if draw(st.booleans()) else {}
            tags = draw(st.sampled_from([None, [], [{"Key": "k", "Value": "v"}], [{"Key": "k", "Value": "w"}]]))
            found |= {} if tags is None else {"Tags": tags}
            return "AWS::SNS::Topic", found | ({"TopicName": named} if named else {})
        case "group":
            days = draw(st.sampled_from([None, 7, "14", {"Fn::If": ["Big", 30, {"Ref": "AWS::NoValue"}]}]))
            return "AWS::Logs::LogGroup", {} if days is None else {"RetentionInDays": days}
        case "repository":
            empty = draw(st.sampled_from([None, True, "false"]))
            found = {} if empty is None else {"EmptyOnDelete": empty}
            return "AWS::ECR::Repository", found | ({"RepositoryName": named} if named else {})
        case "cluster":
            return "AWS::ECS::Cluster", {}
        case "definition":
            container = {
                "Name": "c",
                "Image": _reference(draw, earlier),
                "Memory": draw(st.sampled_from([64, "64"])),
            }
            return "AWS::ECS::TaskDefinition", {"ContainerDefinitions": [container]}
        case "handle":
            return "AWS::CloudFormation::WaitConditionHandle", {}
    definitions = [name for name, other in earlier.items() if other == "definition"]
    clusters = [name for name, other in earlier.items() if other == "cluster"]
    found = {"TaskDefinition": {"Ref": draw(st.sampled_from(definitions))}}
    if clusters and draw(st.booleans()):
        found["Cluster"] = {"Ref": draw(st.sampled_from(clusters))}
    return "AWS::ECS::Service", found


@st.composite
def templates(draw: Draw) -> Template:
    resources: dict[str, Any] = {}
    kinds: dict[str, str] = {}
    possible = ["parameter", "topic", "group", "repository", "cluster", "definition", "handle"]
    for name in draw(st.lists(st.sampled_from(sorted(USUAL)), min_size=1, max_size=5, unique=True).map(sorted)):
        kind = USUAL[name] if draw(st.integers(0, 15)) else draw(st.sampled_from(possible))
        if kind == "service" and "definition" not in kinds.values():
            kind = "cluster"
        made, properties = _properties(draw, kind, kinds)
        resource: dict[str, Any] = {"Type": made, "Properties": properties}
        if kinds and draw(st.integers(0, 3)) == 0:
            resource["DependsOn"] = draw(st.sampled_from(sorted(kinds)))
        match draw(st.integers(0, 40)):
            case 0:
                resource["Metadata"] = {"m": draw(WORDS)}
            case 1:
                resource["DeletionPolicy"] = draw(st.sampled_from(["Retain", "RetainExceptOnCreate"]))
            case 2:
                resource["UpdateReplacePolicy"] = "Retain"
            case 3:
                properties["Nonsense"] = draw(WORDS)
            case 4:
                properties["Tags"] = draw(st.sampled_from(["x", [1], {"a": {"b": "c"}}]))
            case 5:
                resource["Condition"] = draw(st.sampled_from(["Big", "Small", "Nowhere"]))
            case 6:
                properties |= {each: {"Ref": "Nobody"} for each in list(properties)[:1]}
        resources[name] = resource
        kinds[name] = kind
    made_template: Template = {
        "Parameters": {"P": {"Type": "String", "Default": draw(WORDS)}},
        "Mappings": {"M": {"top": {"second": "mapped"}}},
        "Conditions": {
            "Big": {"Fn::Equals": [{"Ref": "P"}, "one"]},
            "Small": {"Fn::Not": [{"Condition": "Big"}]},
        },
        "Resources": resources,
    }
    if draw(st.booleans()):
        export = {"Export": {"Name": draw(WORDS)}} if draw(st.booleans()) else {}
        made_template["Outputs"] = {"O": {"Value": {"Ref": draw(st.sampled_from(sorted(resources)))}} | export}
    return made_template


BREAKABLE = [
    ("ssm", "PutParameter"), ("ssm", "DeleteParameter"), ("sns", "CreateTopic"), ("sns", "SetTopicAttributes"),
    ("sns", "DeleteTopic"), ("logs", "CreateLogGroup"), ("logs", "PutRetentionPolicy"), ("logs", "DeleteLogGroup"),
    ("ecr", "CreateRepository"), ("ecr", "DeleteRepository"), ("ecs", "RegisterTaskDefinition"),
    ("ecs", "CreateCluster"), ("ecs", "CreateService"), ("ecs", "UpdateService"), ("ecs", "DeleteService"),
]  # fmt: skip
BROKEN = st.one_of(st.just([]), st.lists(st.sampled_from(BREAKABLE), max_size=3, unique=True))
CALLS = st.lists(
    st.tuples(
        st.sampled_from(
            ["update", "update", "update", "update", "change set", "roll back", "continue", "crash", "delete"]
        ),
        templates(),
        BROKEN,
        st.fixed_dictionaries({}, optional={"DisableRollback": st.booleans()}),
    ),
    min_size=1,
    max_size=4,
)


def held(world: World) -> set[str]:
    """The physical ids of what the services have."""
    fake = world.fake
    return {
        *fake.parameters,
        *fake.topics,
        *fake.groups,
        *fake.repositories,
        *(name for name, each in fake.clusters.items() if each["status"] == "ACTIVE"),
        *(each["taskDefinitionArn"] for each in fake.definitions if each["status"] == "ACTIVE"),
        *(each["serviceArn"] for each in fake.services.values() if each["status"] == "ACTIVE"),
    }


async def check(world: World, foreign: set[str]) -> None:
    """What there is belongs to a stack, or an event says that it was left; what is complete is there."""
    owned: set[str] = set()
    complete: set[str] = set()
    read = world.database.read
    for row in read("SELECT physical_id, status, type FROM cfn_resource WHERE status <> 'DELETE_COMPLETE'"):
        owned.add(row["physical_id"])
        if row["status"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE") and "Handle" not in row["type"]:
            complete.add(row["physical_id"])
    left = {
        row["physical_id"]
        for row in read(
            "SELECT physical_id FROM cfn_event WHERE status IN ('DELETE_FAILED', 'DELETE_SKIPPED', 'CREATE_FAILED')"
        )
    }
    for row in read("SELECT record FROM cfn_leftover"):
        left.add(json.loads(row["record"])["applied"]["physical_id"])
    for row in read("SELECT record FROM cfn_resource"):
        before = json.loads(row["record"])["previous"]
        left |= {before["physical_id"]} if before else set()
    orphans = held(world) - owned - left - foreign
    assert not orphans, orphans
    assert complete <= held(world)
    reasons = [row["reason"] for row in read("SELECT reason FROM cfn_event")]
    broken = [each for each in reasons if "portside failed" in each or "InternalFailure" in each]
    assert not broken, broken


def begin(world: World, broken: list[tuple[str, str]]) -> None:
    world.fake.broken = {each: refuse("InvalidParameter", "broken") for each in broken}


async def ask(world: World, operation: str, **params: Any) -> bool:
    """Whether the call was taken; a refusal is the caller's fault, in a known code."""
    try:
        await world.call(operation, **params)
    except AwsError as error:
        assert error.status < 500 and error.code in (
            "ValidationError", "AlreadyExistsException", "InvalidChangeSetStatus", "ChangeSetNotFound",
        ), error  # fmt: skip
        return False
    return True


async def live(past: World, first: Template, broken: list[tuple[str, str]], calls: list[Any]) -> None:
    world = past.copy()
    foreign = {"second"}
    async with world.running():
        world.fake.parameters["second"] = {"Name": "second", "Type": "String", "Value": "somebody else's"}
        begin(world, broken)
        await ask(world, "CreateStack", StackName="web", TemplateBody=json.dumps(first))
        await world.settle("web")
        await check(world, foreign)
        for action, template, failing, more in calls:
            begin(world, failing)
            await step(world, action, json.dumps(template), more)
            await world.settle("web")
            await check(world, foreign)
        begin(world, [])
        if world.status("web") not in ("", "DELETE_COMPLETE"):
            await ask(world, "DeleteStack", StackName="web")
            assert await world.settle("web") == "DELETE_COMPLETE"
        await check(world, foreign)
        assert world.database.read("SELECT * FROM cfn_leftover") == []
        assert world.database.read("SELECT * FROM cfn_export") == []


async def step(world: World, action: str, body: str, more: dict[str, Any]) -> None:
    match action:
        case "update":
            await ask(world, "UpdateStack", StackName="web", TemplateBody=body, **more)
        case "change set":
            kind = "UPDATE" if world.status("web") not in ("", "DELETE_COMPLETE") else "CREATE"
            name = {"StackName": "web", "ChangeSetName": f"c{len(world.fake.made)}"}
            if await ask(world, "CreateChangeSet", TemplateBody=body, ChangeSetType=kind, **name):
                await ask(world, "ExecuteChangeSet", **name)
        case "delete":
            await ask(world, "DeleteStack", StackName="web")
        case "roll back":
            await ask(world, "RollbackStack", StackName="web")
        case "continue":
            await ask(world, "ContinueUpdateRollback", StackName="web")
        case "crash":
            await ask(world, "UpdateStack", StackName="web", TemplateBody=body, **more)
            await asyncio.sleep(0)
            await world.restart()


@pytest.fixture(scope="module")
def past() -> World:
    """A world with its tables made, to copy from."""

    async def made() -> World:
        world = World()
        async with world.running():
            pass
        return world

    gc.collect()
    return asyncio.run(made())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(first=templates(), broken=BROKEN, calls=CALLS)
def test_stacks_live_and_leave_nothing_behind(
    past: World, first: Template, broken: list[tuple[str, str]], calls: list[Any]
) -> None:
    asyncio.run(live(past, first, broken, calls))

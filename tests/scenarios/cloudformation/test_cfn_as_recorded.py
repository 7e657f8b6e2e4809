"""What AWS was seen to answer in small things (docs/reference/recorded.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import refuse, topic
from cfn_world import World, parameter

ONE = {"Resources": {"P": parameter("x")}}


async def made(world: World, body: Any, kind: str = "CREATE") -> dict[str, Any]:
    found: dict[str, Any] = await world.call(
        "CreateChangeSet", StackName="web", ChangeSetName="c", ChangeSetType=kind, TemplateBody=json.dumps(body)
    )
    return found


@pytest.mark.parametrize("name", ["*@da591fa3_$", "under_score", "1st", "", "x" * 129])
async def test_what_cannot_be_a_name_is_refused(world: World, name: str) -> None:
    pattern = "[a-zA-Z][-a-zA-Z0-9]*"
    refused = await world.refused("CreateStack", StackName=name, TemplateBody=json.dumps(ONE))
    assert refused.code == "ValidationError"
    assert refused.message.startswith(
        f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy"
    )
    assert refused.message.endswith("less than or equal to 128" if len(name) > 128 else f"pattern: {pattern}")
    refused = await world.refused(
        "CreateChangeSet", StackName=name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=json.dumps(ONE)
    )
    if len(name) <= 128:
        assert refused.message.endswith(f"pattern: {pattern}|arn:[-a-zA-Z0-9:/._+]*")
    if len(name) <= 128:
        for operation in ("DescribeStacks", "UpdateStack", "DeleteStack", "ListStackResources", "GetTemplate"):
            refused = await world.refused(operation, StackName=name, TemplateBody=json.dumps(ONE))
            assert refused.message == (
                f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member "
                f"must satisfy regular expression pattern: {pattern}|arn:[-a-zA-Z0-9:/._+]*"
            ) or (operation == "GetTemplate" and not name)
    assert (await world.call("ListStacks"))["StackSummaries"] == []


async def test_a_stack_that_came_to_nothing_shows_when_it_went_and_no_change_set(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("AuthorizationError", "no")
    stack = (await made(world, {"Resources": {"T": topic()}}))["StackId"]
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "ROLLBACK_COMPLETE"
    shown = (await world.call("DescribeStacks", StackName="web"))["Stacks"][0]
    assert shown["DeletionTime"] >= shown["CreationTime"]
    assert not shown.get("ChangeSetId")
    await world.call("DeleteStack", StackName="web")
    await world.settle(stack)
    assert not (await world.call("DescribeStacks", StackName=stack))["Stacks"][0].get("ChangeSetId")


async def test_what_a_resource_that_goes_had_from_another_counts_as_not_known(world: World) -> None:
    first = {
        "P": parameter("x"),
        "Q": parameter({"Fn::Sub": "${P}!"}),
        "R": parameter({"Fn::Sub": "${AWS::Region}"}),
    }
    await world.create("web", {"Resources": first})
    await made(world, {"Resources": {"P": parameter("x")}}, "UPDATE")
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    before = {
        each["ResourceChange"]["LogicalResourceId"]: json.loads(each["ResourceChange"]["BeforeContext"])[
            "Properties"
        ]
        for each in found["Changes"]
    }
    assert {name: each["Value"] for name, each in before.items()} == {
        "Q": "{{changeSet:KNOWN_AFTER_APPLY}}",
        "R": "us-east-1",
    }


async def test_attributes_of_what_is_not_made_yet_are_not_known(world: World) -> None:
    copy = parameter({"Fn::GetAtt": ["T", "TopicName"]})
    await made(world, {"Resources": {"T": topic(TopicName="t"), "P": copy}})
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    after = [json.loads(each["ResourceChange"]["AfterContext"]) for each in found["Changes"]]
    assert after[0]["Properties"]["Value"] == "{{changeSet:KNOWN_AFTER_APPLY}}"

"""What each call accepts, refuses and answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cfn_templates import topic
from cfn_world import CALLER, World, parameter

ONE = {"Resources": {"A": topic()}}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
}


async def test_stacks_that_are_not_there(world: World) -> None:
    body = json.dumps(ONE)
    for operation, more, message in (
        ("DescribeStacks", {}, "Stack with id nostack does not exist"),
        ("DescribeStackEvents", {}, "Stack [nostack] does not exist"),
        ("UpdateStack", {"TemplateBody": body}, "Stack [nostack] does not exist"),
        ("DescribeStackResources", {}, "Stack with id nostack does not exist"),
        ("GetTemplate", {}, "Stack with id nostack does not exist"),
        ("DescribeStackResource", {"LogicalResourceId": "A"}, "Stack 'nostack' does not exist"),
    ):
        refused = await world.refused(operation, StackName="nostack", **more)
        assert (refused.code, refused.message) == ("ValidationError", message)


async def test_where_the_template_comes_from(world: World) -> None:
    refused = await world.refused("CreateStack", StackName="web")
    assert refused.message == "Either Template URL or Template Body must be specified."
    refused = await world.refused("CreateStack", StackName="web", TemplateURL="https://example.com/t.yaml")
    assert refused.message == "TemplateURL must be a supported URL."
    refused = await world.refused("CreateStack", StackName="web", TemplateBody="#" * 51_201)
    assert "at 'templateBody' failed to satisfy constraint: Member must have length less than" in refused.message


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket.s3.amazonaws.com/folder/t.json",
        "https://bucket.s3.us-east-1.amazonaws.com/folder/t.json",
        "https://s3.us-east-1.amazonaws.com/bucket/folder/t.json",
        "https://s3.amazonaws.com/bucket/folder/t.json",
        "http://127.0.0.1:4566/bucket/folder/t.json",
    ],
)
async def test_a_template_in_s3(world: World, url: str) -> None:
    def get(params: Any, caller: Any) -> Any:
        assert params == {"Bucket": "bucket", "Key": "folder/t.json"}
        return {"Body": json.dumps(ONE).encode()}

    world.fake.s3_GetObject = get  # type: ignore[attr-defined]
    await world.call("CreateStack", StackName="web", TemplateURL=url)
    assert await world.settle("web") == "CREATE_COMPLETE"


async def test_a_second_stack_of_a_name(world: World) -> None:
    await world.create("web", ONE)
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=json.dumps(ONE))
    assert (refused.code, refused.message) == ("AlreadyExistsException", "Stack [web] already exists")


async def test_a_repeated_token_gives_the_same_answer(world: World) -> None:
    body = json.dumps(ONE)
    first = await world.call("CreateStack", StackName="web", TemplateBody=body, ClientRequestToken="t")
    assert await world.call("CreateStack", StackName="web", TemplateBody=body, ClientRequestToken="t") == first
    await world.settle("web")
    changed = json.dumps({"Resources": {"A": topic(DisplayName="x")}})
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=changed, ClientRequestToken="t")
    assert refused.code == "TokenAlreadyExistsException"


async def test_capabilities(world: World) -> None:
    body = json.dumps({"Resources": {"R": ROLE}})
    for operation, more in (
        ("CreateStack", {}),
        ("CreateChangeSet", {"ChangeSetName": "c", "ChangeSetType": "CREATE"}),
    ):
        refused = await world.refused(operation, StackName="web", TemplateBody=body, **more)
        assert (refused.code, refused.message) == (
            "InsufficientCapabilitiesException",
            "Requires capabilities : [CAPABILITY_IAM]",
        )
    named = ROLE | {"Properties": ROLE["Properties"] | {"RoleName": "r"}}  # type: ignore[operator]
    refused = await world.refused(
        "CreateStack",
        StackName="web",
        TemplateBody=json.dumps({"Resources": {"R": named}}),
        Capabilities=["CAPABILITY_IAM"],
    )
    assert refused.message == "Requires capabilities : [CAPABILITY_NAMED_IAM]"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            {"Resources": {"A": {"Type": "AWS::Nothing::Known"}}},
            "Template format error: Unrecognized resource types: [AWS::Nothing::Known]",
        ),
        (
            {"Resources": {"A": {"Type": "AWS::Glue::Job"}}},
            "Template format error: Unrecognized resource types: [AWS::Glue::Job]. "
            "AWS has them, portside's local cloud does not offer them.",
        ),
        (
            {
                "Mappings": {"M": {"a": {"b": "c"}}},
                "Resources": {"A": topic(DisplayName={"Fn::FindInMap": ["M", "x", "b"]})},
            },
            "Template error: Unable to get mapping for M::x::b",
        ),
        (
            {
                "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
                "Resources": {"A": topic() | {"Condition": "Never"}, "B": topic(DisplayName={"Ref": "A"})},
            },
            "Template format error: Unresolved resource dependencies [A] in the Resources block of the template",
        ),
    ],
)
async def test_what_is_refused_before_anything_starts(world: World, template: Any, message: str) -> None:
    for operation, more in (
        ("CreateStack", {}),
        ("CreateChangeSet", {"ChangeSetName": "c", "ChangeSetType": "CREATE"}),
    ):
        refused = await world.refused(operation, StackName="web", TemplateBody=json.dumps(template), **more)
        assert (refused.code, refused.message) == ("ValidationError", message)
    assert (await world.call("ListStacks"))["StackSummaries"] == []


async def test_resource_types_may_be_limited(world: World) -> None:
    refused = await world.refused(
        "CreateStack", StackName="web", TemplateBody=json.dumps(ONE), ResourceTypes=["AWS::EC2::*"]
    )
    assert (
        refused.message == "Resource type AWS::SNS::Topic is not allowed by parameter ResourceTypes [AWS::EC2::*]"
    )


async def test_what_is_not_offered_is_refused_by_name(world: World) -> None:
    body = json.dumps(ONE)
    given = {"StackName": "web", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": body}
    refused = await world.refused("CreateChangeSet", **given, DeploymentMode="REVERT_DRIFT")
    assert "does not offer DeploymentMode" in refused.message


async def test_templates_are_validated_and_summarised(world: World) -> None:
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "about",
        "Metadata": {"a": 1},
        "Parameters": {
            "P": {"Type": "String", "Default": 1, "Description": "what", "AllowedValues": [1, 2]},
            "Q": {"Type": "String", "NoEcho": "true"},
        },
        "Resources": {"R": ROLE, "S": topic()},
    }
    reason = "The following resource(s) require capabilities: [AWS::IAM::Role]"
    found = await world.call("ValidateTemplate", TemplateBody=json.dumps(template))
    assert found == {
        "Parameters": [
            {"ParameterKey": "P", "DefaultValue": "1", "NoEcho": False, "Description": "what"},
            {"ParameterKey": "Q", "DefaultValue": None, "NoEcho": True, "Description": None},
        ],
        "Description": "about",
        "Capabilities": ["CAPABILITY_IAM"],
        "CapabilitiesReason": reason,
    }
    summary = await world.call("GetTemplateSummary", TemplateBody=json.dumps(template))
    assert summary["ResourceTypes"] == ["AWS::IAM::Role", "AWS::SNS::Topic"]
    assert (summary["Version"], summary["Metadata"]) == ("2010-09-09", '{"a": 1}')
    assert summary["Parameters"][0]["ParameterConstraints"] == {"AllowedValues": ["1", "2"]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Either Template URL or Template Body must be specified."),
        (
            {"StackName": "web", "TemplateBody": "{}"},
            "Only one of Stack Name, Template URL or Template Body may be specified.",
        ),
        ({"StackSetName": "all"}, "GetTemplateSummary: portside's local cloud does not offer stack sets."),
    ],
)
async def test_a_summary_is_of_one_template(world: World, given: dict[str, str], said: str) -> None:
    assert await world.create("web", {"Resources": {"A": topic()}}) == "CREATE_COMPLETE"
    refused = await world.refused("GetTemplateSummary", **given)
    assert refused.code == "ValidationError" and refused.message.startswith(said)


async def test_events_come_in_pages(world: World) -> None:
    template = {"Resources": {f"P{number}": parameter("x") for number in range(40)}}
    assert await world.create("web", template) == "CREATE_COMPLETE"
    seen: list[str] = []
    token: dict[str, str] = {}
    pages = 0
    while True:
        found = await world.call("DescribeStackEvents", StackName="web", **token)
        seen += [each["EventId"] for each in found["StackEvents"]]
        pages += 1
        if not found["NextToken"]:
            break
        token = {"NextToken": found["NextToken"]}
    assert (pages, len(seen), len(set(seen))) == (2, 122, 122)


async def test_resources_are_found_by_physical_id(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic() | {"Metadata": {"a": "b"}}}})
    (arn,) = world.fake.topics
    (found,) = (await world.call("DescribeStackResources", PhysicalResourceId=arn))["StackResources"]
    assert (found["StackName"], found["LogicalResourceId"]) == ("web", "A")
    found = (await world.call("DescribeStackResource", StackName="web", LogicalResourceId="A"))[
        "StackResourceDetail"
    ]
    assert json.loads(found["Metadata"]) == {"a": "b"}
    refused = await world.refused("DescribeStackResource", StackName="web", LogicalResourceId="B")
    assert refused.message == "Resource B does not exist for stack web"


async def test_stacks_are_listed_by_status(world: World) -> None:
    await world.create("one", ONE)
    await world.create("two", ONE)
    await world.delete("one")
    listed = (await world.call("ListStacks", StackStatusFilter=["DELETE_COMPLETE"]))["StackSummaries"]
    assert [each["StackName"] for each in listed] == ["one"]
    assert len((await world.call("ListStacks"))["StackSummaries"]) == 2
    assert [each["StackName"] for each in (await world.call("DescribeStacks"))["Stacks"]] == ["two"]


async def test_an_account_with_stacks_in_two_regions(world: World) -> None:
    await world.create("web", ONE)
    other = replace(CALLER, region="eu-west-1")
    assert world.operations["DescribeStacks"](other, {})["Stacks"] == []  # type: ignore[index]


async def test_what_the_reference_says_of_reading_calls(world: World) -> None:
    resources = {f"W{number}": {"Type": "AWS::CloudFormation::WaitConditionHandle"} for number in range(103)}
    assert await world.create("web", {"Resources": resources}) == "CREATE_COMPLETE"
    shown = (await world.call("DescribeStackResources", StackName="web"))["StackResources"]
    assert len(shown) == 100
    first = await world.call("ListStackResources", StackName="web")
    rest = await world.call("ListStackResources", StackName="web", NextToken=first["NextToken"])
    assert len(first["StackResourceSummaries"]) + len(rest["StackResourceSummaries"]) == 103
    physical = shown[0]["PhysicalResourceId"]
    found = await world.call("DescribeStackResources", PhysicalResourceId=physical)
    assert len(found["StackResources"]) == 100
    refused = await world.refused("DescribeStackResources", StackName="web", PhysicalResourceId=physical)
    assert refused.code == "ValidationError"
    # Of both, the body counts.
    template = json.dumps({"Resources": resources, "Description": "mine"})
    answer = await world.call(
        "ValidateTemplate", TemplateBody=template, TemplateURL="https://s3.amazonaws.com/b/k"
    )
    assert answer["Description"] == "mine"

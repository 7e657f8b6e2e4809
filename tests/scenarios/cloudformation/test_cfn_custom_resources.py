"""Custom resources behind a topic: made, changed and taken away by whoever answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

from cfn_world import World, body
from portside.cloud.protocol.errors import AwsError

TOPIC = "arn:aws:sns:us-east-1:000000000000:makers"


def template(**properties: Any) -> str:
    return body(
        {
            "Resources": {
                "Thing": {"Type": "Custom::Thing", "Properties": {"ServiceToken": TOPIC} | properties},
                "After": {
                    "Type": "AWS::SSM::Parameter",
                    "Properties": {"Name": "after", "Type": "String", "Value": {"Fn::GetAtt": ["Thing", "Color"]}},
                },
            },
            "Outputs": {
                "Thing": {"Value": {"Ref": "Thing"}},
                "Size": {"Value": {"Fn::GetAtt": ["Thing", "Size.Width"]}},
            },
        }
    )


async def put(world: World, url: str, content: bytes) -> int:
    parts = urlsplit(url)
    answered: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)

    connection = {
        "type": "http",
        "method": "PUT",
        "path": unquote(parts.path),
        "query_string": parts.query.encode(),
        "headers": [],
    }
    await world.api.page(connection, receive, send)
    return int(answered[0]["status"])


async def reasons(world: World) -> list[str]:
    events = (await world.call("DescribeStackEvents", StackName="web"))["StackEvents"]
    return [each.get("ResourceStatusReason") or "" for each in events]


def asked(world: World) -> list[dict[str, Any]]:
    return [
        json.loads(each["Message"])
        for each in world.fake.published
        if each["Subject"] == "AWS CloudFormation custom resource request"
    ]


async def answer(world: World, physical: str = "thing-1", **more: Any) -> int:
    """What a maker says to the newest request."""
    request = asked(world)[-1]
    said = {name: request[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    said |= {"Status": "SUCCESS", "PhysicalResourceId": physical} | more
    status = await put(world, request["ResponseURL"], json.dumps(said).encode())
    await world.clock.advance(20)
    return status


async def begun(world: World, text: str = "", **params: Any) -> None:
    world.fake.topics[TOPIC] = {}
    await world.call("CreateStack", StackName="web", TemplateBody=text or template(Size=3, Bold=True), **params)
    await world.clock.advance(5)


DATA = {"Color": "red", "Size.Width": "7"}


async def made(world: World) -> None:
    await begun(world)
    assert await answer(world, Data=DATA) == 200
    assert world.status("web") == "CREATE_COMPLETE"


async def test_a_custom_resource_lives_and_dies_by_its_makers_answers(world: World) -> None:
    await begun(world)
    (request,) = asked(world)
    assert request["RequestType"] == "Create" and request["ResourceType"] == "Custom::Thing"
    assert request["ResourceProperties"] == {"ServiceToken": TOPIC, "Size": "3", "Bold": "true"}
    assert request["ServiceToken"] == TOPIC and "PhysicalResourceId" not in request
    assert request["StackId"].startswith("arn:aws:cloudformation:") and request["LogicalResourceId"] == "Thing"
    assert request["ResponseURL"].startswith("http://127.0.0.1:4566/")
    await world.clock.advance(600)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    await world.restart()
    assert await answer(world, Data=DATA) == 200
    assert world.status("web") == "CREATE_COMPLETE"
    (stack,) = (await world.call("DescribeStacks", StackName="web"))["Stacks"]
    assert {e["OutputKey"]: e["OutputValue"] for e in stack["Outputs"]} == {"Thing": "thing-1", "Size": "7"}
    assert world.fake.parameters["after"]["Value"] == "red"
    assert await answer(world) == 403, "nobody waits any more"

    await world.call("UpdateStack", StackName="web", TemplateBody=template(Size=4, Bold=True))
    await world.clock.advance(5)
    request = asked(world)[-1]
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Update", "thing-1")
    assert (request["ResourceProperties"]["Size"], request["OldResourceProperties"]["Size"]) == ("4", "3")
    await answer(world, Data=DATA | {"Color": "blue"})
    assert world.status("web") == "UPDATE_COMPLETE"
    assert world.fake.parameters["after"]["Value"] == "blue"

    await world.call("DeleteStack", StackName="web")
    await world.clock.advance(5)
    request = asked(world)[-1]
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Delete", "thing-1")
    assert world.status(request["StackId"]) == "DELETE_IN_PROGRESS"
    await answer(world)
    assert world.status(request["StackId"]) == "DELETE_COMPLETE"
    assert len(asked(world)) == 3


async def test_another_physical_resource_takes_the_place_of_the_first(world: World) -> None:
    await made(world)
    await world.call("UpdateStack", StackName="web", TemplateBody=template(Size=5, Bold=True))
    await world.clock.advance(5)
    await answer(world, "thing-2", Data=DATA)
    request = asked(world)[-1]
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Delete", "thing-1")
    assert request["ResourceProperties"]["Size"] == "3"
    assert world.status("web") == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    await answer(world)
    assert world.status("web") == "UPDATE_COMPLETE"
    assert (await world.resources("web"))["Thing"][1] == "thing-2"
    found = await reasons(world)
    assert "Requested update required the provider to create a new physical resource" in found


async def test_an_update_that_fails_afterwards_goes_back_to_the_first(world: World) -> None:
    await made(world)
    changed = json.loads(template(Size=5, Bold=True))
    changed["Resources"]["Bad"] = {
        "Type": "AWS::SSM::Parameter",
        "DependsOn": "Thing",
        "Properties": {"Name": "after", "Type": "String", "Value": "x"},
    }
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(changed))
    await world.clock.advance(5)
    await answer(world, "thing-2", Data=DATA)
    await world.clock.advance(30)
    request = asked(world)[-1]
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Delete", "thing-2")
    await answer(world)
    assert world.status("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert (await world.resources("web"))["Thing"][1] == "thing-1"


async def test_what_fails_is_told_and_deleted(world: World) -> None:
    await begun(world)
    await answer(world, Status="FAILED", Reason="no paint left")
    found = await reasons(world)
    said = "Received response status [FAILED] from custom resource. Message returned: no paint left (RequestId: "
    assert any(each.startswith(said) for each in found), found
    request = asked(world)[-1]
    assert request["RequestType"] == "Delete" and request["PhysicalResourceId"].startswith("web-Thing-")
    await answer(world)
    assert world.status("web") == "ROLLBACK_COMPLETE"


async def test_nobody_answers(world: World) -> None:
    await begun(world, template(ServiceTimeout=120))
    await world.clock.advance(100)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    await world.clock.advance(60)
    request = asked(world)[0]
    assert asked(world)[-1]["RequestType"] == "Delete"
    await answer(world)
    found = await reasons(world)
    said = (
        "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId "
        f"[{request['RequestId']}]. If you are using the Python cfn-response module, you may need to update your "
        "Lambda function code so that CloudFormation can attach the updated version."
    )
    assert said in found and world.status("web") == "ROLLBACK_COMPLETE"


async def test_answers_that_are_none(world: World) -> None:
    for content, reason in (
        (b"fine", "Response is not valid JSON"),
        (b'{"Status": "SUCCESS"}', "Invalid PhysicalResourceId"),
        (b'{"Status": "YES"}', "Invalid Response object: Value of property Status must be SUCCESS or FAILED"),
        (b'{"Status": "SUCCESS", "Data": "%s"}' % (b"x" * 5000), "Response object is too long."),
    ):
        await begun(world)
        assert await put(world, asked(world)[-1]["ResponseURL"] + "x", content) == 403
        assert await put(world, asked(world)[-1]["ResponseURL"], content) == 200
        await world.clock.advance(20)
        assert reason in await reasons(world)
        await answer(world)
        assert world.status("web") == "ROLLBACK_COMPLETE"
        await world.call("DeleteStack", StackName="web")
        await world.clock.advance(20)


async def test_tokens_that_nobody_can_answer_for(world: World) -> None:
    function = "arn:aws:lambda:us-east-1:000000000000:function:maker"
    for token, said in (
        (function, "does not offer custom resources that a Lambda function makes"),
        ("x", "Invalid service"),
    ):
        await begun(world, template(ServiceToken=token))
        await world.clock.advance(20)
        assert world.status("web") == "ROLLBACK_COMPLETE"
        found = await reasons(world)
        assert any(said in each for each in found), found
        assert asked(world) == []
        await world.call("DeleteStack", StackName="web")
        await world.clock.advance(20)


SECRET = {"Color": "s3cr3t-red", "Size.Width": "7"}


def with_a_child(description: str = "") -> str:
    """A parameter and a nested stack are given what the custom resource answers; metadata and an output tell it."""
    color = {"Fn::GetAtt": ["Thing", "Color"]}
    found = json.loads(template(Size=3))
    found["Resources"]["After"]["Properties"] |= {
        "Value": {"Fn::Sub": "it is ${Thing.Color}"},
        "Description": description,
    }
    found["Resources"]["After"]["Metadata"] = {"Color": color}
    found["Resources"]["Child"] = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {
            "TemplateURL": "https://bucket.s3.amazonaws.com/child.json",
            "Parameters": {"Color": color, "Other": "plain"},
        },
    }
    found["Outputs"]["Color"] = {"Value": color}
    return json.dumps(found)


CHILD = {
    "Parameters": {"Color": {"Type": "String"}, "Other": {"Type": "String"}},
    "Resources": {
        "Inner": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Name": "inner", "Type": "String", "Value": {"Ref": "Color"}},
        }
    },
}


async def test_what_is_answered_with_no_echo_is_not_shown(world: World) -> None:
    world.fake.objects["bucket/child.json"] = json.dumps(CHILD)
    await begun(world, with_a_child())
    assert await answer(world, Data=SECRET, NoEcho=True) == 200
    assert await world.settle("web") == "CREATE_COMPLETE"
    # It is what it is where it is used,
    assert world.fake.parameters["after"]["Value"] == "it is s3cr3t-red"
    assert world.fake.parameters["inner"]["Value"] == "s3cr3t-red"
    # and in outputs and metadata.
    (stack,) = (await world.call("DescribeStacks", StackName="web"))["Stacks"]
    assert "s3cr3t-red" in [each["OutputValue"] for each in stack["Outputs"]]
    detail = await world.call("DescribeStackResource", StackName="web", LogicalResourceId="After")
    assert "s3cr3t-red" in detail["StackResourceDetail"]["Metadata"]

    child = (await world.resources("web"))["Child"][1]
    for name in ("web", child):
        events = json.dumps((await world.call("DescribeStackEvents", StackName=name))["StackEvents"])
        assert "s3cr3t-red" not in events and "****" in events
    (inner,) = (await world.call("DescribeStacks", StackName=child))["Stacks"]
    shown = {each["ParameterKey"]: each["ParameterValue"] for each in inner["Parameters"]}
    assert shown == {"Color": "****", "Other": "plain"}

    # A change set does not tell it either, before or after.
    params = {"StackName": "web", "ChangeSetName": "c", "TemplateBody": with_a_child("new")}
    await world.call("CreateChangeSet", **params)
    await world.clock.advance(5)
    told = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    text = json.dumps(told["Changes"])
    assert "it is ****" in text and "s3cr3t-red" not in text

    # Nor does an update that fails and goes back.
    world.fake.broken[("ssm", "PutParameter")] = _refuse_new
    assert await world.update("web", with_a_child("new")) == "UPDATE_ROLLBACK_COMPLETE"
    events = json.dumps((await world.call("DescribeStackEvents", StackName="web"))["StackEvents"])
    assert "s3cr3t-red" not in events


def _refuse_new(params: dict[str, Any]) -> None:
    if params.get("Description") == "new":
        raise AwsError("ValidationException", "not this one")


async def test_what_is_answered_without_it_is_shown(world: World) -> None:
    await made(world)
    events = json.dumps((await world.call("DescribeStackEvents", StackName="web"))["StackEvents"])
    assert '\\"Value\\": \\"red\\"' in events or '\\"Value\\":\\"red\\"' in events


async def test_drift_does_not_tell_it(world: World) -> None:
    await begun(world)
    await answer(world, Data=SECRET, NoEcho=True)
    await world.clock.advance(20)
    world.fake.parameters["after"]["Value"] = "blue"
    await world.call("DetectStackDrift", StackName="web")
    await world.clock.advance(20)
    found = (await world.call("DescribeStackResourceDrifts", StackName="web"))["StackResourceDrifts"]
    text = json.dumps(found, default=str)
    assert "blue" in text and "****" in text and "s3cr3t-red" not in text

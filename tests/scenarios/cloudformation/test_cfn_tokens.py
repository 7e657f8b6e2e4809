"""Repeated and concurrent calls, modes of operations, and tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import definition, service, topic
from cfn_world import World, parameter

ONE = {"Resources": {"A": parameter("x")}}
TWO = {"Resources": {"A": parameter("y")}}


def running(tag: str) -> dict[str, Any]:
    return {"Resources": {"Definition": definition(f"app:{tag}"), "Service": service()}}


async def test_a_repeated_call_does_nothing_even_when_others_came_in_between(world: World) -> None:
    await world.create("web", ONE, ClientRequestToken="first")
    await world.update("web", TWO, ClientRequestToken="second")
    await world.update("web", ONE, ClientRequestToken="third")
    await world.update("web", TWO, ClientRequestToken="second")
    assert [each["Value"] for each in world.fake.parameters.values()] == ["x"]
    answer = await world.call(
        "CreateStack", StackName="web", TemplateBody=json.dumps(ONE), ClientRequestToken="first"
    )
    assert answer["StackId"] == (await world.stack("web"))["StackId"]


@pytest.mark.parametrize("operation", ["UpdateStack", "DeleteStack", "RollbackStack", "CancelUpdateStack"])
async def test_a_token_of_another_operation_is_refused(world: World, operation: str) -> None:
    await world.create("web", ONE, ClientRequestToken="first")
    more = {"TemplateBody": json.dumps(TWO)} if operation == "UpdateStack" else {}
    refused = await world.refused(operation, StackName="web", ClientRequestToken="first", **more)
    assert refused.code == "TokenAlreadyExistsException"


async def test_every_event_carries_the_token_of_its_operation(world: World) -> None:
    await world.create("web", ONE, ClientRequestToken="first")
    await world.update("web", TWO, ClientRequestToken="second")
    stack_id = (await world.stack("web"))["StackId"]
    await world.delete("web", ClientRequestToken="third")
    events = (await world.call("DescribeStackEvents", StackName=stack_id))["StackEvents"]
    tokens = list(dict.fromkeys(each["ClientRequestToken"] for each in reversed(events)))
    assert tokens == ["first", "second", "third"]


async def test_a_running_operation_refuses_others(world: World) -> None:
    await world.create("web", running("1"))
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(running("2")))
    stack_id = (await world.stack("web"))["StackId"]
    text = f"Stack:{stack_id} is in UPDATE_IN_PROGRESS state and can not be updated."
    body = json.dumps(running("3"))
    assert (await world.refused("UpdateStack", StackName="web", TemplateBody=body)).message == text
    refused = await world.refused("CreateChangeSet", StackName="web", ChangeSetName="c", TemplateBody=body)
    assert refused.message == text
    refused = await world.refused("DeleteStack", StackName="web")
    assert refused.message == f"Stack [{stack_id}] cannot be deleted while in status UPDATE_IN_PROGRESS"
    for operation in ("RollbackStack", "ContinueUpdateRollback"):
        assert "UPDATE_IN_PROGRESS" in (await world.refused(operation, StackName="web")).message
    assert await world.settle("web") == "UPDATE_COMPLETE"


async def test_br_36_express_only_stops_waiting(world: World) -> None:
    """A task definition that is replaced through a parameter reaches the service in every mode."""

    def template() -> dict[str, Any]:
        made = running("x")
        made["Parameters"] = {"Tag": {"Type": "String"}}
        made["Resources"]["Definition"] = definition({"Fn::Sub": "app:${Tag}"})  # type: ignore[arg-type]
        return made

    def tag(value: str) -> list[dict[str, str]]:
        return [{"ParameterKey": "Tag", "ParameterValue": value}]

    world.fake.rollout_seconds = 600.0
    begun = world.clock.now()
    express = {"DeploymentConfig": {"Mode": "EXPRESS"}}
    assert await world.create("web", template(), Parameters=tag("1"), **express) == "CREATE_COMPLETE"
    assert world.clock.now() - begun < 60
    assert (await world.stack("web"))["DeploymentConfig"] == {"Mode": "EXPRESS"}
    for mode, least in (("EXPRESS", 0.0), ("STANDARD", 600.0)):
        begun = world.clock.now()
        chosen = {"DeploymentConfig": {"Mode": mode}}
        assert await world.update("web", template(), Parameters=tag(mode), **chosen) == "UPDATE_COMPLETE"
        assert world.clock.now() - begun >= least
        (found,) = world.fake.services.values()
        newest = world.fake.definitions[-1]
        assert found["taskDefinition"] == newest["taskDefinitionArn"]
        assert newest["containerDefinitions"][0]["image"] == f"app:{mode}"


async def test_tags_alone_are_an_update_that_reaches_the_resources(world: World) -> None:
    tagged: list[Any] = []
    world.fake.sns_TagResource = lambda params, caller: tagged.append(params["Tags"])  # type: ignore[method-assign]
    template = {"Resources": {"T": topic()}}
    await world.create("web", template, Tags=[{"Key": "team", "Value": "a"}])
    assert await world.update("web", template, Tags=[{"Key": "team", "Value": "b"}]) == "UPDATE_COMPLETE"
    assert tagged == [[{"Key": "team", "Value": "b"}]]
    refused = await world.refused(
        "UpdateStack", StackName="web", TemplateBody=json.dumps(template), Tags=[{"Key": "team", "Value": "b"}]
    )
    assert refused.message == "No updates are to be performed."

"""Stacks inside stacks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import refuse, topic
from cfn_world import World, parameter

URL = "https://bucket.s3.amazonaws.com/{}.json"


def store(world: World, name: str, template: Any) -> None:
    world.fake.objects[f"bucket/{name}.json"] = json.dumps(template)


def child(value: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "Parameters": {"V": {"Type": "String", "Default": "d"}},
        "Resources": {"P": parameter({"Ref": "V"} if value is None else value)} | more,
        "Outputs": {"Name": {"Value": {"Ref": "P"}}, "Value": {"Value": {"Fn::GetAtt": ["P", "Value"]}}},
    }


def nested(name: str = "child", **properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": URL.format(name)} | properties}


def parent(value: str = "1", name: str = "child", **more: Any) -> dict[str, Any]:
    return {
        "Resources": {
            "Child": nested(name, Parameters={"V": value}),
            "After": parameter({"Fn::GetAtt": ["Child", "Outputs.Value"]}),
        }
        | more
    }


def values(world: World) -> list[str]:
    return sorted(each["Value"] for each in world.fake.parameters.values())


async def inside(world: World, stack: str = "web", name: str = "Child") -> str:
    return (await world.resources(stack))[name][1]


async def test_a_stack_in_a_stack(world: World) -> None:
    store(world, "child", child())
    assert await world.create("web", parent(), Tags=[{"Key": "team", "Value": "a"}]) == "CREATE_COMPLETE"
    assert values(world) == ["1", "1"]
    web = await world.stack("web")
    found = await world.stack(await inside(world))
    assert found["StackName"].startswith("web-Child-")
    assert (found["ParentId"], found["RootId"]) == (web["StackId"], web["StackId"])
    assert web["ParentId"] is None
    assert found["Tags"] == [{"Key": "team", "Value": "a"}]
    events = [(status, reason) for name, status, reason in await world.events("web") if name == "Child"]
    assert events == [
        ("CREATE_IN_PROGRESS", ""),
        ("CREATE_IN_PROGRESS", "Resource creation Initiated"),
        ("CREATE_COMPLETE", ""),
    ]
    child_id = await inside(world)
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert (await world.stack(child_id))["StackStatus"] == "DELETE_COMPLETE"
    assert values(world) == []


async def test_three_deep(world: World) -> None:
    store(world, "leaf", child())
    middle = {"Resources": {"Leaf": nested("leaf")}}
    store(world, "middle", middle)
    assert await world.create("web", {"Resources": {"Middle": nested("middle")}}) == "CREATE_COMPLETE"
    middle_id = await inside(world, name="Middle")
    leaf = await world.stack(await inside(world, middle_id, "Leaf"))
    assert leaf["ParentId"] == middle_id
    assert leaf["RootId"] == (await world.stack("web"))["StackId"]
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert values(world) == []


async def test_a_template_that_contains_itself_ends(world: World) -> None:
    store(world, "self", {"Resources": {"Again": nested("self")}})
    assert await world.create("web", {"Resources": {"Again": nested("self")}}) == "ROLLBACK_COMPLETE"
    alive = world.database.read("SELECT name FROM cfn_stack WHERE status <> 'DELETE_COMPLETE'")
    assert [row["name"] for row in alive] == ["web"]


async def test_a_nested_stack_that_fails_takes_its_parent_back(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    store(world, "child", child(T=topic()))
    assert await world.create("web", parent()) == "ROLLBACK_COMPLETE"
    child_id = await inside(world)
    events = await world.events("web")
    reason = (
        f"Embedded stack {child_id} was not successfully created: The following resource(s) failed to create: [T]."
    )
    assert ("Child", "CREATE_FAILED", reason) in events
    assert [status for name, status, _ in await world.events(child_id) if name.startswith("web-Child")] == [
        "CREATE_IN_PROGRESS",
        "CREATE_FAILED",
        "DELETE_IN_PROGRESS",
        "DELETE_COMPLETE",
    ]
    assert values(world) == []
    # As AWS answers about a nested stack that is gone.
    name = child_id.split("/")[1]
    assert (
        await world.refused("DescribeStacks", StackName=name)
    ).message == f"Stack with id {name} does not exist"


async def test_an_update_reaches_the_stacks_inside(world: World) -> None:
    store(world, "child", child())
    await world.create("web", parent())
    assert await world.update("web", parent("2")) == "UPDATE_COMPLETE"
    assert values(world) == ["2", "2"]
    assert await world.settle(await inside(world)) == "UPDATE_COMPLETE"
    # The template behind the same address is looked at whenever the parent is updated.
    store(world, "child", child("fixed"))
    assert await world.update("web", parent("2", Third=parameter("x"))) == "UPDATE_COMPLETE"
    assert values(world) == ["fixed", "fixed", "x"]


async def test_an_update_ends_when_the_stacks_inside_have_cleaned_up(world: World) -> None:
    """So that the next one may follow at once."""
    store(world, "child", child(T=topic()))
    await world.create("web", parent())
    tries = iter(range(9))

    def slow(params: Any) -> None:
        if next(tries, None) is not None:
            refuse("ThrottlingException", "later")(params)

    world.fake.broken["sns", "DeleteTopic"] = slow
    store(world, "child", child())
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(parent("2")))
    child_id = await inside(world)
    await world.at(child_id, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
    await world.at("web", "UPDATE_COMPLETE")
    assert world.status(child_id) == "UPDATE_COMPLETE" and world.fake.topics == {}
    assert await world.update("web", parent("3")) == "UPDATE_COMPLETE"
    assert values(world) == ["3", "3"]


async def test_a_nested_stack_without_changes_stays(world: World) -> None:
    store(world, "child", child())
    await world.create("web", parent())
    assert await world.update("web", parent("1", Third=parameter("x"))) == "UPDATE_COMPLETE"
    assert (await world.stack(await inside(world)))["StackStatus"] == "CREATE_COMPLETE"


def renamed(name: str) -> dict[str, Any]:
    made = child()
    made["Resources"]["P"]["Properties"]["Name"] = name
    return made


async def test_a_nested_stack_turns_back_with_its_parent(world: World) -> None:
    """It had finished its own update, in which a resource was replaced."""
    store(world, "child", renamed("old"))
    await world.create("web", parent())
    store(world, "child", renamed("new"))
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")
    bad = parent("2", Bad={"Type": "AWS::ECR::Repository", "DependsOn": "Child"})
    assert await world.update("web", bad) == "UPDATE_ROLLBACK_COMPLETE"
    child_id = await inside(world)
    assert await world.settle(child_id) == "UPDATE_ROLLBACK_COMPLETE"
    statuses = [status for name, status, _ in await world.events(child_id) if name.startswith("web-Child")]
    assert statuses[2:] == [
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE",
    ]
    assert values(world) == ["1", "1"] and "old" in world.fake.parameters
    outputs = {each["OutputKey"]: each["OutputValue"] for each in (await world.stack(child_id))["Outputs"]}
    assert outputs == {"Name": "old", "Value": "1"}
    assert world.database.read("SELECT * FROM cfn_leftover") == []
    del world.fake.broken["ecr", "CreateRepository"]
    assert await world.update("web", bad) == "UPDATE_COMPLETE"


async def test_a_nested_update_that_fails(world: World) -> None:
    store(world, "child", child(T=topic(DisplayName="1")))
    await world.create("web", parent())
    world.fake.broken["sns", "SetTopicAttributes"] = only("2")
    store(world, "child", child(T=topic(DisplayName="2")))
    assert await world.update("web", parent("2")) == "UPDATE_ROLLBACK_COMPLETE"
    child_id = await inside(world)
    reason = (
        f"Embedded stack {child_id} was not successfully updated. Currently in UPDATE_ROLLBACK_IN_PROGRESS with "
        "reason: The following resource(s) failed to update: [T]."
    )
    assert ("Child", "UPDATE_FAILED", reason) in await world.events("web")
    assert await world.settle(child_id) == "UPDATE_ROLLBACK_COMPLETE"
    assert values(world) == ["1", "1"]


def only(value: str) -> Any:
    def broken(params: Any) -> None:
        if params["AttributeValue"] == value:
            refuse("InvalidParameter", "no")(params)

    return broken


async def stuck(world: World) -> str:
    """T in the nested stack cannot go back."""
    store(world, "child", child(T=topic(DisplayName="1")))
    await world.create("web", parent())
    world.fake.broken["sns", "SetTopicAttributes"] = only("1")
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")
    store(world, "child", child(T=topic(DisplayName="2")))
    bad = parent("2", Bad={"Type": "AWS::ECR::Repository", "DependsOn": "Child"})
    assert await world.update("web", bad) == "UPDATE_ROLLBACK_FAILED"
    child_id = await inside(world)
    assert (await world.stack(child_id))["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    return child_id


async def test_a_rollback_is_continued_into_the_stacks_inside(world: World) -> None:
    child_id = await stuck(world)
    del world.fake.broken["sns", "SetTopicAttributes"]
    await world.call("ContinueUpdateRollback", StackName="web")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert await world.settle(child_id) == "UPDATE_ROLLBACK_COMPLETE"
    assert [each["DisplayName"] for each in world.fake.topics.values()] == ["1"]


@pytest.mark.parametrize("force", [False, True])
async def test_resources_of_nested_stacks_may_be_skipped(world: World, force: bool) -> None:
    child_id = await stuck(world)
    skipped = {"ForceRollback": True} if force else {"ResourcesToSkip": [f"{child_id.split('/')[1]}.T"]}
    await world.call("ContinueUpdateRollback", StackName="web", **skipped)
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert (await world.stack(child_id))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert values(world) == ["1", "1"]


async def test_a_nested_stack_that_cannot_be_deleted(world: World) -> None:
    store(world, "child", child(T=topic()))
    await world.create("web", parent())
    child_id = await inside(world)
    world.fake.broken["sns", "DeleteTopic"] = refuse("InvalidParameter", "no")
    assert await world.delete("web") == "DELETE_FAILED"
    reason = (
        f"Embedded stack {child_id} was not successfully deleted: The following resource(s) failed to delete: [T]."
    )
    assert ("Child", "DELETE_FAILED", reason) in await world.events("web")
    del world.fake.broken["sns", "DeleteTopic"]
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_deleting_a_parent_that_is_still_created(world: World) -> None:
    from cfn_templates import definition, service

    world.fake.rollout_seconds = 1000.0
    store(world, "child", {"Resources": {"Definition": definition("a"), "Service": service()}})
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps({"Resources": {"Child": nested()}}))
    await world.clock.advance(20)
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert all(each["status"] == "INACTIVE" for each in world.fake.services.values())
    assert world.database.read("SELECT name FROM cfn_stack WHERE status <> 'DELETE_COMPLETE'") == []


async def test_cancelling_an_update_cancels_it_inside(world: World) -> None:
    from cfn_templates import definition, service

    def running(tag: str) -> dict[str, Any]:
        return {"Resources": {"Definition": definition(tag), "Service": service()}}

    store(world, "child", running("1"))
    await world.create("web", {"Resources": {"Child": nested()}})
    world.fake.rollout_seconds = 1000.0
    store(world, "child", running("2"))
    update = {"Resources": {"Child": nested(), "Other": parameter("x")}}
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(update))
    await world.clock.advance(20)
    await world.call("CancelUpdateStack", StackName="web")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert await world.settle(await inside(world)) == "UPDATE_ROLLBACK_COMPLETE"
    (found,) = world.fake.services.values()
    assert found["taskDefinition"] == world.fake.definitions[0]["taskDefinitionArn"]


async def test_a_removed_nested_stack_is_deleted_in_clean_up(world: World) -> None:
    store(world, "child", child())
    await world.create("web", parent())
    assert await world.update("web", {"Resources": {"Other": parameter("x")}}) == "UPDATE_COMPLETE"
    assert values(world) == ["x"]


async def test_a_template_that_is_not_there_fails_the_nested_stack(world: World) -> None:
    assert await world.create("web", parent(name="nowhere")) == "ROLLBACK_COMPLETE"
    failed = [reason for name, status, reason in await world.events("web") if status == "CREATE_FAILED"]
    assert len(failed) == 1 and "S3 error: The specified key does not exist." in failed[0]


async def test_capabilities_are_the_parents(world: World) -> None:
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}
    store(world, "child", {"Resources": {"R": role}})
    assert await world.create("web", {"Resources": {"Child": nested()}}) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, status, reason in await world.events("web") if status == "CREATE_FAILED"]
    assert "Requires capabilities : [CAPABILITY_IAM]" in reasons[0]


async def test_a_nested_template_may_have_transforms_if_its_parent_says_so(world: World) -> None:
    expanded = child({"Fn::Length": ["a", "b"]}) | {"Transform": "AWS::LanguageExtensions"}
    expanded["Resources"]["P"]["Properties"]["Value"] = {"Fn::ToJsonString": {"a": 1}}
    store(world, "child", expanded)
    assert await world.create("web", parent()) == "ROLLBACK_COMPLETE"
    await world.delete("web")
    allowed = {"Capabilities": ["CAPABILITY_AUTO_EXPAND"]}
    assert await world.create("web", parent(), **allowed) == "CREATE_COMPLETE"
    assert '{"a":1}' in values(world)


async def test_protection_is_the_roots(world: World) -> None:
    store(world, "child", child())
    await world.create("web", parent())
    refused = await world.refused(
        "UpdateTerminationProtection", StackName=await inside(world), EnableTerminationProtection=True
    )
    assert "root stack" in refused.message
    await world.call("UpdateTerminationProtection", StackName="web", EnableTerminationProtection=True)
    name = (await inside(world)).split("/")[1]
    refused = await world.refused("DeleteStack", StackName=name)
    assert refused.message == f"Stack [{name}] cannot be deleted while TerminationProtection is enabled"

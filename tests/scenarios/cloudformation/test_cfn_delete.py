"""Deleting stacks: order, what stays, what stands in the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import definition, refuse, service
from cfn_world import World, parameter


def repository(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "app"} | properties}


async def test_dependents_go_first(world: World) -> None:
    template = {
        "Resources": {
            "A": parameter("x"),
            "B": parameter({"Ref": "A"}),
            "C": parameter("x", DependsOn="B"),
        }
    }
    await world.create("web", template)
    stack_id = (await world.stack("web"))["StackId"]
    assert await world.delete("web") == "DELETE_COMPLETE"
    gone = [name for name, status, _ in await world.events(stack_id) if status == "DELETE_COMPLETE"]
    assert gone == ["C", "B", "A", "web"]
    assert (await world.refused("DescribeStacks", StackName="web")).message == "Stack with id web does not exist"
    assert (await world.stack(stack_id))["StackStatus"] == "DELETE_COMPLETE"
    assert set((await world.resources(stack_id)).values()) != set()


async def test_deleting_what_is_not_there_succeeds(world: World) -> None:
    assert await world.call("DeleteStack", StackName="nothing") == {}


async def test_br_35_a_resource_that_is_gone_counts_as_deleted(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("x"), "Repo": repository()}})
    world.fake.parameters.clear()
    world.fake.repositories.clear()
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_a_service_is_emptied_and_waited_for(world: World) -> None:
    await world.create("web", {"Resources": {"Definition": definition("app:1"), "Service": service()}})
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert world.fake.asked("ecs", "UpdateService")[-1]["desiredCount"] == 0
    assert world.fake.asked("ecs", "DeleteService")[-1]["force"] is True
    assert world.fake.definitions[0]["status"] == "INACTIVE"


async def test_br_38_a_repository_with_images_blocks_until_it_is_retained(world: World) -> None:
    await world.create("web", {"Resources": {"Repo": repository(), "A": parameter("x", DependsOn="Repo")}})
    world.fake.repositories["app"]["images"].append("sha256:1")
    assert await world.delete("web") == "DELETE_FAILED"
    stack = await world.stack("web")
    assert stack["StackStatusReason"] == "The following resource(s) failed to delete: [Repo]. "
    reason = next(r for n, s, r in await world.events("web") if (n, s) == ("Repo", "DELETE_FAILED"))
    assert "RepositoryNotEmptyException" in reason
    assert await world.delete("web") == "DELETE_FAILED"
    stack_id = stack["StackId"]
    assert await world.delete("web", RetainResources=["Repo"]) == "DELETE_COMPLETE"
    assert ("Repo", "DELETE_SKIPPED", "") in await world.events(stack_id)
    assert "app" in world.fake.repositories


async def test_br_49_empty_on_delete(world: World) -> None:
    await world.create("web", {"Resources": {"Repo": repository(EmptyOnDelete=True)}})
    world.fake.repositories["app"]["images"].append("sha256:1")
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_retain_resources_only_after_a_failure(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("x")}})
    refused = await world.refused("DeleteStack", StackName="web", RetainResources=["A"])
    assert refused.code == "ValidationError" and "DELETE_FAILED" in refused.message


@pytest.mark.parametrize("policy", ["Retain", "RetainExceptOnCreate"])
async def test_the_deletion_policy_keeps_a_resource(world: World, policy: str) -> None:
    await world.create("web", {"Resources": {"A": parameter("x", DeletionPolicy=policy), "B": parameter("y")}})
    stack_id = (await world.stack("web"))["StackId"]
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert ("A", "DELETE_SKIPPED", "") in await world.events(stack_id)
    assert [each["Value"] for each in world.fake.parameters.values()] == ["x"]


@pytest.mark.parametrize(("policy", "kept"), [("Retain", 1), ("RetainExceptOnCreate", 0)])
async def test_the_deletion_policy_when_a_creation_rolls_back(world: World, policy: str, kept: int) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    template = {
        "Resources": {
            "A": parameter("x", DeletionPolicy=policy),
            "B": {"Type": "AWS::SNS::Topic", "DependsOn": "A"},
        }
    }
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    assert len(world.fake.parameters) == kept


async def test_termination_protection(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("x")}}, EnableTerminationProtection=True)
    refused = await world.refused("DeleteStack", StackName="web")
    assert refused.message == "Stack [web] cannot be deleted while TerminationProtection is enabled"
    await world.call("UpdateTerminationProtection", StackName="web", EnableTerminationProtection=False)
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_a_stack_that_rolled_back_allows_deletion_only(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    template = {"Resources": {"A": {"Type": "AWS::SNS::Topic"}}}
    await world.create("web", template)
    stack_id = (await world.stack("web"))["StackId"]
    text = f"Stack:{stack_id} is in ROLLBACK_COMPLETE state and can not be updated."
    for operation, more in (("UpdateStack", {}), ("CreateChangeSet", {"ChangeSetName": "c"})):
        refused = await world.refused(
            operation, StackName="web", TemplateBody=json.dumps({"Resources": {"A": parameter("x")}}), **more
        )
        assert refused.message == text
    assert await world.delete("web") == "DELETE_COMPLETE"
    del world.fake.broken["sns", "CreateTopic"]
    assert await world.create("web", template) == "CREATE_COMPLETE"

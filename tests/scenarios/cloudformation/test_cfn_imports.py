"""Imports: what exists becomes a stack's, unchanged; what cannot is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import topic
from cfn_world import Killed, World, parameter

KEPT = {"DeletionPolicy": "Retain"}
MINE = {"Resources": {"P": parameter("one", Properties={"Name": "p"}) | KEPT}}
PLEASE = [{"ResourceType": "AWS::SSM::Parameter", "LogicalResourceId": "P", "ResourceIdentifier": {"Name": "p"}}]


def there(world: World, name: str = "p", value: str = "one") -> None:
    world.fake.parameters[name] = {"Name": name, "Type": "String", "Value": value}


def request(template: Any, wanted: Any = None) -> dict[str, Any]:
    return {
        "StackName": "web",
        "ChangeSetName": "c",
        "ChangeSetType": "IMPORT",
        "TemplateBody": json.dumps(template),
        "ResourcesToImport": PLEASE if wanted is None else wanted,
    }


async def prepare(world: World, template: Any, wanted: Any = None) -> dict[str, Any]:
    await world.call("CreateChangeSet", **request(template, wanted))
    return await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")


async def execute(world: World) -> str:
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    return await world.settle("web")


async def test_a_new_stack_of_what_exists(world: World) -> None:
    there(world)
    found = await prepare(world, MINE)
    assert [each["ResourceChange"] for each in found["Changes"]] == [
        {
            "Action": "Import",
            "LogicalResourceId": "P",
            "PhysicalResourceId": "p",
            "ResourceType": "AWS::SSM::Parameter",
            "Scope": [],
            "Details": [],
        }
    ]
    assert (await world.stack("web"))["StackStatus"] == "REVIEW_IN_PROGRESS"
    made = len(world.fake.asked("ssm", "PutParameter"))
    assert await execute(world) == "IMPORT_COMPLETE"
    assert len(world.fake.asked("ssm", "PutParameter")) == made
    assert (await world.events("web"))[1:] == [
        ("web", "IMPORT_IN_PROGRESS", "User Initiated"),
        ("P", "IMPORT_IN_PROGRESS", "Resource import started."),
        ("P", "IMPORT_COMPLETE", "Resource import completed."),
        ("web", "IMPORT_COMPLETE", ""),
    ]
    assert await world.resources("web") == {"P": ("IMPORT_COMPLETE", "p")}


async def test_into_an_existing_stack_and_then_it_is_updated_and_deleted(world: World) -> None:
    there(world)
    old = {"T": topic(TopicName="t")}
    await world.create("web", {"Resources": old})
    both = {"Resources": old | {"P": parameter("one", Properties={"Name": "p"}) | {"DeletionPolicy": "Delete"}}}
    await prepare(world, both)
    assert await execute(world) == "IMPORT_COMPLETE"
    assert (await world.resources("web"))["T"][0] == "CREATE_COMPLETE"
    both["Resources"]["P"]["Properties"]["Value"] = "two"
    assert await world.update("web", both) == "UPDATE_COMPLETE"
    assert world.fake.parameters["p"]["Value"] == "two"
    assert [event[1] for event in await world.events("web") if event[0] == "P"][-2:] == [
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE",
    ]
    assert await world.delete("web") == "DELETE_COMPLETE" and world.fake.parameters == {}


async def test_what_was_retained_can_be_imported_again(world: World) -> None:
    await world.create("other", MINE)
    await world.delete("other")
    assert "p" in world.fake.parameters
    await prepare(world, MINE)
    assert await execute(world) == "IMPORT_COMPLETE"


async def test_what_is_not_there_or_somebody_elses_fails_the_change_set(world: World) -> None:
    found = await prepare(world, MINE)
    assert (found["Status"], found["StatusReason"]) == (
        "FAILED",
        "Resource of type 'AWS::SSM::Parameter' with identifier 'p' was not found.",
    )
    await world.call("DeleteChangeSet", StackName="web", ChangeSetName="c")
    await world.create("other", MINE)
    owner = (await world.stack("other"))["StackId"]
    found = await prepare(world, MINE)
    assert (found["Status"], found["StatusReason"]) == ("FAILED", f"p already exists in stack {owner}")


async def test_a_failed_import_leaves_the_resources_alone(world: World) -> None:
    there(world)
    there(world, "q")
    await world.create("web", {"Resources": {"T": topic(TopicName="t")}})
    template = {
        "Resources": {
            "T": topic(TopicName="t"),
            "P": MINE["Resources"]["P"],
            "Q": parameter("one", Properties={"Name": "q"}) | KEPT | {"DependsOn": "P"},
        }
    }
    more = {"ResourceType": "AWS::SSM::Parameter", "LogicalResourceId": "Q", "ResourceIdentifier": {"Name": "q"}}
    await prepare(world, template, [*PLEASE, more])
    del world.fake.parameters["q"]
    assert await execute(world) == "IMPORT_ROLLBACK_COMPLETE"
    assert "p" in world.fake.parameters and list(await world.resources("web")) == ["T"]
    assert [event for event in await world.events("web") if event[0] in "PQ"] == [
        ("P", "IMPORT_IN_PROGRESS", "Resource import started."),
        ("Q", "IMPORT_IN_PROGRESS", "Resource import started."),
        ("P", "IMPORT_COMPLETE", "Resource import completed."),
        ("Q", "IMPORT_FAILED", "Resource of type 'AWS::SSM::Parameter' with identifier 'q' was not found."),
        ("P", "IMPORT_ROLLBACK_COMPLETE", ""),
        ("Q", "IMPORT_ROLLBACK_COMPLETE", ""),
    ]
    assert await world.update("web", {"Resources": {"T": topic(TopicName="t", DisplayName="x")}}) == (
        "UPDATE_COMPLETE"
    )


@pytest.mark.parametrize("commits", range(1, 5))
async def test_an_import_survives_the_death_of_the_cloud(commits: int) -> None:
    life = World()
    async with life.running() as world:
        there(world)
        await prepare(world, MINE)
    try:
        async with life.running(die_at_commit=commits) as world:
            await execute(world)
    except Killed:
        pass
    async with life.running() as world:
        assert await world.settle("web") == "IMPORT_COMPLETE"
        assert await world.resources("web") == {"P": ("IMPORT_COMPLETE", "p")}


async def test_two_stacks_cannot_import_one_resource(world: World) -> None:
    there(world)
    await prepare(world, MINE)
    await world.call("CreateChangeSet", **request(MINE) | {"StackName": "other"})
    assert await execute(world) == "IMPORT_COMPLETE"
    refused = await world.refused("ExecuteChangeSet", StackName="other", ChangeSetName="c")
    assert "p already exists in stack" in refused.message
    assert (await world.stack("other"))["StackStatus"] == "REVIEW_IN_PROGRESS"


def please(**changed: Any) -> list[dict[str, Any]]:
    return [PLEASE[0] | changed]


@pytest.mark.parametrize(
    ("template", "wanted", "message"),
    [
        (MINE, [], "Must Provide at least one resource to import"),
        (MINE, [*PLEASE, *PLEASE], "Every resource to import must have unique LogicalResourceId"),
        (
            MINE,
            please(LogicalResourceId="X"),
            "The logical resource ids [X] provided in ResourceToImport do not exist in the template.",
        ),
        (
            MINE,
            please(ResourceIdentifier={"Arn": "p"}),
            "Invalid resource identifier for resource type AWS::SSM::Parameter. Expected [Name]",
        ),
        (
            MINE,
            please(ResourceType="AWS::SNS::Topic"),
            "Resource type of [P] passed in ResourceToImport does not match with resource type defined in the "
            "template. Resource type in ResourceToImport: AWS::SNS::Topic; Resource type in Template: "
            "AWS::SSM::Parameter.",
        ),
        (
            MINE,
            please(ResourceIdentifier={"Name": "q"}),
            "Name of resource P is [p] in the template and [q] in ResourceToImport.",
        ),
        (
            {"Resources": {"P": parameter("one", Properties={"Name": "p"})}},
            None,
            "The following resources to import [P] must have DeletionPolicy attribute specified in the template.",
        ),
        (
            {"Resources": MINE["Resources"] | {"T": topic()}},
            None,
            "Resources [T] is missing from ResourceToImport list",
        ),
        (
            MINE | {"Outputs": {"O": {"Value": "x"}}},
            None,
            "As part of the import operation, you cannot modify or add [Outputs]",
        ),
    ],
)
async def test_requests_that_are_refused(world: World, template: Any, wanted: Any, message: str) -> None:
    there(world)
    refused = await world.refused("CreateChangeSet", **request(template, wanted))
    assert (refused.code, refused.message) == ("ValidationError", message)


async def test_nothing_else_may_change(world: World) -> None:
    there(world)
    await world.create("web", {"Resources": {"T": topic(TopicName="t"), "U": topic(TopicName="u")}})
    changed = {"Resources": {"T": topic(TopicName="t", DisplayName="x"), "P": MINE["Resources"]["P"]}}
    refused = await world.refused("CreateChangeSet", **request(changed))
    assert refused.message == (
        "You have modified resources [T, U] in your template that are not being imported. Update, create or delete "
        "operations cannot be executed during import operations."
    )


def both(policy: str = "Retain", broken: bool = False) -> dict[str, Any]:
    kept = parameter("one", Properties={"Name": "p"}) | {"DeletionPolicy": policy}
    other = parameter("x", Properties={"Name": "q"} | ({"Nonsense": 1} if broken else {}))
    return {"Resources": {"P": kept, "Q": other | {"DependsOn": "P"}}}


async def adopting(world: World, template: Any, kind: str = "CREATE") -> dict[str, Any]:
    await world.call(
        "CreateChangeSet",
        StackName="web",
        ChangeSetName="c",
        ChangeSetType=kind,
        TemplateBody=json.dumps(template),
        ImportExistingResources=True,
    )
    return await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")


@pytest.mark.parametrize("kind", ["CREATE", "UPDATE"])
async def test_existing_resources_are_imported_beside_new_ones(world: World, kind: str) -> None:
    there(world)
    if kind == "UPDATE":
        await world.create("web", {"Resources": {"T": topic(TopicName="t")}})
    template = both()
    if kind == "UPDATE":
        template["Resources"]["T"] = topic(TopicName="t")
    found = await adopting(world, template, kind)
    assert [(each["ResourceChange"]["LogicalResourceId"], each["ResourceChange"]["Action"])
            for each in found["Changes"]] == [("P", "Import"), ("Q", "Add")]  # fmt: skip
    assert found["ImportExistingResources"] is True
    assert await execute(world) == f"{kind}_COMPLETE"
    assert [event[1] for event in await world.events("web") if event[0] == "P"] == [
        "IMPORT_IN_PROGRESS",
        "IMPORT_COMPLETE",
    ]
    template["Resources"]["P"]["Properties"]["Value"] = "two"
    assert await world.update("web", template) == "UPDATE_COMPLETE"
    assert world.fake.parameters["p"]["Value"] == "two"


@pytest.mark.parametrize("policy", ["Retain", "RetainExceptOnCreate"])
@pytest.mark.parametrize("kind", ["CREATE", "UPDATE"])
async def test_a_rollback_never_deletes_what_was_there_before(world: World, kind: str, policy: str) -> None:
    there(world)
    template = both(policy, broken=True)
    if kind == "UPDATE":
        await world.create("web", {"Resources": {"T": topic(TopicName="t")}})
        template["Resources"]["T"] = topic(TopicName="t")
    await adopting(world, template, kind)
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c", RetainExceptOnCreate=True)
    assert await world.settle("web") == ("ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE")
    assert "p" in world.fake.parameters
    assert ("P", "DELETE_SKIPPED", "") in await world.events("web")
    assert rows_of(world, "P") in ([], ["DELETE_SKIPPED"])


def rows_of(world: World, name: str) -> list[str]:
    return [
        row["status"]
        for row in world.database.read("SELECT status FROM cfn_resource WHERE logical_id = ?", (name,))
    ]


async def test_existing_resources_must_be_retained(world: World) -> None:
    there(world)
    found = await adopting(world, both("Delete"))
    assert (found["Status"], found["StatusReason"]) == (
        "FAILED",
        "CloudFormation is attempting to import some resources because they already exist in your account. The "
        "resources must have the DeletionPolicy attribute set to 'Retain' or 'RetainExceptOnCreate' in the template "
        "for successful import. The affected resources are P ({Name=p})",
    )


async def test_what_belongs_to_another_stack_is_never_taken_over(world: World) -> None:
    await world.create("other", MINE)
    found = await adopting(world, both())
    assert [each["ResourceChange"]["Action"] for each in found["Changes"]] == ["Add", "Add"]
    assert await execute(world) == "ROLLBACK_COMPLETE" and "p" in world.fake.parameters

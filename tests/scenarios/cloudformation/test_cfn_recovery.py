"""Operations that stop half-way, and what gets a stack out of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import refuse, topic
from cfn_world import World, parameter


def template(value: str, **more: Any) -> dict[str, Any]:
    return {"Resources": {"A": parameter(value), "B": topic(DisplayName=value)} | more}


async def stopped(world: World) -> None:
    """An update without rollback in which only B failed."""
    await world.create("web", template("1"))
    world.fake.broken["sns", "SetTopicAttributes"] = refuse("InvalidParameter", "no")
    assert await world.update("web", template("2"), DisableRollback=True) == "UPDATE_FAILED"
    del world.fake.broken["sns", "SetTopicAttributes"]


def values(world: World) -> tuple[list[str], list[str]]:
    return (
        [each["Value"] for each in world.fake.parameters.values()],
        [each.get("DisplayName", "") for each in world.fake.topics.values()],
    )


async def test_without_rollback_what_does_not_depend_on_a_failure_is_made(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    chain = template(
        "1",
        After=parameter({"Ref": "B"}),
        Slow={"Type": "AWS::ECR::Repository", "DependsOn": "A"},
    )
    assert await world.create("web", chain, DisableRollback=True) == "CREATE_FAILED"
    stack = await world.stack("web")
    assert stack["StackStatusReason"] == "The following resource(s) failed to create: [B]. "
    found = await world.resources("web")
    assert {name: status for name, (status, _) in found.items()} == {
        "A": "CREATE_COMPLETE",
        "B": "CREATE_FAILED",
        "Slow": "CREATE_COMPLETE",
    }


async def test_a_failed_creation_goes_on_with_an_update(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    await world.create("web", template("1"), OnFailure="DO_NOTHING")
    del world.fake.broken["sns", "CreateTopic"]
    stack_id = (await world.stack("web"))["StackId"]
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=json.dumps(template("1")))
    assert refused.message == f"Stack:{stack_id} is in CREATE_FAILED state and can not be updated."
    assert await world.update("web", template("1"), DisableRollback=True) == "UPDATE_COMPLETE"
    assert values(world) == (["1"], ["1"])
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert values(world) == ([], [])


async def test_what_was_half_made_is_removed_before_it_is_made_anew(world: World) -> None:
    named = topic(TopicName="mine", Tags=[{"Key": "k", "Value": "v"}])
    named["Properties"]["Subscription"] = [{"Protocol": "email", "Endpoint": "a@b"}]
    world.fake.broken["sns", "Subscribe"] = refuse("InvalidParameter", "no")
    await world.create("web", {"Resources": {"B": named}}, DisableRollback=True)
    assert len(world.fake.topics) == 1
    del named["Properties"]["Subscription"]
    assert await world.update("web", {"Resources": {"B": named}}, DisableRollback=True) == "UPDATE_COMPLETE"
    assert len(world.fake.topics) == 1
    events = await world.events("web")
    assert ("B", "DELETE_COMPLETE", "") in events
    assert (await world.resources("web"))["B"][0] == "CREATE_COMPLETE"


async def test_rolling_back_a_creation_that_stopped_deletes_the_stack(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    await world.create("web", template("1"), DisableRollback=True)
    stack_id = (await world.stack("web"))["StackId"]
    assert (await world.call("RollbackStack", StackName="web"))["StackId"] == stack_id
    assert await world.settle(stack_id) == "DELETE_COMPLETE"
    assert values(world) == ([], [])


async def test_an_update_that_stopped_is_rolled_back(world: World) -> None:
    await stopped(world)
    await world.call("RollbackStack", StackName="web", ClientRequestToken="back")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert values(world) == (["1"], ["1"])
    await world.call("RollbackStack", StackName="web", ClientRequestToken="back")
    assert world.status("web") == "UPDATE_ROLLBACK_COMPLETE"
    refused = await world.refused("RollbackStack", StackName="web")
    assert "is in UPDATE_ROLLBACK_COMPLETE state and can not be rolled back." in refused.message
    refused = await world.refused("CancelUpdateStack", StackName="web", ClientRequestToken="back")
    assert refused.code == "TokenAlreadyExistsException"


async def test_an_update_that_stopped_goes_on_forwards(world: World) -> None:
    await stopped(world)
    stack_id = (await world.stack("web"))["StackId"]
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=json.dumps(template("2")))
    assert refused.message == f"Stack:{stack_id} is in UPDATE_FAILED state and can not be updated."
    assert await world.update("web", template("2"), DisableRollback=True) == "UPDATE_COMPLETE"
    assert values(world) == (["2"], ["2"])
    assert world.database.read("SELECT * FROM cfn_leftover") == []


async def test_a_change_set_goes_on_where_an_operation_stopped(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    await world.create("web", template("1"), DisableRollback=True)
    del world.fake.broken["sns", "CreateTopic"]
    named = {"StackName": "web", "ChangeSetName": "c"}
    await world.call("CreateChangeSet", TemplateBody=json.dumps(template("1")), **named)
    found = await world.call("DescribeChangeSet", **named)
    changes = {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in found["Changes"]}
    assert {name: each["Action"] for name, each in changes.items()} == {"B": "Add"}
    refused = await world.refused("ExecuteChangeSet", **named)
    assert "is in CREATE_FAILED state and can not be updated." in refused.message
    more = {"DisableRollback": True, "ClientRequestToken": "once"}
    by_id = {"ChangeSetName": found["ChangeSetId"]} | more
    await world.call("ExecuteChangeSet", **by_id)
    assert await world.settle("web") == "UPDATE_COMPLETE"
    assert values(world) == (["1"], ["1"])
    assert await world.call("ExecuteChangeSet", **by_id) == {}


async def test_after_two_stops_the_way_back_still_leads_to_the_first_state(world: World) -> None:
    renamed = {"A": parameter("1", Properties={"Name": "one"}), "B": topic(DisplayName="1")}
    await world.create("web", {"Resources": renamed})
    world.fake.broken["sns", "SetTopicAttributes"] = refuse("InvalidParameter", "no")
    for name in ("two", "three"):
        changed = {"A": parameter("1", Properties={"Name": name}), "B": topic(DisplayName=name)}
        extra = {"New": parameter(name)} if name == "two" else {}
        assert await world.update("web", {"Resources": changed | extra}, DisableRollback=True) == "UPDATE_FAILED"
    del world.fake.broken["sns", "SetTopicAttributes"]
    await world.call("RollbackStack", StackName="web")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert list(world.fake.parameters) == ["one"]
    assert sorted(await world.resources("web")) == ["A", "B"]


async def test_after_two_stops_an_update_cleans_up_after_both(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("1", Properties={"Name": "one"}), "B": topic()}})
    world.fake.broken["sns", "SetTopicAttributes"] = refuse("InvalidParameter", "no")
    for name in ("two", "three", "four"):
        if name == "four":
            del world.fake.broken["sns", "SetTopicAttributes"]
        changed = {"A": parameter("1", Properties={"Name": name}), "B": topic(DisplayName=name)}
        await world.update("web", {"Resources": changed}, DisableRollback=True)
    assert world.status("web") == "UPDATE_COMPLETE"
    assert list(world.fake.parameters) == ["four"]


async def test_a_stopped_update_can_be_deleted(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("1", Properties={"Name": "one"}), "B": topic()}})
    world.fake.broken["sns", "SetTopicAttributes"] = refuse("InvalidParameter", "no")
    changed = {"A": parameter("1", Properties={"Name": "two"}), "B": topic(DisplayName="x")}
    await world.update("web", {"Resources": changed}, DisableRollback=True)
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert values(world) == ([], [])


# A way back that fails


async def stuck(world: World, **more: Any) -> None:
    """B cannot go back to what it was."""
    await world.create("web", template("1"))
    changed = template("2", Bad={"Type": "AWS::ECR::Repository", "DependsOn": ["A", "B"]}, **more)
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")

    def only_back(params: Any) -> None:
        if params["AttributeValue"] == "1":
            refuse("InvalidParameter", "no")(params)

    world.fake.broken["sns", "SetTopicAttributes"] = only_back
    assert await world.update("web", changed) == "UPDATE_ROLLBACK_FAILED"


async def test_a_rollback_is_continued_once_its_cause_is_gone(world: World) -> None:
    await stuck(world)
    assert values(world)[1] == ["2"]
    del world.fake.broken["sns", "SetTopicAttributes"]
    await world.call("ContinueUpdateRollback", StackName="web", ClientRequestToken="on")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert values(world) == (["1"], ["1"])
    await world.call("ContinueUpdateRollback", StackName="web", ClientRequestToken="on")
    assert world.status("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert sorted(await world.resources("web")) == ["A", "B"]


async def test_a_rollback_that_is_continued_may_fail_again(world: World) -> None:
    await stuck(world)
    await world.call("ContinueUpdateRollback", StackName="web")
    assert await world.settle("web") == "UPDATE_ROLLBACK_FAILED"


@pytest.mark.parametrize("more", [{"ResourcesToSkip": ["B"]}, {"ForceRollback": True}])
async def test_what_cannot_go_back_may_be_skipped(world: World, more: dict[str, Any]) -> None:
    await stuck(world)
    await world.call("ContinueUpdateRollback", StackName="web", **more)
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert values(world) == (["1"], ["2"])
    assert (await world.resources("web"))["B"][0] == "UPDATE_COMPLETE"
    assert await world.update("web", template("3")) == "UPDATE_COMPLETE"
    assert values(world) == (["3"], ["3"])


async def test_only_what_failed_to_go_back_may_be_skipped(world: World) -> None:
    await stuck(world)
    refused = await world.refused("ContinueUpdateRollback", StackName="web", ResourcesToSkip=["A"])
    assert refused.code == "ValidationError" and "[A]" in refused.message
    refused = await world.refused("ContinueUpdateRollback", StackName="web", ResourcesToSkip=["Nobody"])
    assert "[Nobody]" in refused.message
    refused = await world.refused(
        "ContinueUpdateRollback", StackName="web", ResourcesToSkip=["B"], ForceRollback=True
    )
    assert refused.message == "ForceRollback and ResourcesToSkip are mutually exclusive."


async def test_only_a_rollback_that_failed_is_continued(world: World) -> None:
    await world.create("web", template("1"))
    refused = await world.refused("ContinueUpdateRollback", StackName="web")
    assert "is in CREATE_COMPLETE state and can not continue update rollback." in refused.message


# Deleting


async def test_a_creation_whose_rollback_failed_can_be_deleted(world: World) -> None:
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")
    world.fake.broken["sns", "DeleteTopic"] = refuse("InvalidParameter", "no")
    bad = template("1", Bad={"Type": "AWS::ECR::Repository", "DependsOn": ["A", "B"]})
    assert await world.create("web", bad) == "ROLLBACK_FAILED"
    assert (await world.stack("web"))["StackStatusReason"] == "The following resource(s) failed to delete: [B]. "
    del world.fake.broken["sns", "DeleteTopic"]
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert values(world) == ([], [])


async def test_a_forced_deletion_leaves_what_cannot_be_deleted(world: World) -> None:
    await world.create("web", template("1"))
    world.fake.broken["sns", "DeleteTopic"] = refuse("InvalidParameter", "no")
    refused = await world.refused("DeleteStack", StackName="web", DeletionMode="FORCE_DELETE_STACK")
    assert "DELETE_FAILED" in refused.message
    assert await world.delete("web") == "DELETE_FAILED"
    stack_id = (await world.stack("web"))["StackId"]
    assert await world.delete("web", DeletionMode="FORCE_DELETE_STACK") == "DELETE_COMPLETE"
    assert values(world) == ([], ["1"])
    assert ("B", "DELETE_SKIPPED", "") in await world.events(stack_id)


@pytest.mark.parametrize(("more", "kept"), [({}, ["1"]), ({"RetainExceptOnCreate": True}, [])])
async def test_retain_except_on_create(world: World, more: dict[str, Any], kept: list[str]) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    kept_parameter = parameter("1", DeletionPolicy="Retain")
    resources = {"A": kept_parameter, "B": topic() | {"DependsOn": "A"}}
    assert await world.create("web", {"Resources": resources}, **more) == "ROLLBACK_COMPLETE"
    assert values(world)[0] == kept


@pytest.mark.parametrize(("more", "kept"), [({}, ["0", "1"]), ({"RetainExceptOnCreate": True}, ["0"])])
async def test_retain_except_on_create_in_an_update(world: World, more: dict[str, Any], kept: list[str]) -> None:
    await world.create("web", {"Resources": {"Old": parameter("0", DeletionPolicy="Retain")}})
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    resources = {
        "Old": parameter("0", DeletionPolicy="Retain"),
        "A": parameter("1", DeletionPolicy="Retain"),
        "B": topic() | {"DependsOn": "A"},
    }
    assert await world.update("web", {"Resources": resources}, **more) == "UPDATE_ROLLBACK_COMPLETE"
    assert sorted(values(world)[0]) == kept


async def test_snapshots_are_refused_where_there_are_none(world: World) -> None:
    for name in ("DeletionPolicy", "UpdateReplacePolicy"):
        resources = {"A": parameter("x", **{name: "Snapshot"})}
        body = json.dumps({"Resources": resources})
        refused = await world.refused("CreateStack", StackName="web", TemplateBody=body)
        assert refused.message == (
            "Template error: resource type AWS::SSM::Parameter does not support deletion policy Snapshot"
        )


@pytest.mark.parametrize(
    ("begun", "ended", "broken"),
    [
        ("CREATE", "ROLLBACK_COMPLETE", "begin.Beginnings.begin"),
        ("UPDATE", "UPDATE_ROLLBACK_COMPLETE", "begin.Beginnings.begin"),
        ("DELETE", "DELETE_FAILED", "undo.Undo.remove_all"),
    ],
)
async def test_an_operation_that_only_meets_faults_of_ours_ends_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, begun: str, ended: str, broken: str
) -> None:
    if begun != "CREATE":
        await world.create("web", {"Resources": {"A": parameter("1")}})

    def by_chance(*given: Any, **named: Any) -> Any:
        raise ZeroDivisionError("by chance")

    more = {} if begun == "DELETE" else {"TemplateBody": json.dumps({"Resources": {"A": parameter("2")}})}
    with monkeypatch.context() as patched:
        patched.setattr(f"portside.cloud.services.cloudformation.{broken}", by_chance)
        await world.call(f"{begun.title()}Stack", StackName="web", **more)
        assert await world.settle("web") == ended
    reasons = [reason for _, _, reason in await world.events("web")]
    assert any("Internal Failure (portside failed: ZeroDivisionError('by chance'))" in each for each in reasons)
    await world.call("DeleteStack", StackName="web")
    assert await world.settle("web") in ("DELETE_COMPLETE", "")
    assert world.fake.parameters == {}

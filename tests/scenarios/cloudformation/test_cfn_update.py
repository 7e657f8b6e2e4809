"""Updating stacks: what is kept, changed, replaced and removed; and the way back."""

from __future__ import annotations

import json
from typing import Any

from cfn_templates import definition, refuse, service, topic
from cfn_world import World, parameter
from portside.cloud.protocol.errors import AwsError

REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."


def refuse_two(params: Any) -> None:
    if params["AttributeValue"] == "two":
        raise AwsError("InvalidParameter", "no")


async def later(world: World, name: str, before: int) -> list[tuple[str, str, str]]:
    return (await world.events(name))[before:]


async def test_an_update_in_place(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("one"), "B": parameter("same")}})
    before = len(await world.events("web"))
    assert await world.update("web", {"Resources": {"A": parameter("two"), "B": parameter("same")}}) == (
        "UPDATE_COMPLETE"
    )
    assert await later(world, "web", before) == [
        ("web", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("A", "UPDATE_IN_PROGRESS", ""),
        ("A", "UPDATE_COMPLETE", ""),
        ("web", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", ""),
        ("web", "UPDATE_COMPLETE", ""),
    ]
    assert sorted(each["Value"] for each in world.fake.parameters.values()) == ["same", "two"]


async def test_a_replacement_and_what_hangs_on_it(world: World) -> None:
    def template(name: str) -> Any:
        return {
            "Resources": {
                "A": parameter("x", Properties={"Name": name}),
                "B": parameter({"Ref": "A"}),
                "C": parameter({"Fn::GetAtt": ["B", "Type"]}),
            }
        }

    await world.create("web", template("first"))
    before = len(await world.events("web"))
    assert await world.update("web", template("second")) == "UPDATE_COMPLETE"
    assert await later(world, "web", before) == [
        ("web", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("A", "UPDATE_IN_PROGRESS", REPLACING),
        ("A", "UPDATE_IN_PROGRESS", "Resource creation Initiated"),
        ("A", "UPDATE_COMPLETE", ""),
        ("B", "UPDATE_IN_PROGRESS", ""),
        ("B", "UPDATE_COMPLETE", ""),
        ("web", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", ""),
        ("A", "DELETE_IN_PROGRESS", ""),
        ("A", "DELETE_COMPLETE", ""),
        ("web", "UPDATE_COMPLETE", ""),
    ]
    assert "first" not in world.fake.parameters and "second" in world.fake.parameters
    assert (await world.resources("web"))["A"] == ("UPDATE_COMPLETE", "second")


async def test_removals_wait_for_clean_up(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("x"), "B": parameter({"Ref": "A"})}})
    before = len(await world.events("web"))
    assert await world.update("web", {"Resources": {"C": parameter("x")}}) == "UPDATE_COMPLETE"
    seen = [(name, status) for name, status, _ in await later(world, "web", before)]
    assert seen.index(("C", "CREATE_COMPLETE")) < seen.index(("B", "DELETE_IN_PROGRESS"))
    assert seen.index(("B", "DELETE_COMPLETE")) < seen.index(("A", "DELETE_IN_PROGRESS"))
    assert list(await world.resources("web")) == ["C"] and len(world.fake.parameters) == 1


async def test_nothing_to_do(world: World) -> None:
    template = {"Description": "one", "Resources": {"A": parameter("x")}, "Mappings": {"M": {"a": {"b": "c"}}}}
    await world.create("web", template)
    same = {
        "Description": "two",
        "Resources": {"A": parameter("x") | {"DeletionPolicy": "Retain", "DependsOn": []}},
        "Parameters": {"Unused": {"Type": "String", "Default": "x"}},
    }
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=json.dumps(same))
    assert (refused.code, refused.message) == ("ValidationError", "No updates are to be performed.")


async def test_metadata_outputs_and_tags_are_changes(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic()}})
    before = len(await world.events("web"))
    assert await world.update("web", {"Resources": {"A": topic() | {"Metadata": {"a": "b"}}}}) == "UPDATE_COMPLETE"
    seen = [(name, status) for name, status, _ in await later(world, "web", before)]
    assert ("A", "UPDATE_COMPLETE") in seen and ("A", "UPDATE_IN_PROGRESS") not in seen
    template = {
        "Resources": {"A": topic() | {"Metadata": {"a": "b"}}},
        "Outputs": {"Arn": {"Value": {"Ref": "A"}}},
    }
    before = len(await world.events("web"))
    assert await world.update("web", template) == "UPDATE_COMPLETE"
    assert [name for name, _, _ in await later(world, "web", before)] == ["web"] * 3
    assert len((await world.stack("web"))["Outputs"]) == 1
    tags = [{"Key": "team", "Value": "shop"}]
    assert await world.update("web", template, Tags=tags) == "UPDATE_COMPLETE"
    assert world.fake.asked("sns", "TagResource")[-1]["Tags"] == tags


async def test_a_failed_update_puts_everything_back(world: World) -> None:
    def template(value: str, name: str, *more: str) -> Any:
        return {
            "Resources": {
                "A": parameter(value),
                "B": parameter(value, Properties={"Name": name}),
                **{each: parameter("new") for each in more},
                "Bad": topic(DisplayName=value) | {"DependsOn": ["A", "B", *more]},
            }
        }

    await world.create("web", template("one", "first"))
    world.fake.broken["sns", "SetTopicAttributes"] = refuse_two
    before = len(await world.events("web"))
    assert await world.update("web", template("two", "second", "Fresh")) == "UPDATE_ROLLBACK_COMPLETE"
    seen = await later(world, "web", before)
    assert ("web", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Bad]. ") in seen
    back = seen[[status for _, status, _ in seen].index("UPDATE_ROLLBACK_IN_PROGRESS") :]
    assert [(n, s) for n, s, _ in back if n == "A"] == [("A", "UPDATE_IN_PROGRESS"), ("A", "UPDATE_COMPLETE")]
    # A replaced resource comes back at once; its replacement goes in clean-up.
    assert [(n, s) for n, s, _ in back if n == "B"] == [
        ("B", "UPDATE_COMPLETE"),
        ("B", "DELETE_IN_PROGRESS"),
        ("B", "DELETE_COMPLETE"),
    ]
    assert back[-1] == ("web", "UPDATE_ROLLBACK_COMPLETE", "")
    resources = await world.resources("web")
    assert sorted(resources) == ["A", "B", "Bad"] and resources["B"] == ("UPDATE_COMPLETE", "first")
    assert {name: each["Value"] for name, each in world.fake.parameters.items() if name == "first"} == {
        "first": "one"
    }
    assert sorted(each["Value"] for each in world.fake.parameters.values()) == ["one", "one"]
    # The old template is in force again, and the stack can be updated.
    del world.fake.broken["sns", "SetTopicAttributes"]
    body = (await world.call("GetTemplate", StackName="web"))["TemplateBody"]
    assert json.loads(body) == template("one", "first")
    assert await world.update("web", template("two", "second")) == "UPDATE_COMPLETE"


async def test_br_01_a_breaker_rollback_is_a_failed_update(world: World) -> None:
    def template(image: str) -> Any:
        breaker = {"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}}
        return {
            "Resources": {
                "Definition": definition(image),
                "Service": service(DesiredCount=1, DeploymentConfiguration=breaker),
            }
        }

    await world.create("web", template("app:good"))
    good = world.fake.definitions[0]["taskDefinitionArn"]
    world.fake.bad_images.add("app:bad")
    assert await world.update("web", template("app:bad")) == "UPDATE_ROLLBACK_COMPLETE"
    failed = next(r for n, s, r in await world.events("web") if (n, s) == ("Service", "UPDATE_FAILED"))
    assert "ECS Deployment Circuit Breaker was triggered" in failed
    (running,) = world.fake.services.values()
    assert running["taskDefinition"] == good
    assert json.loads((await world.call("GetTemplate", StackName="web"))["TemplateBody"]) == template("app:good")
    # BR-03: only the bad revision is deregistered.
    assert [each["status"] for each in world.fake.definitions] == ["ACTIVE", "INACTIVE"]
    assert (await world.resources("web"))["Definition"][1] == good
    # BR-67: the next good commit deploys.
    assert await world.update("web", template("app:better")) == "UPDATE_COMPLETE"
    assert [each["status"] for each in world.fake.definitions] == ["INACTIVE", "INACTIVE", "ACTIVE"]


async def test_desired_count_is_sent_only_when_the_template_has_it(world: World) -> None:
    def template(image: str) -> Any:
        return {"Resources": {"Definition": definition(image), "Service": service()}}

    await world.create("web", template("app:1"))
    assert world.fake.asked("ecs", "CreateService")[0]["desiredCount"] == 1
    (running,) = world.fake.services.values()
    running["desiredCount"] = 5
    await world.update("web", template("app:2"))
    assert "desiredCount" not in world.fake.asked("ecs", "UpdateService")[0]
    assert running["desiredCount"] == 5


async def test_a_new_nonce_forces_a_deployment(world: World) -> None:
    def template(nonce: str) -> Any:
        forced = {"EnableForceNewDeployment": True, "ForceNewDeploymentNonce": nonce}
        return {"Resources": {"Definition": definition("app:1"), "Service": service(ForceNewDeployment=forced)}}

    await world.create("web", template("1"))
    assert await world.update("web", template("2")) == "UPDATE_COMPLETE"
    assert world.fake.asked("ecs", "UpdateService")[0]["forceNewDeployment"] is True


async def test_a_custom_named_resource_is_not_replaced(world: World) -> None:
    def template(fifo: bool) -> Any:
        return {"Resources": {"A": topic(TopicName="mine.fifo", FifoTopic=fifo)}}

    await world.create("web", template(True))
    assert await world.update("web", template(False)) == "UPDATE_ROLLBACK_COMPLETE"
    failed = next(r for n, s, r in await world.events("web") if (n, s) == ("A", "UPDATE_FAILED"))
    assert failed == (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
        "Rename mine.fifo and update the stack again."
    )
    assert len(world.fake.topics) == 1


async def test_a_family_of_ones_own_is_no_custom_name_for_each_revision_is_a_resource(world: World) -> None:
    def template(image: str) -> Any:
        return {
            "Resources": {"Definition": definition(image, Family={"Ref": "AWS::StackName"}), "Service": service()}
        }

    await world.create("web", template("app:1"))
    assert await world.update("web", template("app:2")) == "UPDATE_COMPLETE"
    assert [each["status"] for each in world.fake.definitions] == ["INACTIVE", "ACTIVE"]
    assert {each["family"] for each in world.fake.definitions} == {"web"}


async def test_a_replaced_resource_may_be_retained(world: World) -> None:
    def template(name: str) -> Any:
        return {"Resources": {"A": parameter("x", Properties={"Name": name}, UpdateReplacePolicy="Retain")}}

    await world.create("web", template("first"))
    await world.update("web", template("second"))
    assert ("A", "DELETE_SKIPPED", "") in await world.events("web")
    assert sorted(world.fake.parameters) == ["first", "second"]


async def test_a_clean_up_that_fails_is_given_up_after_three_attempts(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("x"), "B": parameter("y")}})
    world.fake.broken["ssm", "DeleteParameter"] = refuse("AccessDeniedException", "no")
    assert await world.update("web", {"Resources": {"B": parameter("y")}}) == "UPDATE_COMPLETE"
    events = await world.events("web")
    assert [(n, s) for n, s, _ in events].count(("A", "DELETE_FAILED")) == 3
    assert events[-1] == (
        "web",
        "UPDATE_COMPLETE",
        "Update successful. One or more resources could not be deleted.",
    )
    assert list(await world.resources("web")) == ["B"]


async def test_a_way_back_that_fails_stops(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("one"), "B": topic(DisplayName="one")}})
    world.fake.broken["sns", "SetTopicAttributes"] = refuse("InvalidParameter", "no")
    changed = {"Resources": {"A": parameter("two"), "B": topic(DisplayName="two")}}
    assert await world.update("web", changed) == "UPDATE_ROLLBACK_FAILED"
    assert (await world.stack("web"))["StackStatusReason"] == "The following resource(s) failed to update: [B]. "
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=json.dumps(changed))
    stack_id = (await world.stack("web"))["StackId"]
    assert refused.message == f"Stack:{stack_id} is in UPDATE_ROLLBACK_FAILED state and can not be updated."
    del world.fake.broken["sns", "SetTopicAttributes"]
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert world.fake.parameters == {} and world.fake.topics == {}


async def test_cancelling_an_update(world: World) -> None:
    def template(image: str) -> Any:
        return {"Resources": {"Definition": definition(image), "Service": service()}}

    await world.create("web", template("app:1"))
    world.fake.rollout_seconds = 1000.0
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(template("app:2")))
    await world.clock.advance(20)
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=json.dumps(template("app:3")))
    assert "is in UPDATE_IN_PROGRESS state and can not be updated." in refused.message
    await world.call("CancelUpdateStack", StackName="web")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert ("Service", "UPDATE_FAILED", "Resource update cancelled") in await world.events("web")
    (running,) = world.fake.services.values()
    assert running["taskDefinition"] == world.fake.definitions[0]["taskDefinitionArn"]
    refused = await world.refused("CancelUpdateStack", StackName="web")
    assert refused.message == "CancelUpdateStack cannot be called from current stack status"


async def test_a_type_cannot_change(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("x")}})
    refused = await world.refused(
        "UpdateStack", StackName="web", TemplateBody=json.dumps({"Resources": {"A": topic()}})
    )
    assert refused.message == (
        "Update of resource type is not permitted. The new template modifies resource type of the following "
        "resources: [A]"
    )


async def test_previous_values_and_new_defaults(world: World) -> None:
    def template(default: str) -> Any:
        return {
            "Parameters": {"V": {"Type": "String", "Default": default}},
            "Resources": {"A": parameter({"Ref": "V"})},
        }

    await world.create("web", template("d1"), Parameters=[{"ParameterKey": "V", "ParameterValue": "mine"}])
    kept = [{"ParameterKey": "V", "UsePreviousValue": True}]
    refused = await world.refused(
        "UpdateStack", StackName="web", TemplateBody=json.dumps(template("d2")), Parameters=kept
    )
    assert refused.message == "No updates are to be performed."
    await world.update("web", template("d2"))
    assert [each["Value"] for each in world.fake.parameters.values()] == ["d2"]


async def test_a_failed_update_without_rollback_stays(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter("one"), "B": topic(DisplayName="one")}})
    world.fake.broken["sns", "SetTopicAttributes"] = refuse("InvalidParameter", "no")
    changed = {"Resources": {"A": parameter("two"), "B": topic(DisplayName="two")}}
    assert await world.update("web", changed, DisableRollback=True) == "UPDATE_FAILED"
    assert [each["Value"] for each in world.fake.parameters.values()] == ["two"]

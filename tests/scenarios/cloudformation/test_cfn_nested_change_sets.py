"""Change sets for whole hierarchies of stacks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import refuse, topic
from cfn_world import World, parameter

URL = "https://bucket.s3.amazonaws.com/{}.json"
NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
ONLY_ROOT = "Only executable from the root change set."


def store(world: World, name: str, template: Any) -> None:
    world.fake.objects[f"bucket/{name}.json"] = json.dumps(template)


def leaf(value: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "Parameters": {"V": {"Type": "String", "Default": "d"}},
        "Resources": {"P": parameter({"Ref": "V"} if value is None else value)} | more,
        "Outputs": {"Value": {"Value": {"Fn::GetAtt": ["P", "Value"]}}, "Fixed": {"Value": "f"}},
    }


def nested(name: str = "leaf", **parameters: Any) -> dict[str, Any]:
    properties: dict[str, Any] = {"TemplateURL": URL.format(name)}
    if parameters:
        properties["Parameters"] = parameters
    return {"Type": "AWS::CloudFormation::Stack", "Properties": properties}


def output(stack: str, name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [stack, f"Outputs.{name}"]}


def outer(**resources: Any) -> dict[str, Any]:
    return {"Resources": resources}


async def made(world: World, template: Any, name: str = "c", **params: Any) -> dict[str, Any]:
    given = {"StackName": "web", "ChangeSetName": name, "IncludeNestedStacks": True} | params
    await world.call("CreateChangeSet", TemplateBody=json.dumps(template), **given)
    return await world.call("DescribeChangeSet", StackName=given["StackName"], ChangeSetName=name)


async def inside(world: World, found: dict[str, Any], name: str) -> dict[str, Any]:
    """The nested change set of a resource."""
    ids = {
        each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"].get("ChangeSetId")
        for each in found["Changes"]
    }
    return await world.call("DescribeChangeSet", ChangeSetName=ids[name], IncludePropertyValues=True)


async def execute(world: World, name: str = "c", **params: Any) -> str:
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName=name, **params)
    return await world.settle("web")


def actions(found: dict[str, Any]) -> dict[str, str]:
    return {
        each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"]["Action"] for each in found["Changes"]
    }


def values(world: World) -> list[str]:
    return sorted(each["Value"] for each in world.fake.parameters.values())


def alive(world: World) -> list[str]:
    rows = world.database.read("SELECT name FROM cfn_stack WHERE status <> 'DELETE_COMPLETE' ORDER BY name")
    return [row["name"] for row in rows]


async def nested_id(world: World, name: str, stack: str = "web") -> str:
    return (await world.resources(stack))[name][1]


# Creating


async def test_a_new_hierarchy_is_announced_as_a_whole(world: World) -> None:
    store(world, "leaf", leaf())
    store(world, "middle", outer(Leaf=nested(V="deep"), T=topic()))
    root = await made(world, outer(Middle=nested("middle"), P=parameter("x")), ChangeSetType="CREATE")
    assert (root["Status"], root["ExecutionStatus"], root["StatusReason"]) == (
        "CREATE_COMPLETE",
        "AVAILABLE",
        None,
    )
    assert (root["IncludeNestedStacks"], root["ParentChangeSetId"], root["RootChangeSetId"]) == (True, None, None)
    assert actions(root) == {"Middle": "Add", "P": "Add"}
    middle = await inside(world, root, "Middle")
    deep = await inside(world, middle, "Leaf")
    assert actions(middle) == {"Leaf": "Add", "T": "Add"} and actions(deep) == {"P": "Add"}
    for found, parent in ((middle, root), (deep, middle)):
        assert (found["Status"], found["ExecutionStatus"], found["StatusReason"]) == (
            "CREATE_COMPLETE",
            "UNAVAILABLE",
            ONLY_ROOT,
        )
        assert found["IncludeNestedStacks"] is True
        assert found["ParentChangeSetId"] == parent["ChangeSetId"]
        assert found["RootChangeSetId"] == root["ChangeSetId"]
        stack = await world.stack(found["StackId"])
        assert stack["StackStatus"] == "REVIEW_IN_PROGRESS"
        assert (stack["ParentId"], stack["RootId"]) == (parent["StackId"], root["StackId"])
        assert found["StackName"].startswith(f"{parent['StackName']}-")
        (listed,) = (await world.call("ListChangeSets", StackName=found["StackName"]))["Summaries"]
        assert (listed["ParentChangeSetId"], listed["RootChangeSetId"]) == (
            found["ParentChangeSetId"],
            found["RootChangeSetId"],
        )
    assert middle["ChangeSetName"].startswith("c-Middle-")
    assert deep["ChangeSetName"].startswith(f"{middle['ChangeSetName']}-Leaf-")
    assert deep["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "deep"}]

    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["deep", "x"]
    # The stacks that were announced are the ones that were made.
    assert await nested_id(world, "Middle") == middle["StackId"]
    assert await nested_id(world, "Leaf", middle["StackId"]) == deep["StackId"]
    assert (await world.stack(deep["StackId"]))["ChangeSetId"] == deep["ChangeSetId"]
    for each in (root, middle, deep):
        again = await world.call("DescribeChangeSet", ChangeSetName=each["ChangeSetId"])
        assert again["ExecutionStatus"] == "EXECUTE_COMPLETE"
        assert (await world.call("ListChangeSets", StackName=each["StackId"]))["Summaries"] == []
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert alive(world) == []


async def test_what_is_shown_is_what_is_made_whatever_comes_to_lie_behind_the_address(world: World) -> None:
    store(world, "leaf", leaf("shown"))
    await made(world, outer(Leaf=nested()), ChangeSetType="CREATE")
    store(world, "leaf", leaf("later"))
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["shown"]
    body = (await world.call("GetTemplate", StackName=await nested_id(world, "Leaf")))["TemplateBody"]
    assert json.loads(body) == leaf("shown")
    # Without nested stacks the template is looked at when the stack is updated.
    plain = outer(Leaf=nested(), P=parameter("x"))
    await world.call("CreateChangeSet", StackName="web", ChangeSetName="c", TemplateBody=json.dumps(plain))
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    assert found["IncludeNestedStacks"] is False
    assert [each["ResourceChange"].get("ChangeSetId") for each in found["Changes"]] == [None, None]
    assert await execute(world) == "UPDATE_COMPLETE"
    assert values(world) == ["later", "x"]


async def test_deleting_the_root_deletes_all_of_it(world: World) -> None:
    store(world, "leaf", leaf())
    store(world, "middle", outer(Leaf=nested()))
    root = await made(world, outer(Middle=nested("middle")), ChangeSetType="CREATE")
    middle = await inside(world, root, "Middle")
    deep = await inside(world, middle, "Leaf")
    for each in (middle, deep):
        refused = await world.refused("DeleteChangeSet", ChangeSetName=each["ChangeSetId"])
        assert refused.code == "InvalidChangeSetStatus" and root["ChangeSetId"] in refused.message
        refused = await world.refused("ExecuteChangeSet", ChangeSetName=each["ChangeSetId"])
        assert (refused.code, refused.message) == (
            "InvalidChangeSetStatus",
            f"ChangeSet [{each['ChangeSetId']}] cannot be executed in its current status of [CREATE_COMPLETE]",
        )
    await world.call("DeleteChangeSet", StackName="web", ChangeSetName="c")
    for each in (root, middle, deep):
        refused = await world.refused("DescribeChangeSet", ChangeSetName=each["ChangeSetId"])
        assert refused.code == "ChangeSetNotFound"
    assert alive(world) == ["web"]
    assert (await world.stack(deep["StackId"]))["StackStatus"] == "DELETE_COMPLETE"
    await world.call("DeleteStack", StackName="web")
    await world.until(lambda: alive(world) == [])


async def test_deleting_a_stack_under_review_deletes_those_inside(world: World) -> None:
    store(world, "leaf", leaf())
    store(world, "middle", outer(Leaf=nested()))
    template = outer(Middle=nested("middle"))
    roots = [await made(world, template, name, ChangeSetType="CREATE") for name in ("c", "d")]
    assert len(alive(world)) == 5
    await world.call("DeleteStack", StackName="web")
    await world.until(lambda: alive(world) == [])
    for each in roots:
        found = await world.call("DescribeChangeSet", ChangeSetName=each["ChangeSetId"])
        assert found["ExecutionStatus"] == "OBSOLETE"


async def test_executing_one_discards_what_another_has_announced(world: World) -> None:
    store(world, "leaf", leaf())
    one = await made(world, outer(Leaf=nested(V="1")), "one", ChangeSetType="CREATE")
    two = await made(world, outer(Leaf=nested(V="2")), "two", ChangeSetType="CREATE")
    lost = await inside(world, two, "Leaf")
    assert await execute(world, "one") == "CREATE_COMPLETE"
    assert values(world) == ["1"]
    kept = (await inside(world, one, "Leaf"))["StackName"]
    assert alive(world) == ["web", kept]
    for each in (two, lost):
        found = await world.call("DescribeChangeSet", ChangeSetName=each["ChangeSetId"])
        assert found["ExecutionStatus"] == "OBSOLETE"


async def test_a_creation_that_fails_leaves_no_stack_under_review(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    store(world, "leaf", leaf())
    store(world, "middle", outer(Leaf=nested() | {"DependsOn": "T"}, T=topic()))
    waits = nested() | {"DependsOn": "Middle"}
    await made(world, outer(Middle=nested("middle"), Waits=waits), ChangeSetType="CREATE")
    assert len(alive(world)) == 4
    assert await execute(world) == "ROLLBACK_COMPLETE"
    assert alive(world) == ["web"] and values(world) == []


async def test_an_address_that_leads_nowhere(world: World) -> None:
    store(world, "middle", outer(Leaf=nested("missing"), T=topic()))
    root = await made(world, outer(Middle=nested("middle"), P=parameter("x")), ChangeSetType="CREATE")
    middle = await inside(world, root, "Middle")
    deep = await inside(world, middle, "Leaf")
    for found, failed in ((root, middle), (middle, deep)):
        assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
        assert found["StatusReason"] == (
            f"Nested change set {failed['ChangeSetId']} was not successfully created: Currently in FAILED."
        )
    assert actions(middle) == {"Leaf": "Add", "T": "Add"}
    assert (deep["Status"], deep["StatusReason"], deep["Changes"]) == (
        "FAILED",
        "S3 error: The specified key does not exist.",
        [],
    )
    refused = await world.refused("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert refused.code == "InvalidChangeSetStatus"
    await world.call("DeleteChangeSet", StackName="web", ChangeSetName="c")
    assert alive(world) == ["web"]


@pytest.mark.parametrize(
    "template, reason",
    [
        ({"Parameters": {"V": {"Type": "String"}}} | outer(T=topic()), "Parameters: [V] must have values"),
        (
            outer(R={"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}}),
            "Requires capabilities : [CAPABILITY_IAM]",
        ),
        (outer(), "Template format error: At least one Resources member must be defined."),
    ],
)
async def test_a_nested_template_that_cannot_be_used(world: World, template: Any, reason: str) -> None:
    store(world, "leaf", template)
    root = await made(world, outer(Leaf=nested()), ChangeSetType="CREATE")
    assert (await inside(world, root, "Leaf"))["StatusReason"] == reason


async def test_a_template_that_contains_itself_is_refused(world: World) -> None:
    store(world, "self", outer(One=nested("self"), Two=nested("self")))
    refused = await world.refused(
        "CreateChangeSet",
        StackName="web",
        ChangeSetName="c",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(outer(Again=nested("self"))),
        IncludeNestedStacks=True,
    )
    assert refused.message == "Stacks cannot be nested more than 20 deep here."
    assert alive(world) == []


async def test_imports_do_not_reach_into_nested_stacks(world: World) -> None:
    given = {"StackName": "web", "ChangeSetName": "c", "TemplateBody": json.dumps(outer(T=topic()))}
    refused = await world.refused("CreateChangeSet", **given, ChangeSetType="IMPORT", IncludeNestedStacks=True)
    assert (refused.code, refused.message) == (
        "ValidationError",
        "IncludeNestedStacks is not supported for changeSet type: IMPORT.",
    )
    more: dict[str, Any] = {"ImportExistingResources": True, "IncludeNestedStacks": True}
    store(world, "leaf", leaf())
    whole = given | {"TemplateBody": json.dumps(outer(Leaf=nested()))}
    refused = await world.refused("CreateChangeSet", **whole, ChangeSetType="CREATE", **more)
    assert "does not offer ImportExistingResources together with IncludeNestedStacks" in refused.message
    assert alive(world) == []
    await world.call("CreateChangeSet", **given, ChangeSetType="CREATE", **more)


# Updating


async def test_an_update_shows_what_changes_inside(world: World) -> None:
    store(world, "leaf", leaf(T=topic(DisplayName="1")))
    await world.create("web", outer(Leaf=nested(V="1"), After=parameter(output("Leaf", "Value"))))
    store(world, "leaf", leaf(T=topic(DisplayName="2"), New=parameter("n")))
    root = await made(world, outer(Leaf=nested(V="2"), After=parameter(output("Leaf", "Value"))))
    assert actions(root) == {"After": "Modify", "Leaf": "Modify"}
    found = await inside(world, root, "Leaf")
    assert found["StackId"] == await nested_id(world, "Leaf")
    assert actions(found) == {"New": "Add", "P": "Modify", "T": "Modify"}
    change = next(each["ResourceChange"] for each in found["Changes"] if "P" in each["ResourceChange"].values())
    assert json.loads(change["AfterContext"])["Properties"]["Value"] == "2"
    # A nested stack that stays is listed with its other change sets.
    listed = (await world.call("ListChangeSets", StackName=found["StackId"]))["Summaries"]
    assert [each["ChangeSetId"] for each in listed] == [found["ChangeSetId"]]
    assert await execute(world) == "UPDATE_COMPLETE"
    assert await world.settle(found["StackId"]) == "UPDATE_COMPLETE"
    assert values(world) == ["2", "2", "n"]
    assert (await world.stack(found["StackId"]))["ChangeSetId"] == found["ChangeSetId"]


async def test_outputs_that_stay_change_nothing_elsewhere(world: World) -> None:
    store(world, "leaf", leaf())
    template = {
        "Leaf": nested(V="1"),
        "Stays": parameter(output("Leaf", "Fixed")),
        "Moves": parameter(output("Leaf", "Value")),
        "Other": nested(V=output("Leaf", "Fixed")),
    }
    await world.create("web", outer(**template))
    root = await made(world, outer(**template | {"Leaf": nested(V="2")}))
    values_shown = await world.call(
        "DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True
    )
    assert actions(values_shown) == {"Leaf": "Modify", "Moves": "Modify", "Other": "Modify"}
    other = await inside(world, root, "Other")
    assert (other["Status"], other["ExecutionStatus"], other["StatusReason"]) == (
        "FAILED",
        "UNAVAILABLE",
        NO_CHANGES,
    )
    assert await execute(world) == "UPDATE_COMPLETE"
    assert values(world) == ["2", "2", "f", "f"]
    assert await world.settle(other["StackId"]) == "CREATE_COMPLETE"
    found = await world.call("DescribeChangeSet", ChangeSetName=other["ChangeSetId"])
    assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")


async def test_what_is_not_known_yet(world: World) -> None:
    """A parameter that comes from the outputs of a stack that changes."""
    store(world, "leaf", leaf())
    template = {"Leaf": nested(V="1"), "Next": nested(V=output("Leaf", "Value"))}
    await world.create("web", outer(**template))
    root = await made(world, outer(**template | {"Leaf": nested(V="2")}))
    found = await inside(world, root, "Next")
    shown = "{{IntrinsicFunction:web/Leaf.Outputs.Value/Fn::GetAtt}}"
    assert found["Parameters"] == [{"ParameterKey": "V", "ParameterValue": shown}]
    (change,) = found["Changes"]
    assert json.loads(change["ResourceChange"]["AfterContext"])["Properties"]["Value"] == (
        "{{changeSet:KNOWN_AFTER_APPLY}}"
    )
    assert {(each["Evaluation"], each["ChangeSource"]) for each in change["ResourceChange"]["Details"]} == {
        ("Dynamic", "ParameterReference"),
        ("Dynamic", "DirectModification"),
    }
    assert await execute(world) == "UPDATE_COMPLETE"
    assert values(world) == ["2", "2"]
    stack = await world.stack(found["StackId"])
    assert stack["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "2"}]


async def test_the_shown_template_is_used_with_what_was_not_known(world: World) -> None:
    store(world, "leaf", leaf())
    store(world, "next", leaf(More=parameter("shown")))
    template = outer(Leaf=nested(V="1"), Next=nested("next", V=output("Leaf", "Value")))
    await made(world, template, ChangeSetType="CREATE")
    store(world, "next", leaf(More=parameter("later")))
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["1", "1", "shown"]


async def test_a_replacement_that_depends_on_what_is_not_known_is_conditional(world: World) -> None:
    store(world, "leaf", leaf())
    named = leaf("x")
    named["Resources"]["P"]["Properties"]["Name"] = {"Ref": "V"}
    store(world, "named", named)
    template = {"Leaf": nested(V="one"), "Next": nested("named", V=output("Leaf", "Value"))}
    await world.create("web", outer(**template))
    root = await made(world, outer(**template | {"Leaf": nested(V="two")}))
    (change,) = (await inside(world, root, "Next"))["Changes"]
    assert change["ResourceChange"]["Replacement"] == "Conditional"


@pytest.mark.parametrize("wanted", ["AWS::SSM::Parameter::Value<String>", "Number", "AWS::EC2::VPC::Id"])
async def test_constraints_are_not_asked_of_what_is_not_known(world: World, wanted: str) -> None:
    typed = outer(T=topic(DisplayName={"Ref": "V"}))
    constraint = {"MinValue": 7} if wanted == "Number" else {"AllowedPattern": "[a-z]+"}
    typed["Parameters"] = {"V": {"Type": wanted} | constraint}
    typed["Rules"] = {"R": {"Assertions": [{"Assert": {"Fn::Equals": [{"Ref": "V"}, "z"]}}]}}
    store(world, "leaf", leaf())
    store(world, "typed", typed)
    template = outer(Leaf=nested(V="1"), Next=nested("typed", V=output("Leaf", "Value")))
    root = await made(world, template, ChangeSetType="CREATE")
    assert root["Status"] == "CREATE_COMPLETE"


async def test_conditions_take_what_is_not_known_for_what_it_is_now(world: World) -> None:
    guarded = leaf(T=topic() | {"Condition": "Is"})
    guarded["Conditions"] = {"Is": {"Fn::Equals": [{"Ref": "V"}, "1"]}}
    store(world, "leaf", leaf())
    store(world, "guarded", guarded)
    template = {"Leaf": nested(V="1"), "Next": nested("guarded", V=output("Leaf", "Value"))}
    await world.create("web", outer(**template))
    store(world, "leaf", leaf("1"))
    root = await made(world, outer(**template | {"Leaf": nested(V="2"), "More": parameter("m")}))
    # The output will be what it is, so that nothing is unknown.
    assert (await inside(world, root, "Next"))["StatusReason"] == NO_CHANGES
    store(world, "leaf", leaf())
    root = await made(world, outer(**template | {"Leaf": nested(V="2")}), "d")
    found = await inside(world, root, "Next")
    assert actions(found) == {"P": "Modify"}


async def test_only_what_lies_deepest_changes(world: World) -> None:
    """Nothing differs in the stacks above, whose templates name the same addresses."""
    store(world, "leaf", leaf("1"))
    store(world, "middle", outer(Leaf=nested()))
    template = outer(Middle=nested("middle"))
    await world.create("web", template)
    store(world, "leaf", leaf("2"))
    root = await made(world, template)
    middle = await inside(world, root, "Middle")
    deep = await inside(world, middle, "Leaf")
    assert [each["Status"] for each in (root, middle, deep)] == ["CREATE_COMPLETE"] * 3
    assert actions(deep) == {"P": "Modify"}
    assert await execute(world) == "UPDATE_COMPLETE"
    assert values(world) == ["2"]
    for each in (middle, deep):
        assert await world.settle(each["StackId"]) == "UPDATE_COMPLETE"


async def test_nothing_changes_anywhere(world: World) -> None:
    store(world, "leaf", leaf())
    template = outer(Leaf=nested(), P=parameter("x"))
    await world.create("web", template)
    root = await made(world, template)
    assert (root["Status"], root["ExecutionStatus"], root["StatusReason"], root["Changes"]) == (
        "FAILED",
        "UNAVAILABLE",
        NO_CHANGES,
        [],
    )
    (listed,) = (await world.call("ListChangeSets", StackName=await nested_id(world, "Leaf")))["Summaries"]
    assert (listed["Status"], listed["StatusReason"]) == ("FAILED", NO_CHANGES)
    refused = await world.refused("DeleteChangeSet", ChangeSetName=listed["ChangeSetId"])
    assert refused.code == "InvalidChangeSetStatus"
    await world.call("DeleteChangeSet", StackName="web", ChangeSetName="c")
    assert (await world.call("ListChangeSets", StackName=listed["StackId"]))["Summaries"] == []


async def test_stacks_that_come_and_go(world: World) -> None:
    store(world, "leaf", leaf())
    await world.create("web", outer(Old=nested(V="old"), P=parameter("x")))
    root = await made(world, outer(New=nested(V="new"), P=parameter("x")))
    assert actions(root) == {"New": "Add", "Old": "Remove"}
    ids = {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in root["Changes"]}
    assert "ChangeSetId" not in ids["Old"]
    announced = (await inside(world, root, "New"))["StackId"]
    assert (await world.stack(announced))["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert await execute(world) == "UPDATE_COMPLETE"
    assert await nested_id(world, "New") == announced
    assert values(world) == ["new", "x"]


async def test_a_nested_stack_that_changes_by_itself_makes_the_hierarchy_obsolete(world: World) -> None:
    store(world, "leaf", leaf())
    await world.create("web", outer(Leaf=nested(V="1")))
    root = await made(world, outer(Leaf=nested(V="2"), New=nested(V="n")))
    found = await inside(world, root, "Leaf")
    assert await world.update(found["StackName"], leaf("other")) == "UPDATE_COMPLETE"
    for each in (root, found):
        again = await world.call("DescribeChangeSet", ChangeSetName=each["ChangeSetId"])
        assert again["ExecutionStatus"] == "OBSOLETE"
    refused = await world.refused("ExecuteChangeSet", ChangeSetName=root["ChangeSetId"])
    assert refused.code == "InvalidChangeSetStatus"
    assert alive(world) == ["web", found["StackName"]]


async def test_an_update_that_turns_back(world: World) -> None:
    store(world, "leaf", leaf())
    await world.create("web", outer(Leaf=nested(V="1")))
    world.fake.broken["ecr", "CreateRepository"] = refuse("LimitExceededException", "too many")
    bad = {"Type": "AWS::ECR::Repository", "DependsOn": "Leaf"}
    late = nested(V="late") | {"DependsOn": "Bad"}
    store(world, "leaf", leaf(T=topic()))
    await made(world, outer(Leaf=nested(V="2"), Bad=bad, Late=late))
    store(world, "leaf", leaf())
    assert await execute(world) == "UPDATE_ROLLBACK_COMPLETE"
    child = await nested_id(world, "Leaf")
    assert await world.settle(child) == "UPDATE_ROLLBACK_COMPLETE"
    assert values(world) == ["1"] and world.fake.topics == {}
    assert alive(world) == ["web", child.split("/")[1]]
    # A direct update has nothing to do with the change set of the one before.
    del world.fake.broken["ecr", "CreateRepository"]
    assert await world.update("web", outer(Leaf=nested(V="3"))) == "UPDATE_COMPLETE"
    assert values(world) == ["3"]


async def test_the_root_of_a_running_operation_cannot_be_deleted(world: World) -> None:
    store(world, "leaf", leaf())
    root = await made(world, outer(P=parameter("x"), Leaf=nested() | {"DependsOn": "P"}), ChangeSetType="CREATE")
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    refused = await world.refused("DeleteChangeSet", ChangeSetName=root["ChangeSetId"])
    assert refused.code == "InvalidChangeSetStatus"
    assert await world.settle("web") == "CREATE_COMPLETE"


async def test_a_change_set_from_the_middle_of_a_hierarchy(world: World) -> None:
    store(world, "leaf", leaf())
    store(world, "middle", outer(Leaf=nested(V="1")))
    await world.create("web", outer(Middle=nested("middle")))
    middle = await nested_id(world, "Middle")
    root = await made(world, outer(Leaf=nested(V="2")), StackName=middle)
    assert (root["RootChangeSetId"], root["ExecutionStatus"]) == (None, "AVAILABLE")
    assert actions(await inside(world, root, "Leaf")) == {"P": "Modify"}
    await world.call("ExecuteChangeSet", ChangeSetName=root["ChangeSetId"])
    assert await world.settle(middle) == "UPDATE_COMPLETE"
    assert values(world) == ["2"]


async def test_secrets_are_not_shown_inside(world: World) -> None:
    secret = leaf()
    secret["Parameters"]["V"]["NoEcho"] = True
    store(world, "leaf", secret)
    root = await made(world, outer(Leaf=nested(V="hush")), ChangeSetType="CREATE")
    found = await inside(world, root, "Leaf")
    assert found["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "****"}]
    assert "hush" not in json.dumps(found)


async def test_stacks_inside_get_tags_and_what_the_outer_one_is_allowed(world: World) -> None:
    store(world, "leaf", leaf())
    tagged = nested()
    tagged["Properties"]["Tags"] = [{"Key": "own", "Value": "b"}]
    root = await made(
        world,
        outer(Leaf=tagged),
        ChangeSetType="CREATE",
        Tags=[{"Key": "team", "Value": "a"}],
        Capabilities=["CAPABILITY_IAM"],
    )
    found = await inside(world, root, "Leaf")
    tags = [{"Key": "team", "Value": "a"}, {"Key": "own", "Value": "b"}]
    assert (found["Tags"], found["Capabilities"]) == (tags, ["CAPABILITY_IAM"])
    assert await execute(world) == "CREATE_COMPLETE"
    assert (await world.stack(found["StackId"]))["Tags"] == tags


async def test_a_hierarchy_outlives_a_restart(world: World) -> None:
    store(world, "leaf", leaf())
    await made(world, outer(Leaf=nested(V="1")), ChangeSetType="CREATE")
    await world.restart()
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["1"]


async def test_a_creation_that_is_broken_off_leaves_no_stack_under_review(world: World) -> None:
    store(world, "leaf", leaf())
    slow = {"Type": "AWS::CloudFormation::WaitCondition", "Properties": {"Handle": {"Ref": "H"}, "Timeout": "600"}}
    handle = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
    late = nested() | {"DependsOn": "Slow"}
    await made(world, outer(H=handle, Slow=slow, Late=late), ChangeSetType="CREATE")
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    await world.at("web", "CREATE_IN_PROGRESS")
    assert len(alive(world)) == 2
    await world.call("DeleteStack", StackName="web")
    await world.until(lambda: alive(world) == [])


async def test_a_hierarchy_is_stored_in_one_commit(world: World) -> None:
    store(world, "leaf", leaf())
    store(world, "middle", outer(Leaf=nested()))
    before = world.database.left
    await made(world, outer(One=nested("middle"), Two=nested("middle")), ChangeSetType="CREATE")
    assert before - world.database.left == 1
    assert len(alive(world)) == 5


async def test_an_export_that_is_missing_only_warns_of_new_stacks(world: World) -> None:
    store(world, "leaf", leaf({"Fn::ImportValue": "gone"}))
    template = outer(P=parameter({"Fn::ImportValue": "gone"}), Leaf=nested())
    root = await made(world, template, ChangeSetType="CREATE")
    found = await inside(world, root, "Leaf")
    assert (root["Status"], found["Status"]) == ("CREATE_COMPLETE", "CREATE_COMPLETE")
    assert "No export named gone found" in found["StatusReason"]
    store(world, "leaf", outer())
    root = await made(world, template, "d", ChangeSetType="CREATE")
    assert root["StatusReason"].startswith("Nested change set ")
    assert (
        await world.create(
            "exporter", outer(T=topic()) | {"Outputs": {"O": {"Value": "there", "Export": {"Name": "gone"}}}}
        )
        == "CREATE_COMPLETE"
    )
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["there", "there"]


async def test_an_address_that_is_not_known_yet(world: World) -> None:
    store(world, "leaf", leaf())
    unknown = nested()
    unknown["Properties"]["TemplateURL"] = {"Fn::Sub": "https://bucket.s3.amazonaws.com/${T.TopicName}.json"}
    root = await made(world, outer(T=topic(), Leaf=unknown), ChangeSetType="CREATE")
    assert (await inside(world, root, "Leaf"))["StatusReason"] == "TemplateURL must be a supported URL."


async def test_parameters_may_come_from_the_parameter_store(world: World) -> None:
    """A dynamic reference is known; one that leads nowhere is refused with the template that has it."""
    world.fake.parameters["/v"] = {"Name": "/v", "Type": "String", "Value": "stored"}
    store(world, "leaf", leaf())
    root = await made(world, outer(Leaf=nested(V="{{resolve:ssm:/v}}")), ChangeSetType="CREATE")
    found = await inside(world, root, "Leaf")
    assert found["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "stored"}]
    template = outer(Leaf=nested(V="{{resolve:ssm:/w}}"))
    given = {"ChangeSetName": "d", "ChangeSetType": "CREATE", "IncludeNestedStacks": True}
    refused = await world.refused("CreateChangeSet", StackName="web", TemplateBody=json.dumps(template), **given)
    assert refused.message == "Parameters: [ssm:/w] cannot be found."
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["stored", "stored"]


async def test_what_the_parent_hides_is_hidden_inside(world: World) -> None:
    """Also by the stack that is then made from the change set."""
    store(world, "leaf", leaf())
    template = outer(Leaf=nested(V={"Fn::Sub": "key-${S}"}))
    template["Parameters"] = {"S": {"Type": "String", "NoEcho": True}}
    secret = [{"ParameterKey": "S", "ParameterValue": "swordfish"}]
    root = await made(world, template, ChangeSetType="CREATE", Parameters=secret)
    found = await inside(world, root, "Leaf")
    assert found["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "****"}]
    assert "swordfish" not in json.dumps([root, found], default=str)
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["key-swordfish"]
    child = await nested_id(world, "Leaf")
    (stack,) = (await world.call("DescribeStacks", StackName=child))["Stacks"]
    assert stack["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "****"}]
    events = [await world.call("DescribeStackEvents", StackName=each) for each in ("web", child)]
    assert "swordfish" not in json.dumps(events, default=str)


async def test_a_stack_inside_that_cannot_be_updated(world: World) -> None:
    store(world, "leaf", leaf())
    await world.create("web", outer(Leaf=nested(V="1")))
    child = await nested_id(world, "Leaf")
    world.fake.broken["ssm", "PutParameter"] = refuse("ValidationException", "no")
    await world.call("UpdateStack", StackName=child, TemplateBody=json.dumps(leaf("2")), DisableRollback=True)
    assert await world.settle(child) == "UPDATE_FAILED"
    root = await made(world, outer(Leaf=nested(V="3")))
    reason = f"Stack:{child} is in UPDATE_FAILED state and can not be updated."
    assert (await inside(world, root, "Leaf"))["StatusReason"] == reason
    assert root["Status"] == "FAILED"


async def test_templates_inside_may_have_transforms(world: World) -> None:
    many = leaf()
    many["Transform"] = "AWS::LanguageExtensions"
    many["Resources"] |= {"Fn::ForEach::All": ["N", ["a", "b"], {"Q${N}": parameter({"Fn::Sub": "${N}-${V}"})}]}
    store(world, "leaf", leaf())
    store(world, "many", many)
    template = outer(Leaf=nested(V="1"), Many=nested("many", V=output("Leaf", "Value")))
    root = await made(world, template, ChangeSetType="CREATE", Capabilities=["CAPABILITY_AUTO_EXPAND"])
    found = await inside(world, root, "Many")
    assert actions(found) == {"P": "Add", "Qa": "Add", "Qb": "Add"}
    assert await execute(world) == "CREATE_COMPLETE"
    assert values(world) == ["1", "1", "a-1", "b-1"]
    # With nothing unknown, the template is used as the transform has left it.
    await made(world, outer(Leaf=nested(V="2"), Many=nested("many", V="3")))
    store(world, "many", leaf())
    assert await execute(world) == "UPDATE_COMPLETE"
    assert values(world) == ["2", "3", "a-3", "b-3"]

"""Change sets: what they show is what their execution does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import definition, service, topic
from cfn_world import World, parameter


async def make(world: World, template: Any, name: str = "c", **params: Any) -> dict[str, Any]:
    await world.call(
        "CreateChangeSet", StackName="web", ChangeSetName=name, TemplateBody=json.dumps(template), **params
    )
    return await world.call("DescribeChangeSet", StackName="web", ChangeSetName=name)


def changes(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in found["Changes"]}


def detail(name: str, source: str, evaluation: str, recreation: str = "Never", entity: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        "Target": {"Attribute": "Properties", "Name": name, "RequiresRecreation": recreation},
        "Evaluation": evaluation,
        "ChangeSource": source,
    }
    return found | ({"CausingEntity": entity} if entity else {})


async def test_a_stack_is_created_through_a_change_set(world: World) -> None:
    found = await make(world, {"Resources": {"A": topic()}}, ChangeSetType="CREATE")
    assert (found["Status"], found["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert found["Changes"] == [
        {
            "Type": "Resource",
            "ResourceChange": {
                "Action": "Add",
                "LogicalResourceId": "A",
                "ResourceType": "AWS::SNS::Topic",
                "Scope": [],
                "Details": [],
            },
        }
    ]
    stack = await world.stack("web")
    assert (stack["StackStatus"], stack["StackStatusReason"]) == ("REVIEW_IN_PROGRESS", "User Initiated")
    assert world.fake.topics == {}
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "CREATE_COMPLETE"
    stack = await world.stack("web")
    assert stack["ChangeSetId"] == found["ChangeSetId"] and stack["LastUpdatedTime"] is not None
    executed = await world.call("DescribeChangeSet", ChangeSetName=found["ChangeSetId"])
    assert executed["ExecutionStatus"] == "EXECUTE_COMPLETE"
    assert (await world.call("ListChangeSets", StackName="web"))["Summaries"] == []


async def test_a_literal_edit_is_static_and_direct(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic(TopicName="one", DisplayName="x")}})
    found = changes(await make(world, {"Resources": {"A": topic(TopicName="two", DisplayName="y")}}))["A"]
    assert (found["Action"], found["Replacement"], found["PolicyAction"]) == ("Modify", "True", "ReplaceAndDelete")
    assert found["Scope"] == ["Properties"]
    assert sorted(found["Details"], key=str) == sorted(
        [
            detail("DisplayName", "DirectModification", "Static"),
            detail("TopicName", "DirectModification", "Static", "Always"),
        ],
        key=str,
    )


async def test_a_parameters_new_value_gives_two_details(world: World) -> None:
    template = {
        "Parameters": {"Name": {"Type": "String"}},
        "Resources": {"A": topic(TopicName={"Ref": "Name"})},
    }
    one = [{"ParameterKey": "Name", "ParameterValue": "one"}]
    two = [{"ParameterKey": "Name", "ParameterValue": "two"}]
    await world.create("web", template, Parameters=one)
    found = changes(await make(world, template, Parameters=two))["A"]
    assert found["Details"] == [
        detail("TopicName", "ParameterReference", "Static", "Always", "Name"),
        detail("TopicName", "DirectModification", "Dynamic", "Always"),
    ]
    assert (found["Replacement"], found["PolicyAction"]) == ("True", "ReplaceAndDelete")


@pytest.mark.parametrize(("name", "evaluation"), [("one", "Dynamic"), ("two", "Static")])
async def test_an_attribute_of_a_changed_resource(world: World, name: str, evaluation: str) -> None:
    def template(topic_name: str, display: str) -> Any:
        return {
            "Resources": {
                "A": topic(TopicName=topic_name, DisplayName=display),
                "B": topic(TopicName="other", DisplayName={"Fn::GetAtt": ["A", "DisplayName"]}),
            }
        }

    await world.create("web", template("one", "x"))
    found = changes(await make(world, template(name, "y")))
    assert found["B"]["Details"] == [
        detail("DisplayName", "ResourceAttribute", evaluation, entity="A.DisplayName")
    ]
    assert (found["B"]["Replacement"], "PolicyAction" in found["B"]) == ("False", False)


async def test_a_reference_to_a_replaced_resource(world: World) -> None:
    def template(name: str) -> Any:
        return {
            "Resources": {
                "A": topic(TopicName=name),
                "B": topic(TopicName="b", DisplayName={"Ref": "A"}),
                "C": topic(TopicName={"Fn::GetAtt": ["A", "TopicArn"]}),
            }
        }

    await world.create("web", {"Resources": {"A": topic(TopicName="one"), "B": topic(TopicName="b")}})
    await world.update("web", {"Resources": {k: v for k, v in template("one")["Resources"].items() if k != "C"}})
    found = changes(await make(world, template("two")))
    assert found["B"]["Details"] == [detail("DisplayName", "ResourceReference", "Static", entity="A")]
    assert found["C"]["Action"] == "Add"


async def test_a_removal(world: World) -> None:
    kept = topic(TopicName="b") | {"DeletionPolicy": "Retain"}
    await world.create("web", {"Resources": {"A": topic(TopicName="a"), "B": kept, "C": topic()}})
    found = changes(await make(world, {"Resources": {"C": topic()}}))
    assert [(name, each["Action"], each["PolicyAction"]) for name, each in found.items()] == [
        ("A", "Remove", "Delete"),
        ("B", "Remove", "Retain"),
    ]
    assert found["A"]["PhysicalResourceId"].endswith(":a") and "Replacement" not in found["A"]


async def test_no_changes(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic()}})
    found = await make(world, {"Resources": {"A": topic()}})
    assert (found["Status"], found["ExecutionStatus"], found["Changes"]) == ("FAILED", "UNAVAILABLE", [])
    assert found["StatusReason"] == (
        "The submitted information didn't contain changes. Submit different information to create a change set."
    )
    refused = await world.refused("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert (refused.code, refused.message) == (
        "InvalidChangeSetStatus",
        f"ChangeSet [{found['ChangeSetId']}] cannot be executed in its current status of [FAILED]",
    )


async def test_an_outputs_only_change_can_be_executed(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic()}})
    found = await make(world, {"Resources": {"A": topic()}, "Outputs": {"O": {"Value": "1"}}})
    assert (found["ExecutionStatus"], found["Changes"]) == ("AVAILABLE", [])
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "UPDATE_COMPLETE"


async def test_a_missing_export_fails_the_change_set(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic()}})
    found = await make(world, {"Resources": {"A": topic(DisplayName={"Fn::ImportValue": "nowhere"})}})
    assert (found["Status"], found["StatusReason"]) == ("FAILED", "No export named nowhere found")


async def test_a_new_stack_may_wait_for_an_export(world: World) -> None:
    template = {"Resources": {"A": topic(DisplayName={"Fn::ImportValue": "later"})}}
    found = await make(world, template, ChangeSetType="CREATE")
    assert (found["Status"], found["ExecutionStatus"], found["StatusReason"]) == (
        "CREATE_COMPLETE",
        "AVAILABLE",
        None,
    )
    told = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    assert told["StatusReason"] == (
        "[WARN] --include-property-values option can return incomplete ChangeSet data because: ChangeSet creation "
        "failed for resource [A] because: No export named later found"
    )
    assert json.loads(changes(told)["A"]["AfterContext"])["Properties"]["DisplayName"] == (
        "{{changeSet:KNOWN_AFTER_APPLY}}"
    )
    outputs = {"O": {"Value": "here", "Export": {"Name": "later"}}}
    await world.create("other", {"Resources": {"B": topic()}, "Outputs": outputs})
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "CREATE_COMPLETE"
    assert "here" in [each.get("DisplayName") for each in world.fake.topics.values()]


async def test_a_new_stack_whose_export_never_came(world: World) -> None:
    await make(
        world, {"Resources": {"A": topic(DisplayName={"Fn::ImportValue": "later"})}}, ChangeSetType="CREATE"
    )
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "ROLLBACK_COMPLETE"


async def test_errors_about_names(world: World) -> None:
    body = json.dumps({"Resources": {"A": topic()}})
    refused = await world.refused("CreateChangeSet", StackName="web", ChangeSetName="c", TemplateBody=body)
    assert refused.message == "Stack [web] does not exist"
    await world.create("web", {"Resources": {"A": topic()}})
    refused = await world.refused(
        "CreateChangeSet", StackName="web", ChangeSetName="c", TemplateBody=body, ChangeSetType="CREATE"
    )
    assert refused.message == ("Stack [web] already exists and cannot be created again with the changeSet [c].")
    refused = await world.refused("DescribeChangeSet", ChangeSetName="c")
    assert refused.message == "StackName must be specified if ChangeSetName is not specified as an ARN."
    refused = await world.refused("DescribeChangeSet", ChangeSetName="c", StackName="web")
    assert (refused.code, refused.message) == ("ChangeSetNotFound", "ChangeSet [c] does not exist")
    await make(world, {"Resources": {"A": topic(DisplayName="x")}})
    refused = await world.refused("CreateChangeSet", StackName="web", ChangeSetName="c", TemplateBody=body)
    assert (refused.code, refused.message) == ("AlreadyExistsException", "ChangeSet c already exists")
    assert await world.call("DeleteChangeSet", StackName="web", ChangeSetName="c") == {}
    assert (await world.call("ListChangeSets", StackName="web"))["Summaries"] == []


async def test_executing_one_makes_the_others_obsolete(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic()}})
    first = await make(world, {"Resources": {"A": topic(DisplayName="x")}}, "first")
    await make(world, {"Resources": {"A": topic(DisplayName="y")}}, "second")
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="second")
    await world.settle("web")
    stale = await world.call("DescribeChangeSet", ChangeSetName=first["ChangeSetId"])
    assert stale["ExecutionStatus"] == "OBSOLETE"
    assert (await world.refused("ExecuteChangeSet", ChangeSetName=first["ChangeSetId"])).code == (
        "InvalidChangeSetStatus"
    )


async def test_a_stack_in_review_can_be_created_directly_under_the_same_id(world: World) -> None:
    template = {"Resources": {"A": topic()}}
    await make(world, template, ChangeSetType="CREATE")
    stack_id = (await world.stack("web"))["StackId"]
    made = await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template))
    assert made["StackId"] == stack_id and await world.settle("web") == "CREATE_COMPLETE"


async def test_property_values_on_request(world: World) -> None:
    await world.create("web", {"Resources": {"A": topic(DisplayName="x"), "B": topic(DisplayName="b")}})
    await make(world, {"Resources": {"A": topic(TopicName="n"), "B": topic(DisplayName={"Ref": "A"})}})
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    a, b = changes(found)["A"], changes(found)["B"]
    assert json.loads(a["BeforeContext"]) == {"Properties": {"DisplayName": "x"}}
    targets = {each["Target"]["Name"]: each["Target"] for each in a["Details"]}
    assert targets["DisplayName"]["AttributeChangeType"] == "Remove"
    assert targets["TopicName"]["AfterValue"] == "n"
    assert json.loads(b["AfterContext"]) == {"Properties": {"DisplayName": "{{changeSet:KNOWN_AFTER_APPLY}}"}}


async def test_values_are_frozen_in_the_change_set(world: World) -> None:
    template = {
        "Parameters": {"V": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/v"}},
        "Resources": {"A": topic(DisplayName={"Ref": "V"})},
    }
    world.fake.parameters["/v"] = {"Name": "/v", "Type": "String", "Value": "one"}
    await world.create("web", template)
    world.fake.parameters["/v"]["Value"] = "two"
    found = await make(world, template)
    assert found["Parameters"] == [{"ParameterKey": "V", "ParameterValue": "/v", "ResolvedValue": "two"}]
    world.fake.parameters["/v"]["Value"] = "three"
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    await world.settle("web")
    assert [each["DisplayName"] for each in world.fake.topics.values()] == ["two"]


BEFORE: dict[str, Any] = {
    "Cluster": {"Type": "AWS::ECS::Cluster"},
    "Definition": definition("app:1"),
    "Service": service(Cluster={"Ref": "Cluster"}),
    "Topic": topic(TopicName="t", DisplayName="one"),
    "Name": parameter({"Fn::GetAtt": ["Topic", "TopicName"]}),
    "Shown": parameter({"Fn::GetAtt": ["Topic", "DisplayName"]}),
    "Arn": parameter({"Fn::Sub": "${Topic}!"}),
    "Alone": parameter("x"),
}


@pytest.mark.parametrize(
    "edit",
    [
        {"Definition": definition("app:2")},
        {"Topic": topic(TopicName="t", DisplayName="two")},
        {"Topic": topic(TopicName="u", DisplayName="one")},
        {"Alone": None},
        {"Alone": None, "Arn": None, "More": parameter({"Ref": "Name"})},
        {"Alone": parameter("x") | {"Metadata": {"a": 1}}, "Topic": topic(TopicName="t", DisplayName="three")},
        {"Service": service(Cluster={"Ref": "Cluster"}, DesiredCount=3)},
        {"Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "other"}}},
    ],
    ids=["image", "shown", "replaced", "removed", "mixed", "metadata", "count", "cluster"],
)
async def test_the_execution_touches_what_the_change_set_lists(world: World, edit: dict[str, Any]) -> None:
    after = {key: value for key, value in (BEFORE | edit).items() if value is not None}
    await world.create("web", {"Resources": BEFORE})
    brief = changes(await make(world, {"Resources": after}))
    listed = changes(
        await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    )
    # Without values only the template is looked at: what reads an attribute of what changes may be listed as well.
    assert listed.keys() <= brief.keys()
    assert all(
        each["Evaluation"] == "Dynamic" for name in brief.keys() - listed for each in brief[name]["Details"]
    )
    start = len(await world.events("web"))
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "UPDATE_COMPLETE"
    done: dict[str, str] = {}
    for name, status, reason in (await world.events("web"))[start:]:
        if name == "web":
            continue
        if status.startswith("CREATE"):
            done[name] = "Add"
        elif status.startswith("UPDATE"):
            done[name] = "Replace" if reason.startswith("Requested") or done.get(name) == "Replace" else "Modify"
        elif name not in done:
            done[name] = "Remove"
    shown = {
        name: "Replace" if each.get("Replacement") == "True" else each["Action"] for name, each in listed.items()
    }
    assert done == shown

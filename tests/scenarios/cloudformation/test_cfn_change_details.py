"""What a change set shows of each change: paths, values, causes, contexts and scopes, in AWS's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import topic
from cfn_world import World, parameter

UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"
PARAMETERS = {"Word": {"Type": "String", "Default": "one"}}
MAPPINGS = {"M": {"one": {"name": "first"}, "two": {"name": "second"}}}


async def shown(
    world: World, before: Any, after: Any, old: str = "one", new: str = "one", *, values: bool = True
) -> dict[str, dict[str, Any]]:
    """The changes from one template to another, by logical id."""

    def body(resources: Any) -> dict[str, Any]:
        return {"Parameters": PARAMETERS, "Mappings": MAPPINGS, "Resources": resources} | CONDITIONS

    await world.create("web", body(before), Parameters=[{"ParameterKey": "Word", "ParameterValue": old}])
    await world.call(
        "CreateChangeSet",
        StackName="web",
        ChangeSetName="c",
        TemplateBody=json.dumps(body(after)),
        Parameters=[{"ParameterKey": "Word", "ParameterValue": new}],
    )
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=values)
    assert found["Status"] == "CREATE_COMPLETE", found["StatusReason"]
    return {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in found["Changes"]}


CONDITIONS = {"Conditions": {"IsOne": {"Fn::Equals": [{"Ref": "Word"}, "one"]}}}


def target(path: str, before: Any = None, after: Any = None, recreation: str = "Never") -> dict[str, Any]:
    kind = "Add" if before is None else "Remove" if after is None else "Modify"
    name = path.split("/")[2]
    found = {"Attribute": "Tags"} if name == "Tags" else {"Attribute": "Properties", "Name": name}
    found |= {"RequiresRecreation": recreation, "Path": path, "AttributeChangeType": kind}
    if before is not None:
        found["BeforeValue"] = before
    return found if after is None else found | {"AfterValue": after}


def direct(target: dict[str, Any], evaluation: str = "Static") -> dict[str, Any]:
    return {"Target": target, "Evaluation": evaluation, "ChangeSource": "DirectModification"}


def through(target: dict[str, Any], source: str, entity: str, evaluation: str = "Static") -> dict[str, Any]:
    return {"Target": target, "Evaluation": evaluation, "ChangeSource": source, "CausingEntity": entity}


DISPLAY = "/Properties/DisplayName"
NAME = "/Properties/TopicName"


def labelled(*pairs: str) -> dict[str, Any]:
    tags = [{"Key": pair[0], "Value": pair[1:]} for pair in pairs]
    return topic(TopicName="t", DisplayName="d", **({"Tags": tags} if tags else {}))


@pytest.mark.parametrize(
    ("before", "after", "word", "details"),
    [
        ({"DisplayName": "a"}, {"DisplayName": "b"}, "one", [direct(target(DISPLAY, "a", "b"))]),
        ({}, {"DisplayName": "b"}, "one", [direct(target(DISPLAY, None, "b"))]),
        ({"DisplayName": "a"}, {}, "one", [direct(target(DISPLAY, "a"))]),
        ({"TopicName": "a"}, {"TopicName": "b"}, "one", [direct(target(NAME, "a", "b", "Always"))]),
        (
            {"DisplayName": {"Fn::Join": ["-", ["a", "b"]]}},
            {"DisplayName": {"Fn::Join": ["_", ["a", "b"]]}},
            "one",
            [direct(target(DISPLAY, "a-b", "a_b"))],
        ),
        (
            {"DisplayName": {"Fn::Select": [0, ["a", "b"]]}},
            {"DisplayName": {"Fn::Select": [1, ["a", "b"]]}},
            "one",
            [direct(target(DISPLAY, "a", "b"))],
        ),
        (
            {"DisplayName": {"Fn::Sub": "in ${AWS::Region}"}},
            {"DisplayName": {"Fn::Sub": "of ${AWS::Region}"}},
            "one",
            [direct(target(DISPLAY, "in us-east-1", "of us-east-1"))],
        ),
        (
            {"DisplayName": {"Fn::FindInMap": ["M", "one", "name"]}},
            {"DisplayName": {"Fn::FindInMap": ["M", "two", "name"]}},
            "one",
            [direct(target(DISPLAY, "first", "second"))],
        ),
        (
            {"DisplayName": {"Ref": "Word"}},
            {"DisplayName": {"Ref": "Word"}},
            "two",
            [
                through(target(DISPLAY, "one", "two"), "ParameterReference", "Word"),
                direct(target(DISPLAY, "one", "two"), "Dynamic"),
            ],
        ),
        (
            {"DisplayName": "fixed"},
            {"DisplayName": {"Fn::Sub": "now ${Word}"}},
            "two",
            [
                through(target(DISPLAY, "fixed", "now two"), "ParameterReference", "Word"),
                direct(target(DISPLAY, "fixed", "now two"), "Dynamic"),
            ],
        ),
        (
            {"DisplayName": {"Fn::FindInMap": ["M", {"Ref": "Word"}, "name"]}},
            {"DisplayName": {"Fn::FindInMap": ["M", {"Ref": "Word"}, "name"]}},
            "two",
            [
                through(target(DISPLAY, "first", "second"), "ParameterReference", "Word"),
                direct(target(DISPLAY, "first", "second"), "Dynamic"),
            ],
        ),
        (
            {"DisplayName": {"Fn::If": ["IsOne", "yes", "no"]}},
            {"DisplayName": {"Fn::If": ["IsOne", "yes", "no"]}},
            "two",
            [direct(target(DISPLAY, "yes", "no"))],
        ),
        (
            {"TopicName": {"Ref": "Word"}},
            {"TopicName": {"Ref": "Word"}},
            "two",
            [
                through(target(NAME, "one", "two", "Always"), "ParameterReference", "Word"),
                direct(target(NAME, "one", "two", "Always"), "Dynamic"),
            ],
        ),
    ],
    ids=[
        "edit", "add", "remove", "name", "join", "select", "sub", "map", "parameter", "parameter-in-sub",
        "parameter-in-map", "condition", "parameter-name",
    ],
)  # fmt: skip
async def test_a_property_and_why_it_changes(
    world: World, before: Any, after: Any, word: str, details: list[dict[str, Any]]
) -> None:
    found = (await shown(world, {"A": topic(**before)}, {"A": topic(**after)}, new=word))["A"]
    assert found["Details"] == details
    replaced = any(each["Target"]["RequiresRecreation"] == "Always" for each in details)
    assert found["Replacement"] == ("True" if replaced else "False")
    assert found.get("PolicyAction") == ("ReplaceAndDelete" if replaced else None)
    assert found["Scope"] == ["Properties"]


@pytest.mark.parametrize(
    ("before", "after", "targets"),
    [
        (["ax"], ["ay"], [target("/Properties/Tags/0/Value", "x", "y")]),
        (["ax"], ["ax", "by"], [target("/Properties/Tags/1", None, '{"Key":"b","Value":"y"}')]),
        ([], ["ax"], [target("/Properties/Tags", None, '[{"Key":"a","Value":"x"}]')]),
        (["ax"], [], [target("/Properties/Tags", '[{"Key":"a","Value":"x"}]')]),
        (["ax", "by"], ["by"], [
            target("/Properties/Tags/0/Key", "a", "b"),
            target("/Properties/Tags/0/Value", "x", "y"),
            target("/Properties/Tags/1", '{"Key":"b","Value":"y"}'),
        ]),
    ],
    ids=["value", "more", "first", "none", "fewer"],
)  # fmt: skip
async def test_tags_member_by_member(world: World, before: Any, after: Any, targets: list[Any]) -> None:
    found = (await shown(world, {"A": labelled(*before)}, {"A": labelled(*after)}))["A"]
    assert [each["Target"] for each in found["Details"]] == targets
    assert (found["Scope"], found["Replacement"]) == (["Tags"], "False")


async def test_a_nested_member_shows_its_own_path_and_brief_details_only_its_property(world: World) -> None:
    def definition(cpu: int) -> Any:
        return {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": "f",
                "ContainerDefinitions": [{"Name": "app", "Image": "app:1", "Cpu": cpu, "Essential": True}],
            },
        }

    found = (await shown(world, {"D": definition(1)}, {"D": definition(2)}))["D"]
    wanted = target("/Properties/ContainerDefinitions/0/Cpu", "1", "2", "Always")
    assert found["Details"] == [direct(wanted)]
    context = json.loads(found["AfterContext"])["Properties"]["ContainerDefinitions"][0]
    assert (context["Cpu"], context["Essential"]) == ("2", "true")
    brief = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    change = brief["Changes"][0]["ResourceChange"]
    assert change["Details"] == [
        direct({"Attribute": "Properties", "Name": "ContainerDefinitions", "RequiresRecreation": "Always"})
    ]
    assert "BeforeContext" not in change and "AfterContext" not in change


async def test_what_depends_on_a_replaced_resource(world: World) -> None:
    def both(name: str) -> Any:
        return {
            "A": topic(TopicName=name),
            "Ref": parameter({"Ref": "A"}),
            "Att": parameter({"Fn::GetAtt": ["A", "TopicArn"]}),
        }

    found = await shown(world, both("one"), both("two"))
    arn = found["A"]["PhysicalResourceId"]
    value = target("/Properties/Value", arn, UNKNOWN)
    for name, source, entity in (("Ref", "ResourceReference", "A"), ("Att", "ResourceAttribute", "A.TopicArn")):
        assert found[name]["Details"] == [through(value, source, entity), direct(value, "Dynamic")]
        assert json.loads(found[name]["AfterContext"])["Properties"]["Value"] == UNKNOWN
    brief = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    simple = {"Attribute": "Properties", "Name": "Value", "RequiresRecreation": "Never"}
    assert [each["ResourceChange"]["Details"] for each in brief["Changes"][1:]] == [
        [through(simple, "ResourceAttribute", "A.TopicArn")],
        [through(simple, "ResourceReference", "A")],
    ]


async def test_who_reads_an_attribute_of_a_changed_resource_is_listed_only_without_values(world: World) -> None:
    def chain(display: str) -> Any:
        return {
            "A": topic(TopicName="a", DisplayName=display),
            "B": parameter({"Fn::GetAtt": ["A", "TopicArn"]}),
            "C": parameter({"Fn::GetAtt": ["B", "Value"]}),
            "D": parameter({"Ref": "A"}),
        }

    assert list(await shown(world, chain("x"), chain("y"))) == ["A"]
    brief = (await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c"))["Changes"]
    assert [each["ResourceChange"]["LogicalResourceId"] for each in brief] == ["A", "B", "C"]
    simple = {"Attribute": "Properties", "Name": "Value", "RequiresRecreation": "Never"}
    assert brief[2]["ResourceChange"]["Details"] == [through(simple, "ResourceAttribute", "B.Value", "Dynamic")]


async def test_members_beside_the_properties(world: World) -> None:
    old = topic(TopicName="t") | {"Metadata": {"a": "1", "b": "2"}}
    new = topic(TopicName="t") | {
        "Metadata": {"a": "1", "b": "3"},
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
    }
    found = (await shown(world, {"A": old}, {"A": new}))["A"]
    assert found["Scope"] == ["DeletionPolicy", "Metadata", "UpdateReplacePolicy"]
    assert [(each["Target"]["Attribute"], each["Target"]["Path"]) for each in found["Details"]] == [
        ("Metadata", "/Metadata/b"),
        ("DeletionPolicy", "/DeletionPolicy"),
        ("UpdateReplacePolicy", "/UpdateReplacePolicy"),
    ]
    assert json.loads(found["BeforeContext"]) == {
        "Properties": {"TopicName": "t"},
        "Metadata": {"a": "1", "b": "2"},
    }
    assert json.loads(found["AfterContext"]) == {
        "Properties": {"TopicName": "t"},
        "Metadata": {"a": "1", "b": "3"},
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
    }


async def test_a_replacement_that_keeps_what_it_replaces(world: World) -> None:
    kept = {"UpdateReplacePolicy": "Retain"}
    found = (await shown(world, {"A": topic(TopicName="a") | kept}, {"A": topic(TopicName="b") | kept}))["A"]
    assert (found["Replacement"], found["PolicyAction"]) == ("True", "ReplaceAndRetain")


async def test_secret_parameters_are_hidden(world: World) -> None:
    template = {
        "Parameters": {"Pin": {"Type": "String", "NoEcho": True}},
        "Resources": {"A": topic(DisplayName={"Fn::Sub": "pin ${Pin}"})},
    }
    await world.create("web", template, Parameters=[{"ParameterKey": "Pin", "ParameterValue": 's3cret"'}])
    await world.call(
        "CreateChangeSet",
        StackName="web",
        ChangeSetName="c",
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Pin", "ParameterValue": "0ther"}],
    )
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    text = json.dumps(found["Changes"])
    assert "s3cret" not in text and "0ther" not in text and "pin ****" in text

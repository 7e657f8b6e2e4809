"""Outputs that are no texts, names that cannot be exported, references to what a condition leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from cfn_world import World, body, parameter

TEXT = "Template format error: The Value field of every Outputs member must evaluate to a String."
LATE = "Template format error: Every Value member must be a string."
UNRESOLVED = "Template format error: Unresolved resource dependencies [A] in the {} block of the template"
LIST = {"Parameters": {"L": {"Type": "CommaDelimitedList", "Default": "a,b"}}}
NEVER = {"Conditions": {"Never": {"Fn::Equals": ["a", "b"]}}}


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "L"},
        {"Fn::Split": [",", "a,b"]},
        {"Ref": "AWS::NoValue"},
        {"Fn::If": ["Never", "a", {"Ref": "AWS::NoValue"}]},
    ],
)
async def test_an_output_that_is_no_text_is_refused(world: World, value: Any) -> None:
    template = LIST | NEVER | {"Resources": {"A": parameter("x")}, "Outputs": {"O": {"Value": value}}}
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(template))
    assert (refused.code, refused.message) == ("ValidationError", TEXT)


async def test_an_attribute_that_is_no_text_is_found_out_at_the_end(world: World) -> None:
    tags = {"Properties": {"Tags": {"a": "b"}}}
    template = {
        "Resources": {"A": parameter("x", **tags)},
        "Outputs": {"O": {"Value": {"Fn::GetAtt": ["A", "Tags"]}}},
    }
    await world.create("web", {"Resources": {"A": parameter("x", **tags)}})
    assert await world.update("web", template) == "UPDATE_ROLLBACK_COMPLETE"
    assert ("web", "UPDATE_ROLLBACK_IN_PROGRESS", LATE) in await world.events("web")


async def test_a_reference_to_what_a_condition_leaves_out_names_its_block(world: World) -> None:
    absent = parameter("x", Condition="Never")
    for more, block in (
        ({"Resources": {"A": absent, "B": parameter({"Ref": "A"})}}, "Resources"),
        ({"Resources": {"A": absent, "B": parameter("y")}, "Outputs": {"O": {"Value": {"Ref": "A"}}}}, "Outputs"),
    ):
        refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(NEVER | more))
        assert refused.message == UNRESOLVED.format(block)


async def test_a_name_that_comes_of_a_parameter_must_be_exportable(world: World) -> None:
    template = {
        "Parameters": {"Name": {"Type": "String", "Default": "team/vpc"}},
        "Resources": {"A": parameter("x")},
        "Outputs": {"O": {"Value": "x", "Export": {"Name": {"Ref": "Name"}}}},
    }
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(template))
    assert refused.message == (
        "Template format error: Output O is malformed. The Name field of every Export member must be specified and "
        "consist only of alphanumeric characters, colons, or hyphens."
    )

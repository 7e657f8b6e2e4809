"""Constraints of botocore's shapes, in AWS's words."""

import pytest
from botocore.model import ShapeResolver

from portside.cloud.protocol.models import known_services, model
from portside.cloud.protocol.patterns import compiled
from portside.cloud.protocol.shapes import describe, violations

SHAPES = ShapeResolver(
    {
        "Root": {
            "type": "structure",
            "required": ["Name"],
            "members": {
                "Name": {"shape": "Name"},
                "Size": {"shape": "Size"},
                "Colour": {"shape": "Colour"},
                "Tags": {"shape": "Tags"},
                "On": {"shape": "On"},
                "Key": {"shape": "Key"},
                "Colours": {"shape": "Colours"},
                "Keys": {"shape": "Keys"},
            },
        },
        "Name": {"type": "string", "min": 2, "max": 5, "pattern": "[a-z]+"},
        "Size": {"type": "integer", "min": 1, "max": 10},
        "Colour": {"type": "string", "enum": ["red", "blue"]},
        "Tags": {"type": "list", "member": {"shape": "Root"}, "max": 1},
        "Colours": {"type": "list", "member": {"shape": "Colour"}, "max": 3},
        "Keys": {"type": "list", "member": {"shape": "Key"}},
        "On": {"type": "boolean"},
        "Key": {"type": "string", "min": 9, "sensitive": True},
    }
)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"Name": "abc"}, []),
        ({}, ["Value null at 'name' failed to satisfy constraint: Member must not be null"]),
        ({"Name": "a"}, ["Value 'a' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2"]),
        ({"Name": "ABC"}, ["Value 'ABC' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+"]),
        ({"Name": "abc", "Size": 11}, ["Value '11' at 'size' failed to satisfy constraint: Member must have value less than or equal to 10"]),
        ({"Name": "abc", "Colour": "green"}, ["Value 'green' at 'colour' failed to satisfy constraint: Member must satisfy enum value set: [red, blue]"]),
        ({"Name": "abc", "Tags": [{"Name": "A"}]}, [
            "Value 'A' at 'tags.1.member.name' failed to satisfy constraint: Member must have length greater than or equal to 2",
            "Value 'A' at 'tags.1.member.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+",
        ]),
        ({"Name": "abc", "On": "yes"}, ["Value 'yes' at 'on' failed to satisfy constraint: Member must be a boolean"]),
        ({"Name": "abc", "Key": "secret"}, ["Value at 'key' failed to satisfy constraint: Member must have length greater than or equal to 9"]),
        ({"Name": "abc", "Colours": ["red", "green"]}, ["Value '[red, green]' at 'colours' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [red, blue]]"]),
        ({"Name": "abc", "Colours": ["red"] * 4}, ["Value '[red, red, red, red]' at 'colours' failed to satisfy constraint: Member must have length less than or equal to 3"]),
        ({"Name": "abc", "Keys": ["secret"]}, ["Value at 'keys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length greater than or equal to 9]"]),
        ({"Name": "abc", "Unknown": 1}, []),
    ],
)  # fmt: skip
def test_each_broken_constraint_is_named(params, expected):
    found = violations(SHAPES.get_shape_by_name("Root"), params)
    assert [str(each) for each in found] == expected


def test_the_sentence_counts():
    found = violations(SHAPES.get_shape_by_name("Root"), {"Name": "A"})
    assert describe(found).startswith("2 validation errors detected: Value 'A' at 'name'")
    assert describe(found[:1]).startswith("1 validation error detected: ")


def test_unicode_classes_of_the_tag_pattern():
    tag = compiled(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)")
    assert tag.fullmatch("aws:cloudformation:stack-name")
    assert tag.fullmatch("Größe 1")
    assert not tag.fullmatch("a{b}")


def test_every_pattern_of_our_services_compiles():
    unusable = {
        (name, shape)
        for name in ("ecs", "ecr", "elbv2", "logs", "cloudformation")
        for shape in model(name).shape_names
        if (pattern := model(name).shape_for(shape).metadata.get("pattern")) and compiled(pattern) is None
    }
    # A character range that only Java takes.
    assert unusable == {("logs", "ResourceType")}


def test_a_service_that_nobody_knows_has_no_model():
    assert model("nonsense") is None
    assert {"ecs", "elbv2"} <= set(known_services())


@pytest.mark.parametrize("pattern", ["(", "[a", "a{99999999999999999999}", r"\p{Nobody}", "(?<a", r"\k<none>"])
def test_what_is_no_pattern(pattern):
    assert compiled(pattern) is None

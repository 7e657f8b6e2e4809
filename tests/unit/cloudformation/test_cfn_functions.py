"""What each intrinsic function takes and where it may stand, before any value is known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import functions, template

TEMPLATE = {
    "Parameters": {"P": {"Type": "String"}, "L": {"Type": "CommaDelimitedList"}},
    "Mappings": {"M": {"a": {"b": "c"}}},
    "Conditions": {"Yes": {"Fn::Equals": [{"Ref": "P"}, "value"]}},
}


def in_resource(value: Any) -> dict[str, Any]:
    return TEMPLATE | {
        "Resources": {"A": {"Type": "T", "Properties": {"P": value}}, "B": {"Type": "T"}},
    }


def in_condition(value: Any) -> dict[str, Any]:
    return in_resource("x") | {"Conditions": {"C": value, "D": {"Fn::Equals": ["a", "b"]}}}


def refused(document: Any) -> str:
    with pytest.raises(AwsError) as caught:
        template.parse(json.dumps(document))
    assert caught.value.code == "ValidationError"
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Ref": ["A"]}, functions.REF),
        ({"Fn::GetAtt": ["B"]}, functions.GET_ATT),
        ({"Fn::GetAtt": "B"}, functions.GET_ATT),
        ({"Fn::GetAtt": [{"Ref": "P"}]}, functions.GET_ATT),
        ({"Fn::GetAtt": ["B", ""]}, functions.GET_ATT),
        ({"Fn::GetAtt": ["B", {"Fn::Sub": "x"}]}, functions.GET_ATT),
        ({"Fn::Sub": {"a": "b"}}, functions.SUB),
        ({"Fn::Sub": ["a"]}, functions.SUB),
        ({"Fn::Sub": ["a", {}, "c"]}, functions.SUB),
        ({"Fn::Sub": [{"Ref": "P"}, {}]}, functions.SUB),
        ({"Fn::Sub": "${P-x}"}, functions.SUB_NAMES),
        ({"Fn::Sub": "${P${P}}"}, functions.SUB_NAMES),
        ({"Fn::Join": ["-"]}, functions.JOIN),
        ({"Fn::Join": [{"Ref": "P"}, ["a"]]}, functions.JOIN),
        ({"Fn::Join": ["-", "a"]}, functions.JOIN),
        ({"Fn::Split": ["-"]}, functions.SPLIT),
        ({"Fn::Split": ["-", ["a"]]}, functions.SPLIT),
        ({"Fn::Split": [1, "a"]}, functions.SPLIT),
        ({"Fn::Select": ["x", ["a"]]}, functions.SELECT),
        ({"Fn::Select": [0, "text"]}, functions.SELECT),
        ({"Fn::Select": [1, ["a"]]}, functions.SELECT),
        ({"Fn::Select": [-1, ["a"]]}, functions.SELECT),
        ({"Fn::Select": ["²", ["a", "b", "c"]]}, functions.SELECT),
        ({"Fn::FindInMap": ["M", "a"]}, functions.FIND_IN_MAP),
        ({"Fn::FindInMap": ["M", "a", ["b"]]}, functions.FIND_IN_MAP),
        ({"Fn::FindInMap": ["M", "a", "b", "c"]}, functions.FIND_IN_MAP),
        (
            {"Fn::FindInMap": ["N", "a", "b"]},
            "Template error: Mapping named 'N' is not present in the 'Mappings' section of template.",
        ),
        ({"Fn::Base64": ["x"]}, functions.BASE64),
        ({"Fn::GetAZs": ["x"]}, functions.GET_AZS),
        ({"Fn::ImportValue": ["x"]}, functions.IMPORT_VALUE),
        ({"Fn::ImportValue": {"Fn::Sub": "x-${B}"}}, functions.IMPORT_VALUE),
        ({"Fn::ImportValue": {"Fn::Select": [0, {"Fn::GetAZs": ""}]}}, functions.IMPORT_VALUE),
        ({"Fn::Cidr": "10.0.0.0/16"}, functions.CIDR),
        ({"Fn::Cidr": ["10.0.0.0/16", 1, 2, 3]}, functions.CIDR),
        ({"Fn::If": ["Yes", "a"]}, functions.IF),
        ({"Fn::If": [{"Ref": "P"}, "a", "b"]}, functions.IF_CONDITION),
        ({"Fn::If": ["No", "a", "b"]}, "Template error: unresolved condition dependency No in Fn::If"),
        ({"Fn::Equals": ["a", "b"]}, "Template Error: Fn::Equals cannot be partially collapsed"),
        ({"Fn::Contains": [["a"], "b"]}, "Template error: Fn::Contains can only be used in the Rules section"),
        ({"Fn::Transform": {"Name": "X"}}, functions.unsupported("Fn::Transform")),
        ({"Fn::GetAtt ": ["B", "Arn"]}, functions.unsupported("Fn::GetAtt ")),
        ({"a": 1, "Fn::If": ["Yes", 1, 2]}, "Template format error: Fn::If must be the only key of its object."),
    ],
)
def test_in_a_resource(value: Any, message: str) -> None:
    assert refused(in_resource(value)) == message
    nested = {"Fn::If": ["Yes", [{"deep": value}], {"Ref": "AWS::NoValue"}]}
    assert refused(in_resource(nested)) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "true",
            "Template format error: Conditions can only be boolean operations on parameters and other conditions",
        ),
        (
            {"Ref": "P"},
            "Template format error: Conditions can only be boolean operations on parameters and other conditions",
        ),
        ({"Fn::Equals": ["a"]}, functions.EQUALS),
        ({"Fn::Not": [{"Condition": "D"}, {"Condition": "D"}]}, functions.NOT),
        ({"Fn::Not": ["a"]}, functions.NOT),
        ({"Fn::And": [{"Condition": "D"}]}, functions.boolean_list("Fn::And")),
        ({"Fn::Or": [{"Condition": "D"}] * 11}, functions.boolean_list("Fn::Or")),
        ({"Fn::Or": [{"Condition": "D"}, "x"]}, functions.boolean_list("Fn::Or")),
        (
            {"Fn::Equals": [{"Fn::ImportValue": "x"}, "a"]},
            "Template error: Cannot use Fn::ImportValue in Conditions",
        ),
        ({"Fn::Equals": [{"Fn::GetAZs": ""}, "a"]}, "Template error: Cannot use Fn::GetAZs in Conditions"),
        (
            {"Fn::Equals": [{"Ref": "A"}, "a"]},
            "Template format error: Unresolved dependencies [A]. Cannot reference resources in the Conditions block "
            "of the template",
        ),
        (
            {"Fn::Equals": [{"Fn::GetAtt": ["A", "Arn"]}, "a"]},
            "Template format error: Unresolved dependencies [A]. Cannot reference resources in the Conditions block "
            "of the template",
        ),
        (
            {"Condition": "E"},
            "Template format error: Unresolved condition dependency E in the Conditions block of the template",
        ),
        (
            {"Fn::Not": [{"Condition": "C"}]},
            "Template format error: Circular dependency between conditions: [C]",
        ),
    ],
)
def test_in_a_condition(value: Any, message: str) -> None:
    assert refused(in_condition(value)) == message


def test_conditions_in_a_circle() -> None:
    circle = {"C": {"Fn::Not": [{"Condition": "D"}]}, "D": {"Fn::Or": [{"Condition": "C"}, {"Condition": "C"}]}}
    message = refused(in_resource("x") | {"Conditions": circle | {"E": {"Condition": "C"}}})
    assert message == "Template format error: Circular dependency between conditions: [C, D]"


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::GetAtt": ["B", {"Ref": "P"}]},
        {"Fn::GetAtt": ["B", "Outputs", "Name"]},
        {"Fn::Select": [{"Ref": "P"}, ["a"]]},
        {"Fn::Select": ["0", {"Fn::Split": ["-", {"Ref": "AWS::StackName"}]}]},
        {"Fn::Sub": "${!Literal-x} ${ P } ${B.Arn} $ {x}"},
        {"Fn::Join": ["", {"Ref": "L"}]},
        {"Fn::FindInMap": ["M", {"Ref": "P"}, {"Fn::FindInMap": ["M", "a", "b"]}]},
        {"Fn::FindInMap": [{"Ref": "P"}, "a", "b", {"DefaultValue": ["x"]}]},
        {"Fn::Cidr": [{"Fn::Select": [0, {"Ref": "L"}]}, 1]},
        {"Fn::ImportValue": {"Fn::Sub": "${P}-x"}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
    ],
)
def test_what_is_well_formed(value: Any) -> None:
    template.parse(json.dumps(in_resource(value)))


def test_every_short_form() -> None:
    text = """
Parameters: {P: {Type: String}, L: {Type: CommaDelimitedList}}
Mappings: {M: {a: {b: c}}}
Conditions:
  Known: !Equals [!Ref P, x]
  And: !And [!Condition Known, !Not [!Condition Known]]
  Or: !Or [!Condition Known, !Condition And]
Rules:
  R: {Assertions: [Assert: !Contains [[a], !Ref P], Assert: !EachMemberIn [!Ref L, [a]],
      Assert: !EachMemberEquals [!Ref L, a]]}
Resources:
  B: {Type: T}
  A:
    Type: T
    Properties:
      a: !GetAtt B.Arn.More
      b: !GetAtt [B, Arn]
      c: !Sub "${B.Arn}-${P}"
      d: !Sub ["${X}", {X: !Ref P}]
      e: !Join [",", !Ref L]
      f: !Select [0, !Split ["-", !Ref P]]
      g: !FindInMap [M, a, b]
      h: !If [Known, !Base64 x, !Ref "AWS::NoValue"]
      i: !Cidr [10.0.0.0/16, 2, 8]
      j: !GetAZs ""
      k: !ImportValue x
      l: !Base64
        Fn::Sub: "${P}"
"""
    found = template.parse(text)
    assert found.resources["A"].properties == {
        "a": {"Fn::GetAtt": ["B", "Arn.More"]},
        "b": {"Fn::GetAtt": ["B", "Arn"]},
        "c": {"Fn::Sub": "${B.Arn}-${P}"},
        "d": {"Fn::Sub": ["${X}", {"X": {"Ref": "P"}}]},
        "e": {"Fn::Join": [",", {"Ref": "L"}]},
        "f": {"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "P"}]}]},
        "g": {"Fn::FindInMap": ["M", "a", "b"]},
        "h": {"Fn::If": ["Known", {"Fn::Base64": "x"}, {"Ref": "AWS::NoValue"}]},
        "i": {"Fn::Cidr": ["10.0.0.0/16", 2, 8]},
        "j": {"Fn::GetAZs": ""},
        "k": {"Fn::ImportValue": "x"},
        "l": {"Fn::Base64": {"Fn::Sub": "${P}"}},
    }
    assert found.conditions["And"] == {"Fn::And": [{"Condition": "Known"}, {"Fn::Not": [{"Condition": "Known"}]}]}

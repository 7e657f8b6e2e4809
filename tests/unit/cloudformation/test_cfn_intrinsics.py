"""Every intrinsic function, as a table of expression and value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.services.cloudformation import template
from portside.cloud.services.cloudformation.intrinsics import (
    UNKNOWN,
    EvaluationError,
    Evaluator,
    MissingExport,
    NeedsZones,
    Surroundings,
)

STACK_ID = "arn:aws:cloudformation:us-east-1:000000000000:stack/staging-alb/11111111-2222-4333-8444-555555555555"
TEMPLATE = {
    "Parameters": {"P": {"Type": "String"}, "L": {"Type": "CommaDelimitedList"}},
    "Mappings": {"M": {"us-east-1": {"ami": "ami-1", "list": ["a", "b"]}}},
    "Conditions": {
        "Yes": {"Fn::Equals": [{"Ref": "P"}, "value"]},
        "No": {"Fn::Not": [{"Condition": "Yes"}]},
        "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
        "Either": {"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]},
        "Number": {"Fn::Equals": ["1", 1]},
        "Truth": {"Fn::Equals": ["true", True]},
    },
    "Resources": {"R": {"Type": "AWS::SNS::Topic"}},
}


class View:
    def ref(self, logical_id: str) -> Any:
        return UNKNOWN if logical_id == "U" else "r-id"

    def attribute(self, logical_id: str, name: str) -> Any:
        return UNKNOWN if logical_id == "U" else f"{logical_id}:{name}"


def evaluator() -> Evaluator:
    return Evaluator(
        template.parse(json.dumps(TEMPLATE)),
        {"P": "value", "L": ["x", "y"]},
        Surroundings("000000000000", "us-east-1", STACK_ID, "staging-alb", ("arn:topic",)),
        View(),
        {"staging-cluster-id": "c-1"}.get,
        {"us-east-1": ["us-east-1a", "us-east-1b"]},
    )


FIRST_WORD = {"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "AWS::StackName"}]}]}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Ref": "P"}, "value"),
        ({"Ref": "L"}, ["x", "y"]),
        ({"Ref": "R"}, "r-id"),
        ({"Ref": "AWS::AccountId"}, "000000000000"),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Ref": "AWS::Partition"}, "aws"),
        ({"Ref": "AWS::URLSuffix"}, "amazonaws.com"),
        ({"Ref": "AWS::StackId"}, STACK_ID),
        ({"Ref": "AWS::NotificationARNs"}, ["arn:topic"]),
        ({"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}, STACK_ID.rpartition("/")[2]),
        ({"Fn::GetAtt": ["R", "Arn"]}, "R:Arn"),
        ({"Fn::GetAtt": "R.Outputs.Name"}, "R:Outputs.Name"),
        ({"Fn::GetAtt": ["R", {"Ref": "P"}]}, "R:value"),
        ({"Fn::Sub": "${P}/${R}/${R.Arn}/${AWS::Region}/${!P}/$P"}, "value/r-id/R:Arn/us-east-1/${P}/$P"),
        ({"Fn::Sub": ["${P}-${V}", {"V": {"Ref": "R"}, "P": "mine"}]}, "mine-r-id"),
        ({"Fn::Sub": ["${N}${B}", {"N": 3000, "B": True}]}, "3000true"),
        ({"Fn::Join": ["-", ["a", {"Ref": "P"}, 1]]}, "a-value-1"),
        ({"Fn::Join": ["", {"Ref": "L"}]}, "xy"),
        ({"Fn::Join": [",", ["a", {"Ref": "AWS::NoValue"}]]}, "a"),
        ({"Fn::Join": [",", [{"Ref": "AWS::NoValue"}]]}, ""),
        ({"Fn::Split": ["|", "a||c|"]}, ["a", "", "c", ""]),
        ({"Fn::Select": ["1", {"Ref": "L"}]}, "y"),
        ({"Fn::FindInMap": ["M", {"Ref": "AWS::Region"}, "ami"]}, "ami-1"),
        ({"Fn::FindInMap": ["M", "us-east-1", "list"]}, ["a", "b"]),
        ({"Fn::FindInMap": ["M", "a", "b", {"DefaultValue": {"Ref": "P"}}]}, "value"),
        ({"Fn::FindInMap": ["N", "a", "b", {"DefaultValue": "c"}]}, "c"),
        ({"Fn::Length": {"Ref": "L"}}, 2),
        ({"Fn::ToJsonString": {"a": {"Ref": "L"}, "b": [{"Fn::GetAtt": ["R", "Arn"]}, 1, True]}},
         '{"a":["x","y"],"b":["R:Arn",1,true]}'),
        ({"Fn::If": ["Yes", "a", "b"]}, "a"),
        ({"Fn::If": ["No", "a", "b"]}, "b"),
        ({"Fn::If": ["Both", "a", "b"]}, "b"),
        ({"Fn::If": ["Either", "a", "b"]}, "a"),
        ({"Fn::If": ["Number", "a", "b"]}, "a"),
        ({"Fn::If": ["Truth", "a", "b"]}, "a"),
        ({"x": {"Fn::If": ["Yes", {"Ref": "AWS::NoValue"}, "b"]}, "y": 1}, {"y": 1}),
        ([{"Fn::If": ["Yes", {"Ref": "AWS::NoValue"}, "b"]}, 1], [1]),
        ({"Fn::Base64": {"Fn::Sub": "hi ${P}"}}, "aGkgdmFsdWU="),
        ({"Fn::GetAZs": ""}, ["us-east-1a", "us-east-1b"]),
        ({"Fn::Select": [1, {"Fn::GetAZs": {"Ref": "AWS::Region"}}]}, "us-east-1b"),
        ({"Fn::Cidr": ["10.0.0.0/16", 3, 8]}, ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]),
        ({"Fn::Cidr": ["10.0.0.0/24", "2", "5"]}, ["10.0.0.0/27", "10.0.0.32/27"]),
        ({"Fn::ImportValue": {"Fn::Join": ["-", [FIRST_WORD, "cluster-id"]]}}, "c-1"),
        ({"Fn::ImportValue": {"Fn::Sub": ["${E}-cluster-id", {"E": FIRST_WORD}]}}, "c-1"),
        ({"Statement": [{"Condition": {"Bool": {"x": "true"}}}]}, {"Statement": [{"Condition": {"Bool": {"x": "true"}}}]}),
        ("{{resolve:ssm:/a}}", "{{resolve:ssm:/a}}"),
    ],
)  # fmt: skip
def test_values(expression: Any, value: Any) -> None:
    assert evaluator().evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        {"Ref": "U"},
        {"Fn::GetAtt": ["U", "Arn"]},
        {"Fn::Sub": "a-${U}"},
        {"Fn::Sub": "a-${U.Arn}"},
        {"Fn::Join": ["-", ["a", {"Ref": "U"}]]},
        {"Fn::Split": ["/", {"Ref": "U"}]},
        {"Fn::Select": [3, {"Fn::Split": ["/", {"Ref": "U"}]}]},
        {"Fn::Base64": {"Ref": "U"}},
        {"Fn::Cidr": [{"Fn::GetAtt": ["U", "CidrBlock"]}, 1, 8]},
    ],
)
def test_what_depends_on_the_unknown_is_unknown(expression: Any) -> None:
    assert evaluator().evaluate(expression) is UNKNOWN


def test_a_known_member_of_a_list_with_unknown_ones_is_known() -> None:
    assert evaluator().evaluate({"Fn::Select": [1, [{"Ref": "U"}, "b"]]}) == "b"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"Fn::Select": [2, ["a", "b"]]}, "Template error: Fn::Select cannot select nonexistent value at index 2"),
        (
            {"Fn::Select": ["x", ["a"]]},
            "Template error: Fn::Select requires a list argument with two elements: an integer index and a list",
        ),
        (
            {"Fn::FindInMap": ["M", "eu-west-1", "ami"]},
            "Template error: Unable to get mapping for M::eu-west-1::ami",
        ),
        ({"Fn::FindInMap": ["N", "a", "b"]}, "Template error: Mapping named 'N' is not present"),
        ({"Fn::Join": [1, ["a"]]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Join": ["", "text"]}, "every Fn::Join object requires two parameters"),
        ({"Fn::Split": ["-", ["a"]]}, "every Fn::Split object requires two parameters"),
        ({"Fn::Sub": ["${A}"]}, "One or more Fn::Sub intrinsic functions don't specify expected arguments"),
        ({"Fn::Sub": "${L}"}, "does not resolve to a string"),
        ({"Fn::GetAtt": "R"}, "every Fn::GetAtt object requires two non-empty parameters"),
        ({"Fn::If": ["Unheard", "a", "b"]}, "unresolved condition dependency Unheard"),
        ({"Fn::ImportValue": "nowhere"}, "No export named nowhere found"),
        ({"Fn::Cidr": ["10.0.0.0/24", 300, 4]}, "Fn::Cidr"),
        ({"Fn::Cidr": ["10.0.0.0/24", 4, 8]}, "Fn::Cidr"),
        ({"Fn::Base64": ["x"]}, "every Fn::Base64 object must have a String-typed value"),
    ],
)
def test_errors(expression: Any, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluator().evaluate(expression)
    assert message in str(caught.value)


def test_imports_are_remembered_and_missing_ones_named() -> None:
    found = evaluator()
    found.evaluate({"Fn::ImportValue": "staging-cluster-id"})
    assert found.imported == {"staging-cluster-id"}
    with pytest.raises(MissingExport):
        found.evaluate({"Fn::ImportValue": "other"})


def test_zones_of_another_region_are_asked_for() -> None:
    with pytest.raises(NeedsZones) as caught:
        evaluator().evaluate({"Fn::GetAZs": "eu-west-1"})
    assert caught.value.region == "eu-west-1"

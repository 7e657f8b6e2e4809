"""Templates: reading YAML and JSON, and what is refused, in AWS's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import documents, template
from portside.cloud.services.cloudformation.references import Reference, references

A = {"A": {"Type": "AWS::SNS::Topic"}}


def refused(document: Any) -> str:
    with pytest.raises(AwsError) as caught:
        template.parse(document if isinstance(document, str) else json.dumps(document))
    assert (caught.value.code, caught.value.status) == ("ValidationError", 400)
    return caught.value.message


def test_every_short_form_becomes_its_long_form() -> None:
    text = """
a: !Ref X
b: !GetAtt X.Arn.More
c: !GetAtt [X, Arn]
d: !Sub "${X}-${!Y}"
e: !Sub
  - "${V}"
  - V: !Ref X
f: !Join [",", [a, !Ref X]]
g: !If [C, !Ref X, !Ref "AWS::NoValue"]
h: !GetAZs ""
i: !Condition C
j: !Base64
  Fn::Sub: x
k: !ImportValue
  Fn::Join: ["-", [!Select [0, !Split ["-", !Ref "AWS::StackName"]], id]]
l: !Cidr [!GetAtt V.CidrBlock, 4, 8]
m: !FindInMap [M, !Ref X, b]
n: !Not [!Equals [a, b]]
"""
    assert documents.read(text) == {
        "a": {"Ref": "X"},
        "b": {"Fn::GetAtt": ["X", "Arn.More"]},
        "c": {"Fn::GetAtt": ["X", "Arn"]},
        "d": {"Fn::Sub": "${X}-${!Y}"},
        "e": {"Fn::Sub": ["${V}", {"V": {"Ref": "X"}}]},
        "f": {"Fn::Join": [",", ["a", {"Ref": "X"}]]},
        "g": {"Fn::If": ["C", {"Ref": "X"}, {"Ref": "AWS::NoValue"}]},
        "h": {"Fn::GetAZs": ""},
        "i": {"Condition": "C"},
        "j": {"Fn::Base64": {"Fn::Sub": "x"}},
        "k": {
            "Fn::ImportValue": {
                "Fn::Join": [
                    "-",
                    [{"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "AWS::StackName"}]}]}, "id"],
                ]
            }
        },
        "l": {"Fn::Cidr": [{"Fn::GetAtt": ["V", "CidrBlock"]}, 4, 8]},
        "m": {"Fn::FindInMap": ["M", {"Ref": "X"}, "b"]},
        "n": {"Fn::Not": [{"Fn::Equals": ["a", "b"]}]},
    }


def test_dates_and_keys_stay_as_they_are_written() -> None:
    found = documents.read("Version: 2012-10-17\non: 1\n0123: x\n'7': y\n")
    assert found == {"Version": "2012-10-17", "on": 1, "0123": "x", "7": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just text", "Template format error: unsupported structure."),
        ("[1, 2]", "Template format error: unsupported structure."),
        ("Resources:\n  A: [\n", "Template format error: YAML not well-formed. (line 3, column 1)"),
        ("Resources: !Unknown x", "Template format error: YAML not well-formed. (line 1, column 12)"),
        ('{"Resources": ]', "Template format error: JSON not well-formed. (line 1, column 16)"),
        ('{"this is no JSON"}', "Template format error: JSON not well-formed. (line 1, column 20)"),
        ('{"Resources": {', "Template format error: JSON not well-formed. (line 1, column 16)"),
        ("a: &x 1\nb: *x\n", "Template error: YAML aliases are not allowed in CloudFormation templates"),
        (
            '{"Outputs": {"MyOutput": {"Value": null}}}',
            "[/Outputs/MyOutput/Value] 'null' values are not allowed in templates",
        ),
    ],
)
def test_what_is_not_well_formed(text: str, message: str) -> None:
    assert refused(text) == message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "Template format error: At least one Resources member must be defined."),
        ({"Resources": {}}, "Template format error: At least one Resources member must be defined."),
        ({"Resources": {"A": "x"}}, "Template format error: Any Resources member must be an object."),
        (
            {"Resources": {"A": {}}},
            "Template format error: [/Resources/A] Every Resources object must contain a Type member.",
        ),
        ({"Resources": A, "Invalid": 1, "x": 2}, "Invalid template property or properties [Invalid, x]"),
        ({"Resources": {"A": {"Type": "T", "Foo": 1}}}, "Invalid template resource property 'Foo'"),
        (
            {"Resources": {"A-b": {"Type": "T"}}},
            "Template format error: Resource name A-b is non alphanumeric.",
        ),
        (
            {"Resources": A, "Outputs": {"O": {"Description": "x"}}},
            "Template format error: Every Outputs member must contain a Value object",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Properties": {"P": {"Ref": "X"}}, "DependsOn": "Y"}}},
            "Template format error: Unresolved resource dependencies [X, Y] in the Resources block of the template",
        ),
        (
            {"Resources": A, "Outputs": {"O": {"Value": {"Ref": "X"}}}},
            "Template format error: Unresolved resource dependencies [X] in the Outputs block of the template",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Properties": {"P": {"Fn::GetAtt": ["X", "Arn"]}}}}},
            "Template error: instance of Fn::GetAtt references undefined resource X",
        ),
        (
            {"Resources": A, "Outputs": {"O": {"Value": {"Fn::Sub": ["${X.Arn}${Y.Z}", {"Y.Z": "y"}]}}}},
            "Template error: instance of Fn::Sub references invalid resource attribute X.Arn",
        ),
        (
            {
                "Resources": {
                    "A": {"Type": "T", "DependsOn": "B"},
                    "B": {"Type": "T", "Properties": {"P": {"Fn::Sub": "${C.Arn}"}}},
                    "C": {"Type": "T", "Properties": {"P": {"Ref": "A"}}},
                    "D": {"Type": "T", "DependsOn": "A"},
                }
            },
            "Circular dependency between resources: [A, B, C]",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Properties": {"P": {"Ref": "A"}}}}},
            "Circular dependency between resources: [A]",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": "1", "Export": {"Name": {"Fn::GetAtt": ["A", "Arn"]}}}}},
            "Template format error: Output X is malformed.  The Name field of Export must not depend on any "
            "resources, imported values, or Fn::GetAZs.",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": "1", "Export": {"Name": {"Ref": "A"}}}}},
            "Template format error: Output X is malformed.  The Name field of Export must not depend on any "
            "resources, imported values, or Fn::GetAZs.",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": "1", "Export": {"Name": "a b"}}}},
            "Template format error: Output X is malformed. The Name field of every Export member must be specified "
            "and consist only of alphanumeric characters, colons, or hyphens.",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": "1", "Export": {}}}},
            "Template format error: Output X is malformed. The Name field of every Export member must be specified "
            "and consist only of alphanumeric characters, colons, or hyphens.",
        ),
        (
            {"Resources": A, "Outputs": {"a-b": {"Value": "1"}}},
            "Template format error: Outputs name 'a-b' is non alphanumeric.",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": ["1"]}}},
            "Template format error: The Value field of every Outputs member must evaluate to a String and not a List.",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": {"Ref": "A", "b": "c"}}}},
            "Template format error: The Value field of every Outputs member must evaluate to a String and not a Map.",
        ),
        (
            {"Resources": A, "Outputs": {"X": {"Value": {"Fn::Equals": ["a", "b"]}}}},
            "Template format error: The Value field of every Outputs member must evaluate to a String.",
        ),
        (
            {"Resources": A, "Parameters": {"A": {"Type": "String"}}},
            "Template error: all resources and parameters must have unique names. Common name(s):[A]",
        ),
        (
            {"Resources": A, "Mappings": {"A-b": {"c": {"d": "e"}}}},
            "Template format error: Mappings name 'A-b' is non alphanumeric.",
        ),
        (
            {"Resources": A, "Mappings": {"A": {"us-east-1": {"x86-64": "e"}}}},
            "Template format error: Mappings attribute name 'x86-64' must contain only alphanumeric characters.",
        ),
        ({"Resources": A, "Mappings": {"A": "x"}}, "Template format error: Every Mappings member A must be a map"),
        (
            {"Resources": A, "Mappings": {"A": {"b": {"c": {"d": "e"}}}}},
            "Template format error: Every Mappings attribute must be a String or a List.",
        ),
        (
            {"Resources": {"A": {"Type": "T", "DeletionPolicy": "Keep"}}},
            "Template format error: Unrecognized DeletionPolicy Keep for resource A",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Properties": {"P": {"Fn::Nonsense": 1}}}}},
            "Template Error: Encountered unsupported function: Fn::Nonsense Supported functions are: [Fn::Base64, "
            "Fn::GetAtt, Fn::GetAZs, Fn::ImportValue, Fn::Join, Fn::Split, Fn::FindInMap, Fn::Select, Ref, Fn::Equals, "
            "Fn::If, Fn::Not, Condition, Fn::And, Fn::Or, Fn::Contains, Fn::EachMemberEquals, Fn::EachMemberIn, "
            "Fn::ValueOf, Fn::ValueOfAll, Fn::RefAll, Fn::Sub, Fn::Cidr]",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Condition": "C"}}},
            "Template format error: Unresolved condition dependency C in the Resources block of the template",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Condition": ""}}},
            "Template format error: Unresolved condition dependency  in the Resources block of the template",
        ),
        (
            {"Resources": A, "AWSTemplateFormatVersion": "2011-01-01"},
            "Template format error: unsupported value for AWSTemplateFormatVersion.",
        ),
    ],
)
def test_structural_errors(document: Any, message: str) -> None:
    assert refused(document) == message


def test_a_condition_key_of_a_policy_is_no_reference() -> None:
    policy = {"Statement": [{"Effect": "Allow", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}]}
    template.parse(json.dumps({"Resources": {"A": {"Type": "T", "Properties": {"P": policy}}}}))


def test_references_are_found_wherever_they_hide() -> None:
    value = {
        "a": [{"Ref": "One"}],
        "b": {"Fn::Sub": ["${Two.Arn} ${V} ${!No} ${Three}", {"V": {"Fn::GetAtt": "Four.Name"}}]},
        "c": {"Fn::If": ["C", {"Ref": "Five"}, {"Ref": "Six"}]},
    }
    assert list(references(value)) == [
        Reference("One"),
        Reference("Four", "Name"),
        Reference("Two", "Arn"),
        Reference("Three"),
        Reference("Five", guards=(("C", True),)),
        Reference("Six", guards=(("C", False),)),
    ]


@pytest.mark.parametrize(
    ("resources", "capability"),
    [
        ({"A": {"Type": "AWS::SNS::Topic"}}, ""),
        ({"A": {"Type": "AWS::IAM::Role"}}, "CAPABILITY_IAM"),
        ({"A": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "x"}}}, "CAPABILITY_NAMED_IAM"),
        ({"A": {"Type": "AWS::IAM::Policy", "Properties": {"PolicyName": "x"}}}, "CAPABILITY_IAM"),
    ],
)
def test_capabilities(resources: Any, capability: str) -> None:
    assert template.required_capabilities(template.parse(json.dumps({"Resources": resources})))[0] == capability

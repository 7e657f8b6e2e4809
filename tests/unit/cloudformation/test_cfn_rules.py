"""Rules: assertions about parameters, with what is fetched for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller
from portside.cloud.services.cloudformation import rules, template
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Surroundings
from portside.testing.calls import ScriptedCalls

CALLER = Caller.root("000000000000", "us-east-1")
PARAMETERS = {
    "P": {"Type": "String"},
    "L": {"Type": "CommaDelimitedList"},
    "Vpc": {"Type": "AWS::EC2::VPC::Id"},
    "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"},
}
VALUES = {"P": "value", "L": ["x", "y"], "Vpc": "vpc-1", "Subnets": ["subnet-1", "subnet-2"]}
CALLS = ScriptedCalls(
    {
        ("ec2", "DescribeVpcs"): lambda params: {
            "Vpcs": [
                {"VpcId": "vpc-1", "Tags": [{"Key": "Department", "Value": "IT"}]},
                {"VpcId": "vpc-2", "Tags": []},
            ]
        },
        ("ec2", "DescribeSubnets"): lambda params: {
            "Subnets": [
                {"SubnetId": "subnet-1", "VpcId": "vpc-1", "AvailabilityZone": "us-east-1a"},
                {"SubnetId": "subnet-2", "VpcId": "vpc-2", "AvailabilityZone": "us-east-1b"},
            ]
        },
        ("ec2", "DescribeNetworkAcls"): lambda params: {
            "NetworkAcls": [{"VpcId": "vpc-1", "NetworkAclId": "acl-1"}]
        },
        ("ec2", "DescribeSecurityGroups"): lambda params: {
            "SecurityGroups": [{"VpcId": "vpc-1", "GroupId": "sg-1"}]
        },
    }
)


def parsed(rule: Any) -> template.Template:
    document = {"Parameters": PARAMETERS, "Rules": {"R1": rule}, "Resources": {"A": {"Type": "AWS::SNS::Topic"}}}
    return template.parse(json.dumps(document))


async def broken(assertion: Any, condition: Any = None) -> str:
    rule: dict[str, Any] = {"Assertions": [{"Assert": assertion, "AssertDescription": "why"}]}
    if condition is not None:
        rule["RuleCondition"] = condition
    look = rules.RuleEvaluator(parsed(rule), VALUES, Surroundings("000000000000", "us-east-1", "", ""))
    return await rules.broken(look, CALLS, CALLER)


@pytest.mark.parametrize(
    ("assertion", "holds"),
    [
        ({"Fn::Contains": [["value", "other"], {"Ref": "P"}]}, True),
        ({"Fn::Contains": [["other"], {"Ref": "P"}]}, False),
        ({"Fn::Contains": [{"Ref": "L"}, "x"]}, True),
        ({"Fn::Not": [{"Fn::Contains": [["1", "2"], {"Ref": "P"}]}]}, True),
        ({"Fn::EachMemberIn": [{"Ref": "L"}, ["x", "y", "z"]]}, True),
        ({"Fn::EachMemberIn": [{"Ref": "L"}, ["x"]]}, False),
        ({"Fn::EachMemberEquals": [["x", "x"], "x"]}, True),
        ({"Fn::EachMemberEquals": [{"Ref": "L"}, "x"]}, False),
        ({"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}, True),
        ({"Fn::And": [{"Fn::Equals": ["a", "a"]}, {"Fn::Contains": [["a"], "b"]}]}, False),
        ({"Fn::Contains": [{"Fn::RefAll": "AWS::EC2::VPC::Id"}, {"Ref": "Vpc"}]}, True),
        ({"Fn::EachMemberIn": [{"Fn::ValueOf": ["Subnets", "VpcId"]}, {"Fn::RefAll": "AWS::EC2::VPC::Id"}]}, True),
        ({"Fn::EachMemberEquals": [{"Fn::ValueOf": ["Subnets", "VpcId"]}, {"Ref": "Vpc"}]}, False),
        ({"Fn::Equals": [{"Fn::ValueOf": ["Vpc", "Tags.Department"]}, "IT"]}, True),
        ({"Fn::Equals": [{"Fn::ValueOf": ["Vpc", "Tags.Nothing"]}, ""]}, True),
        ({"Fn::Equals": [{"Fn::ValueOf": ["Vpc", "DefaultNetworkAcl"]}, "acl-1"]}, True),
        ({"Fn::Equals": [{"Fn::ValueOf": ["Vpc", "DefaultSecurityGroup"]}, "sg-1"]}, True),
        ({"Fn::Contains": [{"Fn::ValueOfAll": ["AWS::EC2::VPC::Id", "Tags.Department"]}, "IT"]}, True),
        ({"Fn::EachMemberEquals": [{"Fn::ValueOfAll": ["AWS::EC2::VPC::Id", "Tags.Department"]}, "IT"]}, False),
    ],
)
async def test_assertions(assertion: Any, holds: bool) -> None:
    assert await broken(assertion) == ("" if holds else "Template constraint error: Rule R1 failed: why")


async def test_a_rule_whose_condition_is_false_asserts_nothing() -> None:
    never = {"Fn::Contains": [["other"], {"Ref": "P"}]}
    assert await broken(never, {"Fn::Equals": [{"Ref": "P"}, "x"]}) == ""
    assert await broken(never, {"Fn::Equals": [{"Ref": "P"}, "value"]}) != ""


async def test_what_no_rule_may_ask_for() -> None:
    with pytest.raises(EvaluationError, match="the parameter type AWS::EC2::Image::Id has no values"):
        await broken({"Fn::Contains": [{"Fn::RefAll": "AWS::EC2::Image::Id"}, "x"]})
    with pytest.raises(EvaluationError, match="undefined parameter Nobody"):
        await broken({"Fn::Equals": [{"Fn::ValueOf": ["Nobody", "VpcId"]}, "x"]})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("x", "Template format error: Rule R1 is malformed."),
        ({"Assertions": [], "Extra": 1}, "Template format error: Rule R1 is malformed."),
        ({"Assertions": []}, "Template format error: Rule R1 must have a list of Assertions."),
        ({"Assertions": [{"AssertDescription": "x"}]}, "Template format error: Rule R1 is malformed."),
        (
            {"Assertions": [{"Assert": {"Fn::Equals": ["a", {"Ref": "A"}]}}]},
            "Template format error: Unresolved dependencies [A]. Cannot reference resources in the Rules block of "
            "the template",
        ),
        (
            {"Assertions": [{"Assert": {"Fn::Contains": [["a"]]}}]},
            "Template error: Fn::Contains requires a list argument with two elements",
        ),
        (
            {"Assertions": [{"Assert": {"Fn::Contains": [{"Fn::If": ["C", ["a"], ["b"]]}, "a"]}}]},
            "Template format error: Following functions are not supported in the Rules block of the template: [Fn::If]",
        ),
        (
            {
                "RuleCondition": {"Condition": "C"},
                "Assertions": [{"Assert": {"Fn::Equals": [{"Fn::Sub": "a"}, "a"]}}],
            },
            "Template format error: Following functions are not supported in the Rules block of the template: "
            "[Condition, Fn::Sub]",
        ),
        (
            {"Assertions": [{"Assert": {"Fn::Equals": ["a", "a"]}, "AssertDescription": {"Ref": "P"}}]},
            "Template format error: Every AssertDescription member must be a string.",
        ),
    ],
)
def test_malformed_rules(rule: Any, message: str) -> None:
    with pytest.raises(AwsError) as caught:
        parsed(rule)
    assert caught.value.message == message

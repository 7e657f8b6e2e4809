"""Parameters: types, constraints and their texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller
from portside.cloud.services.cloudformation import existence, parameters, template
from portside.cloud.services.cloudformation.records import Value
from portside.testing.calls import ScriptedCalls

CALLER = Caller.root("000000000000", "us-east-1")


def parsed(**declared: Any) -> template.Template:
    return template.parse(json.dumps({"Parameters": declared, "Resources": {"A": {"Type": "AWS::SNS::Topic"}}}))


def given(**values: str) -> list[dict[str, Any]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def refused(declared: dict[str, Any], value: str) -> str:
    with pytest.raises(AwsError) as caught:
        parameters.choose(parsed(P=declared), given(P=value), None)
    assert caught.value.code == "ValidationError"
    return caught.value.message


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        ({"Type": "String", "AllowedValues": ["a", "b"]}, "c", "Parameter 'P' must be one of AllowedValues"),
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, "abc1", "Parameter 'P' must match pattern [a-z]+"),
        (
            {"Type": "String", "AllowedPattern": "[a-z]+", "ConstraintDescription": "letters only"},
            "1",
            "Parameter P failed to satisfy constraint: letters only",
        ),
        ({"Type": "String", "MinLength": 3}, "ab", "Parameter 'P' must contain at least 3 characters"),
        ({"Type": "String", "MaxLength": "3"}, "abcd", "Parameter 'P' must contain at most 3 characters"),
        ({"Type": "Number"}, "x", "Parameter 'P' must be a number."),
        ({"Type": "Number", "MinValue": 2}, "1", "Parameter 'P' must be a number not less than 2"),
        ({"Type": "Number", "MaxValue": 2}, "2.5", "Parameter 'P' must be a number not greater than 2"),
        ({"Type": "List<Number>"}, "1,x", "Parameter 'P' must be a number."),
        ({"Type": "List<Number>", "MaxValue": "5"}, "1, 6", "Parameter 'P' must be a number not greater than 5"),
        ({"Type": "Number"}, "nan", "Parameter 'P' must be a number."),
        ({"Type": "CommaDelimitedList", "MinLength": 2}, "ab,c", "Parameter 'P' must contain at least 2 characters"),
        (
            {"Type": "CommaDelimitedList", "AllowedPattern": "[a-z]+", "ConstraintDescription": "letters"},
            "a,1",
            "Parameter P failed to satisfy constraint: letters",
        ),
        ({"Type": "CommaDelimitedList", "AllowedValues": ["a"]}, "a,b", "Parameter 'P' must be one of AllowedValues"),
    ],
)  # fmt: skip
def test_constraints(declared: dict[str, Any], value: str, message: str) -> None:
    assert refused(declared, value) == message


@pytest.mark.parametrize(
    ("declared", "value", "ref"),
    [
        ({"Type": "String"}, "x", "x"),
        ({"Type": "Number"}, "7", "7"),
        ({"Type": "CommaDelimitedList"}, " a, b ,,c", ["a", "b", "", "c"]),
        ({"Type": "List<Number>"}, "1,2", ["1", "2"]),
        ({"Type": "AWS::EC2::VPC::Id"}, "vpc-0123abcd", "vpc-0123abcd"),
        ({"Type": "List<AWS::EC2::Subnet::Id>"}, "subnet-0123abcd", ["subnet-0123abcd"]),
    ],
)
def test_what_ref_yields(declared: dict[str, Any], value: str, ref: Any) -> None:
    found = parsed(P=declared)
    chosen = parameters.choose(found, given(P=value), None)
    assert parameters.values(found, tuple(Value(k, v) for k, v in chosen.items())) == {"P": ref}


def test_missing_and_unknown_ones_are_named() -> None:
    found = parsed(P={"Type": "String"}, Q={"Type": "String"}, R={"Type": "String", "Default": "r"})
    with pytest.raises(AwsError, match=r"Parameters: \[P, Q\] must have values"):
        parameters.choose(found, [], None)
    with pytest.raises(AwsError, match=r"Parameters: \[X\] do not exist in the template"):
        parameters.choose(found, given(P="1", Q="2", X="3"), None)
    ssm = parsed(P={"Type": "AWS::SSM::Parameter::Value<String>"})
    with pytest.raises(AwsError, match="Parameter P should either have input value or default value"):
        parameters.choose(ssm, [], None)


def test_defaults_of_numbers_and_booleans_are_text() -> None:
    found = parsed(P={"Type": "Number", "Default": 3}, Q={"Type": "String", "Default": True})
    assert parameters.choose(found, [], None) == {"P": "3", "Q": "true"}


def test_previous_values() -> None:
    found = parsed(P={"Type": "String"})
    use = [{"ParameterKey": "P", "UsePreviousValue": True}]
    assert parameters.choose(found, use, (Value("P", "old"),)) == {"P": "old"}
    with pytest.raises(AwsError, match="not in the previous template"):
        parameters.choose(found, use, ())
    with pytest.raises(AwsError, match="not in the previous template"):
        parameters.choose(found, use, None)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"Default": "x"}, "Template format error: Every Parameters object must contain a Type member."),
        ({"Type": "Text"}, "Template format error: Unrecognized parameter type: Text"),
        (
            {"Type": "List<AWS::SSM::Parameter::Value<String>>"},
            "Template format error: Unrecognized parameter type: List<AWS::SSM::Parameter::Value<String>>",
        ),
        ({"Type": "String", "Foo": 1}, "Invalid template parameter property 'Foo'"),
        (
            {"Type": "List<AWS::EC2::KeyPair::KeyName>"},
            "Template format error: Unrecognized parameter type: List<AWS::EC2::KeyPair::KeyName>",
        ),
        (
            {"Type": "AWS::SSM::Parameter::Value<Number>"},
            "Template format error: Unrecognized parameter type: AWS::SSM::Parameter::Value<Number>",
        ),
        (
            {"Type": "String", "Default": {"Ref": "Q"}},
            "Template format error: Every Default member must be a string.",
        ),
        (
            {"Type": "String", "Description": ["x"]},
            "Template format error: Every Description member must be a string.",
        ),
        (
            {"Type": "String", "Description": "x" * 4001},
            "Template format error: 'Description' length is greater than 4000.",
        ),
        (
            {"Type": "String", "MinLength": "few"},
            "Template format error: Every MinLength member must be a number. (parameter P)",
        ),
        (
            {"Type": "Number", "MinLength": 1},
            "Template error: Parameter 'P' MinLength must be on a parameter of type String",
        ),
        (
            {"Type": "List<Number>", "AllowedPattern": "[0-9]"},
            "Template error: Parameter 'P' AllowedPattern must be on a parameter of type String",
        ),
        (
            {"Type": "String", "MaxValue": 1},
            "Template error: Parameter 'P' MaxValue must be on a parameter of type Number",
        ),
        (
            {"Type": "String", "MinLength": 3, "MaxLength": "2"},
            "Template error: Parameter 'P' MinLength must be less than MaxLength.",
        ),
        (
            {"Type": "String", "AllowedValues": "a"},
            "Template format error: Every AllowedValues value must be a list of strings.",
        ),
        (
            {"Type": "String", "AllowedPattern": "("},
            "Template format error: AllowedPattern of parameter P is not a regular expression.",
        ),
        (
            {"Type": "String", "NoEcho": "perhaps"},
            "Template format error: NoEcho of parameter P must be true or false.",
        ),
    ],
)
def test_declarations(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(AwsError) as caught:
        parameters.check_declarations(parsed(P=declared))
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("kind", "call", "place", "params"),
    [
        ("AWS::EC2::VPC::Id", "DescribeVpcs", "Vpcs", {"VpcIds": ["vpc-0123abcd"]}),
        ("AWS::EC2::Subnet::Id", "DescribeSubnets", "Subnets", {"SubnetIds": ["subnet-0123abcd"]}),
        ("AWS::EC2::SecurityGroup::Id", "DescribeSecurityGroups", "SecurityGroups", {"GroupIds": ["sg-0123abcd"]}),
        (
            "AWS::EC2::SecurityGroup::GroupName",
            "DescribeSecurityGroups",
            "SecurityGroups",
            {"GroupNames": ["x-1"]},
        ),
        ("AWS::EC2::KeyPair::KeyName", "DescribeKeyPairs", "KeyPairs", {"KeyNames": ["x-1"]}),
        ("AWS::EC2::Instance::Id", "DescribeInstances", "Reservations", {"InstanceIds": ["i-0123abcd"]}),
        ("AWS::EC2::Volume::Id", "DescribeVolumes", "Volumes", {"VolumeIds": ["vol-0123abcd"]}),
        (
            "AWS::EC2::AvailabilityZone::Name",
            "DescribeAvailabilityZones",
            "AvailabilityZones",
            {"ZoneNames": ["x-1"]},
        ),
    ],
)
async def test_what_exists_is_asked_for(kind: str, call: str, place: str, params: dict[str, Any]) -> None:
    present: list[dict[str, Any]] = [{}]

    def describe(given_params: dict[str, Any]) -> dict[str, Any]:
        assert given_params == params
        if not present:
            raise AwsError("InvalidThing.NotFound", "")
        return {place: present}

    calls = ScriptedCalls({("ec2", call): describe})
    for declared in (kind, f"List<{kind}>", f"AWS::SSM::Parameter::Value<{kind}>"):
        found = parsed(P={"Type": declared})
        ((given,),) = params.values()
        value = Value("P", "/key", given) if "SSM" in declared else Value("P", given)
        assert await existence.missing(found, (value,), calls, CALLER) == ""
        present.clear()
        message = f"Parameter validation failed: parameter value {given} for parameter name P does not exist"
        assert await existence.missing(found, (value,), calls, CALLER) == message
        present.append({})


async def test_every_parameter_that_names_nothing_is_told_of() -> None:
    found = parsed(P={"Type": "AWS::EC2::Instance::Id"}, Q={"Type": "List<AWS::EC2::Subnet::Id>"})
    values = (Value("P", ""), Value("Q", "none,neither"))
    assert await existence.missing(found, values, ScriptedCalls(), CALLER) == (
        "Parameter validation failed: parameter value  for parameter name P does not exist, "
        "parameter value none for parameter name Q does not exist, "
        "parameter value neither for parameter name Q does not exist"
    )


async def test_images_are_taken_as_they_are_and_troubles_are_not_taken_for_absence() -> None:
    found = parsed(P={"Type": "AWS::EC2::Image::Id"}, Z={"Type": "AWS::Route53::HostedZone::Id"})
    calls = ScriptedCalls()
    assert await existence.missing(found, (Value("P", "ami-0123abcd"),), calls, CALLER) == ""
    with pytest.raises(AwsError, match="NotImplemented"):
        await existence.missing(found, (Value("Z", "Z1"),), calls, CALLER)


async def test_ssm_parameters_are_fetched() -> None:
    stored = {
        "/ami": {"Type": "String", "Value": "ami-0123abcd"},
        "/subnets": {"Type": "StringList", "Value": "a, b"},
        "/secret": {"Type": "SecureString", "Value": "x"},
    }

    def get(params: dict[str, Any]) -> dict[str, Any]:
        if params["Name"] not in stored:
            raise AwsError("ParameterNotFound", "")
        return {"Parameter": stored[params["Name"]]}

    calls = ScriptedCalls({("ssm", "GetParameter"): get})
    found = parsed(
        Image={"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"},
        Subnets={"Type": "AWS::SSM::Parameter::Value<List<String>>"},
        Key={"Type": "AWS::SSM::Parameter::Name"},
    )
    chosen = {"Image": "/ami", "Subnets": "/subnets", "Key": "/ami"}
    values = await parameters.resolve(found, chosen, calls, CALLER)
    assert values == (
        Value("Image", "/ami", "ami-0123abcd"),
        Value("Subnets", "/subnets", "a,b"),
        Value("Key", "/ami"),
    )
    assert parameters.values(found, values) == {"Image": "ami-0123abcd", "Subnets": ["a", "b"], "Key": "/ami"}
    for name, key, message in (
        ("Image", "/none", "Unable to fetch parameters"),
        ("Image", "/secret", "have types not supported"),
        (
            "Image",
            "/subnets",
            "Types for SSM parameters .*/subnets.* defined in CFN template and SSM are incompatible",
        ),
        ("Subnets", "/ami", "Types for SSM parameters .*/ami.* defined in CFN template and SSM are incompatible"),
    ):
        with pytest.raises(AwsError, match=message):
            await parameters.resolve(found, {name: key}, calls, CALLER)
    missing = await existence.missing(found, (Value("Key", "/none"),), calls, CALLER)
    assert missing == "Parameter validation failed: parameter value /none for parameter name Key does not exist"
    missing = await existence.missing(found, (Value("Image", "/x", "not-an-ami"),), calls, CALLER)
    assert (
        missing
        == "Parameter validation failed: parameter value not-an-ami for parameter name Image does not exist"
    )


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        (r"\p{Alnum}+", "aB1", "a-b"),
        (r"\p{Upper}\p{Lower}*", "Abc", "abc"),
        (r"[a-z&&[^x]]+", "abc", "axc"),
        (r"(?<first>a)b\k<first>", "aba", "abb"),
        (r"\Aab\z", "ab", "ab\n"),
        (r"a\\z", "a\\z", "az"),
        (r"[a-z]++b?", "abc", "ABC"),
        (r"(?<=a)?b", "b", "c"),
    ],
)
def test_patterns_are_those_of_java(pattern: str, fits: str, fails: str) -> None:
    found = parsed(P={"Type": "String", "AllowedPattern": pattern})
    assert parameters.choose(found, [{"ParameterKey": "P", "ParameterValue": fits}], None) == {"P": fits}
    with pytest.raises(AwsError, match="must match pattern"):
        parameters.choose(found, [{"ParameterKey": "P", "ParameterValue": fails}], None)

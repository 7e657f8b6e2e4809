"""How large a template and its parts may be: one at the limit, one beyond it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import parameters, template

TOPIC = {"Type": "AWS::SNS::Topic"}


def refused(document: Any) -> str:
    with pytest.raises(AwsError) as caught:
        template.parse(json.dumps(document))
    assert caught.value.code == "ValidationError"
    return caught.value.message


def document(**sections: Any) -> dict[str, Any]:
    return {"Resources": {"A": TOPIC}} | sections


def many(number: int, member: Any) -> dict[str, Any]:
    return {f"N{index}": member for index in range(number)}


@pytest.mark.parametrize(
    ("section", "noun", "most", "member"),
    [
        ("Resources", "resources", 500, TOPIC),
        ("Parameters", "parameters", 200, {"Type": "String"}),
        ("Outputs", "outputs", 200, {"Value": "x"}),
        ("Mappings", "mappings", 200, {"a": {"b": "c"}}),
    ],
)
def test_members(section: str, noun: str, most: int, member: Any) -> None:
    template.parse(json.dumps(document(**{section: many(most, member)})))
    assert refused(document(**{section: many(most + 1, member)})) == (
        f"Template format error: Number of {noun}, {most + 1}, is greater than maximum allowed, {most}"
    )


def test_attributes_of_a_mapping() -> None:
    template.parse(json.dumps(document(Mappings={"M": many(200, {"a": "b"})})))
    assert "Number of mapping attributes in M, 201, is greater" in refused(
        document(Mappings={"M": many(201, {"a": "b"})})
    )


def test_names() -> None:
    template.parse(json.dumps(document(Resources={"A" * 255: TOPIC})))
    assert "longer than 255 characters" in refused(document(Resources={"A" * 256: TOPIC}))
    assert "longer than 255 characters" in refused(document(Outputs={"A" * 256: {"Value": "x"}}))


def test_the_description() -> None:
    template.parse(json.dumps(document(Description="ü" * 512)))
    message = "Template format error: 'Description' length is greater than 1024."
    assert refused(document(Description="ü" * 512 + "x")) == message


def test_values_of_parameters() -> None:
    found = template.parse(json.dumps(document(Parameters={"P": {"Type": "String"}})))
    given = [{"ParameterKey": "P", "ParameterValue": "ü" * 2048}]
    assert parameters.choose(found, given, None)["P"] == "ü" * 2048
    with pytest.raises(AwsError, match="exceeds the maximum size of 4096 bytes"):
        parameters.choose(found, [{"ParameterKey": "P", "ParameterValue": "ü" * 2048 + "x"}], None)


def test_dynamic_references() -> None:
    def with_references(number: int) -> dict[str, Any]:
        return document(Resources={"A": TOPIC | {"Properties": {"P": ["{{resolve:ssm:/a}}"] * number}}})

    template.parse(json.dumps(with_references(60)))
    assert "Number of dynamic references, 61, is greater than maximum allowed, 60" in refused(with_references(61))


def test_secure_strings_have_their_places() -> None:
    secure = "{{resolve:ssm-secure:/a:1}}"

    def made(kind: str, properties: Any) -> dict[str, Any]:
        return {"Resources": {"A": {"Type": kind, "Properties": properties}}}

    template.parse(json.dumps(made("AWS::RDS::DBInstance", {"MasterUserPassword": secure})))
    template.parse(json.dumps(made("AWS::IAM::User", {"LoginProfile": {"Password": {"Fn::Sub": secure}}})))
    containers = [{"Environment": [{"Name": "A", "Value": secure}]}]
    assert refused(made("AWS::ECS::TaskDefinition", {"ContainerDefinitions": containers})) == (
        "SSM Secure reference is not supported in: [AWS::ECS::TaskDefinition/Properties/ContainerDefinitions]"
    )
    variables = {"Environment": {"Variables": {"TOKEN": secure}}}
    assert refused(made("AWS::Lambda::Function", variables)) == (
        "SSM Secure reference is not supported in: [AWS::Lambda::Function/Properties/Environment/Variables/TOKEN]"
    )

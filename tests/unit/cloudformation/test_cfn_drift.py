"""What counts as drift, and as what kind of it."""

from __future__ import annotations

from typing import Any

import pytest

from portside.cloud.services.cloudformation import drift, schema


def compared(kind: str, expected: Any, actual: Any, *ours: str) -> drift.Comparison:
    known = schema.load(kind)
    assert known is not None
    return drift.compare(known, expected, actual, ours)


def found(kind: str, expected: Any, actual: Any, *ours: str) -> list[tuple[str, ...]]:
    return [
        (each["DifferenceType"], each["PropertyPath"], each["ExpectedValue"], each["ActualValue"])
        for each in compared(kind, expected, actual, *ours).differences
    ]


ALARM, GROUP, ROLE = "AWS::CloudWatch::Alarm", "AWS::EC2::SecurityGroup", "AWS::IAM::Role"
DEFINITION, REPOSITORY, PARAMETER = "AWS::ECS::TaskDefinition", "AWS::ECR::Repository", "AWS::SSM::Parameter"
RULE = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "10.0.0.0/8"}
OTHER = RULE | {"FromPort": 22, "ToPort": 22}
TAG = {"Key": "a", "Value": "1"}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
OLD_POLICY = POLICY | {"Version": "2008-10-17"}
OLDEST_POLICY = {"Statement": POLICY["Statement"]}
PIPELINE = "AWS::CodePipeline::Pipeline"
POLICY_TEXT = '{"Statement":[{"Resource":"*","Action":"s3:*","Effect":"Allow"}],"Version":"2012-10-17"}'


@pytest.mark.parametrize(
    ("kind", "expected", "actual"),
    [
        (ALARM, {"Threshold": 80}, {"Threshold": 80.0, "Period": 60}),
        (ROLE, {"AssumeRolePolicyDocument": OLD_POLICY}, {"AssumeRolePolicyDocument": POLICY_TEXT}),
        (ROLE, {"AssumeRolePolicyDocument": OLD_POLICY}, {"AssumeRolePolicyDocument": OLDEST_POLICY}),
        (ROLE, {"AssumeRolePolicyDocument": OLDEST_POLICY}, {"AssumeRolePolicyDocument": POLICY}),
        (PIPELINE, {"Stages": [{"Configuration": {"T": "x"}}]}, {"stages": [{"configuration": {"T": "****"}}]}),
        (ALARM, {"Threshold": "80"}, {"Threshold": 80.0}),
        (REPOSITORY, {"ImageTagMutability": "MUTABLE"}, {"imageTagMutability": "MUTABLE"}),
        (REPOSITORY, {"EmptyOnDelete": True}, {"emptyOnDelete": False}),
        (GROUP, {"SecurityGroupIngress": [RULE, OTHER]}, {"SecurityGroupIngress": [OTHER, RULE]}),
        (GROUP, {"Tags": [TAG]}, {"Tags": [{"Key": "aws:cloudformation:stack-id", "Value": "x"}, TAG]}),
        (ROLE, {"AssumeRolePolicyDocument": POLICY}, {"AssumeRolePolicyDocument": POLICY_TEXT}),
        (PARAMETER, {"Value": "{{resolve:ssm:/x}}"}, {"Value": "secret"}),
        (PARAMETER, {"Description": "not told by the service"}, {"Value": "x"}),
        (DEFINITION, {"Cpu": "256"}, {"cpu": "256", "revision": 3}),
        (ALARM, {"AlarmDescription": ""}, {"AlarmDescription": None}),
        ("AWS::ECS::Service", {"Cluster": "web"}, {"Cluster": "arn:aws:ecs:us-east-1:1:cluster/web"}),
    ],
)
def test_in_sync(kind: str, expected: Any, actual: Any) -> None:
    assert found(kind, expected, actual) == []


@pytest.mark.parametrize(
    ("kind", "expected", "actual", "differences"),
    [
        (ALARM, {"Threshold": 80}, {"Threshold": 90.0}, [("NOT_EQUAL", "/Threshold", "80", "90.0")]),
        (
            "AWS::Logs::LogGroup",
            {"RetentionInDays": 7},
            {"RetentionInDays": None},
            [("REMOVE", "/RetentionInDays", "7", "null")],
        ),
        (
            GROUP,
            {"SecurityGroupIngress": [RULE]},
            {"SecurityGroupIngress": [OTHER, RULE]},
            [("ADD", "/SecurityGroupIngress/1", "null",
              '{"IpProtocol":"tcp","FromPort":"22","ToPort":"22","CidrIp":"10.0.0.0/8"}')],
        ),
        (
            GROUP,
            {"SecurityGroupIngress": [RULE, OTHER]},
            {"SecurityGroupIngress": [OTHER]},
            [("REMOVE", "/SecurityGroupIngress/0",
              '{"IpProtocol":"tcp","FromPort":"80","ToPort":"80","CidrIp":"10.0.0.0/8"}', "null")],
        ),
        (
            GROUP,
            {"Tags": [TAG]},
            {"Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]},
            [
                ("NOT_EQUAL", "/Tags/0/Value", "1", "2"),
                ("ADD", "/Tags/1", "null", '{"Key":"b","Value":"3"}'),
            ],
        ),
        (
            PARAMETER,
            {"Tags": {"a": "1"}},
            {"Tags": {"a": "1", "b": "2"}},
            [("ADD", "/Tags/b", "null", "2")],
        ),
        (
            DEFINITION,
            {"ContainerDefinitions": [{"Name": "app", "Image": "app:1"}]},
            {"containerDefinitions": [{"name": "app", "image": "app:2", "cpu": 0}]},
            [("NOT_EQUAL", "/ContainerDefinitions/0/Image", "app:1", "app:2")],
        ),
        (
            ROLE,
            {"AssumeRolePolicyDocument": POLICY},
            {"AssumeRolePolicyDocument": POLICY_TEXT.replace("s3:*", "s3:GetObject")},
            [("NOT_EQUAL", "/AssumeRolePolicyDocument/Statement/0/Action", "s3:*", "s3:GetObject")],
        ),
    ],
)  # fmt: skip
def test_modified(kind: str, expected: Any, actual: Any, differences: list[Any]) -> None:
    assert found(kind, expected, actual) == differences


def test_the_tags_of_the_stack_are_not_the_users(ours: str = "team") -> None:
    live = {"Tags": [TAG, {"Key": ours, "Value": "x"}]}
    assert found(GROUP, {"Tags": [TAG]}, live, ours) == []
    assert found(GROUP, {"Tags": [TAG]}, live) != []


def test_answers_hold_what_was_compared_in_cloudformations_spelling() -> None:
    shown = compared(
        DEFINITION,
        {"Cpu": "256", "ContainerDefinitions": [{"Name": "app", "Image": "app:1"}]},
        {"cpu": "512", "containerDefinitions": [{"name": "app", "image": "app:1", "essential": True}]},
    )
    assert shown.actual == {"Cpu": "512", "ContainerDefinitions": [{"Name": "app", "Image": "app:1"}]}

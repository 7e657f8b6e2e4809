"""Schemas and plans: coercion, complaints, and what a change of a property means."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from portside.cloud.kernel.ids import Ids
from portside.cloud.services.cloudformation import graph, properties, schema
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN
from portside.cloud.services.cloudformation.plan import Recreation, Verdict, custom_named, decide
from portside.cloud.services.cloudformation.records import Applied
from portside.cloud.services.cloudformation.resources import naming, registry


def fit(kind: str, given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    found = schema.load(kind)
    assert found is not None
    return properties.fit(found, given)


@pytest.mark.parametrize(
    ("kind", "given", "made"),
    [
        ("AWS::ECS::Service", {"DesiredCount": "2"}, {"DesiredCount": 2}),
        ("AWS::ECS::Service", {"EnableExecuteCommand": "true"}, {"EnableExecuteCommand": True}),
        ("AWS::SSM::Parameter", {"Type": "String", "Value": 5}, {"Type": "String", "Value": "5"}),
        ("AWS::SSM::Parameter", {"Type": "String", "Value": True}, {"Type": "String", "Value": "true"}),
        ("AWS::ECR::Repository", {"EmptyOnDelete": "false"}, {"EmptyOnDelete": False}),
        ("AWS::ECS::Service", {"DesiredCount": UNKNOWN}, {"DesiredCount": UNKNOWN}),
        (
            "AWS::ECS::Service",
            {"DesiredCount": "{{resolve:ssm:count}}"},
            {"DesiredCount": "{{resolve:ssm:count}}"},
        ),
        (
            "AWS::ElasticLoadBalancingV2::LoadBalancer",
            {"Subnets": "subnet-1"},
            {"Subnets": ["subnet-1"]},
        ),
        (
            "AWS::IAM::Role",
            {"AssumeRolePolicyDocument": '{"Version": "2012-10-17"}'},
            {"AssumeRolePolicyDocument": '{"Version": "2012-10-17"}'},
        ),
    ],
)
def test_values_are_brought_into_their_types(kind: str, given: dict[str, Any], made: dict[str, Any]) -> None:
    assert fit(kind, given) == (made, "")


@pytest.mark.parametrize(
    ("kind", "given", "complaint"),
    [
        ("AWS::ECS::Cluster", {"Nonsense": 1}, "Encountered unsupported property Nonsense"),
        ("AWS::ECS::Cluster", {"Arn": "x"}, "Encountered unsupported property Arn"),
        (
            "AWS::SSM::Parameter",
            {"Value": "x"},
            "Property validation failure: [The property {/Type} is required]",
        ),
        (
            "AWS::ECS::Service",
            {"DesiredCount": "many"},
            "Property validation failure: [Value of property {/DesiredCount} does not match type {Integer}]",
        ),
        (
            "AWS::ElasticLoadBalancingV2::Listener",
            {"LoadBalancerArn": "arn", "DefaultActions": [{"Type": "forward", "Foo": 1}]},
            "Property validation failure: [Encountered unsupported properties in {/DefaultActions/0}: [Foo]]",
        ),
        (
            "AWS::ECR::Repository",
            {"ImageTagMutability": "SOMETIMES"},
            "Property validation failure: [Value of property {/ImageTagMutability} is not one of "
            "{MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION}]",
        ),
        (
            "AWS::ECS::Cluster",
            {"Tags": [{"Key": "team", "Value": "größer {x}"}]},
            "Property validation failure: [Value of property {/Tags/0/Value} does not match pattern "
            r"{^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$}]",
        ),
    ],
)
def test_complaints(kind: str, given: dict[str, Any], complaint: str) -> None:
    assert fit(kind, given)[1] == complaint


def verdict(kind: str, before: dict[str, Any], after: dict[str, Any]) -> Verdict:
    return decide(registry.facts(kind), Applied(properties=before), after, {}, ()).verdict


ACTION = {"Type": "forward", "TargetGroupArn": "arn"}


@pytest.mark.parametrize(
    ("kind", "before", "after", "expected"),
    [
        ("AWS::SNS::Topic", {"DisplayName": "a"}, {"DisplayName": "a"}, Verdict.KEEP),
        ("AWS::SNS::Topic", {"DisplayName": "a"}, {"DisplayName": "b"}, Verdict.UPDATE),
        ("AWS::SNS::Topic", {"DisplayName": "a"}, {}, Verdict.UPDATE),
        ("AWS::SNS::Topic", {"TopicName": "a"}, {"TopicName": "b"}, Verdict.REPLACE),
        ("AWS::SNS::Topic", {"DisplayName": "a"}, {"DisplayName": UNKNOWN}, Verdict.UPDATE),
        ("AWS::ECS::TaskDefinition", {"Cpu": "256"}, {"Cpu": "512"}, Verdict.REPLACE),
        ("AWS::ECS::TaskDefinition", {"Tags": []}, {"Tags": [{"Key": "a", "Value": "b"}]}, Verdict.UPDATE),
        ("AWS::ECS::Service", {"TaskDefinition": "a:1"}, {"TaskDefinition": "a:2"}, Verdict.UPDATE),
        ("AWS::ECS::Service", {"Cluster": "a"}, {"Cluster": "b"}, Verdict.REPLACE),
        ("AWS::ECS::Service", {}, {"LaunchType": "FARGATE"}, Verdict.REPLACE),
        ("AWS::ECS::Service", {}, {"LaunchType": "EC2"}, Verdict.UPDATE),
        (
            "AWS::ECR::Repository",
            {"EncryptionConfiguration": {"EncryptionType": "AES256"}},
            {"EncryptionConfiguration": {"EncryptionType": "KMS"}},
            Verdict.REPLACE,
        ),
        ("AWS::ECR::Repository", {}, {"ImageTagMutability": "IMMUTABLE"}, Verdict.UPDATE),
        ("AWS::ElasticLoadBalancingV2::TargetGroup", {"Port": 80}, {"Port": 81}, Verdict.REPLACE),
        ("AWS::ElasticLoadBalancingV2::Listener", {"Port": 80}, {"Port": 81}, Verdict.UPDATE),
        ("AWS::AutoScaling::AutoScalingGroup", {"MaxSize": "1"}, {"MaxSize": "2"}, Verdict.UPDATE),
        (
            "AWS::AutoScaling::AutoScalingGroup",
            {"LaunchConfigurationName": "a"},
            {"LaunchConfigurationName": "b"},
            Verdict.UPDATE,
        ),
        ("AWS::EC2::SecurityGroup", {"GroupDescription": "a"}, {"GroupDescription": "b"}, Verdict.REPLACE),
        ("AWS::IAM::Role", {"Path": "/"}, {"Path": "/a/"}, Verdict.REPLACE),
    ],
)
def test_what_a_change_means(kind: str, before: dict[str, Any], after: dict[str, Any], expected: Verdict) -> None:
    assert verdict(kind, before, after) is expected


def test_each_change_says_what_it_requires() -> None:
    applied = Applied(properties={"TopicName": "a", "DisplayName": "a"})
    found = decide(registry.facts("AWS::SNS::Topic"), applied, {"TopicName": UNKNOWN, "DisplayName": "b"}, {}, ())
    assert {each.name: (each.recreation, each.unknown) for each in found.changes} == {
        "TopicName": (Recreation.ALWAYS, True),
        "DisplayName": (Recreation.NEVER, False),
    }


def test_stack_tags_count_where_they_are_handed_on() -> None:
    tags = (("team", "shop"),)
    assert decide(registry.facts("AWS::SNS::Topic"), Applied(), {}, {}, tags).verdict is Verdict.UPDATE
    assert decide(registry.facts("AWS::IAM::Policy"), Applied(), {}, {}, tags).verdict is Verdict.KEEP


def test_custom_names() -> None:
    facts = registry.facts("AWS::SNS::Topic")
    applied = Applied(properties={"TopicName": "a", "FifoTopic": True})
    assert custom_named(facts, applied, {"TopicName": "a"})
    assert not custom_named(facts, applied, {"TopicName": "b"})
    assert not custom_named(facts, Applied(), {})


@pytest.mark.parametrize("kind", registry.HANDLERS)
def test_every_handler_has_a_schema_and_names_real_properties(kind: str) -> None:
    facts = registry.facts(kind)
    assert not facts.name_property or facts.name_property in facts.schema.properties
    assert facts.volatile <= facts.schema.attributes | facts.attributes


@pytest.mark.parametrize(
    ("style", "limit", "starts"),
    [
        (naming.PLAIN, 255, "Stack-Logical-"),
        (naming.SHORT, 64, "Stack-Logical-"),
        (naming.BALANCER, 32, "Stack-Logic-"),
        (naming.BUCKET, 63, "stack-logical-"),
        (naming.FAMILY, 255, "StackLogical"),
        (naming.POLICY, 255, "Stac-Logi-"),
    ],
)
def test_made_up_names(style: naming.NameStyle, limit: int, starts: str) -> None:
    name = style.make(Ids(1), "Stack", "Logical")
    assert name.startswith(starts) and len(name) == len(starts) + 12
    assert len(style.make(Ids(1), "s" * 128, "l" * 255)) <= limit


def test_a_cycle_is_named_without_what_hangs_on_it() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["c"], "e": []}
    assert graph.cycle(needs) == ["b", "c"]
    assert graph.order(needs) == ["e"]
    assert graph.reverse(needs)["b"] == {"a", "c"}


def test_importing_the_service_is_cheap() -> None:
    code = (
        "import sys, portside.cloud.services.cloudformation.api; "
        "print([m for m in ('cfnlint', 'boto3', 'yaml', 'moto') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""No property of a resource type is ignored: each either changes what the services are asked, or is refused by name.

Every handler makes its resource over recorded services, once with the properties that AWS requires and once with one
more. The calls must differ, or the property must be refused.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from dataclasses import replace
from typing import Any

import pytest
from botocore.model import Shape

from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.cloudformation import properties as fitting
from portside.cloud.services.cloudformation import resources
from portside.cloud.services.cloudformation.resources import registry, shapes
from portside.cloud.services.cloudformation.resources.declared import Declared
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.schema import Schema, load

CALLER = Caller.root("000000000000", "us-east-1")
DEPTH = 5
# Values that a sample cannot hit by the schema alone, by type and property.
SAMPLES: dict[tuple[str, str], Any] = {
    ("AWS::CertificateManager::Certificate", "DomainValidationOptions"): [
        {"DomainName": "a.b.c", "ValidationDomain": "b.c"}
    ],
    ("AWS::CloudFormation::CustomResource", "ServiceToken"): "arn:aws:sns:us-east-1:000000000000:topic",
    ("AWS::CodeBuild::Project", "Triggers"): {"Webhook": True},
    ("AWS::CodeBuild::Project", "Visibility"): "PUBLIC_READ",
    ("AWS::S3::Bucket", "AbacStatus"): "Enabled",
    ("AWS::SNS::Topic", "DeliveryStatusLogging"): [{"Protocol": "sqs", "FailureFeedbackRoleArn": "arn:r"}],
    ("AWS::SNS::Subscription", "TopicArn"): "arn:aws:sns:us-east-1:000000000000:topic",
    ("AWS::ElasticLoadBalancing::LoadBalancer", "HealthCheck"): {
        "HealthyThreshold": "2",
        "Interval": "30",
        "Target": "TCP:80",
        "Timeout": "5",
        "UnhealthyThreshold": "3",
    },
    ("AWS::ElasticLoadBalancing::LoadBalancer", "Policies"): [
        {"PolicyName": "p", "PolicyType": "t", "Attributes": [{"Name": "a", "Value": "b"}], "InstancePorts": ["7"]}
    ],
    ("AWS::ElasticLoadBalancing::LoadBalancer", "LBCookieStickinessPolicy"): [
        {"PolicyName": "sticky", "CookieExpirationPeriod": "60"}
    ],
    ("AWS::IAM::AccessKey", "Status"): "Inactive",
    ("AWS::Batch::JobQueue", "State"): "DISABLED",
    ("AWS::KMS::Key", "RotationPeriodInDays"): 90,
    ("AWS::EC2::SubnetNetworkAclAssociation", "SubnetId"): "their-subnetid",
    ("AWS::ApplicationAutoScaling::ScalingPolicy", "ScalingTargetId"): "service/x/y|ecs:service:DesiredCount|ecs",
}
# What a type needs beside its required properties, before anything else can be asked of it.
NEEDED: dict[str, Params] = {
    "AWS::ApplicationAutoScaling::ScalingPolicy": {
        "ResourceId": "service/a/b",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ServiceNamespace": "ecs",
    },
    "AWS::EC2::SecurityGroupEgress": {"CidrIp": "10.0.0.0/8"},
    "AWS::EC2::SecurityGroupIngress": {"SourceSecurityGroupName": "other"},
    "AWS::EC2::VPCGatewayAttachment": {"InternetGatewayId": "igw-1"},
    "AWS::KMS::Key": {"EnableKeyRotation": True},
    "AWS::Route53::RecordSet": {"HostedZoneId": "Z1"},
    "AWS::Route53::RecordSetGroup": {"HostedZoneId": "Z1", "RecordSets": [{"Name": "a.b", "Type": "A"}]},
}
# Properties that say how CloudFormation itself is to act later, so that nothing is asked when a resource is made.
LATER: dict[tuple[str, str], str] = {
    **{
        ("AWS::CloudFormation::WaitCondition", name): "waits.py waits by it"
        for name in ("Count", "Handle", "Timeout")
    },
    ("AWS::CloudFormation::Macro", "Description"): "no API shows macros",
    ("AWS::CDK::Metadata", "Analytics"): "AWS counts them; nobody counts here",
    ("AWS::CDK::Metadata", "Modules"): "AWS counts them; nobody counts here",
    ("AWS::CodeBuild::ReportGroup", "DeleteReports"): "told when the group is deleted",
    ("AWS::CodePipeline::Pipeline", "RestartExecutionOnUpdate"): "starts an execution when the pipeline changes",
    ("AWS::CodePipeline::Webhook", "RegisterWithThirdParty"): "commits are seen without anybody being told",
    ("AWS::CodePipeline::Webhook", "TargetPipelineVersion"): "the API has no such parameter",
    ("AWS::EC2::SecurityGroupIngress", "GroupName"): "the group is looked up by it",
    ("AWS::IAM::AccessKey", "Serial"): "another number makes another key",
    ("AWS::ECR::Repository", "EmptyOnDelete"): "told when the repository is deleted",
    ("AWS::ECS::Service", "ForceNewDeployment"): "told when the service changes",
    (
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "EnableCapacityReservationProvisionStabilize",
    ): "waited for when the load balancer settles",
    ("AWS::KMS::Key", "PendingWindowInDays"): "told when the key is deleted",
    ("AWS::RDS::DBInstance", "AllowMajorVersionUpgrade"): "allows later changes",
    ("AWS::RDS::DBInstance", "ApplyImmediately"): "changes are applied at once here",
    ("AWS::RDS::DBInstance", "DeleteAutomatedBackups"): "told when the database is deleted",
}


def sample(schema: Schema, node: dict[str, Any], name: str, depth: int = 0) -> Any:
    """A value that fits a node of a schema."""
    node = schema.resolve(node)
    for choice in ("oneOf", "anyOf", "allOf"):
        if choice in node and "type" not in node and "properties" not in node:
            return sample(schema, node[choice][0], name, depth)
    kind = node.get("type", "object" if "properties" in node else "string")
    kind = next((each for each in kind if each != "string"), kind[0]) if isinstance(kind, list) else kind
    if node.get("enum"):
        return node["enum"][-1]
    match kind:
        case "boolean":
            return name not in ("Enabled", "ActionsEnabled", "SourceDestCheck", "EnableDnsSupport")
        case "integer" | "number":
            return max(int(node.get("minimum", 7)), min(7, int(node.get("maximum", 7))))
        case "array":
            return [sample(schema, node.get("items", {}), name, depth + 1)]
        case "object":
            return _object(schema, node, depth)
    return _text(node, name)


def _text(node: dict[str, Any], name: str) -> str:
    if name.endswith(("Time", "Date", "Until")) or node.get("format") == "date-time":
        return "2030-01-01T00:00:00Z"
    if "Policy" in name or "Document" in name or name == "Content":
        return '{"Version":"2012-10-17"}'
    if name.endswith(
        (
            "Size",
            "Capacity",
            "Cooldown",
            "Storage",
            "Index",
            "TTL",
            "Adjustment",
            "Magnitude",
            "Uid",
            "Gid",
            "Port",
            "Iops",
        )
    ):
        return "7"
    text = f"some-{name.lower()}"
    longest = node.get("maxLength")
    return text[: int(longest)] if longest else text


def _object(schema: Schema, node: dict[str, Any], depth: int) -> Any:
    members = node.get("properties", {})
    if not members:
        return {"a": "b"}
    required = node.get("required") or []
    if {"Key", "Value"} <= set(members):
        return {"Key": "some-key", "Value": "some-value"}
    chosen = required or list(members)[:1]
    if depth >= DEPTH:
        chosen = required
    return {name: sample(schema, members[name], name, depth + 1) for name in chosen if name in members}


def answer(shape: Shape | None, name: str = "", depth: int = 0) -> Any:
    """An answer of a service, made up from its shape."""
    if shape is None:
        return {}
    match shape.type_name:
        case "structure":
            if depth > DEPTH:
                return {}
            return {each: answer(member, each, depth + 1) for each, member in shape.members.items()}
        case "list":
            return [answer(shape.member, name, depth + 1)] if depth <= DEPTH else []
        case "map":
            keys = getattr(shape.key, "enum", None) or ["a"]
            return {key: answer(shape.value, name, depth + 1) for key in keys}
        case "integer" | "long" | "float" | "double":
            return 1
        case "boolean":
            return False
        case "timestamp":
            return 0
        case "blob":
            return b"x"
    return shape.enum[0] if getattr(shape, "enum", None) else f"their-{name.lower()}"


class Recorder:
    """Implements `Calls`: everything succeeds, and nothing that tokens lead on to is there."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, Params]] = []

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        self.made.append((service, operation, params))
        if operation == "GetPolicy" and service == "lambda":
            raise AwsError("ResourceNotFoundException", "none")
        described = model(service)
        assert described is not None
        found: Params = answer(described.operation_model(operation).output_shape)
        for token in ("NextToken", "nextToken", "Marker", "NextMarker", "Unsuccessful", "FailedEntries"):
            found.pop(token, None)
        return found

    def written(self) -> list[str]:
        reading = ("Describe", "List", "Get", "Head", "BatchGet")
        return [
            json.dumps([service, operation, params], default=str, sort_keys=True)
            for service, operation, params in self.made
            if not operation.startswith(reading) or operation == "GetRandomPassword"
        ]


async def asked(handler: Handler, properties: Params) -> list[str]:
    """What making the resource asks of the services."""
    record = Recorder()
    name = handler.choose_name(Ids(7), "web", "Thing", properties)
    work = Work(
        calls=record,
        caller=CALLER,
        stack_name="web",
        stack_id="arn:aws:cloudformation:us-east-1:000000000000:stack/web/1",
        logical_id="Thing",
        properties=properties,
        tags={"aws:cloudformation:stack-name": "web"},
        name=name,
        token="7c8d1b52-0000-4000-8000-000000000000",
    )
    handler.refuse(properties)
    identifier, noted = await handler.create(work)
    await handler.configure(replace(work, physical_id=identifier, state=noted))
    # The name is chosen, and so seen, before the service is called.
    return [name, identifier, *record.written()]


def required(kind: str, schema: Schema) -> Params:
    found = {
        name: SAMPLES.get((kind, name)) or sample(schema, schema.properties[name], name)
        for name in schema.document.get("required") or []
    }
    return found | NEEDED.get(kind, {})


def settable(kind: str) -> list[str]:
    schema = load(kind)
    assert schema is not None
    given = set(required(kind, schema))
    return [name for name in schema.properties if name not in schema.attributes and name not in given]


def whole(schema: Schema, node: dict[str, Any], name: str, depth: int = 0) -> Any:
    """A value with every member that the schema has."""
    node = schema.resolve(node)
    for choice in ("oneOf", "anyOf", "allOf"):
        if choice in node and "type" not in node and "properties" not in node:
            return whole(schema, node[choice][0], name, depth)
    if node.get("type") == "array":
        return [whole(schema, node.get("items", {}), name, depth + 1)]
    if node.get("properties"):
        members = node["properties"].items() if depth < 2 * DEPTH else ()
        return {each: whole(schema, member, each, depth + 1) for each, member in members}
    return sample(schema, node, name, depth)


# Members that have an operation of their own, so that the one that takes the whole leaves them out.
APART = {
    "Pipeline/DisableInboundStageTransitions", "Pipeline/RestartExecutionOnUpdate",
    "Webhook/RegisterWithThirdParty", "Webhook/TargetPipelineVersion",
}  # fmt: skip


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The members below the top that conversions to parameters left out."""
    found: list[str] = []
    genuine = shapes.request

    def request(service: str, operation: str, given: Any, renamed: Any = None) -> Params:
        found.extend(path for path in shapes.lost(service, operation, given, renamed) if "/" in path)
        return genuine(service, operation, given, renamed)

    for each in pkgutil.iter_modules(resources.__path__, f"{resources.__name__}."):
        module = importlib.import_module(each.name)
        if hasattr(module, "request"):
            monkeypatch.setattr(module, "request", request)
    return found


KINDS = sorted(kind for kind in registry.HANDLERS)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_property_is_passed_on_or_refused_by_name(kind: str) -> None:
    schema, handler = load(kind), registry.handler(kind)
    assert schema is not None
    base = required(kind, schema)
    base, _ = fitting.fit(schema, base)
    before = await asked(handler, base)
    ignored = []
    for name in settable(kind):
        if (kind, name) in LATER:
            continue
        value = SAMPLES.get((kind, name))
        if value is None:
            value = sample(schema, schema.properties[name], name)
        given, _ = fitting.fit(schema, base | {name: value})
        try:
            after = await asked(handler, given)
        except Failure as refusal:
            assert name in refusal.message or name[:-1] in refusal.message, f"{name}: {refusal.message}"
            continue
        if after == before:
            ignored.append(name)
    assert not ignored, f"{kind} ignores {ignored}"


@pytest.mark.parametrize("kind", KINDS)
async def test_no_member_of_a_property_is_lost_on_the_way(kind: str, dropped: list[str]) -> None:
    schema, handler = load(kind), registry.handler(kind)
    assert schema is not None
    base = required(kind, schema)
    for name in settable(kind):
        given = base | {name: SAMPLES.get((kind, name)) or whole(schema, schema.properties[name], name)}
        try:
            await asked(handler, given)
        except (Failure, ValueError):
            # Refused, or a made-up number that is none.
            continue
    assert set(dropped) <= APART


def test_every_type_that_hands_on_the_tags_of_its_stack_can_change_them() -> None:
    for kind, handler in registry.HANDLERS.items():
        if isinstance(handler, Declared) and handler.tagged:
            assert handler.tagging is not None, kind

"""Which resource types this cloud can make, and the facts that planning needs of each.

Owns the table of handlers; a type that is not in it is refused when a template is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from portside.cloud.services.cloudformation import schema
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.plan import Facts
from portside.cloud.services.cloudformation.resources import (
    applicationautoscaling,
    autoscaling,
    capacity,
    cloudwatch,
    codebuild,
    delivery,
    ec2,
    ecr,
    ecs,
    elbv2,
    events,
    iam,
    logs,
    messages,
    nested,
    network,
    s3,
    waiting,
)
from portside.cloud.services.cloudformation.resources.handler import Handler
from portside.cloud.services.cloudformation.template import Template

_TYPES: tuple[type[Handler], ...] = (
    ecr.Repository,
    ecs.Cluster,
    ecs.TaskDefinition,
    ecs.Service,
    capacity.CapacityProvider,
    capacity.Associations,
    elbv2.LoadBalancer,
    elbv2.TargetGroup,
    elbv2.Listener,
    elbv2.ListenerRule,
    ec2.SecurityGroup,
    ec2.SecurityGroupIngress,
    ec2.SecurityGroupEgress,
    ec2.LaunchTemplate,
    network.Vpc,
    network.Subnet,
    network.InternetGateway,
    network.GatewayAttachment,
    network.RouteTable,
    network.Route,
    network.SubnetRouteTableAssociation,
    network.ElasticIp,
    network.NatGateway,
    autoscaling.AutoScalingGroup,
    autoscaling.LaunchConfiguration,
    autoscaling.ScalingPolicy,
    applicationautoscaling.ScalableTarget,
    applicationautoscaling.ScalingPolicy,
    cloudwatch.Alarm,
    iam.Role,
    iam.InstanceProfile,
    iam.Policy,
    iam.ManagedPolicy,
    s3.Bucket,
    s3.BucketPolicy,
    logs.LogGroup,
    delivery.Pipeline,
    delivery.Webhook,
    delivery.CodeConnection,
    delivery.CodeStarConnection,
    delivery.Repository,
    events.Rule,
    codebuild.Project,
    codebuild.ReportGroup,
    messages.Parameter,
    messages.Topic,
    waiting.WaitConditionHandle,
    waiting.WaitCondition,
    nested.NestedStack,
    messages.CdkMetadata,
)
HANDLERS: dict[str, Handler] = {each.type: each() for each in _TYPES}


def handler(kind: str) -> Handler:
    return HANDLERS[kind]


@cache
def facts(kind: str) -> Facts:
    made = HANDLERS[kind]
    found = schema.load(kind)
    assert found is not None
    return Facts(
        schema=found,
        volatile=made.volatile,
        name_property=made.name_property if made.name_is_unique else "",
        attributes=made.attributes,
        tagged=made.tagged,
        replaces=made.replaces,
    )


def refuse_unknown(template: Template, active: Iterable[str]) -> None:
    """Types that AWS does not have, and those of the active resources that this cloud does not offer."""
    types = {name: each.type for name, each in template.resources.items()}
    unknown = [kind for kind in types.values() if kind not in HANDLERS and kind not in schema.known_types()]
    if unknown:
        raise invalid(f"Template format error: Unrecognized resource types: [{', '.join(sorted(set(unknown)))}]")
    unoffered = {types[name] for name in active if types[name] not in HANDLERS}
    if unoffered:
        raise invalid(
            f"Template format error: Unrecognized resource types: [{', '.join(sorted(unoffered))}]. "
            "AWS has them, portside's local cloud does not offer them."
        )

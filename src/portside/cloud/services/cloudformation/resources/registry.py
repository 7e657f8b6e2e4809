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
    access_lists,
    addresses,
    applicationautoscaling,
    autoscaling,
    capacity,
    certificates,
    classic,
    cloudwatch,
    codebuild,
    codedeploy,
    custom,
    delivery,
    dns,
    ec2,
    ecr,
    ecs,
    elbv2,
    endpoints,
    events,
    firewalls,
    fleets,
    functions,
    iam,
    instances,
    learning,
    listener_certificates,
    logs,
    macros,
    messages,
    namespaces,
    nested,
    network,
    principals,
    queues,
    remote,
    s3,
    secrets,
    stores,
    things,
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
    addresses.ElasticIp,
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
    codedeploy.Application,
    codedeploy.DeploymentGroup,
    codedeploy.DeploymentConfig,
    messages.Parameter,
    messages.Topic,
    macros.Macro,
    waiting.WaitConditionHandle,
    waiting.WaitCondition,
    nested.NestedStack,
    custom.CustomResource,
    messages.CdkMetadata,
    autoscaling.LifecycleHook,
    autoscaling.ScheduledAction,
    cloudwatch.CompositeAlarm,
    cloudwatch.Dashboard,
    logs.LogStream,
    logs.ResourcePolicy,
    firewalls.WebAcl,
    firewalls.WebAclAssociation,
    principals.User,
    principals.Group,
    principals.AccessKey,
    principals.UserToGroupAddition,
    principals.ServiceLinkedRole,
    principals.RolePolicy,
    principals.UserPolicy,
    principals.GroupPolicy,
    queues.Queue,
    queues.QueuePolicy,
    queues.Subscription,
    queues.TopicPolicy,
    secrets.Secret,
    secrets.SecretPolicy,
    secrets.Key,
    secrets.Alias,
    endpoints.Endpoint,
    access_lists.NetworkAcl,
    access_lists.NetworkAclEntry,
    access_lists.SubnetAcl,
    endpoints.AddressBlock,
    endpoints.EgressGateway,
    endpoints.DhcpOptions,
    endpoints.DhcpOptionsAssociation,
    endpoints.Peering,
    endpoints.VpnGateway,
    endpoints.TransitGateway,
    endpoints.TransitGatewayAttachment,
    endpoints.FlowLog,
    addresses.AddressAssociation,
    instances.Instance,
    instances.KeyPair,
    instances.Volume,
    instances.VolumeAttachment,
    instances.NetworkInterface,
    dns.HostedZone,
    dns.HealthCheck,
    dns.RecordSet,
    dns.RecordSetGroup,
    namespaces.HttpNamespace,
    namespaces.PrivateNamespace,
    namespaces.PublicNamespace,
    namespaces.DiscoveryService,
    certificates.Certificate,
    listener_certificates.ListenerCertificate,
    listener_certificates.ServerCertificate,
    stores.Table,
    stores.Stream,
    stores.FileSystem,
    stores.MountTarget,
    stores.AccessPoint,
    stores.SubnetGroup,
    stores.ParameterGroup,
    stores.Database,
    functions.Function,
    functions.Permission,
    functions.EventSourceMapping,
    functions.LayerVersion,
    functions.StateMachine,
    functions.EventBus,
    functions.Archive,
    functions.ScheduleGroup,
    functions.Schedule,
    functions.Version,
    remote.RestApi,
    remote.ApiResource,
    remote.ApiMethod,
    remote.ApiDeployment,
    remote.ComputeEnvironment,
    remote.JobQueue,
    remote.JobDefinition,
    things.Thing,
    things.ThingType,
    things.ThingPolicy,
    things.RoleAlias,
    things.BillingGroup,
    things.JobTemplate,
    remote.WarehouseSubnets,
    remote.WarehouseParameters,
    remote.Warehouse,
    learning.Model,
    learning.EndpointConfig,
    learning.ModelEndpoint,
    learning.NotebookConfig,
    learning.Notebook,
    fleets.SpotFleet,
    fleets.Cluster,
    fleets.InstanceGroup,
    classic.LoadBalancer,
    remote.Document,
    remote.ResourceGroup,
    remote.SecurityConfiguration,
)
# Types that AWS itself makes no more.
WITHHELD = {
    "AWS::DataPipeline::Pipeline": "AWS has closed the service.",
    "AWS::RDS::DBSecurityGroup": "AWS has retired the networks that it was for.",
}
CUSTOM = ("Custom::", "AWS::CloudFormation::CustomResource")
HANDLERS: dict[str, Handler] = {each.type: each() for each in _TYPES}


def handler(kind: str) -> Handler:
    return HANDLERS[custom.CustomResource.type if kind.startswith(CUSTOM) else kind]


@cache
def facts(kind: str) -> Facts:
    made = handler(kind)
    found = schema.custom(kind) if kind.startswith(CUSTOM) else schema.load(kind)
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
    unknown = [
        kind
        for kind in types.values()
        if kind not in HANDLERS and kind not in schema.known_types() and not kind.startswith(CUSTOM)
    ]
    if unknown:
        raise invalid(f"Template format error: Unrecognized resource types: [{', '.join(sorted(set(unknown)))}]")
    made = {name for name in active if types[name] in HANDLERS or types[name].startswith(CUSTOM)}
    unoffered = {types[name] for name in active if name not in made}
    if unoffered:
        said = [f" {kind}: {WITHHELD[kind]}" for kind in sorted(unoffered) if kind in WITHHELD]
        raise invalid(
            f"Template format error: Unrecognized resource types: [{', '.join(sorted(unoffered))}]. "
            f"AWS has them, portside's local cloud does not offer them.{''.join(said)}"
        )

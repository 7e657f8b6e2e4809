"""The load balancer stack: one address for the environment's app, spread over its healthy tasks."""

from __future__ import annotations

from troposphere import Export, GetAtt, Output, Ref, Split, Sub, Template
from troposphere.ec2 import SecurityGroup, SecurityGroupIngress, SecurityGroupRule
from troposphere.elasticloadbalancingv2 import (
    Action,
    Listener,
    LoadBalancer,
    LoadBalancerAttributes,
    Matcher,
    TargetGroup,
    TargetGroupAttribute,
)

from portside.blueprint.imports import from_environment
from portside.blueprint.settings import Settings

DRAIN_SECONDS = 30
# The kernel's range for dynamic host ports on ECS-optimised images.
DYNAMIC_PORTS = (32768, 60999)


def template(settings: Settings) -> Template:
    port = settings.load_balancer.port
    check = settings.service.health_check
    made = Template()
    made.set_version("2010-09-09")
    made.set_description("Application Load Balancer of one environment.")
    group = made.add_resource(
        SecurityGroup(
            "SecurityGroup",
            GroupDescription="Load balancer: open on its port.",
            VpcId=from_environment("cluster-vpc-id"),
            SecurityGroupIngress=[
                SecurityGroupRule(
                    IpProtocol="tcp",
                    FromPort=port,
                    ToPort=port,
                    CidrIp="0.0.0.0/0",
                    Description="Everybody, on the listener's port",
                )
            ],
        )
    )
    made.add_resource(
        SecurityGroupIngress(
            "ToInstances",
            Description="Load balancer to the tasks' dynamic host ports",
            GroupId=from_environment("cluster-security-group"),
            IpProtocol="tcp",
            FromPort=DYNAMIC_PORTS[0],
            ToPort=DYNAMIC_PORTS[1],
            SourceSecurityGroupId=GetAtt(group, "GroupId"),
        )
    )
    balancer = made.add_resource(
        LoadBalancer(
            "LoadBalancer",
            Scheme="internet-facing",
            SecurityGroups=[GetAtt(group, "GroupId")],
            Subnets=Split(",", from_environment("cluster-public-subnets")),
            LoadBalancerAttributes=[
                LoadBalancerAttributes(Key="routing.http.drop_invalid_header_fields.enabled", Value="true")
            ],
        )
    )
    targets = made.add_resource(
        TargetGroup(
            "TargetGroup",
            VpcId=from_environment("cluster-vpc-id"),
            Protocol="HTTP",
            Port=settings.service.port,
            TargetType="instance",
            HealthCheckProtocol="HTTP",
            HealthCheckPath=check.path,
            HealthCheckIntervalSeconds=check.interval,
            HealthCheckTimeoutSeconds=check.timeout,
            HealthyThresholdCount=check.healthy,
            UnhealthyThresholdCount=check.unhealthy,
            Matcher=Matcher(HttpCode=check.success_codes),
            TargetGroupAttributes=[
                TargetGroupAttribute(Key="deregistration_delay.timeout_seconds", Value=str(DRAIN_SECONDS))
            ],
        )
    )
    made.add_resource(
        Listener(
            "Listener",
            LoadBalancerArn=Ref(balancer),
            Port=port,
            Protocol="HTTP",
            DefaultActions=[Action(Type="forward", TargetGroupArn=Ref(targets))],
        )
    )
    made.add_output(
        Output(
            "TargetGroup",
            Description="Target group that services register with.",
            Value=Ref(targets),
            Export=Export(Sub("${AWS::StackName}-target-group")),
        )
    )
    if settings.service.scaling is not None and settings.service.scaling.requests is not None:
        made.add_output(
            Output(
                "LoadBalancer",
                Description="Name under which the load balancer's metrics are kept.",
                Value=GetAtt(balancer, "LoadBalancerFullName"),
                Export=Export(Sub("${AWS::StackName}-load-balancer")),
            )
        )
    made.add_output(
        Output(
            "URL",
            Description="Where the app answers.",
            Value=Sub(f"http://${{LoadBalancer.DNSName}}:{port}"),
        )
    )
    return made

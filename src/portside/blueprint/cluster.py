"""The cluster stack: an ECS cluster and the instances that it runs on.

An Auto Scaling group of container instances. It grows by one when the tasks reserve more than 75 % of CPU or of
memory, and shrinks by one when they reserve less than 30 % of both (one alarm per resource would grow for one
and shrink for the other at the same time).
"""

from __future__ import annotations

from troposphere import (
    Base64,
    Equals,
    Export,
    GetAtt,
    If,
    Join,
    Not,
    NoValue,
    Output,
    Parameter,
    Ref,
    Sub,
    Tag,
    Template,
)
from troposphere.autoscaling import AutoScalingGroup, LaunchTemplateSpecification, ScalingPolicy
from troposphere.autoscaling import Tag as GroupTag
from troposphere.cloudwatch import Alarm, Metric, MetricDataQuery, MetricDimension, MetricStat
from troposphere.ec2 import (
    EBSBlockDevice,
    IamInstanceProfile,
    LaunchTemplate,
    LaunchTemplateBlockDeviceMapping,
    LaunchTemplateData,
    MetadataOptions,
    SecurityGroup,
    TagSpecifications,
)
from troposphere.ecs import Cluster

from portside.blueprint import roles
from portside.blueprint.settings import Cluster as ClusterSettings

AMI = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
GROW_ABOVE = 75
SHRINK_BELOW = 30
RESERVED = ("CPU", "Memory")  # a tuple: the order of the alarms must not change from run to run


def template(settings: ClusterSettings, instance_type: str) -> Template:
    made = Template()
    made.set_version("2010-09-09")
    made.set_description("ECS cluster of one environment, on an Auto Scaling group of EC2 instances.")
    key_pair = made.add_parameter(
        Parameter(
            "KeyPair",
            Type="String",
            Default="",
            Description="Name of an EC2 key pair, for those who insist. Session Manager needs none.",
        )
    )
    vpc = made.add_parameter(Parameter("VpcId", Type="AWS::EC2::VPC::Id", Description="The VPC."))
    subnets = made.add_parameter(
        Parameter(
            "PublicSubnet",
            Type="List<AWS::EC2::Subnet::Id>",
            Description="Public subnets, in two availability zones or more.",
        )
    )
    image = made.add_parameter(
        Parameter(
            "ImageId",
            Type="AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            Default=AMI,
            Description="SSM parameter that names the ECS-optimised machine image.",
        )
    )
    made.add_condition("HasKeyPair", Not(Equals(Ref(key_pair), "")))

    cluster = made.add_resource(Cluster("Cluster"))
    group = made.add_resource(
        SecurityGroup(
            "InstanceSecurityGroup",
            GroupDescription="Container instances. The load balancer stack lets its own traffic in.",
            VpcId=Ref(vpc),
        )
    )
    role = made.add_resource(roles.instance_role())
    profile = made.add_resource(roles.instance_profile(role))
    launch = made.add_resource(
        LaunchTemplate(
            "LaunchTemplate",
            LaunchTemplateData=LaunchTemplateData(
                ImageId=Ref(image),
                InstanceType=instance_type,
                KeyName=If("HasKeyPair", Ref(key_pair), NoValue),
                IamInstanceProfile=IamInstanceProfile(Arn=GetAtt(profile, "Arn")),
                SecurityGroupIds=[GetAtt(group, "GroupId")],
                MetadataOptions=MetadataOptions(HttpTokens="required", HttpPutResponseHopLimit=1),
                BlockDeviceMappings=[
                    LaunchTemplateBlockDeviceMapping(
                        DeviceName="/dev/xvda",
                        Ebs=EBSBlockDevice(VolumeSize=30, VolumeType="gp3", Encrypted=True),
                    )
                ],
                TagSpecifications=[
                    TagSpecifications(
                        ResourceType="instance", Tags=[Tag("Name", Sub("${AWS::StackName}-instance"))]
                    )
                ],
                UserData=Base64(
                    Join("", ["#!/bin/bash\n", "echo ECS_CLUSTER=", Ref(cluster), " >> /etc/ecs/ecs.config\n"])
                ),
            ),
        )
    )
    instances = made.add_resource(
        AutoScalingGroup(
            "Instances",
            MinSize=str(settings.min_size),
            MaxSize=str(settings.max_size),
            VPCZoneIdentifier=Ref(subnets),
            LaunchTemplate=LaunchTemplateSpecification(
                LaunchTemplateId=Ref(launch), Version=GetAtt(launch, "LatestVersionNumber")
            ),
            Tags=[GroupTag("Name", Sub("${AWS::StackName}-instance"), True)],
        )
    )
    _scaling(made, cluster, instances)
    made.add_output(
        Output(
            "Cluster",
            Description="Name of the cluster.",
            Value=Ref(cluster),
            Export=Export(Sub("${AWS::StackName}-id")),
        )
    )
    made.add_output(
        Output("VpcId", Description="The VPC.", Value=Ref(vpc), Export=Export(Sub("${AWS::StackName}-vpc-id")))
    )
    made.add_output(
        Output(
            "PublicSubnets",
            Description="Its public subnets, joined by commas.",
            Value=Join(",", Ref(subnets)),
            Export=Export(Sub("${AWS::StackName}-public-subnets")),
        )
    )
    made.add_output(
        Output(
            "InstanceSecurityGroup",
            Description="Security group of the instances.",
            Value=GetAtt(group, "GroupId"),
            Export=Export(Sub("${AWS::StackName}-security-group")),
        )
    )
    return made


def _scaling(made: Template, cluster: Cluster, instances: AutoScalingGroup) -> None:
    more = made.add_resource(_policy("ScaleOut", instances, 1))
    fewer = made.add_resource(_policy("ScaleIn", instances, -1))
    for resource in RESERVED:
        made.add_resource(
            Alarm(
                f"{resource}ReservationHigh",
                AlarmDescription=f"Tasks reserve more than {GROW_ABOVE} % of the cluster's {resource}.",
                Namespace="AWS/ECS",
                MetricName=f"{resource}Reservation",
                Dimensions=[MetricDimension(Name="ClusterName", Value=Ref(cluster))],
                Statistic="Average",
                Period=60,
                EvaluationPeriods=1,
                ComparisonOperator="GreaterThanThreshold",
                Threshold=GROW_ABOVE,
                AlarmActions=[Ref(more)],
            )
        )
    queries = [
        MetricDataQuery(
            Id=resource.lower(),
            MetricStat=MetricStat(
                Metric=Metric(
                    Namespace="AWS/ECS",
                    MetricName=f"{resource}Reservation",
                    Dimensions=[MetricDimension(Name="ClusterName", Value=Ref(cluster))],
                ),
                Period=60,
                Stat="Average",
            ),
            ReturnData=False,
        )
        for resource in RESERVED
    ]
    made.add_resource(
        Alarm(
            "ReservationLow",
            AlarmDescription=f"Tasks reserve less than {SHRINK_BELOW} % of both CPU and memory.",
            Metrics=[
                MetricDataQuery(
                    Id="most", Expression="MAX([cpu, memory])", Label="Most reserved", ReturnData=True
                ),
                *queries,
            ],
            EvaluationPeriods=1,
            ComparisonOperator="LessThanThreshold",
            Threshold=SHRINK_BELOW,
            AlarmActions=[Ref(fewer)],
        )
    )


def _policy(name: str, instances: AutoScalingGroup, change: int) -> ScalingPolicy:
    return ScalingPolicy(
        name,
        AutoScalingGroupName=Ref(instances),
        PolicyType="SimpleScaling",
        AdjustmentType="ChangeInCapacity",
        ScalingAdjustment=change,
    )

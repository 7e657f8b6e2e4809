"""The stacks of a small service as a person wrote them by hand in 2018; those of its delivery are in `oldest.py`.

Nothing in them is made for this cloud: a launch configuration with an image of that year, a key pair, helper scripts
in user data, a role for the service, numbers and booleans as strings, and names cut out of the stack's own.
"""

from __future__ import annotations

from typing import Any

from oldest import role

AMI = "ami-04351e12"
ENVIRONMENT = {"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "AWS::StackName"}]}]}


def of_environment(suffix: str) -> dict[str, Any]:
    """What the cluster or load balancer stack of the same environment exports."""
    return {"Fn::ImportValue": {"Fn::Join": ["-", [ENVIRONMENT, suffix]]}}


def exported(value: Any, suffix: str) -> dict[str, Any]:
    return {"Value": value, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-" + suffix}}}


ECR: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Description": "Image repository",
    "Parameters": {"RepoName": {"Type": "String", "Description": "Name of the repository"}},
    "Resources": {
        "Repository": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": {"Ref": "RepoName"}}}
    },
    "Outputs": {
        "Repository": {
            "Description": "Name of the repository",
            "Value": {"Ref": "RepoName"},
            "Export": {"Name": {"Fn::Join": ["-", [{"Ref": "RepoName"}, "repo"]]}},
        }
    },
}

USER_DATA = [
    "#!/bin/bash -xe\n",
    "yum install -y aws-cfn-bootstrap\n",
    "echo ECS_CLUSTER=",
    {"Ref": "Cluster"},
    " >> /etc/ecs/ecs.config\n",
    "/opt/aws/bin/cfn-signal -e $? ",
    "         --stack ",
    {"Ref": "AWS::StackName"},
    "         --resource AutoScalingGroup ",
    "         --region ",
    {"Ref": "AWS::Region"},
    "\n",
]


def _alarm(metric: str, above: bool) -> dict[str, Any]:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": f"{metric} of the cluster",
            "Namespace": "AWS/ECS",
            "MetricName": f"{metric}Reservation",
            "Dimensions": [{"Name": "ClusterName", "Value": {"Ref": "Cluster"}}],
            "Statistic": "Average",
            "Period": "60",
            "EvaluationPeriods": "1",
            "Threshold": "75" if above else "30",
            "ComparisonOperator": "GreaterThanThreshold" if above else "LessThanThreshold",
            "AlarmActions": [{"Ref": f"Scale{'Up' if above else 'Down'}{metric}"}],
        },
    }


def _policy(change: str) -> dict[str, Any]:
    return {
        "Type": "AWS::AutoScaling::ScalingPolicy",
        "Properties": {
            "ScalingAdjustment": change,
            "AutoScalingGroupName": {"Ref": "AutoScalingGroup"},
            "AdjustmentType": "ChangeInCapacity",
        },
    }


def cluster() -> dict[str, Any]:
    scaling: dict[str, Any] = {}
    for metric in ("CPU", "Memory"):
        scaling |= {f"ScaleUp{metric}": _policy("1"), f"ScaleDown{metric}": _policy("-1")}
        scaling |= {f"High{metric}": _alarm(metric, True), f"Low{metric}": _alarm(metric, False)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "ECS cluster",
        "Parameters": {
            "KeyPair": {
                "Type": "AWS::EC2::KeyPair::KeyName",
                "Description": "Name of a key pair for SSH",
                "ConstraintDescription": "must be the name of an existing key pair.",
            },
            "VpcId": {"Type": "AWS::EC2::VPC::Id", "Description": "The VPC"},
            "PublicSubnet": {"Type": "List<AWS::EC2::Subnet::Id>", "ConstraintDescription": "Public subnets"},
        },
        "Resources": {
            "Cluster": {"Type": "AWS::ECS::Cluster"},
            "SecurityGroup": {
                "Type": "AWS::EC2::SecurityGroup",
                "Properties": {
                    "GroupDescription": "SSH from one address, everything from the private range",
                    "SecurityGroupIngress": [
                        {"IpProtocol": "tcp", "FromPort": "22", "ToPort": "22", "CidrIp": "203.0.113.7/32"},
                        {"IpProtocol": "tcp", "FromPort": "0", "ToPort": "65535", "CidrIp": "172.16.0.0/12"},
                    ],
                    "VpcId": {"Ref": "VpcId"},
                },
            },
            "ClusterRole": with_path(
                role(
                    "ec2.amazonaws.com",
                    "service-role/AmazonEC2RoleforSSM",
                    "AmazonEC2ContainerRegistryReadOnly",
                    "service-role/AmazonEC2ContainerServiceforEC2Role",
                    "CloudWatchFullAccess",
                )
            ),
            "InstanceProfile": {
                "Type": "AWS::IAM::InstanceProfile",
                "Properties": {"Path": "/", "Roles": [{"Ref": "ClusterRole"}]},
            },
            "LaunchConfiguration": {
                "Type": "AWS::AutoScaling::LaunchConfiguration",
                "Properties": {
                    "UserData": {"Fn::Base64": {"Fn::Join": ["", USER_DATA]}},
                    "ImageId": AMI,
                    "KeyName": {"Ref": "KeyPair"},
                    "SecurityGroups": [{"Ref": "SecurityGroup"}],
                    "IamInstanceProfile": {"Ref": "InstanceProfile"},
                    "InstanceType": "t2.micro",
                    "AssociatePublicIpAddress": "true",
                },
            },
            "AutoScalingGroup": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "Properties": {
                    "DesiredCapacity": "1",
                    "MinSize": "1",
                    "MaxSize": "5",
                    "VPCZoneIdentifier": {"Ref": "PublicSubnet"},
                    "LaunchConfigurationName": {"Ref": "LaunchConfiguration"},
                },
            },
            **scaling,
        },
        "Outputs": {
            "Cluster": exported({"Ref": "Cluster"}, "id"),
            "VpcId": exported({"Ref": "VpcId"}, "vpc-id"),
            "PublicSubnet": exported({"Fn::Join": [",", {"Ref": "PublicSubnet"}]}, "public-subnets"),
        },
    }


def with_path(made: dict[str, Any]) -> dict[str, Any]:
    return made | {"Properties": made["Properties"] | {"Path": "/"}}


ALB: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Description": "Load balancer",
    "Resources": {
        "SecurityGroup": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "Web load balancer security group.",
                "VpcId": of_environment("cluster-vpc-id"),
                "SecurityGroupIngress": [
                    {"IpProtocol": "tcp", "FromPort": "3000", "ToPort": "3000", "CidrIp": "0.0.0.0/0"}
                ],
            },
        },
        "LoadBalancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Scheme": "internet-facing",
                "Subnets": {"Fn::Split": [",", of_environment("cluster-public-subnets")]},
                "SecurityGroups": [{"Ref": "SecurityGroup"}],
            },
        },
        "TargetGroup": {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "DependsOn": "LoadBalancer",
            "Properties": {
                "HealthCheckIntervalSeconds": "20",
                "HealthCheckProtocol": "HTTP",
                "HealthCheckTimeoutSeconds": "15",
                "HealthyThresholdCount": "5",
                "UnhealthyThresholdCount": "3",
                "Matcher": {"HttpCode": "200"},
                "Port": 3000,
                "Protocol": "HTTP",
                "VpcId": of_environment("cluster-vpc-id"),
            },
        },
        "Listener": {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "Port": "3000",
                "Protocol": "HTTP",
                "LoadBalancerArn": {"Ref": "LoadBalancer"},
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "TargetGroup"}}],
            },
        },
    },
    "Outputs": {
        "TargetGroup": exported({"Ref": "TargetGroup"}, "target-group"),
        "URL": {
            "Description": "URL",
            "Value": {"Fn::Join": ["", ["http://", {"Fn::GetAtt": ["LoadBalancer", "DNSName"]}, ":3000"]]},
        },
    },
}

SERVICE: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Description": "Service on ECS",
    "Parameters": {"Tag": {"Type": "String", "Default": "latest", "Description": "Tag to deploy"}},
    "Resources": {
        "task": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "ContainerDefinitions": [
                    {
                        "Image": {
                            "Fn::Join": [
                                "",
                                [
                                    {"Ref": "AWS::AccountId"},
                                    ".dkr.ecr.",
                                    {"Ref": "AWS::Region"},
                                    ".amazonaws.com",
                                    "/",
                                    {"Fn::ImportValue": "helloworld-repo"},
                                    ":",
                                    {"Ref": "Tag"},
                                ],
                            ]
                        },
                        "Memory": "32",
                        "Cpu": "256",
                        "Name": "helloworld",
                        "Essential": "true",
                        "PortMappings": [{"ContainerPort": "3000"}],
                    }
                ]
            },
        },
        "ServiceRole": with_path(role("ecs.amazonaws.com", "service-role/AmazonEC2ContainerServiceRole")),
        "service": {
            "Type": "AWS::ECS::Service",
            "Properties": {
                "Cluster": of_environment("cluster-id"),
                "DesiredCount": "1",
                "TaskDefinition": {"Ref": "task"},
                "LoadBalancers": [
                    {
                        "ContainerName": "helloworld",
                        "ContainerPort": "3000",
                        "TargetGroupArn": of_environment("alb-target-group"),
                    }
                ],
                "Role": {"Ref": "ServiceRole"},
            },
        },
    },
}

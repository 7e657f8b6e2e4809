"""Resource types of the ancillary services, made, changed and removed for real behind the seam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cfn_ancillary import Cloud, ancillary_cloud


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    monkeypatch.chdir(tmp_path)
    async with ancillary_cloud(tmp_path) as made:
        yield made


def trust(service: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def allow(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


async def test_policies_of_old_templates_say_no_version(cloud: Cloud) -> None:
    old = {"Statement": allow("s3:GetObject")["Statement"]}
    resources: dict[str, Any] = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {"Statement": trust("ec2.amazonaws.com")["Statement"]},
                "Policies": [{"PolicyName": "old", "PolicyDocument": old}],
            },
        },
        "Policy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": old}},
    }
    await cloud.create({"Resources": resources}, Capabilities=["CAPABILITY_IAM"])


async def test_roles_profiles_and_policies(cloud: Cloud) -> None:
    resources: dict[str, Any] = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": trust("ec2.amazonaws.com"),
                "ManagedPolicyArns": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"],
                "Policies": [{"PolicyName": "first", "PolicyDocument": allow("s3:GetObject")}],
            },
        },
        "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Role"}]}},
        "Extra": {
            "Type": "AWS::IAM::Policy",
            "Properties": {"PolicyName": "extra", "PolicyDocument": allow("logs:*"), "Roles": [{"Ref": "Role"}]},
        },
        "Shared": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": allow("sqs:*"), "Roles": [{"Ref": "Role"}]},
        },
    }
    template = {
        "Resources": resources,
        "Outputs": {
            "Role": {"Value": {"Ref": "Role"}},
            "Arn": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}},
            "Profile": {"Value": {"Fn::GetAtt": "Profile.Arn"}},
            "Shared": {"Value": {"Ref": "Shared"}},
        },
    }
    out = await cloud.create(template, Capabilities=["CAPABILITY_IAM"], Tags=[{"Key": "team", "Value": "shop"}])
    assert out["Role"].startswith("web-Role-") and out["Arn"].endswith(f":role/{out['Role']}")
    role = {"RoleName": out["Role"]}
    assert sorted((await cloud.ask("iam", "ListRolePolicies", **role))["PolicyNames"]) == ["extra", "first"]
    attached = (await cloud.ask("iam", "ListAttachedRolePolicies", **role))["AttachedPolicies"]
    assert {each["PolicyArn"] for each in attached} == {
        "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
        out["Shared"],
    }
    assert (await cloud.ask("iam", "ListRoleTags", **role))["Tags"] == [{"Key": "team", "Value": "shop"}]
    resources["Role"]["Properties"]["Policies"] = [
        {"PolicyName": "second", "PolicyDocument": allow("s3:PutObject")}
    ]
    resources["Extra"]["Properties"]["PolicyName"] = "renamed"
    resources["Shared"]["Properties"]["PolicyDocument"] = allow("sns:*")
    again = await cloud.update(template, Capabilities=["CAPABILITY_IAM"])
    assert again["Role"] == out["Role"]
    assert sorted((await cloud.ask("iam", "ListRolePolicies", **role))["PolicyNames"]) == ["renamed", "second"]
    assert (await cloud.ask("iam", "GetPolicy", PolicyArn=out["Shared"]))["Policy"]["DefaultVersionId"] == "v2"
    await cloud.delete()
    assert not [r for r in (await cloud.ask("iam", "ListRoles"))["Roles"] if r["RoleName"] == out["Role"]]


async def test_a_group_of_instances_with_its_alarms(cloud: Cloud) -> None:
    resources: dict[str, Any] = {
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "instances",
                "SecurityGroupIngress": [
                    {"IpProtocol": "tcp", "FromPort": "22", "ToPort": 22, "CidrIp": "10.0.0.1/32"},
                    {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "CidrIp": "172.16.0.0/12"},
                ],
            },
        },
        "Among": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": {
                "GroupId": {"Ref": "Group"},
                "IpProtocol": "-1",
                "SourceSecurityGroupId": {"Fn::GetAtt": ["Group", "GroupId"]},
            },
        },
        "Template": {
            "Type": "AWS::EC2::LaunchTemplate",
            "Properties": {
                "LaunchTemplateData": {
                    "ImageId": "ami-12c6146b",
                    "InstanceType": "t3.small",
                    "SecurityGroupIds": [{"Ref": "Group"}],
                    "MetadataOptions": {"HttpTokens": "required"},
                    "UserData": {"Fn::Base64": {"Fn::Sub": "#!/bin/bash\necho ${AWS::StackName}\n"}},
                }
            },
        },
        "Instances": {
            "Type": "AWS::AutoScaling::AutoScalingGroup",
            "Properties": {
                "MinSize": "1",
                "MaxSize": "5",
                "DesiredCapacity": "1",
                "AvailabilityZones": {"Fn::GetAZs": ""},
                "LaunchTemplate": {
                    "LaunchTemplateId": {"Ref": "Template"},
                    "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]},
                },
                "Tags": [{"Key": "Name", "Value": "instance", "PropagateAtLaunch": "true"}],
            },
        },
        "More": {
            "Type": "AWS::AutoScaling::ScalingPolicy",
            "Properties": {
                "AutoScalingGroupName": {"Ref": "Instances"},
                "AdjustmentType": "ChangeInCapacity",
                "ScalingAdjustment": "1",
            },
        },
        "High": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "Namespace": "AWS/ECS",
                "MetricName": "CPUReservation",
                "Statistic": "Average",
                "Period": "60",
                "EvaluationPeriods": "1",
                "Threshold": "75",
                "ComparisonOperator": "GreaterThanThreshold",
                "AlarmActions": [{"Ref": "More"}],
                "Dimensions": [{"Name": "ClusterName", "Value": "c"}],
            },
        },
        "Mixed": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "EvaluationPeriods": 1,
                "Threshold": 5,
                "ComparisonOperator": "GreaterThanThreshold",
                "Metrics": [
                    {"Id": "e1", "Expression": "m1 / 2", "ReturnData": True},
                    {
                        "Id": "m1",
                        "ReturnData": False,
                        "MetricStat": {
                            "Metric": {"Namespace": "AWS/ECS", "MetricName": "CPUUtilization"},
                            "Period": 60,
                            "Stat": "Average",
                        },
                    },
                ],
            },
        },
    }
    template = {
        "Resources": resources,
        "Outputs": {
            "Group": {"Value": {"Ref": "Group"}},
            "Instances": {"Value": {"Ref": "Instances"}},
            "Version": {"Value": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]}},
            "Alarm": {"Value": {"Ref": "High"}},
        },
    }
    out = await cloud.create(template)
    rules = (await cloud.ask("ec2", "DescribeSecurityGroups", GroupIds=[out["Group"]]))["SecurityGroups"][0]
    assert len(rules["IpPermissions"]) == 3
    (group,) = (
        await cloud.ask("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[out["Instances"]])
    )["AutoScalingGroups"]
    assert (group["MinSize"], group["DesiredCapacity"], len(group["Instances"])) == (1, 1, 1)
    (alarm,) = (await cloud.ask("cloudwatch", "DescribeAlarms", AlarmNames=[out["Alarm"]]))["MetricAlarms"]
    assert alarm["Threshold"] == 75.0 and len(alarm["AlarmActions"]) == 1
    resources["Template"]["Properties"]["LaunchTemplateData"]["InstanceType"] = "t3.large"
    resources["Group"]["Properties"]["SecurityGroupIngress"].pop(0)
    again = await cloud.update(template)
    assert (out["Version"], again["Version"]) == ("1", "2") and again["Instances"] == out["Instances"]
    (group,) = (
        await cloud.ask("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[out["Instances"]])
    )["AutoScalingGroups"]
    assert group["LaunchTemplate"]["Version"] == "2"
    rules = (await cloud.ask("ec2", "DescribeSecurityGroups", GroupIds=[out["Group"]]))["SecurityGroups"][0]
    assert len(rules["IpPermissions"]) == 2
    await cloud.delete()


async def test_an_old_launch_configuration(cloud: Cloud) -> None:
    template = {
        "Resources": {
            "Launch": {
                "Type": "AWS::AutoScaling::LaunchConfiguration",
                "Properties": {
                    "ImageId": "ami-12c6146b",
                    "InstanceType": "t2.micro",
                    "InstanceMonitoring": "false",
                    "UserData": {"Fn::Base64": "hello"},
                },
            },
            "Instances": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "Properties": {
                    "MinSize": 0,
                    "MaxSize": 1,
                    "LaunchConfigurationName": {"Ref": "Launch"},
                    "AvailabilityZones": ["us-east-1a"],
                },
            },
        }
    }
    await cloud.create(template)
    template["Resources"]["Launch"]["Properties"]["InstanceType"] = "t3.micro"  # type: ignore[index]
    await cloud.update(template)
    found = (await cloud.ask("autoscaling", "DescribeLaunchConfigurations"))["LaunchConfigurations"]
    assert [each["InstanceType"] for each in found] == ["t3.micro"]
    await cloud.delete()


async def test_buckets(cloud: Cloud) -> None:
    resources: dict[str, Any] = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "VersioningConfiguration": {"Status": "Enabled"},
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                    ]
                },
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "old",
                            "Status": "Enabled",
                            "ExpirationInDays": 30,
                            "ObjectSizeGreaterThan": "128",
                            "NoncurrentVersionTransitions": [
                                {"TransitionInDays": 7, "StorageClass": "STANDARD_IA"}
                            ],
                        }
                    ],
                },
                "NotificationConfiguration": {
                    "QueueConfigurations": [
                        {
                            "Queue": {"Fn::GetAtt": ["Queue", "Arn"]},
                            "Event": "s3:ObjectCreated:*",
                            "Filter": {"S3Key": {"Rules": [{"Name": "suffix", "Value": ".zip"}]}},
                        }
                    ]
                },
                "ObjectLockEnabled": True,
                "ObjectLockConfiguration": {
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
                },
                "Tags": [{"Key": "a", "Value": "b"}],
            },
        },
        "Policy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {
                "Bucket": {"Ref": "Bucket"},
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "s3:*",
                            "Resource": {"Fn::Sub": "${Bucket.Arn}/*"},
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                },
            },
        },
    }
    template = {"Resources": resources, "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}}}}
    out = await cloud.create(template)
    bucket = {"Bucket": out["Bucket"]}
    assert out["Bucket"].startswith("web-bucket-")
    assert (await cloud.ask("s3", "GetBucketVersioning", **bucket))["Status"] == "Enabled"
    rules = (await cloud.ask("s3", "GetBucketLifecycleConfiguration", **bucket))["Rules"]
    assert rules[0]["Expiration"]["Days"] == 30
    assert rules[0]["NoncurrentVersionTransitions"][0]["NoncurrentDays"] == 7
    told = (await cloud.ask("s3", "GetBucketNotificationConfiguration", **bucket))["QueueConfigurations"]
    assert told[0]["Filter"]["Key"]["FilterRules"] == [{"Name": "suffix", "Value": ".zip"}]
    lock = (await cloud.ask("s3", "GetObjectLockConfiguration", **bucket))["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"]["Mode"] == "GOVERNANCE"
    assert f"arn:aws:s3:::{out['Bucket']}/*" in (await cloud.ask("s3", "GetBucketPolicy", **bucket))["Policy"]
    resources["Bucket"]["Properties"]["VersioningConfiguration"] = {"Status": "Suspended"}
    del resources["Bucket"]["Properties"]["NotificationConfiguration"]
    await cloud.update(template)
    assert (await cloud.ask("s3", "GetBucketVersioning", **bucket))["Status"] == "Suspended"
    left = await cloud.ask("s3", "GetBucketNotificationConfiguration", **bucket)
    assert not left.get("QueueConfigurations")
    await cloud.delete()
    assert (await cloud.ask("s3", "ListBuckets"))["Buckets"] == []


async def test_topics_parameters_and_log_groups(cloud: Cloud) -> None:
    await cloud.ask("ssm", "PutParameter", Name="/image", Value="ami-0123456789abcdef0", Type="String")
    resources: dict[str, Any] = {
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "one"}},
        "Image": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Type": "String", "Value": {"Fn::Join": ["/", [{"Ref": "Image1"}, {"Ref": "Topic"}]]}},
        },
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
    }
    template = {
        "Parameters": {
            "Image1": {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "Default": "/image"},
        },
        "Resources": resources,
        "Outputs": {"Logs": {"Value": {"Fn::GetAtt": ["Logs", "Arn"]}}, "Image": {"Value": {"Ref": "Image"}}},
    }
    out = await cloud.create(template)
    assert out["Logs"].endswith(":*")
    value = (await cloud.ask("ssm", "GetParameter", Name=out["Image"]))["Parameter"]["Value"]
    assert value.startswith("ami-0123456789abcdef0/arn:aws:sns:")
    (stack,) = (await cloud.do("DescribeStacks", StackName="web"))["Stacks"]
    assert stack["Parameters"][0]["ResolvedValue"] == "ami-0123456789abcdef0"
    resources["Topic"]["Properties"]["DisplayName"] = "two"
    resources["Logs"]["Properties"]["RetentionInDays"] = 14
    await cloud.update(template)
    groups = (await cloud.ask("logs", "DescribeLogGroups"))["logGroups"]
    assert [each["retentionInDays"] for each in groups] == [14]
    await cloud.delete()


async def test_a_load_balancer_with_its_parts(cloud: Cloud) -> None:
    """The handlers only; against the cloud's own load balancer this runs in the tests of the whole."""
    subnets = (await cloud.ask("ec2", "DescribeSubnets"))["Subnets"][:2]
    forward = [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}]
    resources: dict[str, Any] = {
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Scheme": "internet-facing",
                "Subnets": [each["SubnetId"] for each in subnets],
                "LoadBalancerAttributes": [{"Key": "idle_timeout.timeout_seconds", "Value": "30"}],
            },
        },
        "Targets": {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {
                "Port": 3000,
                "Protocol": "HTTP",
                "VpcId": subnets[0]["VpcId"],
                "HealthCheckIntervalSeconds": "20",
                "Matcher": {"HttpCode": "200"},
                "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}],
            },
        },
        "Listener": {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "LoadBalancerArn": {"Ref": "Balancer"},
                "Port": "3000",
                "Protocol": "HTTP",
                "DefaultActions": forward,
            },
        },
        "Rule": {
            "Type": "AWS::ElasticLoadBalancingV2::ListenerRule",
            "Properties": {
                "ListenerArn": {"Ref": "Listener"},
                "Priority": 10,
                "Conditions": [{"Field": "path-pattern", "Values": ["/api/*"]}],
                "Actions": forward,
            },
        },
    }
    template = {
        "Resources": resources,
        "Outputs": {
            "URL": {"Value": {"Fn::Sub": "http://${Balancer.DNSName}:3000"}},
            "Id": {"Value": {"Fn::Select": [3, {"Fn::Split": ["/", {"Ref": "Balancer"}]}]}},
            "Full": {"Value": {"Fn::GetAtt": ["Balancer", "LoadBalancerFullName"]}},
            "Targets": {"Value": {"Fn::GetAtt": ["Targets", "TargetGroupFullName"]}},
        },
    }
    out = await cloud.create(template)
    assert out["Full"].startswith("app/web-Balan-") and out["Full"].endswith(out["Id"])
    assert out["Targets"].startswith("targetgroup/web-Targe-")
    resources["Targets"]["Properties"]["HealthCheckPath"] = "/health"
    resources["Rule"]["Properties"]["Priority"] = 20
    await cloud.update(template)
    (group,) = (await cloud.ask("elbv2", "DescribeTargetGroups"))["TargetGroups"]
    assert group["HealthCheckPath"] == "/health"
    await cloud.delete()
    assert (await cloud.ask("elbv2", "DescribeLoadBalancers"))["LoadBalancers"] == []


async def test_a_network(cloud: Cloud) -> None:
    resources: dict[str, Any] = {
        "Vpc": {
            "Type": "AWS::EC2::VPC",
            "Properties": {"CidrBlock": "10.1.0.0/16", "EnableDnsHostnames": True},
        },
        "Subnet": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": {"Fn::Select": [0, {"Fn::Cidr": [{"Fn::GetAtt": ["Vpc", "CidrBlock"]}, 2, 8]}]},
                "AvailabilityZone": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
                "MapPublicIpOnLaunch": "true",
            },
        },
        "Gateway": {"Type": "AWS::EC2::InternetGateway"},
        "Attached": {
            "Type": "AWS::EC2::VPCGatewayAttachment",
            "Properties": {"VpcId": {"Ref": "Vpc"}, "InternetGatewayId": {"Ref": "Gateway"}},
        },
        "Table": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Vpc"}}},
        "Out": {
            "Type": "AWS::EC2::Route",
            "DependsOn": "Attached",
            "Properties": {
                "RouteTableId": {"Ref": "Table"},
                "DestinationCidrBlock": "0.0.0.0/0",
                "GatewayId": {"Ref": "Gateway"},
            },
        },
        "Linked": {
            "Type": "AWS::EC2::SubnetRouteTableAssociation",
            "Properties": {"SubnetId": {"Ref": "Subnet"}, "RouteTableId": {"Ref": "Table"}},
        },
        "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
        "Nat": {
            "Type": "AWS::EC2::NatGateway",
            "Properties": {
                "SubnetId": {"Ref": "Subnet"},
                "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]},
            },
        },
    }
    template = {
        "Resources": resources,
        "Outputs": {
            "Vpc": {"Value": {"Ref": "Vpc"}},
            "Group": {"Value": {"Fn::GetAtt": ["Vpc", "DefaultSecurityGroup"]}},
            "Subnet": {"Value": {"Ref": "Subnet"}},
        },
    }
    out = await cloud.create(template, Tags=[{"Key": "team", "Value": "shop"}])
    assert out["Group"].startswith("sg-")
    (subnet,) = (await cloud.ask("ec2", "DescribeSubnets", SubnetIds=[out["Subnet"]]))["Subnets"]
    assert (subnet["CidrBlock"], subnet["MapPublicIpOnLaunch"]) == ("10.1.0.0/24", True)
    assert {each["Key"] for each in subnet["Tags"]} >= {"team", "aws:cloudformation:stack-name"}
    resources["Subnet"]["Properties"]["MapPublicIpOnLaunch"] = False
    again = await cloud.update(template)
    assert again == out
    await cloud.delete()
    assert out["Vpc"] not in [each["VpcId"] for each in (await cloud.ask("ec2", "DescribeVpcs"))["Vpcs"]]

"""Drift over a whole cloud: boto3 changes what stacks have made, and boto3 is told what is different."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from codepipeline_cloud import Running, cloud, trust

DETECTED = {"DETECTION_COMPLETE", "DETECTION_FAILED"}


async def ended(running: Running, operation: str, name: str) -> None:
    def settled() -> bool:
        (stack,) = running.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        assert "ROLLBACK" not in stack["StackStatus"], reasons(running, name)
        return bool(stack["StackStatus"] == f"{operation}_COMPLETE")

    await running.until(settled, 60.0)


def reasons(running: Running, name: str) -> list[str]:
    found = running.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return [f"{e['LogicalResourceId']}: {e['ResourceStatusReason']}" for e in found if "ResourceStatusReason" in e]


async def drift(running: Running, name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    begun = await running.do("cloudformation", "detect_stack_drift", StackName=name)

    def over() -> Any:
        found = running.client("cloudformation").describe_stack_drift_detection_status(
            StackDriftDetectionId=begun["StackDriftDetectionId"]
        )
        return found if found["DetectionStatus"] in DETECTED else None

    ending = await running.until(over)
    found = await running.do("cloudformation", "describe_stack_resource_drifts", StackName=name)
    return ending, {each["LogicalResourceId"]: each for each in found["StackResourceDrifts"]}


def kind(name: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{name}", "Properties": properties}


POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["*"]}],
}
RESOURCES: dict[str, Any] = {
    "Repository": kind(
        "ECR::Repository",
        RepositoryName="app",
        ImageTagMutability="IMMUTABLE",
        ImageScanningConfiguration={"ScanOnPush": True},
        LifecyclePolicy={
            "LifecyclePolicyText": json.dumps(
                {
                    "rules": [
                        {
                            "rulePriority": 1,
                            "selection": {
                                "tagStatus": "untagged",
                                "countType": "imageCountMoreThan",
                                "countNumber": 3,
                            },
                            "action": {"type": "expire"},
                        }
                    ]
                }
            )
        },
        Tags=[{"Key": "team", "Value": "shop"}],
    ),
    "Logs": kind("Logs::LogGroup", LogGroupName="/app", RetentionInDays=7),
    "Role": kind(
        "IAM::Role",
        RoleName="task",
        AssumeRolePolicyDocument=json.loads(trust("ecs-tasks.amazonaws.com")),
        Policies=[{"PolicyName": "read", "PolicyDocument": POLICY}],
        Tags=[{"Key": "team", "Value": "shop"}],
    ),
    "Policy": kind("IAM::ManagedPolicy", ManagedPolicyName="more", PolicyDocument=POLICY),
    "Profile": kind("IAM::InstanceProfile", InstanceProfileName="p", Roles=[{"Ref": "Role"}]),
    "Parameter": kind("SSM::Parameter", Name="/app/x", Type="String", Value="one", Tags={"a": "b"}),
    "Topic": kind("SNS::Topic", TopicName="news", DisplayName="News", Tags=[{"Key": "a", "Value": "b"}]),
    "Dead": kind("SQS::Queue", QueueName="dead.fifo", FifoQueue=True, ContentBasedDeduplication=True),
    "Letters": kind("SQS::Queue", QueueName="letters"),
    "Queue": kind(
        "SQS::Queue",
        QueueName="12345",
        VisibilityTimeout="30",
        DelaySeconds=5,
        SqsManagedSseEnabled=True,
        RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": ["Letters", "Arn"]}, "maxReceiveCount": 3},
        Tags=[{"Key": "a", "Value": "b"}],
    ),
    "Bucket": kind(
        "S3::Bucket",
        BucketName="drift-bucket",
        VersioningConfiguration={"Status": "Enabled"},
        PublicAccessBlockConfiguration={"BlockPublicAcls": True, "BlockPublicPolicy": True},
        BucketEncryption={
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        Tags=[{"Key": "a", "Value": "b"}],
    ),
    "Group": kind(
        "EC2::SecurityGroup",
        GroupDescription="web",
        SecurityGroupIngress=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "0.0.0.0/0", "Description": "http"},
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8"},
        ],
        Tags=[{"Key": "a", "Value": "b"}],
    ),
    "Alarm": kind(
        "CloudWatch::Alarm",
        AlarmName="high",
        AlarmDescription="d",
        Namespace="App",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
        Dimensions=[{"Name": "A", "Value": "1"}],
    ),
    "Launch": kind(
        "AutoScaling::LaunchConfiguration",
        LaunchConfigurationName="lc",
        ImageId="ami-12c6146b",
        InstanceType="t3.small",
    ),
    "Fleet": kind(
        "AutoScaling::AutoScalingGroup",
        AutoScalingGroupName="fleet",
        MinSize="0",
        MaxSize="2",
        DesiredCapacity="0",
        AvailabilityZones=["us-east-1a"],
        LaunchConfigurationName={"Ref": "Launch"},
        Tags=[{"Key": "a", "Value": "b", "PropagateAtLaunch": True}],
    ),
    "Scaling": kind(
        "AutoScaling::ScalingPolicy",
        AutoScalingGroupName={"Ref": "Fleet"},
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": 50,
        },
    ),
    "Project": kind(
        "CodeBuild::Project",
        Name="build",
        ServiceRole={"Fn::GetAtt": ["Role", "Arn"]},
        Artifacts={"Type": "NO_ARTIFACTS"},
        Source={"Type": "NO_SOURCE", "BuildSpec": "version: 0.2"},
        Environment={
            "Type": "LINUX_CONTAINER",
            "ComputeType": "BUILD_GENERAL1_SMALL",
            "Image": "busybox",
            "EnvironmentVariables": [{"Name": "A", "Value": "1"}],
        },
        TimeoutInMinutes=10,
    ),
}
CONTAINERS: dict[str, Any] = {
    "Cluster": kind(
        "ECS::Cluster", ClusterName="web", ClusterSettings=[{"Name": "containerInsights", "Value": "disabled"}]
    ),
    "Definition": kind(
        "ECS::TaskDefinition",
        Family="web",
        Cpu="256",
        Memory="512",
        NetworkMode="bridge",
        ContainerDefinitions=[
            {
                "Name": "app",
                "Image": "busybox",
                "Memory": "128",
                "Essential": True,
                "Environment": [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": "2"}],
                "PortMappings": [{"ContainerPort": 80}],
            }
        ],
    ),
    "Service": kind(
        "ECS::Service",
        ServiceName="web",
        Cluster={"Ref": "Cluster"},
        TaskDefinition={"Ref": "Definition"},
        DesiredCount=0,
        DeploymentConfiguration={"MaximumPercent": 200, "MinimumHealthyPercent": 50},
    ),
    "Target": kind(
        "ApplicationAutoScaling::ScalableTarget",
        ServiceNamespace="ecs",
        ScalableDimension="ecs:service:DesiredCount",
        ResourceId={"Fn::Sub": "service/${Cluster}/${Service.Name}"},
        MinCapacity=0,
        MaxCapacity=2,
    ),
    "Tracking": kind(
        "ApplicationAutoScaling::ScalingPolicy",
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        ScalingTargetId={"Ref": "Target"},
        TargetTrackingScalingPolicyConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
            "TargetValue": 60,
        },
    ),
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def create(running: Running, resources: Any) -> None:
    await running.do(
        "cloudformation",
        "create_stack",
        StackName="web",
        TemplateBody=json.dumps({"Resources": resources}),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Tags=[{"Key": "stack", "Value": "yes"}],
    )
    await ended(running, "CREATE", "web")


async def in_sync(running: Running, names: Any) -> None:
    ending, found = await drift(running, "web")
    assert {name: each["PropertyDifferences"] for name, each in found.items() if each["PropertyDifferences"]} == {}
    assert ending["DetectionStatus"] == "DETECTION_COMPLETE", ending
    assert (ending["StackDriftStatus"], set(found)) == ("IN_SYNC", set(names))


async def test_what_nobody_touched_is_in_sync_and_what_boto3_changes_is_found(directory: Path) -> None:
    async with cloud(directory) as running:
        await create(running, RESOURCES)
        await in_sync(running, RESOURCES)
        group = (
            await running.do(
                "cloudformation", "describe_stack_resource", StackName="web", LogicalResourceId="Group"
            )
        )["StackResourceDetail"]["PhysicalResourceId"]
        await running.do("ecr", "put_image_tag_mutability", repositoryName="app", imageTagMutability="MUTABLE")
        await running.do("ecr", "delete_lifecycle_policy", repositoryName="app")
        await running.do("logs", "delete_retention_policy", logGroupName="/app")
        await running.do("iam", "delete_role_policy", RoleName="task", PolicyName="read")
        await running.do("iam", "tag_role", RoleName="task", Tags=[{"Key": "new", "Value": "1"}])
        await running.do("ssm", "put_parameter", Name="/app/x", Value="two", Overwrite=True)
        await running.do("s3", "put_bucket_versioning", Bucket="drift-bucket",
                         VersioningConfiguration={"Status": "Suspended"})  # fmt: skip
        await running.do("ec2", "authorize_security_group_ingress", GroupId=group, IpProtocol="tcp",
                         FromPort=443, ToPort=443, CidrIp="0.0.0.0/0")  # fmt: skip
        url = (await running.do("sqs", "get_queue_url", QueueName="12345"))["QueueUrl"]
        await running.do("sqs", "set_queue_attributes", QueueUrl=url,
                         Attributes={"VisibilityTimeout": "60", "RedrivePolicy": ""})  # fmt: skip
        await running.do("cloudwatch", "delete_alarms", AlarmNames=["high"])
        await running.do("autoscaling", "update_auto_scaling_group", AutoScalingGroupName="fleet", MaxSize=3)
        ending, found = await drift(running, "web")
        assert (ending["StackDriftStatus"], ending["DriftedStackResourceCount"]) == ("DRIFTED", 9)
        paths = {
            name: sorted((each["DifferenceType"], each["PropertyPath"]) for each in one["PropertyDifferences"])
            for name, one in found.items()
            if one["StackResourceDriftStatus"] == "MODIFIED"
        }
        assert paths == {
            "Repository": [("NOT_EQUAL", "/ImageTagMutability"), ("REMOVE", "/LifecyclePolicy")],
            "Logs": [("REMOVE", "/RetentionInDays")],
            "Role": [("ADD", "/Tags/1"), ("REMOVE", "/Policies/0")],
            "Parameter": [("NOT_EQUAL", "/Value")],
            "Queue": [("NOT_EQUAL", "/VisibilityTimeout"), ("REMOVE", "/RedrivePolicy")],
            "Bucket": [("NOT_EQUAL", "/VersioningConfiguration/Status")],
            "Group": [("ADD", "/SecurityGroupIngress/2")],
            "Fleet": [("NOT_EQUAL", "/MaxSize")],
        }
        assert found["Alarm"]["StackResourceDriftStatus"] == "DELETED"
        (stack,) = (await running.do("cloudformation", "describe_stacks", StackName="web"))["Stacks"]
        assert stack["DriftInformation"]["StackDriftStatus"] == "DRIFTED"


async def test_containers_and_their_scaling(directory: Path) -> None:
    async with cloud(directory) as running:
        await create(running, CONTAINERS)
        await in_sync(running, CONTAINERS)
        await asyncio.to_thread(
            running.client("ecs").update_service,
            cluster="web",
            service="web",
            deploymentConfiguration={"maximumPercent": 150, "minimumHealthyPercent": 50},
        )
        await running.do("application-autoscaling", "register_scalable_target", ServiceNamespace="ecs",
                         ResourceId="service/web/web", ScalableDimension="ecs:service:DesiredCount",
                         MaxCapacity=5)  # fmt: skip
        _, found = await drift(running, "web")
        assert {
            name: [each["PropertyPath"] for each in one["PropertyDifferences"]]
            for name, one in found.items()
            if one["StackResourceDriftStatus"] != "IN_SYNC"
        } == {"Service": ["/DeploymentConfiguration/MaximumPercent"], "Target": ["/MaxCapacity"]}


async def test_load_balancers(directory: Path) -> None:
    async with cloud(directory) as running:
        subnets = [each["SubnetId"] for each in (await running.do("ec2", "describe_subnets"))["Subnets"]][:2]
        (vpc,) = (await running.do("ec2", "describe_vpcs"))["Vpcs"]
        forward = [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}]
        resources = {
            "Balancer": kind(
                "ElasticLoadBalancingV2::LoadBalancer",
                Name="web",
                Subnets=subnets,
                LoadBalancerAttributes=[{"Key": "idle_timeout.timeout_seconds", "Value": "30"}],
                Tags=[{"Key": "a", "Value": "b"}],
            ),
            "Targets": kind(
                "ElasticLoadBalancingV2::TargetGroup",
                Name="web",
                Port=80,
                Protocol="HTTP",
                VpcId=vpc["VpcId"],
                HealthCheckPath="/up",
                Matcher={"HttpCode": "200"},
                TargetGroupAttributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}],
            ),
            "Listener": kind(
                "ElasticLoadBalancingV2::Listener",
                LoadBalancerArn={"Ref": "Balancer"},
                Port=48231,
                Protocol="HTTP",
                DefaultActions=forward,
            ),
            "Rule": kind(
                "ElasticLoadBalancingV2::ListenerRule",
                ListenerArn={"Ref": "Listener"},
                Priority=5,
                Conditions=[{"Field": "path-pattern", "Values": ["/api/*"]}],
                Actions=forward,
            ),
        }
        await create(running, resources)
        await in_sync(running, resources)
        groups = (await running.do("elbv2", "describe_target_groups"))["TargetGroups"]
        arn = groups[0]["TargetGroupArn"]
        await running.do("elbv2", "modify_target_group", TargetGroupArn=arn, HealthCheckPath="/down")
        rules = await running.do(
            "cloudformation", "describe_stack_resource", StackName="web", LogicalResourceId="Rule"
        )
        rule = rules["StackResourceDetail"]["PhysicalResourceId"]
        await running.do("elbv2", "delete_rule", RuleArn=rule)
        _, found = await drift(running, "web")
        assert {
            name: (
                one["StackResourceDriftStatus"],
                [d["PropertyPath"] for d in one.get("PropertyDifferences", [])],
            )
            for name, one in found.items()
            if one["StackResourceDriftStatus"] != "IN_SYNC"
        } == {"Rule": ("DELETED", []), "Targets": ("MODIFIED", ["/HealthCheckPath"])}

"""Templates of years ago, made as they are by a person's boto3 script over a whole cloud."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import old_templates as old
from client_account import Account, account
from codepipeline_cloud import commit
from oldest import CODEBUILD, CODEPIPELINE, POLICY, role
from portside.cloud.moto_server.retired_policies import SUCCESSORS

ENVIRONMENTS = ("staging", "production")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(directory)
        with account(directory) as made:
            made.client("ec2").create_key_pair(KeyName="ops")
            yield made


def subnets(aws: Account) -> tuple[str, list[str]]:
    """The default VPC, and two of its subnets."""
    ec2 = aws.client("ec2")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["true"]}])["Vpcs"]
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    return vpc["VpcId"], sorted(each["SubnetId"] for each in found)[:2]


def cluster_parameters(aws: Account) -> dict[str, str]:
    vpc, public = subnets(aws)
    return {"KeyPair": "ops", "VpcId": vpc, "PublicSubnet": ",".join(public)}


@pytest.fixture(scope="module")
def nine(aws: Account) -> Account:
    """Both environments side by side, for their health checks take their time."""
    aws.create("helloworld-ecr", old.ECR, RepoName="helloworld")
    aws.push("helloworld", "latest")
    for name, template, parameters in (
        ("cluster", old.cluster(), cluster_parameters(aws)),
        ("alb", old.ALB, {}),
        ("helloworld-service", old.SERVICE, {"Tag": "latest"}),
    ):
        for environment in ENVIRONMENTS:
            aws.begin(f"{environment}-{name}", template, **parameters)
        for environment in ENVIRONMENTS:
            aws.created(f"{environment}-{name}")
    aws.create("helloworld-codebuild", CODEBUILD)
    aws.create("helloworld-codepipeline", CODEPIPELINE)
    return aws


def test_the_nine_stacks_of_2018_come_to_their_final_states(nine: Account) -> None:
    stacks = nine.client("cloudformation").describe_stacks()["Stacks"]
    names = {each["StackName"] for each in stacks if each["StackStatus"] == "CREATE_COMPLETE"}
    mine = {f"{each}-{kind}" for each in ENVIRONMENTS for kind in ("cluster", "alb", "helloworld-service")}
    assert names >= mine | {"helloworld-ecr", "helloworld-codebuild", "helloworld-codepipeline"}
    exports = {each["Name"] for each in nine.client("cloudformation").list_exports()["Exports"]}
    of_cluster = {f"{each}-cluster-{one}" for each in ENVIRONMENTS for one in ("id", "vpc-id", "public-subnets")}
    assert exports >= {"helloworld-repo", *of_cluster, *(f"{each}-alb-target-group" for each in ENVIRONMENTS)}
    for environment in ENVIRONMENTS:
        group = nine.physical(f"{environment}-alb", "TargetGroup")
        health = nine.client("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        assert [each["TargetHealth"]["State"] for each in health] == ["healthy"]
        assert health[0]["Target"]["Port"] >= 32768


def test_a_launch_configuration_whose_image_is_long_gone_gives_container_instances(nine: Account) -> None:
    with pytest.raises(ClientError, match=r"InvalidAMIID.NotFound"):
        nine.client("ec2").describe_images(ImageIds=[old.AMI])
    instance = registered(nine, "staging-cluster")
    assert {"name": "ecs.ami-id", "value": old.AMI} in instance["attributes"]
    assert instance["status"] == "ACTIVE"
    configuration = nine.physical("staging-cluster", "LaunchConfiguration")
    (made,) = nine.client("autoscaling").describe_launch_configurations(LaunchConfigurationNames=[configuration])[
        "LaunchConfigurations"
    ]
    assert (made["ImageId"], made["KeyName"], made["AssociatePublicIpAddress"]) == (old.AMI, "ops", True)


def registered(aws: Account, stack: str) -> Any:
    """The only container instance of a stack's cluster."""
    cluster, ecs = aws.physical(stack, "Cluster"), aws.client("ecs")
    arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    (instance,) = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    return instance


def test_a_service_with_a_role_and_without_a_deployment_configuration_has_the_defaults(nine: Account) -> None:
    (service,) = nine.client("ecs").describe_services(
        cluster=nine.physical("staging-cluster", "Cluster"),
        services=[nine.physical("staging-helloworld-service", "service")],
    )["services"]
    assert service["roleArn"].endswith("/" + nine.physical("staging-helloworld-service", "ServiceRole"))
    bounds = service["deploymentConfiguration"]
    assert (bounds["maximumPercent"], bounds["minimumHealthyPercent"]) == (200, 100)
    assert "deploymentCircuitBreaker" not in bounds or not bounds["deploymentCircuitBreaker"]["enable"]
    assert (service["runningCount"], service["launchType"]) == (1, "EC2")


def test_numbers_and_booleans_written_as_strings_are_what_they_say(nine: Account) -> None:
    task = nine.physical("staging-helloworld-service", "task")
    shown = nine.client("ecs").describe_task_definition(taskDefinition=task)["taskDefinition"]
    (container,) = shown["containerDefinitions"]
    assert (container["cpu"], container["memory"], container["essential"]) == (256, 32, True)
    assert container["portMappings"][0]["containerPort"] == 3000
    (group,) = nine.client("elbv2").describe_target_groups(
        TargetGroupArns=[nine.physical("staging-alb", "TargetGroup")]
    )["TargetGroups"]
    assert (group["HealthCheckIntervalSeconds"], group["HealthyThresholdCount"]) == (20, 5)


def test_the_pipeline_writes_to_stacks_of_other_names_than_the_ones_made_by_hand(
    nine: Account, tmp_path: Path
) -> None:
    """Both services live behind one target group, and both find their environment by their first word."""
    template = copy.deepcopy(CODEPIPELINE)
    properties = template["Resources"]["Pipeline"]["Properties"]
    source, _, staging = properties["Stages"][:3]
    deploy = staging["Actions"][0]
    deploy["InputArtifacts"] = [{"Name": "App"}]
    deploy["Configuration"] |= {
        "StackName": "staging-helloworld-ecs-service",
        "TemplatePath": "App::helloworld-ecs-service-cf.template",
        "ParameterOverrides": '{"Tag": "latest"}',
    }
    properties["Stages"] = [source, staging]
    checkout = tmp_path / "checkout"
    files = {"helloworld-ecs-service-cf.template": json.dumps(old.SERVICE).encode()}
    commit(checkout, files, "the template beside the app")
    # What `portside connect ToBeConfiguredLater/ToBeConfiguredLater .` asks for.
    request = urllib.request.Request(
        f"{nine.url}/_portside/repositories/ToBeConfiguredLater/ToBeConfiguredLater",
        json.dumps({"path": str(checkout)}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    pipeline = nine.create("differing", template)["Pipeline"]
    clients = nine.client("codepipeline")
    found = nine.until(
        lambda: [
            each
            for each in clients.list_pipeline_executions(pipelineName=pipeline)["pipelineExecutionSummaries"]
            if each["status"] != "InProgress"
        ]
    )
    assert found[0]["status"] == "Succeeded", clients.get_pipeline_state(name=pipeline)["stageStates"]
    services = nine.client("ecs").describe_services(
        cluster=nine.physical("staging-cluster", "Cluster"),
        services=[
            nine.physical(f"staging-{kind}", "service")
            for kind in ("helloworld-service", "helloworld-ecs-service")
        ],
    )["services"]
    assert [each["runningCount"] for each in services] == [1, 1]
    health = nine.client("elbv2").describe_target_health(
        TargetGroupArn=nine.physical("staging-alb", "TargetGroup")
    )["TargetHealthDescriptions"]
    assert [each["TargetHealth"]["State"] for each in health] == ["healthy", "healthy"]


GROUP: dict[str, Any] = {
    "Type": "AWS::AutoScaling::AutoScalingGroup",
    "DependsOn": "Cluster",
    "CreationPolicy": {"ResourceSignal": {"Count": "1", "Timeout": "PT15M"}},
    "UpdatePolicy": {
        "AutoScalingRollingUpdate": {
            "MinInstancesInService": "1",
            "MaxBatchSize": "1",
            "PauseTime": "PT15M",
            "WaitOnResourceSignals": "true",
        }
    },
    "Properties": {
        "AvailabilityZones": {"Fn::GetAZs": ""},
        "LaunchConfigurationName": {"Ref": "Launch"},
        "MinSize": "1",
        "MaxSize": "4",
        "DesiredCapacity": "1",
        "Tags": [{"Key": "Name", "Value": {"Fn::Sub": "${AWS::StackName}-node"}, "PropagateAtLaunch": "true"}],
    },
}
HELPERS = """#!/bin/bash -xe
yum update -y
yum install -y aws-cfn-bootstrap
# The metadata below is carried out here.
/opt/aws/bin/cfn-init -v --stack ${AWS::StackName} --resource Launch --region ${AWS::Region}
/opt/aws/bin/cfn-signal -e $? --stack ${AWS::StackName} --resource Group --region ${AWS::Region}
"""


def helped(**parameters: Any) -> dict[str, Any]:
    """A cluster whose instances are set up by the helper scripts, from metadata."""
    join = "#!/bin/bash\necho ECS_CLUSTER=${Cluster} >> /etc/ecs/ecs.config\n"
    configuration = {
        "packages": {"yum": {"awslogs": []}},
        "commands": {"01_join": {"command": {"Fn::Sub": join}}},
        "files": {
            "/etc/cfn/cfn-hup.conf": {
                "content": {"Fn::Sub": "[main]\nstack=${AWS::StackId}\nregion=${AWS::Region}\n"},
                "mode": "000400",
                "owner": "root",
                "group": "root",
            }
        },
        "services": {
            "sysvinit": {
                "cfn-hup": {"enabled": "true", "ensureRunning": "true", "files": ["/etc/cfn/cfn-hup.conf"]}
            }
        },
    }
    return {
        "Parameters": parameters,
        "Resources": {
            "Cluster": {"Type": "AWS::ECS::Cluster"},
            "Launch": {
                "Type": "AWS::AutoScaling::LaunchConfiguration",
                "Metadata": {"AWS::CloudFormation::Init": {"config": configuration}},
                "Properties": {
                    "ImageId": {"Ref": "Image"},
                    "InstanceType": "t2.small",
                    "UserData": {"Fn::Base64": {"Fn::Sub": HELPERS}},
                },
            },
            "Group": GROUP,
        },
    }


def test_cfn_init_and_cfn_signal_of_user_data_do_their_part(aws: Account) -> None:
    image = {"Type": "AWS::EC2::Image::Id", "Default": "ami-0254e5972ebcd132c"}
    aws.create("helped", helped(Image=image))
    assert registered(aws, "helped")["status"] == "ACTIVE"
    assert any("Received SUCCESS signal with UniqueId i-" in each for each in aws.reasons("helped"))


@pytest.mark.parametrize("kind", ["String", "AWS::EC2::Image::Id"])
def test_an_image_of_years_ago_is_taken_as_a_parameter(aws: Account, kind: str) -> None:
    name = f"image-{kind.rpartition(':')[2]}"
    aws.create(name, helped(Image={"Type": kind}), Image="ami-1c002379")
    assert {"name": "ecs.ami-id", "value": "ami-1c002379"} in registered(aws, name)["attributes"]
    if kind != "String":
        aws.begin("wrong", helped(Image={"Type": kind}), Image="ubuntu")
        why = "parameter value ubuntu for parameter name Image does not exist"
        assert [each for each in aws.failed("wrong") if why in each]


def test_an_alarm_with_a_simple_scaling_policy_adds_an_instance(aws: Account) -> None:
    template = helped(Image={"Type": "String", "Default": old.AMI})
    template["Resources"] |= {
        "Up": {
            "Type": "AWS::AutoScaling::ScalingPolicy",
            "Properties": {
                "AutoScalingGroupName": {"Ref": "Group"},
                "AdjustmentType": "ChangeInCapacity",
                "Cooldown": "60",
                "ScalingAdjustment": "1",
            },
        },
        "High": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "EvaluationPeriods": "1",
                "Statistic": "Average",
                "Threshold": "75",
                "Period": "60",
                "AlarmActions": [{"Ref": "Up"}],
                "Namespace": "AWS/ECS",
                "MetricName": "MemoryReservation",
                "Dimensions": [{"Name": "ClusterName", "Value": {"Ref": "Cluster"}}],
                "ComparisonOperator": "GreaterThanThreshold",
            },
        },
    }
    aws.create("scaled", template)
    group, alarm = aws.physical("scaled", "Group"), aws.physical("scaled", "High")
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a drill")

    def size() -> bool:
        (found,) = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])[
            "AutoScalingGroups"
        ]
        return found["DesiredCapacity"] == 2 and len(found["Instances"]) == 2

    assert aws.until(size)


OLD_POLICIES = (
    "service-role/AmazonEC2RoleforSSM",
    "service-role/AmazonEC2ContainerServiceforEC2Role",
    "service-role/AmazonEC2ContainerServiceRole",
    "service-role/AmazonEC2ContainerServiceAutoscaleRole",
    "service-role/AmazonEC2ContainerServiceEventsRole",
    "AmazonEC2ContainerRegistryFullAccess",
    "AmazonEC2ContainerRegistryPowerUser",
    "AmazonEC2ContainerRegistryReadOnly",
    "AWSCodeBuildDeveloperAccess",
    "CloudWatchFullAccess",
    *SUCCESSORS,
)


def test_roles_take_the_managed_policies_of_their_time(aws: Account) -> None:
    resources = {f"Role{n}": role("ec2.amazonaws.com", each) for n, each in enumerate(OLD_POLICIES)}
    aws.create("policies", {"Resources": resources})
    for logical, policy in zip(resources, OLD_POLICIES, strict=True):
        name = aws.physical("policies", logical)
        attached = aws.client("iam").list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        assert [each["PolicyArn"] for each in attached] == [POLICY + policy]


def test_a_key_pair_as_a_parameter_has_to_exist_and_is_easily_made(aws: Account) -> None:
    parameters = cluster_parameters(aws) | {"KeyPair": "mine"}
    aws.begin("no-key-cluster", old.cluster(), **parameters)
    words = "Parameter validation failed: parameter value mine for parameter name KeyPair does not exist"
    assert any(words in each for each in aws.failed("no-key-cluster"))
    aws.client("ec2").create_key_pair(KeyName="mine")
    aws.begin("keys-cluster", old.cluster(), **parameters)
    aws.created("keys-cluster")


def test_the_command_line_takes_a_list_whose_commas_are_escaped(aws: Account, tmp_path: Path) -> None:
    template = tmp_path / "list.template"
    template.write_text(
        json.dumps(
            {
                "Parameters": {
                    "PublicSubnet": {"Type": "List<AWS::EC2::Subnet::Id>"},
                    "Names": {"Type": "CommaDelimitedList"},
                },
                "Resources": {"Wait": {"Type": "AWS::CloudFormation::WaitConditionHandle"}},
                "Outputs": {
                    "Subnets": {"Value": {"Fn::Join": ["|", {"Ref": "PublicSubnet"}]}},
                    "Names": {"Value": {"Fn::Join": ["|", {"Ref": "Names"}]}},
                },
            }
        )
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": aws.url,
    }
    _, (first, second) = subnets(aws)
    # Through a shell, as people type it.
    line = (
        f"{sys.executable} -m awscli cloudformation create-stack --stack-name lists"
        f" --template-body file://{template} --parameters"
        rf" ParameterKey=PublicSubnet,ParameterValue={first}\\,{second}"
        r" ParameterKey=Names,ParameterValue='a\,b'"
    )
    done = subprocess.run(
        line, shell=True, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert aws.created("lists") == {"Subnets": f"{first}|{second}", "Names": "a|b"}


def whole(**service: Any) -> dict[str, Any]:
    """Balancer, listener and service in one stack."""
    alb = copy.deepcopy(old.ALB)
    template = copy.deepcopy(old.SERVICE)
    template["Resources"] |= alb["Resources"]
    balancers = template["Resources"]["service"]["Properties"]["LoadBalancers"]
    balancers[0]["TargetGroupArn"] = {"Ref": "TargetGroup"}
    template["Resources"]["service"] |= service
    return template


def test_br_17_in_one_stack_a_service_waits_for_its_listener_if_it_depends_on_it(nine: Account) -> None:
    nine.begin("staging-racing", whole())
    nine.begin("staging-ordered", whole(DependsOn="Listener"))
    nine.created("staging-ordered")
    assert any("does not have an associated load balancer" in each for each in nine.failed("staging-racing"))


def test_a_stack_with_the_habits_of_2017_is_made_and_deleted(aws: Account) -> None:
    """FindInMap images, cfn-init with config sets, policies as JSON text, rules, step scaling of a service."""
    vpc, public = subnets(aws)
    template = (Path(__file__).parent / "old_whole.yaml").read_text()
    outputs = aws.create("shop", template, KeyName="ops", VpcId=vpc, Subnets=",".join(public))
    assert outputs["Url"].startswith("http://shop-")
    instances = aws.client("ecs").list_container_instances(cluster="shop")["containerInstanceArns"]
    assert len(instances) == 2
    (service,) = aws.client("ecs").describe_services(cluster="shop", services=[aws.physical("shop", "Service")])[
        "services"
    ]
    assert (service["runningCount"], service["roleArn"].rpartition("/")[2]) == (
        2,
        aws.physical("shop", "ServiceRole"),
    )
    shown = aws.client("ecs").describe_task_definition(taskDefinition=service["taskDefinition"])
    (container,) = shown["taskDefinition"]["containerDefinitions"]
    assert {each["name"]: each["value"] for each in container["environment"]} == {"WORKERS": "4", "DEBUG": "false"}
    aws.deleted("shop")


def test_nothing_in_stacks_of_old_forms_is_taken_for_drift(nine: Account) -> None:
    """Policies without a version are kept with one, and tokens are not shown again."""
    stacks = nine.client("cloudformation")
    for name in ("staging-cluster", "staging-alb", "helloworld-codebuild", "helloworld-codepipeline"):
        looked = stacks.detect_stack_drift(StackName=name)["StackDriftDetectionId"]

        def done(looked: str = looked) -> str | None:
            found = stacks.describe_stack_drift_detection_status(StackDriftDetectionId=looked)
            return found.get("StackDriftStatus") if found["DetectionStatus"] == "DETECTION_COMPLETE" else None

        drifts = nine.until(done)
        assert drifts == "IN_SYNC", stacks.describe_stack_resource_drifts(StackName=name)["StackResourceDrifts"]

"""Capacity on a real engine, by public calls alone: Fargate, and a group that ECS scales."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from test_surroundings_docker import USER_DATA, Site, site, until

__all__ = ["site"]
pytestmark = pytest.mark.docker


def finished(ecs: Any, name: str) -> bool:
    shown = ecs.describe_services(services=[name])["services"][0]
    return bool(shown["deployments"][0]["rolloutState"] == "COMPLETED")


def tasks(ecs: Any, name: str) -> list[Any]:
    arns = ecs.list_tasks(serviceName=name)["taskArns"]
    return list(ecs.describe_tasks(tasks=arns)["tasks"]) if arns else []


def test_fargate_tasks_run_without_an_instance_in_the_zones_of_their_subnets(site: Site) -> None:
    ecs = site("ecs")
    site.register(
        "web",
        "exec httpd -f -p 3000 -h /www",
        mode="awsvpc",
        container={"portMappings": [{"containerPort": 3000}]},
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
    )
    ecs.create_service(
        serviceName="web",
        taskDefinition="web",
        desiredCount=2,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": site.subnets[:2]}},
    )
    until(lambda: finished(ecs, "web"))
    found = tasks(ecs, "web")
    assert len({each["availabilityZone"] for each in found}) == 2
    assert not any(each.get("containerInstanceArn") for each in found)
    assert {each["launchType"] for each in found} == {"FARGATE"}
    assert len({each["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for each in found}) == 2
    (instance,) = ecs.list_container_instances()["containerInstanceArns"]
    described = ecs.describe_container_instances(containerInstances=[instance])["containerInstances"][0]
    assert described["runningTasksCount"] == 0
    ecs.delete_service(service="web", force=True)
    until(lambda: not tasks(ecs, "web"))


def test_a_group_grows_for_the_tasks_that_wait_and_what_is_killed_is_replaced(site: Site) -> None:
    ecs, ec2, scaling = site("ecs"), site("ec2"), site("autoscaling")
    script = USER_DATA if isinstance(USER_DATA, str) else USER_DATA.decode()
    ec2.create_launch_template(
        LaunchTemplateName="nodes",
        LaunchTemplateData={
            "ImageId": "ami-12345678",
            "InstanceType": "t3.micro",
            "UserData": base64.b64encode(script.encode()).decode(),
        },
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="nodes",
        MinSize=0,
        MaxSize=3,
        LaunchTemplate={"LaunchTemplateName": "nodes", "Version": "$Latest"},
        VPCZoneIdentifier=",".join(site.subnets[:2]),
        NewInstancesProtectedFromScaleIn=True,
    )

    def group() -> Any:
        return scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["nodes"])["AutoScalingGroups"][0]

    ecs.create_capacity_provider(
        name="nodes",
        autoScalingGroupProvider={
            "autoScalingGroupArn": group()["AutoScalingGroupARN"],
            "managedScaling": {"status": "ENABLED", "instanceWarmupPeriod": 0},
            "managedTerminationProtection": "ENABLED",
        },
    )
    strategy = [{"capacityProvider": "nodes", "weight": 1}]
    ecs.put_cluster_capacity_providers(
        cluster="default", capacityProviders=["nodes"], defaultCapacityProviderStrategy=strategy
    )
    # A t3.micro registers 972 MiB.
    site.register("web", "exec sleep 1000", container={"memory": 500})
    ecs.create_service(serviceName="web", taskDefinition="web", desiredCount=2)
    until(lambda: finished(ecs, "web"))
    assert len(group()["Instances"]) == 2
    assert len({each["AvailabilityZone"] for each in group()["Instances"]}) == 2
    assert {each["capacityProviderName"] for each in tasks(ecs, "web")} == {"nodes"}
    victim = group()["Instances"][0]["InstanceId"]
    before = {each["taskArn"] for each in tasks(ecs, "web")}
    ec2.terminate_instances(InstanceIds=[victim])

    def replaced() -> bool:
        now = [each for each in tasks(ecs, "web") if each["lastStatus"] == "RUNNING"]
        return len(now) == 2 and {each["taskArn"] for each in now} != before

    until(replaced)
    assert victim not in {each["InstanceId"] for each in group()["Instances"]}
    ecs.delete_service(service="web", force=True)
    until(lambda: not tasks(ecs, "web"))

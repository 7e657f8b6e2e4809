"""The world of ECS with Auto Scaling groups and subnets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.testing.server import ACCOUNT, REGION
from worlds.ecs import VirtualWorld, virtual_world

ARN = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:1:autoScalingGroupName/"


class Groups:
    """Auto Scaling groups that launch and terminate the fake EC2's instances at once."""

    def __init__(self, world: VirtualWorld) -> None:
        self.world = world
        self.groups: dict[str, Params] = {}
        self.hooks: set[tuple[str, str]] = set()
        self.launched = 100
        self.deleted: list[str] = []

    def add(self, name: str, *, least: int = 0, most: int = 5, desired: int = 0, protected: bool = False) -> str:
        self.groups[name] = {
            "AutoScalingGroupName": name,
            "AutoScalingGroupARN": ARN + name,
            "MinSize": least,
            "MaxSize": most,
            "DesiredCapacity": 0,
            "NewInstancesProtectedFromScaleIn": protected,
            "LaunchConfigurationName": "lc",
            "Instances": [],
            "Tags": [],
        }
        self.set({"AutoScalingGroupName": name, "DesiredCapacity": desired})
        return ARN + name

    def create(self, params: Params) -> Params:
        self.add(
            params["AutoScalingGroupName"],
            least=params["MinSize"],
            most=params["MaxSize"],
            desired=params.get("DesiredCapacity", params["MinSize"]),
            protected=params.get("NewInstancesProtectedFromScaleIn", False),
        )
        return {}

    def delete(self, params: Params) -> Params:
        assert params["ForceDelete"]
        for each in self.groups.pop(params["AutoScalingGroupName"])["Instances"]:
            self.world.ec2.instances.pop(each["InstanceId"], None)
        self.deleted.append(params["AutoScalingGroupName"])
        self.world.ecs.capacity.wake()
        return {}

    def describe(self, params: Params) -> Params:
        wanted = params.get("AutoScalingGroupNames")
        return {"AutoScalingGroups": [g for n, g in self.groups.items() if wanted is None or n in wanted]}

    def set(self, params: Params) -> Params:
        group = self.groups[params["AutoScalingGroupName"]]
        assert group["MinSize"] <= params["DesiredCapacity"] <= group["MaxSize"]
        group["DesiredCapacity"] = params["DesiredCapacity"]
        here = group["Instances"]
        while len(here) < group["DesiredCapacity"]:
            self.launched += 1
            ec2_id = self.world.ec2.launch(self.launched, zone="abc"[self.launched % 3])
            self.world.ec2.groups[ec2_id] = group["AutoScalingGroupName"]
            here.append(
                {
                    "InstanceId": ec2_id,
                    "LifecycleState": "InService",
                    "ProtectedFromScaleIn": group["NewInstancesProtectedFromScaleIn"],
                }
            )
        for each in [e for e in here if not e["ProtectedFromScaleIn"]]:
            if len(here) > group["DesiredCapacity"]:
                if (group["AutoScalingGroupName"], "ecs-managed-draining-termination-hook") in self.hooks:
                    each["LifecycleState"] = "Terminating:Wait"
                    if sum(e["LifecycleState"] == "InService" for e in here) <= group["DesiredCapacity"]:
                        break
                else:
                    here.remove(each)
                    del self.world.ec2.instances[each["InstanceId"]]
        self.world.ecs.capacity.wake()
        return {}

    def protect(self, params: Params) -> Params:
        for each in self.groups[params["AutoScalingGroupName"]]["Instances"]:
            if each["InstanceId"] in params["InstanceIds"]:
                each["ProtectedFromScaleIn"] = params["ProtectedFromScaleIn"]
        return {}

    def tag(self, params: Params) -> Params:
        for tag in params["Tags"]:
            self.groups[tag["ResourceId"]]["Tags"].append(tag)
        return {}

    def hook(self, params: Params) -> Params:
        self.hooks.add((params["AutoScalingGroupName"], params["LifecycleHookName"]))
        return {}

    def unhook(self, params: Params) -> Params:
        self.hooks.discard((params["AutoScalingGroupName"], params["LifecycleHookName"]))
        return {}

    def complete(self, params: Params) -> Params:
        here = self.groups[params["AutoScalingGroupName"]]["Instances"]
        here[:] = [each for each in here if each["InstanceId"] != params["InstanceId"]]
        del self.world.ec2.instances[params["InstanceId"]]
        self.world.ecs.capacity.wake()
        return {}

    def protected(self, name: str) -> list[bool]:
        return [each["ProtectedFromScaleIn"] for each in self.groups[name]["Instances"]]


@asynccontextmanager
async def grouped(path: Path, instances: int = 0, **programs: Any) -> AsyncIterator[tuple[VirtualWorld, Groups]]:
    async with virtual_world(path, instances=instances, **programs) as world:
        groups = Groups(world)
        configuration = {"LaunchConfigurations": [{"LaunchConfigurationName": "lc", "InstanceType": "t3.small"}]}
        world.calls.answers |= {
            ("autoscaling", "DescribeAutoScalingGroups"): groups.describe,
            ("autoscaling", "CreateAutoScalingGroup"): groups.create,
            ("autoscaling", "DeleteAutoScalingGroup"): groups.delete,
            ("autoscaling", "SetDesiredCapacity"): groups.set,
            ("autoscaling", "SetInstanceProtection"): groups.protect,
            ("autoscaling", "CreateOrUpdateTags"): groups.tag,
            ("autoscaling", "PutLifecycleHook"): groups.hook,
            ("autoscaling", "DeleteLifecycleHook"): groups.unhook,
            ("autoscaling", "CompleteLifecycleAction"): groups.complete,
            ("autoscaling", "DescribeLaunchConfigurations"): lambda params: configuration,
            ("ec2", "DescribeSubnets"): subnets,
        }
        if not instances:
            await world.call("CreateCluster")
        yield world, groups


def subnets(params: Params) -> Params:
    zones = {"subnet-a": "a", "subnet-b": "b", "subnet-c": "c"}
    for each in params["SubnetIds"]:
        if each not in zones:
            raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{each}' does not exist")
    return {"Subnets": [{"SubnetId": e, "AvailabilityZone": REGION + zones[e]} for e in params["SubnetIds"]]}

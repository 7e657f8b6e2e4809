"""Auto Scaling groups, their instances and container instances in memory, for CloudFormation alone."""

from __future__ import annotations

import base64
import copy
from typing import Any

from cfn_world import World
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params


class Launching:
    """Gives the services of a `World` groups. Instances come into service when `boot_seconds` have passed, and
    register with the cluster their user data names when `registers` is set."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Launching:
        """The groups without the world that they are in."""
        made = object.__new__(Launching)
        for name in ("groups", "configurations", "scripts", "launched"):
            setattr(made, name, copy.deepcopy(getattr(self, name), memo))
        return made

    def __init__(self, world: World, *, boot_seconds: float = 1.0, registers: bool = True) -> None:
        self.world = world
        self.boot_seconds = boot_seconds
        self.registers = registers
        self.groups: dict[str, Params] = {}
        self.configurations: dict[str, Params] = {}
        self.scripts: dict[str, str] = {}
        self.launched = 0
        self.fewest: dict[str, int] = {}
        fake: Any = world.fake
        before: Launching | None = getattr(fake, "launching", None)
        if before is not None:
            # A copied world goes on with the groups of the one it was copied from.
            self.groups, self.configurations, self.scripts = before.groups, before.configurations, before.scripts
            self.launched = before.launched
        fake.launching = self
        for name in dir(self):
            if name.startswith(("autoscaling_", "ec2_", "ecs_")):
                setattr(fake, name, getattr(self, name))

    # Launch configurations

    def autoscaling_DescribeLaunchConfigurations(self, params: Params, caller: Caller) -> Params:
        names = params["LaunchConfigurationNames"]
        return {"LaunchConfigurations": [self.configurations[n] for n in names if n in self.configurations]}

    def autoscaling_CreateLaunchConfiguration(self, params: Params, caller: Caller) -> None:
        self.configurations[params["LaunchConfigurationName"]] = params

    def autoscaling_DeleteLaunchConfiguration(self, params: Params, caller: Caller) -> None:
        self.configurations.pop(params["LaunchConfigurationName"], None)

    # Groups

    def autoscaling_CreateAutoScalingGroup(self, params: Params, caller: Caller) -> None:
        group = dict(params) | {"Instances": [], "SuspendedProcesses": []}
        group.setdefault("DesiredCapacity", params["MinSize"])
        self.groups[params["AutoScalingGroupName"]] = group
        self._fill(group)

    def autoscaling_UpdateAutoScalingGroup(self, params: Params, caller: Caller) -> None:
        group = self._group(params)
        group |= params
        group["DesiredCapacity"] = min(group["MaxSize"], max(group["MinSize"], group["DesiredCapacity"]))
        self._fill(group)
        while len(group["Instances"]) > group["DesiredCapacity"]:
            self._gone(group, group["Instances"][0])

    def autoscaling_SetDesiredCapacity(self, params: Params, caller: Caller) -> None:
        self.autoscaling_UpdateAutoScalingGroup(params, caller)

    def autoscaling_DeleteAutoScalingGroup(self, params: Params, caller: Caller) -> None:
        self._group(params)
        del self.groups[params["AutoScalingGroupName"]]

    def autoscaling_DescribeAutoScalingGroups(self, params: Params, caller: Caller) -> Params:
        names = params["AutoScalingGroupNames"]
        for group in self.groups.values():
            for each in group["Instances"]:
                if self.world.clock.now() >= each["ready"]:
                    each["LifecycleState"] = "InService"
            serving = sum(each["LifecycleState"] == "InService" for each in group["Instances"])
            name = group["AutoScalingGroupName"]
            if serving >= group["MinSize"] or name in self.fewest:
                self.fewest[name] = min(serving, self.fewest.get(name, serving))
        return {"AutoScalingGroups": [dict(self.groups[n]) for n in names if n in self.groups]}

    def autoscaling_TerminateInstanceInAutoScalingGroup(self, params: Params, caller: Caller) -> None:
        for group in self.groups.values():
            for each in list(group["Instances"]):
                if each["InstanceId"] == params["InstanceId"]:
                    if params["ShouldDecrementDesiredCapacity"]:
                        if group["DesiredCapacity"] - 1 < group["MinSize"]:
                            raise AwsError("ValidationError", "desiredSize equals minSize")
                        group["DesiredCapacity"] -= 1
                    self._gone(group, each)
                    self._fill(group)
                    return
        raise AwsError("ValidationError", f"Instance Id not found - No managed instance found {params}")

    def autoscaling_SuspendProcesses(self, params: Params, caller: Caller) -> None:
        self._group(params)["SuspendedProcesses"] = [{"ProcessName": e} for e in params["ScalingProcesses"]]

    def autoscaling_ResumeProcesses(self, params: Params, caller: Caller) -> None:
        self._group(params)["SuspendedProcesses"] = []

    def _group(self, params: Params) -> Params:
        name = params["AutoScalingGroupName"]
        if name not in self.groups:
            raise AwsError("ValidationError", f"AutoScalingGroup name not found - '{name}'")
        return self.groups[name]

    def _fill(self, group: Params) -> None:
        while len(group["Instances"]) < group["DesiredCapacity"]:
            self.launched += 1
            instance = f"i-{self.launched:04d}"
            group["Instances"].append(
                {
                    "InstanceId": instance,
                    "LifecycleState": "Pending",
                    "LaunchConfigurationName": group["LaunchConfigurationName"],
                    "ready": self.world.clock.now() + self.boot_seconds,
                }
            )
            configuration = self.configurations[group["LaunchConfigurationName"]]
            self.scripts[instance] = configuration.get("UserData", "")

    def _gone(self, group: Params, instance: Params) -> None:
        group["Instances"].remove(instance)

    # Instances

    def ec2_DescribeInstanceAttribute(self, params: Params, caller: Caller) -> Params:
        return {"UserData": {"Value": self.scripts[params["InstanceId"]]}}

    def ecs_ListContainerInstances(self, params: Params, caller: Caller) -> Params:
        found = [each["InstanceId"] for group in self.groups.values() for each in group["Instances"]]
        return {"containerInstanceArns": found if self.registers else []}

    def ecs_DescribeContainerInstances(self, params: Params, caller: Caller) -> Params:
        return {
            "containerInstances": [{"ec2InstanceId": e, "status": "ACTIVE"} for e in params["containerInstances"]]
        }


def launch(script: str, instance_type: str = "t3.small") -> Params:
    return {
        "Type": "AWS::AutoScaling::LaunchConfiguration",
        "Properties": {"ImageId": "ami-1", "InstanceType": instance_type, "UserData": {"Fn::Base64": script}},
    }


def encoded(script: str) -> str:
    return base64.b64encode(script.encode()).decode()


def group(size: int, most: int = 10, **more: Any) -> Params:
    properties = {"MinSize": str(size), "MaxSize": str(most), "LaunchConfigurationName": {"Ref": "Launch"}}
    return {
        "Type": "AWS::AutoScaling::AutoScalingGroup",
        "Properties": properties | more.pop("Properties", {}),
    } | more

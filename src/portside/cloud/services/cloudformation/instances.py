"""Signals that instances send: nothing runs on this cloud's instances, so the cloud sends them itself.

An instance whose user data calls `cfn-signal` is taken to have got that far when it has been seen in service in
its Auto Scaling group and, where its user data names a cluster, registered there. Nothing else is ever reported:
without such a call in the user data no signal is sent, and the wait for it ends as on AWS.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import boot_script
from portside.cloud.services.cloudformation.records import Stack
from portside.cloud.services.cloudformation.session import caller_of

AT_ONCE = 100


class Instances:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        # User data of an instance never changes while it runs.
        self._scripts: dict[str, str] = {}

    async def in_service(self, stack: Stack, group: str) -> list[str]:
        answer = await self._calls(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [group]}, caller_of(stack)
        )
        return [
            str(each["InstanceId"])
            for found in answer.get("AutoScalingGroups") or []
            for each in found.get("Instances") or []
            if each.get("LifecycleState") == "InService"
        ]

    async def running(self, stack: Stack, instance: str) -> list[str]:
        """The instance itself, once it runs."""
        answer = await self._calls("ec2", "DescribeInstances", {"InstanceIds": [instance]}, caller_of(stack))
        return [
            str(each["InstanceId"])
            for found in answer.get("Reservations") or []
            for each in found.get("Instances") or []
            if (each.get("State") or {}).get("Name") == "running"
        ]

    async def report(self, stack: Stack, logical_id: str, group: str, known: set[str]) -> None:
        """Send what the group's instances would have sent by now to the resource; not again for those `known`."""
        await self.report_of(stack, logical_id, await self.in_service(stack, group), known)

    async def report_of(self, stack: Stack, logical_id: str, instances: list[str], known: set[str]) -> None:
        caller = caller_of(stack)
        for instance in instances:
            if instance in known:
                continue
            script = await self._script(instance, caller)
            call = _meant(script, stack, logical_id)
            if call is None or not await self._ready(instance, script, caller):
                continue
            params = {
                "StackName": stack.id,
                "LogicalResourceId": logical_id,
                "UniqueId": instance,
                "Status": "SUCCESS" if call.success else "FAILURE",
            }
            try:
                await self._calls("cloudformation", "SignalResource", params, caller)
            except AwsError as error:
                if error.code != "ValidationError":
                    raise

    async def finished(self, stack: Stack, url: str, group: str) -> dict[str, bool]:
        """The instances of a group that would have sent word to a handle's URL, and whether of success."""
        caller = caller_of(stack)
        found = {}
        for instance in await self.in_service(stack, group):
            script = await self._script(instance, caller)
            for call in boot_script.calls(script):
                if call.url == url and await self._ready(instance, script, caller):
                    found[instance] = call.success
        return found

    async def _script(self, instance: str, caller: Caller) -> str:
        if instance not in self._scripts:
            params = {"InstanceId": instance, "Attribute": "userData"}
            answer = await self._calls("ec2", "DescribeInstanceAttribute", params, caller)
            encoded = str((answer.get("UserData") or {}).get("Value") or "")
            if len(self._scripts) > 1000:
                self._scripts.clear()
            self._scripts[instance] = boot_script.decoded(encoded)
        return self._scripts[instance]

    async def _ready(self, instance: str, script: str, caller: Caller) -> bool:
        cluster = boot_script.cluster(script)
        return not cluster or instance in await self._registered(cluster, caller)

    async def _registered(self, cluster: str, caller: Caller) -> set[str]:
        found: set[str] = set()
        params: Params = {"cluster": cluster}
        while True:
            try:
                answer = await self._calls("ecs", "ListContainerInstances", params, caller)
            except AwsError:
                return found  # the cluster is not there yet
            arns = answer.get("containerInstanceArns") or []
            if arns:
                described = await self._calls(
                    "ecs",
                    "DescribeContainerInstances",
                    {"cluster": cluster, "containerInstances": arns[:AT_ONCE]},
                    caller,
                )
                found |= {
                    str(each.get("ec2InstanceId"))
                    for each in described.get("containerInstances") or []
                    if each.get("status") == "ACTIVE"
                }
            if not answer.get("nextToken"):
                return found
            params = params | {"nextToken": answer["nextToken"]}


def _meant(script: str, stack: Stack, logical_id: str) -> boot_script.Call | None:
    """The call that is for this resource; of several, one that reports failure counts."""
    found = [
        each
        for each in boot_script.calls(script)
        if each.stack in (stack.name, stack.id)
        and each.resource == logical_id
        and each.region in ("", stack.region)
    ]
    return next((each for each in found if not each.success), found[0] if found else None)

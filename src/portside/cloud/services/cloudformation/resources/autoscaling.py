"""AWS::AutoScaling: groups, launch configurations, scaling policies, lifecycle hooks and scheduled actions.

What the policies of a group ask for is waited for in `waits.py` and carried out by `rolling_steps.py`.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import policies
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import GROUP, PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

SERVICE = "autoscaling"
_HOOK_DEFAULTS = {
    "HeartbeatTimeout": 3600,
    "DefaultResult": "ABANDON",
    "NotificationTargetARN": "",
}
_NOTIFICATIONS = ("NotificationConfiguration", "NotificationConfigurations")
_RENAMED = {"Cooldown": "DefaultCooldown", "HealthCheckGracePeriodSeconds": "HealthCheckGracePeriod"}


class AutoScalingGroup(Handler):
    type = "AWS::AutoScaling::AutoScalingGroup"
    name_property = "AutoScalingGroupName"
    name_style: ClassVar[NameStyle | None] = GROUP
    tagged = True

    async def find(self, work: Work) -> str | None:
        return work.name if await self._describe(work, work.name) is not None else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        found = await work.call(SERVICE, "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [name]})
        groups: list[Params] = found.get("AutoScalingGroups", [])
        return groups[0] if groups else None

    def _params(self, work: Work, operation: str, name: str) -> Params:
        given = dict(work.properties)
        for apart in ("Tags", *_NOTIFICATIONS):
            given.pop(apart, None)
        subnets = given.pop("VPCZoneIdentifier", None)
        params = request(SERVICE, operation, given, _RENAMED) | {"AutoScalingGroupName": name}
        if subnets:
            params["VPCZoneIdentifier"] = ",".join(subnets)
        return params

    def _tags(self, work: Work, name: str) -> list[Params]:
        own = {
            each["Key"]: bool(each.get("PropagateAtLaunch", False)) for each in work.properties.get("Tags") or []
        }
        return [
            {
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": own.get(key, True),
                "ResourceId": name,
                "ResourceType": "auto-scaling-group",
            }
            for key, value in work.all_tags(system=False).items()
        ]

    async def create(self, work: Work) -> tuple[str, Params]:
        params = self._params(work, "CreateAutoScalingGroup", work.name)
        tags = self._tags(work, work.name)
        if tags:
            params["Tags"] = tags
        if _told(work.properties):
            # Topics are told of the first instances too, which are launched once they are known.
            params |= {"MinSize": 0, "DesiredCapacity": 0}
        await work.call(SERVICE, "CreateAutoScalingGroup", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        name = {"AutoScalingGroupName": work.physical_id}
        told = _told(work.properties)
        for topic, types in told.items():
            if not work.old or _told(work.old).get(topic) != types:
                params = name | {"TopicARN": topic, "NotificationTypes": types}
                await work.call(SERVICE, "PutNotificationConfiguration", params)
        if told and not work.old:
            least = work.properties["MinSize"]
            sizes = {"MinSize": least, "DesiredCapacity": work.properties.get("DesiredCapacity", least)}
            params = request(SERVICE, "UpdateAutoScalingGroup", sizes) | name
            await work.call(SERVICE, "UpdateAutoScalingGroup", params)
        for each in work.properties.get("MetricsCollection") or []:
            params = request(SERVICE, "EnableMetricsCollection", each) | name
            await work.call(SERVICE, "EnableMetricsCollection", params)

    async def settled(self, work: Work) -> bool:
        found = await self._describe(work, work.physical_id)
        if found is None:
            return False
        serving = [each for each in found.get("Instances", []) if each.get("LifecycleState") == "InService"]
        return len(serving) >= int(found.get("DesiredCapacity", 0))

    async def update(self, work: Work) -> Params:
        name = work.physical_id
        params = self._params(work, "UpdateAutoScalingGroup", name)
        if policies.keeps_sizes(work.update_policy):
            for size in ("MinSize", "MaxSize", "DesiredCapacity"):
                if work.properties.get(size) == work.old.get(size):
                    params.pop(size, None)
        await work.call(SERVICE, "UpdateAutoScalingGroup", params)
        wanted, before = work.properties.get("TargetGroupARNs") or [], work.old.get("TargetGroupARNs") or []
        for operation, arns in (
            ("AttachLoadBalancerTargetGroups", [each for each in wanted if each not in before]),
            ("DetachLoadBalancerTargetGroups", [each for each in before if each not in wanted]),
        ):
            if arns:
                await work.call(SERVICE, operation, {"AutoScalingGroupName": name, "TargetGroupARNs": arns})
        for topic in _told(work.old):
            if topic not in _told(work.properties):
                params = {"AutoScalingGroupName": name, "TopicARN": topic}
                await work.call(SERVICE, "DeleteNotificationConfiguration", params)
        await self._rehook(work, name)
        await self.configure(work)
        tags = self._tags(work, name)
        if tags:
            await work.call(SERVICE, "CreateOrUpdateTags", {"Tags": tags})
        kept = work.all_tags(system=False)
        stale = [
            {"Key": each["Key"], "ResourceId": name, "ResourceType": "auto-scaling-group"}
            for each in work.old.get("Tags") or []
            if each["Key"] not in kept
        ]
        if stale:
            await work.call(SERVICE, "DeleteTags", {"Tags": stale})
        return {}

    async def _rehook(self, work: Work, name: str) -> None:
        wanted, before = _hooks(work.properties), _hooks(work.old)
        for each in before:
            if each not in wanted:
                params = {"AutoScalingGroupName": name, "LifecycleHookName": each}
                try:
                    await work.call(SERVICE, "DeleteLifecycleHook", params)
                except AwsError as error:
                    if not LifecycleHook().missing(error):
                        raise
        for each, hook in wanted.items():
            if before.get(each) != hook:
                params = request(SERVICE, "PutLifecycleHook", hook)
                await work.call(
                    SERVICE, "PutLifecycleHook", _HOOK_DEFAULTS | params | {"AutoScalingGroupName": name}
                )

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        return {"AutoScalingGroupARN": found.get("AutoScalingGroupARN")} if found is not None else {}

    async def delete(self, work: Work) -> None:
        params = {"AutoScalingGroupName": work.physical_id, "ForceDelete": True}
        await work.call(SERVICE, "DeleteAutoScalingGroup", params)

    async def gone(self, work: Work) -> bool:
        return await self._describe(work, work.physical_id) is None


def _told(properties: Params) -> dict[str, list[str]]:
    """The topics of a group, and the types of events that each is told of."""
    older = properties.get("NotificationConfiguration")
    found: dict[str, list[str]] = {}
    for each in [*([older] if older else []), *(properties.get("NotificationConfigurations") or [])]:
        topics = each["TopicARN"]
        for topic in topics if isinstance(topics, list) else [topics]:
            found[topic] = sorted({*found.get(topic, ()), *(each.get("NotificationTypes") or ())})
    return found


def _hooks(properties: Params) -> dict[str, Params]:
    """The hooks that a group is made with, by name."""
    return {each["LifecycleHookName"]: each for each in properties.get("LifecycleHookSpecificationList") or []}


class LaunchConfiguration(Handler):
    type = "AWS::AutoScaling::LaunchConfiguration"
    name_property = "LaunchConfigurationName"
    name_style: ClassVar[NameStyle | None] = PLAIN

    async def find(self, work: Work) -> str | None:
        params = {"LaunchConfigurationNames": [work.name]}
        found = await work.call(SERVICE, "DescribeLaunchConfigurations", params)
        return work.name if found.get("LaunchConfigurations") else None

    async def create(self, work: Work) -> tuple[str, Params]:
        given = dict(work.properties)
        monitored = given.pop("InstanceMonitoring", None)
        params = request(SERVICE, "CreateLaunchConfiguration", given)
        if monitored is not None:
            params["InstanceMonitoring"] = {"Enabled": str(monitored).lower() == "true"}
        params["LaunchConfigurationName"] = work.name
        await work.call(SERVICE, "CreateLaunchConfiguration", params)
        return work.name, {}

    async def delete(self, work: Work) -> None:
        params = {"LaunchConfigurationName": work.physical_id}
        await work.call(SERVICE, "DeleteLaunchConfiguration", params)


class ScalingPolicy(Handler):
    type = "AWS::AutoScaling::ScalingPolicy"
    name_style: ClassVar[NameStyle | None] = PLAIN

    async def find(self, work: Work) -> str | None:
        params = {"AutoScalingGroupName": work.properties["AutoScalingGroupName"], "PolicyNames": [work.name]}
        try:
            found = await work.call(SERVICE, "DescribePolicies", params)
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        policies = found.get("ScalingPolicies", [])
        return str(policies[0]["PolicyARN"]) if policies else None

    async def _put(self, work: Work, name: str) -> str:
        params = request(SERVICE, "PutScalingPolicy", work.properties) | {"PolicyName": name}
        made = await work.call(SERVICE, "PutScalingPolicy", params)
        # Not every endpoint answers with the ARN.
        arn = made.get("PolicyARN") or await self.find(work)
        if not arn:
            raise Failure(f"The scaling policy {name} was not made.", "ServiceInternalError")
        return str(arn)

    async def create(self, work: Work) -> tuple[str, Params]:
        return await self._put(work, work.name), {}

    async def update(self, work: Work) -> Params:
        await self._put(work, work.physical_id.rpartition("policyName/")[2])
        return {}

    async def read(self, work: Work) -> Params:
        return {"Arn": work.physical_id, "PolicyName": work.physical_id.rpartition("policyName/")[2]}

    async def delete(self, work: Work) -> None:
        params = {
            "AutoScalingGroupName": work.properties["AutoScalingGroupName"],
            "PolicyName": work.physical_id.rpartition("policyName/")[2],
        }
        await work.call(SERVICE, "DeletePolicy", params)


class LifecycleHook(Declared):
    type = "AWS::AutoScaling::LifecycleHook"
    service = SERVICE
    name_property = "LifecycleHookName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    name_is_unique = False
    creates = Call("PutLifecycleHook", {"LifecycleHookName": "$name"})
    updates = (Call("PutLifecycleHook", {"LifecycleHookName": "$id"}),)
    deletes = Call(
        "DeleteLifecycleHook", {"LifecycleHookName": "$id", "AutoScalingGroupName": "@AutoScalingGroupName"}
    )
    listing = Listing(
        Call("DescribeLifecycleHooks", {"AutoScalingGroupName": "@AutoScalingGroupName"}, "LifecycleHooks"),
        "LifecycleHookName",
        {"LifecycleHookName": "$name"},
        unique=True,
    )
    # A hook that loses one of these properties gets the service's default again.
    absent: ClassVar = _HOOK_DEFAULTS | {"NotificationMetadata": None, "RoleARN": None}

    def missing(self, error: AwsError) -> bool:
        return super().missing(error) or error.message.startswith("No Lifecycle Hook found")

    async def _apply(self, work: Work, call: Call, given: Params) -> None:
        # No call of the API takes metadata away again; a role goes with its target.
        await super()._apply(work, call, {name: value for name, value in given.items() if value is not None})


class ScheduledAction(Declared):
    type = "AWS::AutoScaling::ScheduledAction"
    service = SERVICE
    name_style: ClassVar[NameStyle | None] = GROUP
    creates = Call("PutScheduledUpdateGroupAction", {"ScheduledActionName": "$name"})
    updates = (Call("PutScheduledUpdateGroupAction", {"ScheduledActionName": "$id"}),)
    deletes = Call(
        "DeleteScheduledAction", {"ScheduledActionName": "$id", "AutoScalingGroupName": "@AutoScalingGroupName"}
    )
    listing = Listing(
        Call(
            "DescribeScheduledActions",
            {"AutoScalingGroupName": "@AutoScalingGroupName"},
            "ScheduledUpdateGroupActions",
        ),
        "ScheduledActionName",
        {"ScheduledActionName": "$name"},
        unique=True,
    )
    outputs: ClassVar = {"ScheduledActionName": "$id"}

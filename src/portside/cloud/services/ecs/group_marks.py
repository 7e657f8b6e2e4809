"""What an Auto Scaling group shows of the capacity provider that it belongs to: a tag, and a lifecycle hook.

The hook lets ECS drain an instance before the group terminates it. Both may be put twice.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.ecs.provider_records import Provider

MANAGED_TAG = "AmazonECSManaged"
DRAINING_HOOK = "ecs-managed-draining-termination-hook"
HOOK_SECONDS = 3600


async def mark(calls: Calls, caller: Caller, provider: Provider) -> None:
    if provider.managed:
        tag = {
            "ResourceId": provider.group_name,
            "ResourceType": "auto-scaling-group",
            "Key": MANAGED_TAG,
            "Value": "",
            "PropagateAtLaunch": True,
        }
        await calls("autoscaling", "CreateOrUpdateTags", {"Tags": [tag]}, caller)
    if provider.spec["managedDraining"] != "ENABLED":
        await unmark(calls, caller, provider)
        return
    hook = {
        "LifecycleHookName": DRAINING_HOOK,
        "AutoScalingGroupName": provider.group_name,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "HeartbeatTimeout": HOOK_SECONDS,
        "DefaultResult": "CONTINUE",
    }
    await calls("autoscaling", "PutLifecycleHook", hook, caller)


async def unmark(calls: Calls, caller: Caller, provider: Provider) -> None:
    hook = {"LifecycleHookName": DRAINING_HOOK, "AutoScalingGroupName": provider.group_name}
    try:
        await calls("autoscaling", "DeleteLifecycleHook", hook, caller)
    except AwsError as error:
        # The hook was not there, or the group has gone before its provider.
        if error.status >= 500:
            raise

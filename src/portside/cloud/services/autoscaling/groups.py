"""Auto Scaling groups that grow smaller: the operations that may take an instance away.

The ancillary services keep the groups and launch their instances, but know neither termination policies nor what
has to happen before an instance goes. So that is kept here: a call writes down what the group is to have, and
`groups_loop.py` brings it about. What is shown is the ancillary's answer with that laid over it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import (
    group_records,
    group_view,
    hook_records,
    hook_rules,
    launches,
    notices,
    records,
)
from portside.cloud.services.autoscaling.group_records import Key, Leaving
from portside.cloud.services.autoscaling.group_view import shown, staying
from portside.cloud.services.autoscaling.groups_loop import GroupsLoop
from portside.cloud.services.autoscaling.hook_actions import HookActions
from portside.cloud.services.autoscaling.hooks import HookApi, adopt
from portside.cloud.services.autoscaling.notifications import Notifications
from portside.cloud.services.calls import Caller, Calls, Params, Roles, operation


class GroupApi:
    """`ancillary` is asked for everything that is not kept here."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        ancillary: Calls,
        calls: Calls,
        ids: Ids,
        notifications: Notifications,
        log: Log,
        roles: Roles | None = None,
    ) -> None:
        database.migrate("autoscaling-groups", group_records.MIGRATIONS)
        self._database = database
        self._clock = clock
        self._ask = ancillary
        self._notifications = notifications
        self._actions = HookActions(ids, clock, notifications.telling)
        self.groups = GroupsLoop(
            database=database,
            clock=clock,
            pace=pace,
            ancillary=ancillary,
            notifications=notifications,
            actions=self._actions,
            log=log,
        )
        self.hooks = HookApi(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            ancillary=ancillary,
            actions=self._actions,
            roles=roles,
            wake=self.groups.wake,
        )

    # What is shown

    @operation("DescribeAutoScalingGroups")
    async def describe_auto_scaling_groups(self, caller: Caller, params: Params) -> Params:
        answer = await self._ask("autoscaling", "DescribeAutoScalingGroups", params, caller)
        found = [shown(self._database, caller.region, each) for each in answer.get("AutoScalingGroups") or []]
        return answer | {"AutoScalingGroups": found}

    @operation("DescribeAutoScalingInstances")
    async def describe_auto_scaling_instances(self, caller: Caller, params: Params) -> Params:
        answer = await self._ask("autoscaling", "DescribeAutoScalingInstances", params, caller)
        listed = answer.get("AutoScalingInstances") or []
        states = {
            name: group_view.states(self._database, Key(caller.region, name))
            for name in {each["AutoScalingGroupName"] for each in listed}
        }
        found = [group_view.overlaid(each, states[each["AutoScalingGroupName"]]) for each in listed]
        return answer | {"AutoScalingInstances": found}

    # The capacity

    @operation("SetDesiredCapacity")
    async def set_desired_capacity(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        wanted, least, most = params["DesiredCapacity"], group["MinSize"], group["MaxSize"]
        if wanted > most:
            raise _invalid(
                f"New SetDesiredCapacity value {wanted} is above max value {most} for the AutoScalingGroup."
            )
        if wanted < least:
            raise _invalid(
                f"New SetDesiredCapacity value {wanted} is below min value {least} for the AutoScalingGroup."
            )
        name = group["AutoScalingGroupName"]
        state = records.group(self._database, caller.region, name)
        if params.get("HonorCooldown") and self._clock.now() < state.cool_until:
            raise AwsError(
                "ScalingActivityInProgress", f"Scaling activity is in progress or cooling down for {name}."
            )
        await self._set(caller, group, wanted)
        return {}

    @operation("UpdateAutoScalingGroup")
    async def update_auto_scaling_group(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        least = params["MinSize"] if params.get("MinSize") is not None else group["MinSize"]
        most = params["MaxSize"] if params.get("MaxSize") is not None else group["MaxSize"]
        if least > most:
            raise _invalid(f"Min bound, {least}, must be less than or equal to max bound, {most}")
        wanted = params.get("DesiredCapacity")
        if wanted is None:
            wanted = max(least, min(most, shown(self._database, caller.region, group)["DesiredCapacity"]))
        elif not least <= wanted <= most:
            raise _invalid(
                f"Desired capacity:{wanted} must be between the specified min size:{least} and max size:{most}"
            )
        # The ancillary's own count stays as it is: it would take away whatever instance comes first.
        await self._ask(
            "autoscaling",
            "UpdateAutoScalingGroup",
            params | {"DesiredCapacity": group["DesiredCapacity"]},
            caller,
        )
        await self._set(caller, group, wanted)
        return {}

    async def _set(self, caller: Caller, group: Params, wanted: int) -> None:
        key = Key(caller.region, group["AutoScalingGroupName"])
        leaving = group_records.leaving(self._database, key)
        replaced = sum(1 for each in leaving if not each.decrement)
        present = len(staying(group, leaving)) + replaced
        with self._database.write() as tx:
            group_records.set_goal(tx, key, wanted if wanted < present else None)
            owed = hook_records.owed(tx, key)
            if owed.desired is not None:
                # What was to be launched later is part of what is asked for now.
                hook_records.save_owed(tx, replace(owed, desired=None))
        if wanted >= present:
            total = wanted + sum(1 for each in leaving if each.decrement)
            going = {each.instance for each in leaving}
            await self._grow(caller, group, total, going)
        else:
            self.groups.wake(key)

    @operation("CreateAutoScalingGroup")
    async def create_auto_scaling_group(self, caller: Caller, params: Params) -> Params:
        least, most = params["MinSize"], params["MaxSize"]
        wanted = params.get("DesiredCapacity")
        wanted = least if wanted is None else wanted
        if least > most:
            raise _invalid(f"Min bound, {least}, must be less than or equal to max bound, {most}")
        if not least <= wanted <= most:
            raise _invalid(
                f"Desired capacity:{wanted} must be between the specified min size:{least} and max size:{most}"
            )
        hooks = params.get("LifecycleHookSpecificationList") or []
        for each in hooks:
            hook_rules.merged(None, each)
        asked = {key: value for key, value in params.items() if key != "LifecycleHookSpecificationList"}
        answer = await self._ask("autoscaling", "CreateAutoScalingGroup", asked | {"DesiredCapacity": 0}, caller)
        group = await self._group(caller, params["AutoScalingGroupName"])
        if hooks:
            try:
                await self.hooks.put(caller, group, hooks)
            except AwsError:
                name = {"AutoScalingGroupName": group["AutoScalingGroupName"], "ForceDelete": True}
                await self._ask("autoscaling", "DeleteAutoScalingGroup", name, caller)
                raise
        await self._grow(caller, group, wanted, frozenset())
        return answer

    async def _grow(self, caller: Caller, group: Params, total: int, going: Collection[str]) -> None:
        try:
            await launches.grow(self._ask, caller, group, total, going)
        except AwsError as error:
            self._notifications.failed(Key(caller.region, group["AutoScalingGroupName"]), group, error)
            raise
        finally:
            self.groups.changed(caller.region)

    @operation("TerminateInstanceInAutoScalingGroup")
    async def terminate_instance(self, caller: Caller, params: Params) -> Params:
        ec2_id = params["InstanceId"]
        answer = await self._ask("autoscaling", "DescribeAutoScalingInstances", {"InstanceIds": [ec2_id]}, caller)
        found = answer.get("AutoScalingInstances") or []
        if not found:
            raise _invalid(f"Instance Id not found - No managed instance found for instance ID: {ec2_id}")
        group = await self._group(caller, found[0]["AutoScalingGroupName"])
        key = Key(caller.region, group["AutoScalingGroupName"])
        decrement = bool(params["ShouldDecrementDesiredCapacity"])
        desired = shown(self._database, caller.region, group)["DesiredCapacity"]
        if decrement and desired - 1 < group["MinSize"]:
            raise _invalid(
                f"Currently, desiredSize equals minSize ({group['MinSize']}). Terminating instance without "
                "replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity "
                "flag to false or lower group's min size."
            )
        await adopt(self._database, self._ask, caller, key)
        now = self._clock.now()
        with self._database.write() as tx:
            # One that is on its way out already stays as it is, with whatever it waits for.
            if ec2_id not in {each.instance for each in group_records.leaving(tx, key)}:
                goal = group_records.goal(tx, key)
                if goal is not None and decrement:
                    group_records.set_goal(tx, key, goal - 1)
                self._actions.leave(tx, group, Leaving(key.region, ec2_id, key.name, now, decrement))
                self._notifications.because(tx, key, ec2_id, notices.asked(ec2_id))
        self.groups.wake(key)
        return {
            "Activity": {
                "ActivityId": f"{ec2_id}-termination",
                "AutoScalingGroupName": key.name,
                "Description": f"Terminating EC2 instance: {ec2_id}",
                "Cause": f"instance {ec2_id} was taken out of service in response to a user request.",
                "StartTime": now,
                "StatusCode": "InProgress",
                "Progress": 0,
            }
        }

    @operation("DeleteAutoScalingGroup")
    async def delete_auto_scaling_group(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        name = group["AutoScalingGroupName"]
        instances = group.get("Instances") or []
        if instances and not params.get("ForceDelete"):
            raise AwsError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                "request(s) still in the group.",
            )
        protected = [each["InstanceId"] for each in instances if each.get("ProtectedFromScaleIn")]
        if protected:
            # Protection is against scaling in; the end of the group takes all of its instances with it.
            await self._ask(
                "autoscaling",
                "SetInstanceProtection",
                {"AutoScalingGroupName": name, "InstanceIds": protected, "ProtectedFromScaleIn": False},
                caller,
            )
        # A later group of the same name must not inherit what the ancillary services have of its hooks.
        await adopt(self._database, self._ask, caller, Key(caller.region, name))
        await self._ask("autoscaling", "DeleteAutoScalingGroup", params, caller)
        with self._database.write() as tx:
            group_records.forget_group(tx, Key(caller.region, name))
            hook_records.forget_group(tx, Key(caller.region, name))
            self._notifications.ended(tx, Key(caller.region, name), group)
        return {}

    @operation("SetInstanceProtection")
    async def set_instance_protection(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        known = {each["InstanceId"] for each in group.get("Instances") or []}
        for each in params["InstanceIds"]:
            if each not in known:
                raise _invalid(
                    f"The instance {each} is not part of Auto Scaling group {params['AutoScalingGroupName']}."
                )
        answer = await self._ask("autoscaling", "SetInstanceProtection", params, caller)
        key = Key(caller.region, params["AutoScalingGroupName"])
        if group_records.goal(self._database, key) is not None:
            self.groups.wake(key)
        return answer

    async def _group(self, caller: Caller, name: str) -> Params:
        """The group as the ancillary services have it."""
        answer = await self._ask(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [name]}, caller
        )
        found: list[Params] = answer.get("AutoScalingGroups") or []
        if not found:
            raise _invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return found[0]


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)

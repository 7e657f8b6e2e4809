"""Lifecycle hooks of Auto Scaling groups: the operations.

The hooks are kept here, for the ancillary services keep neither targets nor roles. Which instance waits for which
is the business of `hook_actions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import deliveries, hook_records, hook_rules, notices
from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.autoscaling.hook_actions import HookActions
from portside.cloud.services.autoscaling.hook_records import Action, Arrival, Stage
from portside.cloud.services.autoscaling.hook_rules import ABANDON, CONTINUE, HOOKS, LAUNCHING, Hook, invalid
from portside.cloud.services.autoscaling.notices import Kind
from portside.cloud.services.autoscaling.notifications_loop import group_of
from portside.cloud.services.calls import Caller, Calls, Params, Roles, operation


class HookApi:
    """`ancillary` has the groups, `calls` reaches targets by `roles`; `wake` has a group looked at."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        ancillary: Calls,
        actions: HookActions,
        roles: Roles | None,
        wake: Callable[[Key], None],
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._ask = ancillary
        self._actions = actions
        self._roles = roles
        self._wake = wake

    @operation("PutLifecycleHook")
    async def put_lifecycle_hook(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        await self.put(caller, group, [params])
        return {}

    async def put(self, caller: Caller, group: Params, wanted: Sequence[Params]) -> None:
        """Put hooks to a group, all or none."""
        key = Key(caller.region, group["AutoScalingGroupName"])
        await adopt(self._db, self._ask, caller, key)
        before = {each.name: each for each in hook_records.hooks(self._db, key)}
        hooks = [hook_rules.merged(before.get(each["LifecycleHookName"]), each) for each in wanted]
        if len({*before, *(each.name for each in hooks)}) > HOOKS:
            raise AwsError("LimitExceeded", f"Only {HOOKS} lifecycle hooks are allowed per Auto Scaling group.")
        for hook, given in zip(hooks, wanted, strict=True):
            if given.get("NotificationTargetARN"):
                await self._test(key, group, hook)
        # Whoever is there by now has been launched without a hook.
        fresh = await self._group(caller, key.name)
        with self._db.write() as tx:
            known = hook_records.arrivals(tx, key)
            first = not hook_records.hooks(tx, key, LAUNCHING)
            for hook in hooks:
                hook_records.save_hook(tx, key, hook)
            if first and any(each.transition == LAUNCHING for each in hooks):
                now = self._clock.now()
                for each in fresh.get("Instances") or []:
                    if each["InstanceId"] not in known:
                        there = Arrival(key.region, each["InstanceId"], key.name, now, Stage.SERVING)
                        hook_records.save_arrival(tx, there)
            tx.after_commit(lambda: self._wake(key))

    async def _test(self, key: Key, group: Params, hook: Hook) -> None:
        arn = group["AutoScalingGroupARN"]
        text = notices.test(arn.split(":")[4], key.name, arn, self._ids.uuid(), self._clock.now())
        subject = notices.subject(Kind.TEST, key.name)
        try:
            await deliveries.deliver(self._calls, self._roles, key, hook.target, subject, text, hook.role)
        except AwsError as error:
            if error.status >= 500:
                raise
            raise invalid(
                f"Unable to publish test message to notification target {hook.target} using IAM role {hook.role}. "
                "Please check your target and role configuration and try to put lifecycle hook again."
            ) from None

    @operation("DescribeLifecycleHooks")
    async def describe_lifecycle_hooks(self, caller: Caller, params: Params) -> Params:
        key = Key(caller.region, params["AutoScalingGroupName"])
        await adopt(self._db, self._ask, caller, key)
        wanted = params.get("LifecycleHookNames")
        found = [each for each in hook_records.hooks(self._db, key) if not wanted or each.name in wanted]
        return {"LifecycleHooks": [hook_rules.shown(each, key.name) for each in found]}

    @operation("DescribeLifecycleHookTypes")
    def describe_lifecycle_hook_types(self, caller: Caller, params: Params) -> Params:
        return {"LifecycleHookTypes": list(hook_rules.TRANSITIONS)}

    @operation("DeleteLifecycleHook")
    async def delete_lifecycle_hook(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        key, name = Key(caller.region, group["AutoScalingGroupName"]), params["LifecycleHookName"]
        await adopt(self._db, self._ask, caller, key)
        with self._db.write() as tx:
            if hook_records.hook(tx, key, name) is None:
                raise invalid(f"No Lifecycle Hook found with name {name}")
            hook_records.forget_hook(tx, key, name)
            for each in hook_records.actions(tx, key):
                if each.hook == name:
                    self._actions.finish(tx, each, ABANDON if each.transition == LAUNCHING else CONTINUE)
            tx.after_commit(lambda: self._wake(key))
        return {}

    @operation("CompleteLifecycleAction")
    def complete_lifecycle_action(self, caller: Caller, params: Params) -> Params:
        result = params["LifecycleActionResult"]
        hook_rules.check_result(result, "LifecycleActionResult")
        found = self._action(caller, params)
        with self._db.write() as tx:
            self._actions.finish(tx, found, result)
            tx.after_commit(lambda: self._wake(Key(found.region, found.name)))
        return {}

    @operation("RecordLifecycleActionHeartbeat")
    def record_lifecycle_action_heartbeat(self, caller: Caller, params: Params) -> Params:
        found = self._action(caller, params)
        deadline = min(self._clock.now() + found.timeout, found.ends)
        with self._db.write() as tx:
            hook_records.save_action(tx, replace(found, deadline=max(found.deadline, deadline)))
        return {}

    def _action(self, caller: Caller, params: Params) -> Action:
        """The action that a token or an instance names; one whose time is over is no more."""
        token, instance = params.get("LifecycleActionToken"), params.get("InstanceId")
        if not token and not instance:
            raise invalid("Either LifecycleActionToken or InstanceId is required.")
        key = Key(caller.region, params["AutoScalingGroupName"].rpartition("autoScalingGroupName/")[2])
        for each in hook_records.actions(self._db, key):
            if each.hook != params["LifecycleHookName"] or each.deadline <= self._clock.now():
                continue
            if (not token or each.token == token) and (not instance or each.instance == instance):
                return each
        named = f"token {token}" if token else f"instance ID {instance}"
        raise invalid(f"No active Lifecycle Action found with {named}")

    async def _group(self, caller: Caller, name: str) -> Params:
        found = await group_of(self._ask, caller, name)
        if found is None:
            raise invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return found


async def adopt(database: Database, ask: Calls, caller: Caller, key: Key) -> None:
    """Take over the hooks that an earlier version left with the ancillary services."""
    answer = await ask("autoscaling", "DescribeLifecycleHooks", {"AutoScalingGroupName": key.name}, caller)
    for each in answer.get("LifecycleHooks") or []:
        name = each["LifecycleHookName"]
        with database.write() as tx:
            if hook_records.hook(tx, key, name) is None:
                hook = Hook(
                    name,
                    each["LifecycleTransition"],
                    timeout=int(each.get("HeartbeatTimeout") or hook_rules.HEARTBEAT),
                    result=each.get("DefaultResult") or ABANDON,
                )
                hook_records.save_hook(tx, key, hook)
        named = {"LifecycleHookName": name, "AutoScalingGroupName": key.name}
        await ask("autoscaling", "DeleteLifecycleHook", named, caller)

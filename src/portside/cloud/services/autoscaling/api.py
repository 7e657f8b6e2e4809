"""Amazon EC2 Auto Scaling: what a policy does when it is executed. The groups themselves are ancillary.

Owns ExecutePolicy, which alarms call too: adjustments, steps, cool-downs, warm-ups, suspended processes. Waits are
shortened by the cloud's pace; what is shown stays as configured.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import records
from portside.cloud.services.autoscaling.groups import GroupApi
from portside.cloud.services.autoscaling.groups_loop import GroupsLoop
from portside.cloud.services.autoscaling.notifications import Notifications
from portside.cloud.services.autoscaling.records import GroupState
from portside.cloud.services.autoscaling.scheduled_actions_loop import ScheduledActions
from portside.cloud.services.autoscaling.tracking_policies import TrackingPolicies
from portside.cloud.services.calls import Caller, Calls, Params, Roles, Service, operation, operations_of
from portside.cloud.services.scaling.adjustments import Adjustment, Bounds, StepRange, adjusted, step

DEFAULT_COOLDOWN = 300


class AutoScalingApi:
    """`ancillary` keeps the groups; without it their operations are not answered here. `tracking` are the policies
    that track a target, `scheduled` the actions with a time; without them there are none."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        log: Log,
        ancillary: Calls | None = None,
        tracking: TrackingPolicies | None = None,
        scheduled: ScheduledActions | None = None,
        ids: Ids | None = None,
        roles: Roles | None = None,
    ) -> None:
        ids = ids or Ids()
        self._groups: GroupApi | None = None
        self.notifications: Notifications | None = None
        if ancillary is not None:
            self.notifications = Notifications(
                database=database,
                ids=ids,
                clock=clock,
                calls=calls,
                ancillary=ancillary,
                log=log,
                roles=roles,
            )
            self._groups = GroupApi(
                database=database,
                clock=clock,
                pace=pace,
                ancillary=ancillary,
                calls=calls,
                ids=ids,
                notifications=self.notifications,
                log=log,
                roles=roles,
            )
        database.migrate("autoscaling", records.MIGRATIONS)
        self._db = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._log = log.bind(service="autoscaling")
        self._tracking = tracking
        self._scheduled = scheduled

    def service(self) -> Service:
        operations = {}
        if self._groups is not None:
            operations = operations_of(self._groups) | operations_of(self._groups.hooks)
        if self.notifications is not None:
            operations |= operations_of(self.notifications)
        if self._tracking is not None:
            operations |= operations_of(self._tracking)
        if self._scheduled is not None:
            operations |= operations_of(self._scheduled)
        return Service("autoscaling", operations | operations_of(self), partial=True)

    @property
    def groups(self) -> GroupsLoop | None:
        """The loop that takes instances away, for whoever gives it its life. So for `notifications`."""
        return self._groups.groups if self._groups is not None else None

    @operation("ExecutePolicy")
    async def execute_policy(self, caller: Caller, params: Params) -> Params:
        policy = await self._policy(caller, params)
        group = await self._group(caller, policy["AutoScalingGroupName"])
        suspended = {each["ProcessName"] for each in group.get("SuspendedProcesses") or ()}
        # An alarm's call has no access key: it comes from inside.
        if not caller.access_key and "AlarmNotification" in suspended:
            return {}
        state = records.group(self._db, caller.region, group["AutoScalingGroupName"])
        match policy.get("PolicyType") or "SimpleScaling":
            case "SimpleScaling":
                await self._simple(caller, policy, group, state, bool(params.get("HonorCooldown")))
            case "StepScaling":
                await self._step(caller, policy, group, state, params)
            # Only alarms execute these: their call has no access key.
            case "TargetTrackingScaling" if not caller.access_key and self._tracking is not None:
                await self._track(caller, policy, group, state, params.get("MetricValue"), self._tracking)
            case kind:
                raise AwsError("ValidationError", f"ExecutePolicy is not supported for policies of type {kind}.")
        return {}

    async def _policy(self, caller: Caller, params: Params) -> Params:
        asked: Params = {"PolicyNames": [params["PolicyName"]]}
        if params.get("AutoScalingGroupName"):
            asked["AutoScalingGroupName"] = params["AutoScalingGroupName"]
        name = str(params["PolicyName"])
        # By name and group, for the ancillary services do not know policies by ARN.
        if name.startswith("arn:"):
            group, _, name = name.rpartition(":autoScalingGroupName/")[2].partition(":policyName/")
            asked = {"PolicyNames": [name], "AutoScalingGroupName": group}
        found = (await self._calls("autoscaling", "DescribePolicies", asked, caller)).get("ScalingPolicies") or []
        if len(found) != 1:
            raise AwsError("ValidationError", f"Policy name {params['PolicyName']} not found.")
        policy: Params = found[0]
        return policy

    async def _group(self, caller: Caller, name: str) -> Params:
        answer = await self._calls(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [name]}, caller
        )
        found = answer.get("AutoScalingGroups") or []
        if not found:
            raise AwsError("ValidationError", f"AutoScalingGroup name not found - null: {name}")
        group: Params = found[0]
        return group

    async def _simple(self, caller: Caller, policy: Params, group: Params, state: GroupState, honor: bool) -> None:
        now = self._clock.now()
        if honor and now < state.cool_until:
            raise AwsError(
                "ScalingActivityInProgress",
                f"Scaling activity is in progress or cooling down for {group['AutoScalingGroupName']}.",
            )
        amount = policy.get("ScalingAdjustment") or 0
        wanted = adjusted(int(group["DesiredCapacity"]), _adjustment(policy, int(amount)), _bounds(group))
        if wanted == group["DesiredCapacity"]:
            return
        cooldown = policy.get("Cooldown")
        if cooldown is None:
            cooldown = group.get("DefaultCooldown", DEFAULT_COOLDOWN)
        await self._set(caller, group, wanted, policy)
        self._save(replace(state, cool_until=self._clock.now() + self._pace.wait(float(cooldown))))

    async def _step(
        self, caller: Caller, policy: Params, group: Params, state: GroupState, params: Params
    ) -> None:
        if params.get("MetricValue") is None or params.get("BreachThreshold") is None:
            raise AwsError(
                "ValidationError", "MetricValue and BreachThreshold are required for step scaling policies."
            )
        steps = [
            StepRange(
                each.get("MetricIntervalLowerBound"),
                each.get("MetricIntervalUpperBound"),
                int(each["ScalingAdjustment"]),
            )
            for each in policy.get("StepAdjustments") or ()
        ]
        amount = step(steps, float(params["MetricValue"]) - float(params["BreachThreshold"]))
        if amount is None:
            return
        now, desired = self._clock.now(), int(group["DesiredCapacity"])
        warming = now < state.warm_until
        # What is warming up has been asked for already: the same step again adds nothing.
        base = state.settled if warming else desired
        wanted = adjusted(base, _adjustment(policy, amount), _bounds(group))
        if wanted < desired and warming:
            return
        if wanted == desired or (warming and wanted <= desired):
            return
        await self._set(caller, group, wanted, policy)
        if wanted > desired:
            warmup = policy.get("EstimatedInstanceWarmup")
            if warmup is None:
                warmup = group.get("DefaultInstanceWarmup") or group.get("DefaultCooldown", DEFAULT_COOLDOWN)
            until = self._clock.now() + self._pace.wait(float(warmup))
            self._save(replace(state, warm_until=until, settled=base))

    async def _track(
        self,
        caller: Caller,
        policy: Params,
        group: Params,
        state: GroupState,
        value: float | None,
        tracking: TrackingPolicies,
    ) -> None:
        if value is None:
            return  # there is nothing to go by until the alarm has looked again
        now, desired = self._clock.now(), int(group["DesiredCapacity"])
        warming = now < state.warm_until
        base = state.settled if warming else desired
        name = group["AutoScalingGroupName"]
        found = await tracking.wanted(caller, name, policy["PolicyName"], base, float(value))
        if found is None:
            return
        wanted = _bounds(group).clamp(found)
        outward = float(value) > float(policy["TargetTrackingConfiguration"]["TargetValue"])
        if (outward and wanted <= desired) or (not outward and (warming or wanted >= desired)):
            return
        await self._set(caller, group, wanted, policy)
        if outward:
            warmup = policy.get("EstimatedInstanceWarmup")
            if warmup is None:
                warmup = group.get("DefaultInstanceWarmup") or group.get("DefaultCooldown", DEFAULT_COOLDOWN)
            until = self._clock.now() + self._pace.wait(float(warmup))
            self._save(replace(state, warm_until=until, settled=base))

    async def _set(self, caller: Caller, group: Params, wanted: int, policy: Params) -> None:
        name = group["AutoScalingGroupName"]
        await self._calls(
            "autoscaling", "SetDesiredCapacity", {"AutoScalingGroupName": name, "DesiredCapacity": wanted}, caller
        )
        self._log.info(
            "capacity set", group=name, policy=policy["PolicyName"], before=group["DesiredCapacity"], now=wanted
        )

    def _save(self, state: GroupState) -> None:
        with self._db.write() as tx:
            records.save_group(tx, state)


def _adjustment(policy: Params, amount: int) -> Adjustment:
    least = int(policy.get("MinAdjustmentMagnitude") or policy.get("MinAdjustmentStep") or 0)
    return Adjustment(policy.get("AdjustmentType") or "ChangeInCapacity", amount, least)


def _bounds(group: Params) -> Bounds:
    return Bounds(int(group["MinSize"]), int(group["MaxSize"]))

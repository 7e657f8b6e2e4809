"""Policies of EC2 Auto Scaling groups that track a target: putting and deleting them, their alarms, what they ask.

The ancillary services keep the policies; the alarms are ours, made with a policy and deleted with it. A policy
that is gone without our doing (its group was deleted) is noticed now and then.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import tracked
from portside.cloud.services.autoscaling.tracked import Tracked
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.scaling import tracking

KIND = "TargetTrackingScaling"
RECHECK = 30.0
FRESH_PERIODS = 3
_NOT_OFFERED = ("ASGAverageNetworkIn", "ASGAverageNetworkOut")


class TrackingPolicies:
    """`ancillary` is where policies are kept. Keys of the loop are those of `Tracked`."""

    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, pace: Pace, calls: Calls, ancillary: Calls, log: Log
    ) -> None:
        database.migrate("autoscaling-tracking", tracked.MIGRATIONS)
        self._db = database
        self._ids = ids
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._ancillary = ancillary
        self.loop = Loop("autoscaling.tracking", self.turn, clock, log)

    def resume(self) -> None:
        for each in tracked.every(self._db):
            self.loop.wake(each.key)

    # Operations

    @operation("PutScalingPolicy")
    async def put_scaling_policy(self, caller: Caller, params: Params) -> Params:
        kind = params.get("PolicyType") or "SimpleScaling"
        if kind == "PredictiveScaling":
            raise _invalid("portside's local cloud does not offer predictive scaling.")
        group, name = params["AutoScalingGroupName"], params["PolicyName"]
        spec: Params = {"DisableScaleIn": False} | (params.get("TargetTrackingConfiguration") or {})
        if kind == KIND:
            if "TargetValue" not in spec:
                raise _invalid(f"TargetTrackingConfiguration is required for policies of type {KIND}.")
            metric_of(spec, group)
        answer = await self._ancillary("autoscaling", "PutScalingPolicy", params, caller)
        # Not every endpoint answers with the ARN.
        arn = answer.get("PolicyARN") or await self._arn(caller, group, name)
        key = tracked.key_of(caller.region, group, name)
        if kind != KIND:
            # One of the name that tracked a target does so no longer.
            if tracked.one(self._db, key) is not None:
                await self.turn(key)
            return answer | {"PolicyARN": arn}
        with self._db.write() as tx:
            before = tracked.one(tx, key)
            named = f"TargetTracking-{group}-Alarm{{}}-{self._ids.uuid()}"
            made = Tracked(
                key,
                caller.region,
                caller.account,
                group,
                name,
                arn,
                spec,
                before.high if before else named.format("High"),
                before.low if before else named.format("Low"),
            )
            tracked.save(tx, made)
            tx.after_commit(lambda: self.loop.wake(key))
        await self.turn(key)
        return {"PolicyARN": arn, "Alarms": _alarms(made)}

    async def _arn(self, caller: Caller, group: str, name: str) -> str:
        asked = {"AutoScalingGroupName": group, "PolicyNames": [name]}
        answer = await self._ancillary("autoscaling", "DescribePolicies", asked, caller)
        found = answer.get("ScalingPolicies") or []
        if not found:
            raise AwsError("InternalFailure", f"The policy {name} was not kept.", 500)
        return str(found[0]["PolicyARN"])

    @operation("DeletePolicy")
    async def delete_policy(self, caller: Caller, params: Params) -> Params:
        answer = await self._ancillary("autoscaling", "DeletePolicy", params, caller)
        name, group = params["PolicyName"], params.get("AutoScalingGroupName") or ""
        for each in tracked.every(self._db):
            if each.region == caller.region and (
                each.arn == name or (each.name == name and group in ("", each.group_name))
            ):
                self.loop.wake(each.key)
                await self.turn(each.key)
        return answer

    @operation("DescribePolicies")
    async def describe_policies(self, caller: Caller, params: Params) -> Params:
        answer = await self._ancillary("autoscaling", "DescribePolicies", params, caller)
        shown = []
        for each in answer.get("ScalingPolicies") or []:
            key = tracked.key_of(caller.region, each["AutoScalingGroupName"], each["PolicyName"])
            ours = tracked.one(self._db, key)
            if ours is not None:
                # As it was put: the ancillary services know fewer of its members.
                each = each | {"Alarms": _alarms(ours), "TargetTrackingConfiguration": ours.spec}
            shown.append(each)
        return answer | {"ScalingPolicies": shown}

    # Alarms

    async def turn(self, key: str) -> TurnResult:
        policy = tracked.one(self._db, key)
        if policy is None:
            return Done()
        caller = Caller.root(policy.account, policy.region)
        if not await self._there(policy, caller):
            for name in (policy.high, policy.low):
                await self._delete(name, caller)
            with self._db.write() as tx:
                tracked.forget(tx, key)
            return Done()
        if not policy.settled:
            metric, target = metric_of(policy.spec, policy.group_name), float(policy.spec["TargetValue"])
            for name in (policy.high, policy.low):
                if name in policy.alarms:
                    params = tracking.alarm(name, policy.arn, metric, target, high=name == policy.high)
                    await self._calls("cloudwatch", "PutMetricAlarm", params, caller)
                else:
                    await self._delete(name, caller)
            with self._db.write() as tx:
                present = tracked.one(tx, key)
                if present is not None and present.spec == policy.spec:
                    tracked.save(tx, replace(present, settled=True))
        return After(RECHECK)

    async def _there(self, policy: Tracked, caller: Caller) -> bool:
        named = {"AutoScalingGroupNames": [policy.group_name]}
        groups = await self._calls("autoscaling", "DescribeAutoScalingGroups", named, caller)
        asked: Params = {"AutoScalingGroupName": policy.group_name}
        try:
            if not groups.get("AutoScalingGroups"):
                # Endpoints keep the policies of a group that is gone, and another of its name would inherit them.
                await self._ancillary("autoscaling", "DeletePolicy", asked | {"PolicyName": policy.name}, caller)
                return False
            asked["PolicyNames"] = [policy.name]
            found = await self._ancillary("autoscaling", "DescribePolicies", asked, caller)
        except AwsError as error:
            if error.status >= 500:
                raise
            return False
        return any(each.get("PolicyType") == KIND for each in found.get("ScalingPolicies") or ())

    async def _delete(self, name: str, caller: Caller) -> None:
        try:
            await self._calls("cloudwatch", "DeleteAlarms", {"AlarmNames": [name]}, caller)
        except AwsError as error:
            if not error.code.startswith("ResourceNotFound"):
                raise

    # What a policy asks for

    async def wanted(self, caller: Caller, group: str, name: str, base: int, value: float) -> int | None:
        """The capacity, not within bounds yet, that the metric's value asks for; None for none."""
        policy = tracked.one(self._db, tracked.key_of(caller.region, group, name))
        if policy is None:
            return None
        target = float(policy.spec["TargetValue"])
        if value > target:
            return tracking.outward(base, value, target)
        if policy.spec.get("DisableScaleIn"):
            return None
        own = tracking.inward(base, value, target)
        with self._db.write() as tx:
            tracked.save(tx, replace(policy, wanted=own, wanted_at=self._clock.now()))
        others = await self._others(policy, caller)
        return None if others is None else max(own, *others, 0)

    async def _others(self, policy: Tracked, caller: Caller) -> list[int] | None:
        """What the group's other policies of this kind would keep; None unless all agree to take away."""
        rest = [
            each
            for each in tracked.of_group(self._db, policy.region, policy.group_name)
            if each.key != policy.key and not each.spec.get("DisableScaleIn")
        ]
        if not rest:
            return []
        asked = {"AlarmNames": [each.low for each in rest]}
        answer = await self._calls("cloudwatch", "DescribeAlarms", asked, caller)
        states = {each["AlarmName"]: each["StateValue"] for each in answer.get("MetricAlarms") or []}
        since = self._clock.now() - FRESH_PERIODS * self._pace.wait(float(tracking.PERIOD))
        kept = [
            each.wanted
            for each in rest
            if each.wanted is not None and each.wanted_at >= since and states.get(each.low) == "ALARM"
        ]
        return kept if len(kept) == len(rest) else None


def metric_of(spec: Params, group: str) -> Params:
    """The metric as PutMetricAlarm takes it. Raises AwsError ValidationError."""
    predefined, custom = spec.get("PredefinedMetricSpecification"), spec.get("CustomizedMetricSpecification")
    if (predefined is None) == (custom is None):
        raise _invalid(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified."
        )
    if custom is not None:
        single = all(custom.get(key) for key in ("MetricName", "Namespace", "Statistic"))
        if not custom.get("Metrics") and not single:
            raise _invalid("MetricName, Namespace and Statistic are required in CustomizedMetricSpecification.")
        return tracking.customized(custom)
    assert predefined is not None
    kind = predefined["PredefinedMetricType"]
    if kind == "ASGAverageCPUUtilization":
        return {
            "Namespace": "AWS/EC2",
            "MetricName": "CPUUtilization",
            "Statistic": "Average",
            "Dimensions": [{"Name": "AutoScalingGroupName", "Value": group}],
        }
    if kind == "ALBRequestCountPerTarget":
        found = tracking.balancer_metric(predefined.get("ResourceLabel") or "")
        if found is None:
            raise _invalid(f"Invalid resource label: {predefined.get('ResourceLabel')}")
        return found
    if kind in _NOT_OFFERED:
        raise _invalid(f"portside's local cloud does not offer {kind}: it does not see instances' networks.")
    raise _invalid(f"Unknown predefined metric type: {kind}")


def _alarms(policy: Tracked) -> list[Params]:
    prefix = f"arn:aws:cloudwatch:{policy.region}:{policy.account}:alarm:"
    return [{"AlarmName": name, "AlarmARN": prefix + name} for name in policy.alarms]


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)

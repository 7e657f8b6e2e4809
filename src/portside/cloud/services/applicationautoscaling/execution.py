"""What happens when an alarm calls for a policy: the rules of `decisions.py`, applied to the service as it is now.

Owns the state of cool-downs. Several policies of target tracking take tasks away only if all of them agree; the
one that keeps the most decides.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.applicationautoscaling import errors, records
from portside.cloud.services.applicationautoscaling.activity_loop import ActivityLoop
from portside.cloud.services.applicationautoscaling.decisions import Situation, Wish, by_steps, resolve
from portside.cloud.services.applicationautoscaling.ecs_services import EcsServices
from portside.cloud.services.applicationautoscaling.records import Policy, Target
from portside.cloud.services.calls import Calls
from portside.cloud.services.scaling import tracking
from portside.cloud.services.scaling.adjustments import StepRange
from portside.cloud.services.scaling.triggers import Trigger

DEFAULT_COOLDOWN = 300
TRACKING = "TargetTrackingScaling"
# For how many periods another policy's wish on the way in is still news.
FRESH_PERIODS = 3


class Execution:
    """Implements `ServicePolicies`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        services: EcsServices,
        activities: ActivityLoop,
    ) -> None:
        self._db = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._services = services
        self._activities = activities
        self._busy: dict[str, asyncio.Lock] = {}

    async def execute(self, trigger: Trigger) -> None:
        policy = records.policy(self._db, trigger.policy)
        if policy is None or policy.deleted:
            raise errors.no_policy(trigger.policy.rpartition("policyName/")[2])
        # One after the other per target: what the first one sets is what the second one starts from.
        async with self._busy.setdefault(policy.target, asyncio.Lock()):
            await self._execute(policy, trigger)

    async def _execute(self, policy: Policy, trigger: Trigger) -> None:
        target = records.target(self._db, policy.target)
        if target is None:
            raise errors.no_target(policy.target.partition("/")[2])
        found = await self._services.counts(target.region, target.cluster, target.service)
        if found is None:
            raise AwsError("ValidationException", f"ECS service doesn't exist: {target.resource}")
        now = self._clock.now()
        situation = Situation(
            running=found.running,
            desired=found.desired,
            least=target.least,
            most=target.most,
            out_base=target.out_base if now < target.out_until else None,
            out_open=not target.suspended("DynamicScalingOutSuspended"),
            in_open=not (
                target.suspended("DynamicScalingInSuspended") or found.deploying or now < target.in_until
            ),
        )
        wish = await self._wish(policy, situation, trigger)
        wanted = None if wish is None else resolve(situation, wish)
        if wish is None or wanted is None:
            return
        cause = f"monitor alarm {trigger.alarm} in state {trigger.state} triggered policy {policy.name}"
        with self._db.write() as tx:
            fresh = records.target(tx, target.key)
            if fresh is None:
                return
            records.save_target(tx, self._cooled(fresh, policy, situation, outward=wish.outward))
            self._activities.begin(tx, fresh, wanted, cause)

    def _cooled(self, target: Target, policy: Policy, situation: Situation, *, outward: bool) -> Target:
        given = policy.configuration
        key = "Cooldown" if policy.kind != TRACKING else "ScaleOutCooldown" if outward else "ScaleInCooldown"
        seconds = given.get(key)
        until = self._clock.now() + self._pace.wait(float(DEFAULT_COOLDOWN if seconds is None else seconds))
        if outward:
            return replace(target, out_until=until, out_base=situation.base, in_until=0.0)
        return replace(target, in_until=until, out_until=0.0)

    async def _wish(self, policy: Policy, now: Situation, trigger: Trigger) -> Wish | None:
        if trigger.value is None or trigger.threshold is None:
            return None  # there is nothing to go by until the alarm has looked again
        given = policy.configuration
        if policy.kind != TRACKING:
            steps = [
                StepRange(
                    each.get("MetricIntervalLowerBound"),
                    each.get("MetricIntervalUpperBound"),
                    int(each["ScalingAdjustment"]),
                )
                for each in given.get("StepAdjustments") or ()
            ]
            magnitude = int(given.get("MinAdjustmentMagnitude") or 0)
            breach = trigger.value - trigger.threshold
            return by_steps(now, given.get("AdjustmentType") or "ChangeInCapacity", steps, breach, magnitude)
        target = float(given["TargetValue"])
        if trigger.value > target:
            return Wish(tracking.outward(now.base, trigger.value, target), True)
        if given.get("DisableScaleIn"):
            return None
        wanted = tracking.inward(now.running, trigger.value, target)
        with self._db.write() as tx:
            records.save_policy(tx, replace(policy, wanted=wanted, wanted_at=self._clock.now()))
        others = await self._others(policy)
        return None if others is None else Wish(max(wanted, *others, 0), False)

    async def _others(self, policy: Policy) -> list[int] | None:
        """What the other policies that track a target would keep; None unless all agree to take away."""
        rest = [
            each
            for each in records.policies(self._db, policy.target)
            if each.kind == TRACKING and each.arn != policy.arn and not each.configuration.get("DisableScaleIn")
        ]
        low = [each.alarms[1] for each in rest if len(each.alarms) > 1]
        if not low:
            return []
        caller = self._services.caller(policy.region)
        answer = await self._calls("cloudwatch", "DescribeAlarms", {"AlarmNames": low}, caller)
        states = {each["AlarmName"]: each["StateValue"] for each in answer.get("MetricAlarms") or []}
        if any(states.get(name) != "ALARM" for name in low):
            return None
        since = self._clock.now() - FRESH_PERIODS * self._pace.wait(float(tracking.PERIOD))
        if any(each.wanted is None or each.wanted_at < since for each in rest):
            return None
        return [each.wanted for each in rest if each.wanted is not None]

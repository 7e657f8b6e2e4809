"""Operations on scaling policies. The alarms of those that track a target are `policy_loop.py`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.applicationautoscaling import errors, metrics, records
from portside.cloud.services.applicationautoscaling.policy_loop import PolicyLoop
from portside.cloud.services.applicationautoscaling.records import CONFIGURATIONS, DIMENSION, NAMESPACE, Policy
from portside.cloud.services.applicationautoscaling.requests import check_namespace, key_of, page, resource_of
from portside.cloud.services.calls import Caller, Params, operation

STEPS, TRACKING = "StepScaling", "TargetTrackingScaling"
MOST_POLICIES = 50
MOST_STEPS = 20
_LEAST_TARGET, _MOST_TARGET = 8.515920e-109, 1.174271e108
_ADJUSTMENTS = ("ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity")


class PolicyCalls:
    def __init__(self, *, database: Database, ids: Ids, clock: Clock, policies: PolicyLoop) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._policies = policies

    @operation("PutScalingPolicy")
    async def put_scaling_policy(self, caller: Caller, params: Params) -> Params:
        resource = resource_of(params)
        key, name = key_of(caller, resource), params["PolicyName"]
        with self._db.write() as tx:
            if records.target(tx, key) is None:
                raise errors.no_target(resource)
            present = records.policies(tx, key)
            before = next((each for each in present if each.name == name), None)
            kind = params.get("PolicyType") or (before.kind if before else STEPS)
            given = _configuration(kind, params, resource, before)
            if before is None and len(present) >= MOST_POLICIES:
                raise errors.invalid(f"A scalable target can have at most {MOST_POLICIES} scaling policies.")
            made = before or Policy(
                arn=f"arn:aws:autoscaling:{caller.region}:{caller.account}:scalingPolicy:{self._ids.uuid()}:"
                f"resource/{NAMESPACE}/{resource}:policyName/{name}",
                target=key,
                name=name,
                kind=kind,
                created_at=self._clock.now(),
            )
            alarms = made.alarms
            if kind == TRACKING and not alarms:
                alarms = [f"TargetTracking-{resource}-Alarm{way}-{self._ids.uuid()}" for way in ("High", "Low")]
            spec = {CONFIGURATIONS[kind]: given}
            made = replace(made, spec=spec, alarms=alarms, settled=kind != TRACKING)
            records.save_policy(tx, made)
            tx.after_commit(lambda: self._policies.loop.wake(made.arn))
        # The alarms are there when the call is answered, as on AWS; if not, the loop goes on with them.
        if not made.settled:
            await self._policies.turn(made.arn)
        return {"PolicyARN": made.arn, "Alarms": _alarms(made, caller)}

    @operation("DeleteScalingPolicy")
    async def delete_scaling_policy(self, caller: Caller, params: Params) -> Params:
        resource = resource_of(params)
        key, name = key_of(caller, resource), params["PolicyName"]
        with self._db.write() as tx:
            found = next((each for each in records.policies(tx, key) if each.name == name), None)
            if found is None:
                raise errors.no_policy(name, resource)
            records.save_policy(tx, replace(found, deleted=True, settled=False))
            tx.after_commit(lambda: self._policies.loop.wake(found.arn))
        await self._policies.turn(found.arn)
        return {}

    @operation("DescribeScalingPolicies")
    def describe_scaling_policies(self, caller: Caller, params: Params) -> Params:
        check_namespace(params)
        resource, wanted = params.get("ResourceId"), params.get("PolicyNames")
        found = (
            records.policies(self._db, key_of(caller, resource))
            if resource
            else records.policies_of_region(self._db, caller.region)
        )
        shown, token = page([each for each in found if not wanted or each.name in wanted], params)
        return {"ScalingPolicies": [_shown(each, caller) for each in shown], "NextToken": token}


def _configuration(kind: str, params: Params, resource: str, before: Policy | None) -> Params:
    """The configuration that the policy gets. Raises AwsError ValidationException."""
    if kind == "PredictiveScaling" or params.get("PredictiveScalingPolicyConfiguration"):
        raise errors.not_offered("predictive scaling")
    if kind not in (STEPS, TRACKING):
        raise errors.invalid(f"Unsupported policy type: {kind}")
    if before is not None and before.kind != kind:
        raise errors.invalid(f"The policy type of an existing scaling policy cannot be changed: {before.name}")
    other = CONFIGURATIONS[TRACKING if kind == STEPS else STEPS]
    if params.get(other):
        raise errors.invalid(f"{other} cannot be used with the policy type {kind}.")
    given: Params | None = params.get(CONFIGURATIONS[kind])
    if not given:
        raise errors.invalid(f"{CONFIGURATIONS[kind]} is required for the policy type {kind}.")
    if kind == STEPS:
        _check_steps(given)
        return {"MetricAggregationType": "Average"} | given
    if not _LEAST_TARGET <= float(given["TargetValue"]) <= _MOST_TARGET:
        raise errors.invalid(f"Target value must be between {_LEAST_TARGET} and {_MOST_TARGET}.")
    metrics.tracked(given, resource)
    return {"DisableScaleIn": False} | given


def _check_steps(given: Params) -> None:
    if given.get("AdjustmentType") not in _ADJUSTMENTS:
        raise errors.invalid(f"AdjustmentType must be one of {', '.join(_ADJUSTMENTS)}.")
    if given.get("MinAdjustmentMagnitude") is not None and given["AdjustmentType"] != "PercentChangeInCapacity":
        raise errors.invalid("MinAdjustmentMagnitude can be used with PercentChangeInCapacity only.")
    steps = given.get("StepAdjustments") or []
    if not 1 <= len(steps) <= MOST_STEPS:
        raise errors.invalid(f"A step scaling policy must have 1 to {MOST_STEPS} step adjustments.")
    fault = overlap(
        [(each.get("MetricIntervalLowerBound"), each.get("MetricIntervalUpperBound")) for each in steps]
    )
    if fault:
        raise errors.invalid(fault)
    if given["AdjustmentType"] == "ExactCapacity" and any(each["ScalingAdjustment"] < 0 for each in steps):
        raise errors.invalid("ScalingAdjustment must not be negative with the adjustment type ExactCapacity.")


def overlap(bounds: Sequence[tuple[float | None, float | None]]) -> str:
    """What is wrong with the intervals of steps: each has a bound, none overlap, and there is no gap. Empty if
    nothing is."""
    if len(bounds) > 1 and any(low is None and high is None for low, high in bounds):
        return "At least one of MetricIntervalLowerBound and MetricIntervalUpperBound must be specified."
    endless = float("inf")
    spans = sorted((-endless if low is None else low, endless if high is None else high) for low, high in bounds)
    for low, high in spans:
        if low >= high:
            return "MetricIntervalLowerBound must be less than MetricIntervalUpperBound."
    for (_, end), (begin, _) in pairwise(spans):
        if begin < end:
            return "Step adjustment intervals can't overlap."
        if begin > end:
            return "Step adjustment intervals can't have gaps between them."
    return ""


def _alarms(policy: Policy, caller: Caller) -> list[Params]:
    wanted = policy.alarms[: 1 if policy.configuration.get("DisableScaleIn") else 2]
    return [
        {"AlarmName": name, "AlarmARN": f"arn:aws:cloudwatch:{caller.region}:{caller.account}:alarm:{name}"}
        for name in wanted
    ]


def _shown(policy: Policy, caller: Caller) -> Params:
    return {
        "PolicyARN": policy.arn,
        "PolicyName": policy.name,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": policy.target.partition("/")[2],
        "ScalableDimension": DIMENSION,
        "PolicyType": policy.kind,
        "Alarms": _alarms(policy, caller),
        "CreationTime": policy.created_at,
    } | policy.spec

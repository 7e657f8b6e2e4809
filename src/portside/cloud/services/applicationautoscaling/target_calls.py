"""Operations on scalable targets, their activities and their tags."""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.applicationautoscaling import errors, records
from portside.cloud.services.applicationautoscaling.ecs_services import EcsServices
from portside.cloud.services.applicationautoscaling.policy_loop import PolicyLoop
from portside.cloud.services.applicationautoscaling.records import DIMENSION, NAMESPACE, Activity, Target
from portside.cloud.services.applicationautoscaling.requests import check_namespace, key_of, page, resource_of
from portside.cloud.services.calls import Caller, Params, operation

MOST_TAGS = 50
_SUSPENDABLE = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_ROLE = (
    "arn:aws:iam::{}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_ECSService"
)


class TargetCalls:
    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, services: EcsServices, policies: PolicyLoop
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._services = services
        self._policies = policies

    @operation("RegisterScalableTarget")
    async def register_scalable_target(self, caller: Caller, params: Params) -> Params:
        resource = resource_of(params)
        key = key_of(caller, resource)
        _check_bounds(records.target(self._db, key), params)
        _, cluster, service = resource.split("/")
        try:
            found = await self._services.counts(caller.region, cluster, service)
        except AwsError as error:
            if error.status >= 500:
                raise
            found = None
        if found is None:
            raise errors.invalid(f"ECS service doesn't exist: {resource}")
        with self._db.write() as tx:
            before = records.target(tx, key)
            _check_bounds(before, params)
            made = before or Target(
                key,
                caller.region,
                resource,
                f"arn:aws:application-autoscaling:{caller.region}:{caller.account}:"
                f"scalable-target/{self._ids.hex(36)}",
                int(params["MinCapacity"]),
                int(params["MaxCapacity"]),
                self._clock.now(),
            )
            state = dict(made.spec.get("SuspendedState") or {})
            state |= {key: each for key, each in (params.get("SuspendedState") or {}).items() if each is not None}
            made = replace(
                made,
                least=int(params.get("MinCapacity", made.least)),
                most=int(params.get("MaxCapacity", made.most)),
                spec={"SuspendedState": state},
                tags=made.tags | dict(params.get("Tags") or {}),
            )
            records.save_target(tx, made)
        return {"ScalableTargetARN": made.arn}

    @operation("DeregisterScalableTarget")
    async def deregister_scalable_target(self, caller: Caller, params: Params) -> Params:
        """With all that belongs to it."""
        resource = resource_of(params)
        key = key_of(caller, resource)
        with self._db.write() as tx:
            if records.target(tx, key) is None:
                raise errors.no_target(resource)
            gone = records.policies(tx, key)
            records.delete_target(tx, key)
            for each in gone:
                tx.after_commit(lambda arn=each.arn: self._policies.loop.wake(arn))  # type: ignore[misc]
        return {}

    @operation("DescribeScalableTargets")
    def describe_scalable_targets(self, caller: Caller, params: Params) -> Params:
        check_namespace(params)
        wanted = params.get("ResourceIds")
        found = [
            each for each in records.targets(self._db, caller.region) if not wanted or each.resource in wanted
        ]
        shown, token = page(found, params)
        return {"ScalableTargets": [_shown(each, caller.account) for each in shown], "NextToken": token}

    @operation("DescribeScalingActivities")
    def describe_scaling_activities(self, caller: Caller, params: Params) -> Params:
        check_namespace(params)
        if params.get("IncludeNotScaledActivities"):
            raise errors.not_offered("IncludeNotScaledActivities")
        resource = params.get("ResourceId")
        key = key_of(caller, resource) if resource else ""
        shown, token = page(records.activities(self._db, caller.region, key), params)
        return {"ScalingActivities": [_activity(each) for each in shown], "NextToken": token}

    # Tags

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        return {"Tags": self._by_arn(self._db, caller, params["ResourceARN"]).tags}

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        with self._db.write() as tx:
            found = self._by_arn(tx, caller, params["ResourceARN"])
            tags = found.tags | params["Tags"]
            if len(tags) > MOST_TAGS:
                raise AwsError("TooManyTagsException", f"A resource can have at most {MOST_TAGS} tags.")
            records.save_target(tx, replace(found, tags=tags))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        with self._db.write() as tx:
            found = self._by_arn(tx, caller, params["ResourceARN"])
            tags = {key: value for key, value in found.tags.items() if key not in params["TagKeys"]}
            records.save_target(tx, replace(found, tags=tags))
        return {}

    def _by_arn(self, db: Database | Transaction, caller: Caller, arn: str) -> Target:
        for each in records.targets(db, caller.region):
            if each.arn == arn:
                return each
        raise AwsError("ResourceNotFoundException", f"The resource {arn} does not exist.")


def _check_bounds(present: Target | None, params: Params) -> None:
    least, most = params.get("MinCapacity"), params.get("MaxCapacity")
    if present is None and (least is None or most is None):
        raise errors.invalid("MinCapacity and MaxCapacity are required to register a new scalable target.")
    low = least if least is not None else present.least if present else 0
    high = most if most is not None else present.most if present else 0
    if low < 0 or high < 0:
        raise errors.invalid("Minimum capacity and maximum capacity must not be negative.")
    if low > high:
        raise errors.invalid("Maximum capacity cannot be less than minimum capacity.")


def _shown(target: Target, account: str) -> Params:
    state = target.spec.get("SuspendedState") or {}
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": target.resource,
        "ScalableDimension": DIMENSION,
        "MinCapacity": target.least,
        "MaxCapacity": target.most,
        "RoleARN": _ROLE.format(account),
        "CreationTime": target.created_at,
        "SuspendedState": {key: bool(state.get(key)) for key in _SUSPENDABLE},
        "ScalableTargetARN": target.arn,
    }


def _activity(activity: Activity) -> Params:
    return {
        "ActivityId": activity.id,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": activity.target.partition("/")[2],
        "ScalableDimension": DIMENSION,
        "Description": f"Setting desired count to {activity.wanted}.",
        "Cause": activity.cause,
        "StartTime": activity.started_at,
        "EndTime": activity.ended_at,
        "StatusCode": activity.status,
        "StatusMessage": activity.message or None,
        "Details": activity.details or None,
    }

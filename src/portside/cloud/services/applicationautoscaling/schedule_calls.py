"""Operations on scheduled actions; `schedule_loop.py` carries them out."""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.applicationautoscaling import errors, records
from portside.cloud.services.applicationautoscaling.records import DIMENSION, NAMESPACE, Action
from portside.cloud.services.applicationautoscaling.requests import check_namespace, key_of, page, resource_of
from portside.cloud.services.applicationautoscaling.schedule_loop import ScheduleLoop, next_run
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.scaling.schedules import ScheduleError

_KEPT = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")


class ScheduleCalls:
    def __init__(self, *, database: Database, ids: Ids, clock: Clock, schedules: ScheduleLoop) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._schedules = schedules

    @operation("PutScheduledAction")
    def put_scheduled_action(self, caller: Caller, params: Params) -> Params:
        resource = resource_of(params)
        key, name, now = key_of(caller, resource), params["ScheduledActionName"], self._clock.now()
        with self._db.write() as tx:
            target = records.target(tx, key)
            if target is None:
                raise errors.no_target(resource)
            before = self._find(key, name)
            spec = dict(before.spec) if before else {}
            spec |= {each: params[each] for each in _KEPT if params.get(each) is not None}
            if not spec.get("Schedule"):
                raise errors.invalid("Schedule is required for a new scheduled action.")
            given = spec.get("ScalableTargetAction") or {}
            if not given:
                raise errors.invalid("At least one of MinCapacity and MaxCapacity must be specified.")
            if given.get("MinCapacity", 0) > given.get("MaxCapacity", 2**31):
                raise errors.invalid("Maximum capacity cannot be less than minimum capacity.")
            if float(spec.get("StartTime", 0)) >= float(spec.get("EndTime", "inf")):
                raise errors.invalid("The start time must be before the end time.")
            made = before or Action(
                f"arn:aws:autoscaling:{caller.region}:{caller.account}:scheduledAction:{self._ids.uuid()}:"
                f"resource/{NAMESPACE}/{resource}:scheduledActionName/{name}",
                key,
                name,
                now,
                None,
            )
            try:
                due = next_run(spec, made.created_at, now)
            except ScheduleError as error:
                raise errors.invalid(str(error)) from None
            if due is None and spec["Schedule"].startswith("at("):
                raise errors.invalid("The scheduled time must be in the future.")
            records.save_action(tx, replace(made, spec=spec, due=due))
            tx.after_commit(lambda: self._schedules.loop.wake(made.arn))
        return {}

    @operation("DeleteScheduledAction")
    def delete_scheduled_action(self, caller: Caller, params: Params) -> Params:
        resource = resource_of(params)
        found = self._find(key_of(caller, resource), params["ScheduledActionName"])
        if found is None:
            raise errors.no_action(params["ScheduledActionName"], resource)
        with self._db.write() as tx:
            records.delete_action(tx, found.arn)
        return {}

    @operation("DescribeScheduledActions")
    def describe_scheduled_actions(self, caller: Caller, params: Params) -> Params:
        check_namespace(params)
        resource, wanted = params.get("ResourceId"), params.get("ScheduledActionNames")
        found = [
            each
            for each in records.actions(self._db, f"{caller.region}/")
            if (not wanted or each.name in wanted) and (not resource or each.target == key_of(caller, resource))
        ]
        shown, token = page(found, params)
        return {"ScheduledActions": [_shown(each) for each in shown], "NextToken": token}

    def _find(self, key: str, name: str) -> Action | None:
        return next((e for e in records.actions(self._db) if e.target == key and e.name == name), None)


def _shown(action: Action) -> Params:
    return {
        "ScheduledActionName": action.name,
        "ScheduledActionARN": action.arn,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": action.target.partition("/")[2],
        "ScalableDimension": DIMENSION,
        "CreationTime": action.created_at,
    } | action.spec

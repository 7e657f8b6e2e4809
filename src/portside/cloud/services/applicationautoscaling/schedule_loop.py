"""Scheduled actions: at their time they give a target new bounds, and bring the service within them.

One key per action. The time of the next run is committed together with what this one does. Schedules are the
user's own times: no pace shortens them. One that fell into a time without the cloud is made up for once.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.applicationautoscaling import records
from portside.cloud.services.applicationautoscaling.activity_loop import ActivityLoop
from portside.cloud.services.applicationautoscaling.ecs_services import EcsServices
from portside.cloud.services.applicationautoscaling.records import Action, Target
from portside.cloud.services.calls import Params
from portside.cloud.services.scaling import schedules

LONGEST_WAIT = 3600.0  # a clock may be set


class ScheduleLoop:
    def __init__(
        self, *, database: Database, clock: Clock, services: EcsServices, activities: ActivityLoop, log: Log
    ) -> None:
        self._db = database
        self._clock = clock
        self._services = services
        self._activities = activities
        self._log = log.bind(service="application-autoscaling")
        self.loop = Loop("application-autoscaling.schedule", self.turn, clock, log)

    def resume(self) -> None:
        for each in records.actions(self._db):
            self.loop.wake(each.arn)

    async def turn(self, key: str) -> TurnResult:
        action = records.action(self._db, key)
        if action is None or action.due is None:
            return Done()
        now = self._clock.now()
        if now < action.due:
            return After(min(action.due - now, LONGEST_WAIT))
        target = records.target(self._db, action.target)
        if target is None:
            return Done()
        desired = await self._desired(target)
        with self._db.write() as tx:
            present, fresh = records.action(tx, key), records.target(tx, action.target)
            if present != action or fresh is None:
                return After(0.0)
            due = next_run(action.spec, action.created_at, now)
            records.save_action(tx, replace(action, due=due))
            if not fresh.suspended("ScheduledScalingSuspended"):
                given = action.spec.get("ScalableTargetAction") or {}
                fresh = replace(
                    fresh, least=given.get("MinCapacity", fresh.least), most=given.get("MaxCapacity", fresh.most)
                )
                if fresh.least <= fresh.most:
                    records.save_target(tx, fresh)
                    wanted = None if desired is None else max(fresh.least, min(fresh.most, desired))
                    if wanted is not None and wanted != desired:
                        self._activities.begin(tx, fresh, wanted, _cause(action, fresh))
                else:
                    self._log.warning(
                        "scheduled action without effect", action=action.name, reason="min above max"
                    )
        return Done() if due is None else After(min(max(due - self._clock.now(), 0.0), LONGEST_WAIT))

    async def _desired(self, target: Target) -> int | None:
        try:
            found = await self._services.counts(target.region, target.cluster, target.service)
        except AwsError as error:
            if error.status >= 500:
                raise
            return None
        return None if found is None else found.desired


def next_run(spec: Params, created_at: float, after: float) -> float | None:
    """Within StartTime and EndTime. Raises ScheduleError for what is no schedule."""
    start, end = spec.get("StartTime"), spec.get("EndTime")
    begin = float(start) if start is not None else created_at
    floor = max(after, begin - 1.0) if start is not None else after
    due = schedules.next_due(spec["Schedule"], spec.get("Timezone") or "", begin, floor)
    return None if due is None or (end is not None and due > float(end)) else due


def _cause(action: Action, target: Target) -> str:
    given = action.spec.get("ScalableTargetAction") or {}
    parts = [
        f"{word} capacity was set to {given[key]}"
        for word, key in (("minimum", "MinCapacity"), ("maximum", "MaxCapacity"))
        if key in given
    ]
    return " and ".join(parts) + f" by scheduled action {action.name}"

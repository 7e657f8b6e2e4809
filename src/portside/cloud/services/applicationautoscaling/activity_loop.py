"""Scaling activities: tells ECS the new count, and watches until the service has it.

One key per activity. That ECS was told is committed after it was, so a crash in between repeats the call, which
changes nothing. A newer activity of the same target, or another count set by somebody else, overrides an older
one.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.applicationautoscaling import records
from portside.cloud.services.applicationautoscaling.ecs_services import EcsServices
from portside.cloud.services.applicationautoscaling.records import (
    FAILED,
    IN_PROGRESS,
    OVERRIDDEN,
    PENDING,
    SUCCESSFUL,
    UNFULFILLED,
    Activity,
    Target,
)

POLL = 2.0
# How long a service may take to reach its count.
FULFILLED_WITHIN = 900.0
TOLD_WITHIN = 120.0


class ActivityLoop:
    def __init__(self, *, database: Database, ids: Ids, clock: Clock, services: EcsServices, log: Log) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._services = services
        self._log = log.bind(service="application-autoscaling")
        self.loop = Loop("application-autoscaling.activity", self.turn, clock, log)

    def resume(self) -> None:
        for each in records.open_activities(self._db):
            self.loop.wake(each.id)

    def begin(self, tx: Transaction, target: Target, wanted: int, cause: str, details: str = "") -> None:
        """Part of the caller's transaction."""
        made = Activity(
            self._ids.uuid(), target.key, wanted, PENDING, False, cause, "", details, self._clock.now()
        )
        records.add_activity(tx, made)
        tx.after_commit(lambda: self.loop.wake(made.id))
        self._log.info("scaling", resource=target.resource, wanted=wanted, cause=cause)

    async def turn(self, key: str) -> TurnResult:
        activity = records.activity(self._db, key)
        if activity is None or activity.ended_at is not None:
            return Done()
        target = records.target(self._db, activity.target)
        newest = records.newest_activity(self._db, activity.target)
        if target is None or (newest is not None and newest.id != activity.id):
            return self._end(activity, OVERRIDDEN, f"Setting desired count to {activity.wanted} was overridden.")
        if not activity.applied:
            try:
                await self._services.set_desired(target, activity.wanted)
            except AwsError as error:
                if error.status >= 500 and self._clock.now() - activity.started_at < TOLD_WITHIN:
                    raise
                return self._end(
                    activity,
                    FAILED,
                    f"Failed to set desired count to {activity.wanted}. Reason: {error.message}",
                )
            activity = replace(
                activity,
                applied=True,
                status=IN_PROGRESS,
                message=f"Successfully set desired count to {activity.wanted}. "
                "Waiting for change to be fulfilled by ecs.",
            )
            self._save(activity)
        return await self._watch(activity, target)

    async def _watch(self, activity: Activity, target: Target) -> TurnResult:
        try:
            found = await self._services.counts(target.region, target.cluster, target.service)
        except AwsError as error:
            if error.status >= 500:
                raise
            found = None
        said = f"Successfully set desired count to {activity.wanted}. "
        if found is None:
            return self._end(activity, FAILED, said + "The service does not exist any more.")
        if found.desired != activity.wanted:
            return self._end(activity, OVERRIDDEN, said + f"It was set to {found.desired} since.")
        if found.running == activity.wanted:
            return self._end(activity, SUCCESSFUL, said + "Change successfully fulfilled by ecs.")
        if self._clock.now() - activity.started_at > FULFILLED_WITHIN:
            return self._end(activity, UNFULFILLED, said + "Change could not be fulfilled by ecs in time.")
        return After(POLL)

    def _end(self, activity: Activity, status: str, message: str) -> Done:
        self._save(replace(activity, status=status, message=message, ended_at=self._clock.now()))
        return Done()

    def _save(self, activity: Activity) -> None:
        with self._db.write() as tx:
            records.save_activity(tx, activity)

"""One look at one service, inside one transaction.

Counts what has ended, lets the circuit breaker judge, asks `rollout.decide` what to do, and writes it: new tasks
placed, old ones told to stop, the deployment completed, failed or rolled back, events. `service_loop.py` calls it
with the health of the targets, which it has asked for before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from portside.cloud.kernel.clock import Pace
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.loop import After, Done, TurnResult
from portside.cloud.services.ecs import (
    announcements,
    reversal,
    rollout,
    shift_records,
    shifts,
    store,
)
from portside.cloud.services.ecs.deployment_alarms import AlarmSeen
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.fargate import Room
from portside.cloud.services.ecs.records import (
    Deployment,
    DeploymentStatus,
    Rollout,
    Service,
    ServiceStatus,
    TaskStatus,
)
from portside.cloud.services.ecs.reversal import Cause
from portside.cloud.services.ecs.rollout import Limits, Plan, Stop
from portside.cloud.services.ecs.service_look import Look, Seen, primary_of
from portside.cloud.services.ecs.service_members import ServiceMembers
from portside.cloud.services.ecs.service_tasks import ServiceTasks
from portside.cloud.services.ecs.shift_records import LifecycleStage, Shift
from portside.cloud.services.ecs.traffic import Observed
from portside.cloud.services.ecs.wakes import Wakes

BUSY_POLL = 1.0  # while something is on its way
STEADY_POLL = 5.0  # while targets may still turn unhealthy
SOON = 0.05  # after a change whose effect is looked at in the next turn
PLACEMENT_RETRY = 15.0
STEADY_AGAIN = 6 * 3600.0


class ServiceTurn:
    """Use once: `ServiceTurn(tx, ...).run()`."""

    def __init__(
        self,
        tx: Transaction,
        ids: Ids,
        now: float,
        pace: Pace,
        wakes: Wakes,
        service: Service,
        seen: Seen,
        room: Room | None = None,
        traffic: Observed | None = None,
        alarms: Mapping[str, AlarmSeen] | None = None,
        looked_at: str = "",
    ) -> None:
        self._look = Look(tx, ids, now, pace, wakes, service, seen, room)
        self._members, self._tasks = ServiceMembers(self._look), ServiceTasks(self._look)
        self._tx, self._ids, self._now = tx, ids, now
        self._traffic = traffic or Observed()
        self._alarms = alarms or {}
        self._looked_at = looked_at
        self._calm = False

    def run(self) -> TurnResult:
        if self._look.service.status is ServiceStatus.DRAINING:
            return self._drain()
        self._members.count_ended()
        deployments = store.current_deployments(self._tx, self._look.service.arn)
        self._give_up(deployments)
        deployments = store.current_deployments(self._tx, self._look.service.arn)
        tasks = store.live_tasks_of_service(self._tx, self._look.service.arn)
        members = [self._members.of(number, task) for number, task in enumerate(tasks)]
        desired, bounds = self._bounds()
        members = self._tasks.rebalanced(members, deployments, desired, bounds)
        strategy = (self._look.service.spec.get("placementStrategy") or [{"type": "spread"}])[0]["type"]
        shift = self._advance(deployments, members, desired)
        if shift is not None and shift.under_way:
            plan = shifts.side_by_side(
                shift, desired, deployments, members, self._now, clear=self._arrived(shift), strategy=strategy
            )
        else:
            plan = rollout.decide(desired, bounds, deployments, members, self._now, strategy=strategy)
            plan = self._baked(plan, shift)
        if self._look.daemon:
            plan = self._tasks.one_each(plan, deployments, members, bounds)
        self._tasks.stop(plan.stop, tasks)
        short = self._tasks.start(plan, deployments, members)
        self._retire(deployments, members)
        self._finish(plan, deployments)
        return self._again(plan, members, short)

    # Giving up

    def _give_up(self, deployments: list[Deployment]) -> None:
        """The circuit breaker, the alarms, and whoever has asked for a stop."""
        primary = primary_of(deployments)
        if primary is None or primary.rollout is not Rollout.IN_PROGRESS:
            return
        breaker = rollout.breaker_of(self._look.service)
        shift = shift_records.of(self._tx, primary.id)
        if rollout.tripped(primary, self._look.service.desired, breaker):
            cause = Cause(rollout.TASKS_FAILED, "ECS deployment circuit breaker")
            self._revert(primary, cause, undo=breaker.rollback)
        elif shift is not None and shift.stop:
            cause = Cause("Deployment was stopped by StopServiceDeployment.", "Deployment was stopped")
            self._revert(primary, cause, undo=shift.stop == "ROLLBACK")
        elif shift is not None and (firing := self._firing(shift)):
            shift_records.table.save(self._tx, replace(shift, triggered=firing))
            named = ", ".join(firing)
            cause = Cause(f"ECS deployment alarms: {named} went into ALARM.", f"ECS deployment alarms ({named})")
            alarms = shift.configuration.get("alarms") or {}
            self._revert(primary, cause, undo=bool(alarms.get("rollback")))

    def _revert(self, primary: Deployment, cause: Cause, *, undo: bool) -> None:
        self._look.service = reversal.give_up(
            self._tx, self._ids, self._now, self._look.service, primary, cause, undo=undo
        )

    def _firing(self, shift: Shift) -> list[str]:
        """The alarms that have gone off since the deployment began."""
        if shift.started_at is None or shift.undoing:
            return []
        return [name for name, each in self._alarms.items() if each.firing and name not in shift.ignored]

    # Shifting traffic

    def _advance(self, deployments: list[Deployment], members: list[Member], desired: int) -> Shift | None:
        """Move the deployment's shift as far as what was seen allows."""
        primary = primary_of(deployments)
        shift = shift_records.of(self._tx, primary.id) if primary is not None else None
        if primary is None or shift is None or primary.rollout is not Rollout.IN_PROGRESS:
            return shift
        if self._looked_at != primary.id:
            # It was made after the rules and alarms were looked at.
            self._look.again_at(self._now + SOON)
            return shift
        if shift.started_at is None:
            # What was in ALARM before has nothing to do with this deployment.
            seconds = max([each.seconds for each in self._alarms.values()], default=0.0)
            ignored = [name for name, each in self._alarms.items() if each.firing]
            shift = replace(shift, ignored=ignored, alarm_seconds=seconds)
        healthy = sum(1 for e in members if e.deployment == primary.id and e.healthy)
        view = shifts.View(
            ready=healthy >= desired,
            able=healthy > 0 or desired == 0,
            production=self._traffic.production,
            test=self._traffic.test,
            strangers=any(e.deployment not in (primary.id, shift.source) for e in members),
        )
        after = shifts.advance(shift, view, self._now, self._look.pace.wait, self._ids.uuid)
        if isinstance(after, shifts.GivenUp):
            cause = Cause(f"ECS deployment failed: {after.reason}.", "ECS deployment failed")
            self._revert(primary, cause, undo=True)
            self._look.again_at(self._now + SOON)
            return shift
        shift_records.table.save(self._tx, after)
        if (after.stage, after.weight, after.test) != (shift.stage, shift.weight, shift.test):
            self._look.again_at(self._now + SOON)
        due = shifts.due(after, self._now, self._look.pace.wait)
        if due is not None:
            self._look.again_at(due)
        # Nothing hurries while both are kept; alarms are looked at as often as steady targets.
        self._calm = after.stage is LifecycleStage.BAKE_TIME or shifts.pausing(after)
        if after.under_way or after.configuration.get("alarms", {}).get("enable"):
            self._look.again_at(self._now + (STEADY_POLL if self._calm else BUSY_POLL))
        return after

    def _arrived(self, shift: Shift) -> bool:
        """Do the rules show what is wanted, so that nothing else has traffic?"""
        return shift.weight != shift_records.ALONE and self._traffic.production == shifts.shown_as(shift.weight)

    def _baked(self, plan: Plan, shift: Shift | None) -> Plan:
        """A rolling deployment with alarms, or with a bake time, is complete once they have kept silent so
        long."""
        if not plan.finished or shift is None or shift.in_steps:
            return plan
        minutes = shift.configuration.get("bakeTimeInMinutes") or 0
        watching = bool((shift.configuration.get("alarms") or {}).get("enable"))
        seconds = max(60.0 * minutes, shift.alarm_seconds if watching else 0.0)
        if not seconds:
            return plan
        if shift.baking_since is None:
            shift = replace(shift, baking_since=self._now)
            shift_records.table.save(self._tx, shift)
        assert shift.baking_since is not None
        until = shift.baking_since + self._look.pace.wait(seconds)
        if self._now >= until:
            return plan
        self._look.again_at(until)
        return replace(plan, finished=False, steady=False)

    def _bounds(self) -> tuple[int, Limits]:
        configuration = self._look.service.spec.get("deploymentConfiguration") or {}
        desired = self._look.service.desired
        if self._look.daemon:
            desired = len(self._tasks.daemon_candidates())
            if desired != self._look.service.desired:
                self._look.service = replace(self._look.service, desired=desired)
                store.services.save(self._tx, self._look.service)
        return desired, rollout.limits(
            desired, configuration["minimumHealthyPercent"], configuration["maximumPercent"]
        )

    def _retire(self, deployments: list[Deployment], members: list[Member]) -> None:
        """Older deployments go when their last task has."""
        for deployment in deployments:
            count = sum(1 for each in members if each.deployment == deployment.id)
            live = sum(
                1 for each in members if each.deployment == deployment.id and each.stage is not Stage.STOPPING
            )
            if deployment.status is DeploymentStatus.ACTIVE:
                after = replace(deployment, desired=live)
                if count == 0:
                    after = replace(after, status=DeploymentStatus.INACTIVE, updated_at=self._now)
                if after != deployment:
                    fresh = store.deployments.get(self._tx, deployment.id)
                    assert fresh is not None
                    store.deployments.save(
                        self._tx,
                        replace(fresh, desired=after.desired, status=after.status, updated_at=after.updated_at),
                    )
            elif deployment.desired != self._look.service.desired:
                fresh = store.deployments.get(self._tx, deployment.id)
                assert fresh is not None
                store.deployments.save(self._tx, replace(fresh, desired=self._look.service.desired))

    def _finish(self, plan: Plan, deployments: list[Deployment]) -> None:
        primary = primary_of(store.current_deployments(self._tx, self._look.service.arn))
        if primary is None:
            return
        if plan.finished:
            store.deployments.save(
                self._tx,
                replace(
                    primary,
                    rollout=Rollout.COMPLETED,
                    reason=f"ECS deployment {primary.id} completed.",
                    failed=0,
                    updated_at=self._now,
                    finished_at=self._now,
                ),
            )
            self._look.announce(announcements.completed(self._look.service.name, primary.id))
        if plan.blocked:
            self._look.announce(announcements.blocked(self._look.service.name), complaint=True)
        steady_at = self._look.service.steady_at
        if plan.steady and (steady_at is None or self._now - steady_at >= STEADY_AGAIN):
            self._look.announce(announcements.steady(self._look.service.name))
            self._look.service = replace(self._look.service, steady_at=self._now)
            store.services.save(self._tx, self._look.service)
        elif not plan.steady and steady_at is not None:
            self._look.service = replace(self._look.service, steady_at=None)
            store.services.save(self._tx, self._look.service)

    def _again(self, plan: Plan, members: list[Member], short: bool) -> TurnResult:
        waits = [at - self._now for at in self._look.rechecks if at > self._now]
        if plan.retry_at is not None:
            waits.append(plan.retry_at - self._now)
        if short:
            waits.append(self._look.pace.wait(PLACEMENT_RETRY))
        watched = bool(self._look.seen)
        if plan.stop or plan.start or (self._groups() and members and not plan.steady):
            waits.append(STEADY_POLL if self._calm else BUSY_POLL)
        elif watched:
            waits.append(STEADY_POLL)
        if plan.steady:
            waits.append(STEADY_AGAIN)
        return After(max(0.05, min(waits))) if waits else Done()

    def _groups(self) -> list[str]:
        return [each["targetGroupArn"] for each in self._look.service.spec.get("loadBalancers") or []]

    # The end of a service

    def _drain(self) -> TurnResult:
        tasks = store.live_tasks_of_service(self._tx, self._look.service.arn)
        primary = primary_of(store.current_deployments(self._tx, self._look.service.arn))
        reason = rollout.SCALING.format(primary.id if primary is not None else "")
        stops = tuple(Stop(task.arn, reason) for task in tasks if task.desired is not TaskStatus.STOPPED)
        self._tasks.stop(stops, tasks)
        if tasks:
            return Done()  # woken by their ends
        for deployment in store.current_deployments(self._tx, self._look.service.arn):
            store.deployments.save(
                self._tx, replace(deployment, status=DeploymentStatus.INACTIVE, updated_at=self._now)
            )
        store.services.save(self._tx, replace(self._look.service, status=ServiceStatus.INACTIVE))
        return Done()

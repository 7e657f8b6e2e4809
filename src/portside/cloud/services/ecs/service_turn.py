"""One look at one service, inside one transaction.

Counts what has ended, lets the circuit breaker judge, asks `rollout.decide` what to do, and writes it: new tasks
placed, old ones told to stop, the deployment completed, failed or rolled back, events. `service_loop.py` calls it
with the health of the targets, which it has asked for before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from portside.cloud.kernel.clock import Pace
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.loop import After, Done, TurnResult
from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import (
    announcements,
    blueprints,
    capacity,
    networks,
    placement,
    rebalancing,
    reversal,
    rollout,
    shift_records,
    shifts,
    store,
    tasks_made,
)
from portside.cloud.services.ecs.deployment_alarms import AlarmSeen
from portside.cloud.services.ecs.desired import Member, Stage, daemon_instances
from portside.cloud.services.ecs.fargate import Room
from portside.cloud.services.ecs.placement import NoRoom
from portside.cloud.services.ecs.placer import Launch, Placer
from portside.cloud.services.ecs.records import (
    Deployment,
    DeploymentStatus,
    HealthStatus,
    InstanceStatus,
    Rollout,
    Service,
    ServiceStatus,
    StopCode,
    Task,
    TaskStatus,
)
from portside.cloud.services.ecs.reversal import Cause
from portside.cloud.services.ecs.rollout import Breaker, Ended, Limits, Plan, Stop
from portside.cloud.services.ecs.shift_records import LifecycleStage, Shift
from portside.cloud.services.ecs.task_loop import halted
from portside.cloud.services.ecs.traffic import Observed
from portside.cloud.services.ecs.wakes import Wakes

BUSY_POLL = 1.0  # while something is on its way
STEADY_POLL = 5.0  # while targets may still turn unhealthy
SOON = 0.05  # after a change whose effect is looked at in the next turn
PLACEMENT_RETRY = 15.0
STEADY_AGAIN = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """What a target group says of one task: ELB's state, and its description of a failure."""

    state: str
    description: str = ""
    port: int = 0


Seen = Mapping[tuple[str, str], TargetSeen]  # (task, target group)


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
        self._tx = tx
        self._room = room
        self._traffic = traffic or Observed()
        self._alarms = alarms or {}
        self._looked_at = looked_at
        self._calm = False
        self._ids = ids
        self._now = now
        self._pace = pace
        self._wakes = wakes
        self._service = service
        self._seen = seen
        self._recheck: list[float] = []

    def run(self) -> TurnResult:
        if self._service.status is ServiceStatus.DRAINING:
            return self._drain()
        self._count()
        deployments = store.current_deployments(self._tx, self._service.arn)
        self._give_up(deployments)
        deployments = store.current_deployments(self._tx, self._service.arn)
        tasks = store.live_tasks_of_service(self._tx, self._service.arn)
        members = [self._member(number, task) for number, task in enumerate(tasks)]
        desired, bounds = self._bounds()
        members = self._rebalanced(members, deployments, desired, bounds)
        strategy = (self._service.spec.get("placementStrategy") or [{"type": "spread"}])[0]["type"]
        shift = self._advance(deployments, members, desired)
        if shift is not None and shift.under_way:
            plan = shifts.side_by_side(
                shift, desired, deployments, members, self._now, clear=self._arrived(shift), strategy=strategy
            )
        else:
            plan = rollout.decide(desired, bounds, deployments, members, self._now, strategy=strategy)
            plan = self._baked(plan, shift)
        if self._daemon:
            plan = self._daemon_plan(plan, deployments, members, bounds)
        self._stop(plan.stop, tasks)
        short = self._start(plan, deployments, members)
        self._retire(deployments, members)
        self._finish(plan, deployments)
        return self._again(plan, members, short)

    # Counting what has ended

    def _count(self) -> None:
        for task in store.uncounted_tasks(self._tx, self._service.arn):
            deployment = store.deployments.get(self._tx, task.deployment)
            if deployment is not None:
                failed = not task.was_healthy and _by_itself(task)
                ended = Ended(failed, task.started_at is not None, self._now)
                pause = self._pace.wait(rollout.throttle(deployment.impaired + 1))
                after = rollout.count_end(deployment, ended, pause)
                if after != deployment:
                    store.deployments.save(self._tx, after)
                if failed and after.impaired >= rollout.IMPAIRED_AFTER:
                    self._announce(announcements.impaired(self._service.name), complaint=True)
            store.tasks.save(self._tx, replace(task, accounted=True))

    # Giving up

    def _give_up(self, deployments: list[Deployment]) -> None:
        """The circuit breaker, the alarms, and whoever has asked for a stop."""
        primary = _primary(deployments)
        if primary is None or primary.rollout is not Rollout.IN_PROGRESS:
            return
        breaker = breaker_of(self._service)
        shift = shift_records.of(self._tx, primary.id)
        if rollout.tripped(primary, self._service.desired, breaker):
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
        self._service = reversal.give_up(self._tx, self._ids, self._now, self._service, primary, cause, undo=undo)

    def _firing(self, shift: Shift) -> list[str]:
        """The alarms that have gone off since the deployment began."""
        if shift.started_at is None or shift.undoing:
            return []
        return [name for name, each in self._alarms.items() if each.firing and name not in shift.ignored]

    # Shifting traffic

    def _advance(self, deployments: list[Deployment], members: list[Member], desired: int) -> Shift | None:
        """Move the deployment's shift as far as what was seen allows."""
        primary = _primary(deployments)
        shift = shift_records.of(self._tx, primary.id) if primary is not None else None
        if primary is None or shift is None or primary.rollout is not Rollout.IN_PROGRESS:
            return shift
        if self._looked_at != primary.id:
            # It was made after the rules and alarms were looked at.
            self._recheck.append(self._now + SOON)
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
        after = shifts.advance(shift, view, self._now, self._pace.wait, self._ids.uuid)
        if isinstance(after, shifts.GivenUp):
            cause = Cause(f"ECS deployment failed: {after.reason}.", "ECS deployment failed")
            self._revert(primary, cause, undo=True)
            self._recheck.append(self._now + SOON)
            return shift
        shift_records.table.save(self._tx, after)
        if (after.stage, after.weight, after.test) != (shift.stage, shift.weight, shift.test):
            self._recheck.append(self._now + SOON)
        due = shifts.due(after, self._now, self._pace.wait)
        if due is not None:
            self._recheck.append(due)
        # Nothing hurries while both are kept; alarms are looked at as often as steady targets.
        self._calm = after.stage is LifecycleStage.BAKE_TIME or shifts.pausing(after)
        if after.under_way or after.configuration.get("alarms", {}).get("enable"):
            self._recheck.append(self._now + (STEADY_POLL if self._calm else BUSY_POLL))
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
        until = shift.baking_since + self._pace.wait(seconds)
        if self._now >= until:
            return plan
        self._recheck.append(until)
        return replace(plan, finished=False, steady=False)

    # What there is

    def _member(self, order: int, task: Task) -> Member:
        instance = store.instances.get(self._tx, task.instance)
        evacuate = instance is not None and instance.status is InstanceStatus.DRAINING
        zone = instance.zone if instance is not None else task.zone
        if task.desired is TaskStatus.STOPPED:
            stage, healthy, failing = Stage.STOPPING, False, ""
        elif task.status is not TaskStatus.RUNNING:
            stage, healthy, failing = Stage.PENDING, False, ""
        else:
            stage = Stage.RUNNING
            failing = self._failing(task)
            healthy = not failing and self._healthy(task)
            if healthy and not task.was_healthy:
                store.tasks.save(self._tx, replace(task, was_healthy=True))
                deployment = store.deployments.get(self._tx, task.deployment)
                if deployment is not None:
                    reset = breaker_of(self._service).reset
                    store.deployments.save(self._tx, rollout.count_healthy(deployment, reset))
        protected = task.protected_until is not None and task.protected_until > self._now
        if protected and task.protected_until is not None:
            self._recheck.append(task.protected_until)
        return Member(
            task.arn,
            task.deployment,
            stage,
            healthy,
            failing,
            evacuate,
            task.instance,
            zone,
            order,
            protected,
        )

    def _healthy(self, task: Task) -> bool:
        checked = self._has_check(task)
        if checked and task.health is not HealthStatus.HEALTHY:
            return False
        if task.balancers:
            states = [self._state(task, each["targetGroupArn"]) for each in task.balancers]
            # After a restart a target is checked anew; a task that was healthy before is not held back by that.
            good = ("healthy", "initial") if task.was_healthy else ("healthy",)
            return all(state in good for state in states)
        if checked:
            return True
        steady_at = (task.started_at or self._now) + self._pace.wait(rollout.STEADY_SECONDS)
        if self._now < steady_at:
            self._recheck.append(steady_at)
        return self._now >= steady_at

    def _failing(self, task: Task) -> str:
        """Why a running task must be replaced, empty if it need not be."""
        grace = self._service.spec.get("healthCheckGracePeriodSeconds") or 0
        until = (task.started_at or self._now) + grace
        if self._now < until:
            self._recheck.append(until)
            return ""
        if task.health is HealthStatus.UNHEALTHY:
            return "Task failed container health checks"
        for balancer in task.balancers:
            group = balancer["targetGroupArn"]
            seen = self._seen.get((task.arn, group))
            if seen is not None and seen.state == "unhealthy":
                instance = store.instances.get(self._tx, task.instance)
                reason = seen.description or "Health checks failed"
                text = announcements.unhealthy(
                    self._service.name, instance.ec2_id if instance else "", seen.port, group, reason
                )
                self._announce(text)
                return f"Task failed ELB health checks in (target-group {group})"
        return ""

    def _state(self, task: Task, group: str) -> str:
        seen = self._seen.get((task.arn, group))
        return seen.state if seen is not None else ""

    def _has_check(self, task: Task) -> bool:
        definition = store.definitions.get(self._tx, task.definition)
        if definition is None:
            return False
        containers = definition.spec.get("containerDefinitions") or []
        return any(each.get("healthCheck") and each.get("essential", True) for each in containers)

    @property
    def _daemon(self) -> bool:
        return bool(self._service.spec.get("schedulingStrategy") == "DAEMON")

    def _bounds(self) -> tuple[int, Limits]:
        configuration = self._service.spec.get("deploymentConfiguration") or {}
        desired = self._service.desired
        if self._daemon:
            desired = len(self._daemon_candidates())
            if desired != self._service.desired:
                self._service = replace(self._service, desired=desired)
                store.services.save(self._tx, self._service)
        return desired, rollout.limits(
            desired, configuration["minimumHealthyPercent"], configuration["maximumPercent"]
        )

    # Applying the plan

    def _stop(self, stops: tuple[Stop, ...], tasks: list[Task]) -> None:
        running = []
        for stop in stops:
            task = store.tasks.get(self._tx, stop.task)
            assert task is not None
            if task.status is TaskStatus.RUNNING:
                running.append(task.arn)
            store.tasks.save(self._tx, halted(task, StopCode.SCHEDULER, stop.reason, self._now))
            self._wake_task(task.arn)
        if running:
            self._announce(announcements.stopped(self._service.name, running))

    def _start(self, plan: Plan, deployments: list[Deployment], members: list[Member]) -> bool:
        """Place and write new tasks; True when not all of them found room."""
        started: list[str] = []
        short = False
        placer = Placer(self._tx, self._ids, self._service.region, self._service.cluster, self._room)
        for deployment_id, count in plan.start:
            deployment = next(each for each in deployments if each.id == deployment_id)
            definition = store.definitions.get(self._tx, deployment.definition)
            assert definition is not None
            group = f"service:{self._service.name}"
            blueprint = blueprints.read(definition.spec)
            demand = tasks_made.demand(
                definition, blueprint, group, self._service.spec, placement.DEFAULT_SERVICE_STRATEGY
            )
            free: set[str] | None = None
            if self._daemon:
                own = [each for each in members if each.deployment == deployment_id]
                free = set(daemon_instances(list(placer.board.instances), own))
            launch = Launch.of(self._service.spec | deployment.spec)
            counts = placer.counts(deployment_id, self._service.arn)
            for _ in range(count):
                choice = placer.place(demand, launch, counts, free)
                if isinstance(choice, NoRoom):
                    text = announcements.no_room(self._service.name, choice.reason)
                    if choice.said:
                        text = announcements.no_capacity(self._service.name, choice.said)
                    self._announce(text, complaint=True)
                    short = True
                    break
                tags = self._propagated(definition.arn)
                task = tasks_made.make(
                    self._tx,
                    self._ids,
                    definition=definition,
                    cluster=self._service.cluster,
                    spot=choice,
                    group=group,
                    now=self._now,
                    service=self._service.arn,
                    deployment=deployment.id,
                    started_by=deployment.id,
                    balancers=shift_records.balancers(
                        shift_records.of(self._tx, deployment.id), deployment.spec.get("loadBalancers") or []
                    ),
                    network=networks.asked(deployment.spec),
                    tags=tags,
                )
                started.append(task.arn)
                if free is not None:
                    free.discard(choice.arn)
                self._wake_task(task.arn)
        if started:
            self._tx.after_commit(lambda: self._wakes.providers(self._service.region))
            self._announce(announcements.started(self._service.name, started))
        return short

    def _propagated(self, definition: str) -> list[Params]:
        match self._service.spec.get("propagateTags"):
            case "SERVICE":
                return [dict(tag) for tag in store.tags_of(self._tx, self._service.arn)]
            case "TASK_DEFINITION":
                return [dict(tag) for tag in store.tags_of(self._tx, definition)]
        return []

    def _rebalanced(
        self, members: list[Member], deployments: list[Deployment], desired: int, bounds: Limits
    ) -> list[Member]:
        """With Availability Zone rebalancing, one member may have to move; never during a deployment."""
        spec = self._service.spec
        settled = len(deployments) == 1 and deployments[0].rollout is Rollout.COMPLETED
        launch = Launch.of(spec)
        if (
            spec.get("availabilityZoneRebalancing") != "ENABLED"
            or not settled
            or bounds.upper <= desired
            or launch.type == "FARGATE"
            or launch.strategy
        ):
            return members
        definition = store.definitions.get(self._tx, deployments[0].definition)
        assert definition is not None  # definitions in use are never deleted
        demand = tasks_made.demand(
            definition, blueprints.read(definition.spec), f"service:{self._service.name}", spec, []
        )
        found = capacity.candidates(self._tx, self._ids, self._service.region, self._service.cluster)
        roomy = {
            each.attributes.get(placement.ZONE, "")
            for each in found
            if each.accepting and placement.obstacle(demand, each) is None
        }
        moved = rebalancing.rebalance(members, roomy, desired)
        if moved != members:
            self._announce(announcements.rebalancing(self._service.name, members, roomy), complaint=True)
        return moved

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
            elif deployment.desired != self._service.desired:
                fresh = store.deployments.get(self._tx, deployment.id)
                assert fresh is not None
                store.deployments.save(self._tx, replace(fresh, desired=self._service.desired))

    def _finish(self, plan: Plan, deployments: list[Deployment]) -> None:
        primary = _primary(store.current_deployments(self._tx, self._service.arn))
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
            self._announce(announcements.completed(self._service.name, primary.id))
        if plan.blocked:
            self._announce(announcements.blocked(self._service.name), complaint=True)
        steady_at = self._service.steady_at
        if plan.steady and (steady_at is None or self._now - steady_at >= STEADY_AGAIN):
            self._announce(announcements.steady(self._service.name))
            self._service = replace(self._service, steady_at=self._now)
            store.services.save(self._tx, self._service)
        elif not plan.steady and steady_at is not None:
            self._service = replace(self._service, steady_at=None)
            store.services.save(self._tx, self._service)

    def _again(self, plan: Plan, members: list[Member], short: bool) -> TurnResult:
        waits = [at - self._now for at in self._recheck if at > self._now]
        if plan.retry_at is not None:
            waits.append(plan.retry_at - self._now)
        if short:
            waits.append(self._pace.wait(PLACEMENT_RETRY))
        watched = bool(self._seen)
        if plan.stop or plan.start or (self._groups() and members and not plan.steady):
            waits.append(STEADY_POLL if self._calm else BUSY_POLL)
        elif watched:
            waits.append(STEADY_POLL)
        if plan.steady:
            waits.append(STEADY_AGAIN)
        return After(max(0.05, min(waits))) if waits else Done()

    def _groups(self) -> list[str]:
        return [each["targetGroupArn"] for each in self._service.spec.get("loadBalancers") or []]

    # DAEMON

    def _daemon_candidates(self) -> list[str]:
        deployments = store.current_deployments(self._tx, self._service.arn)
        primary = _primary(deployments)
        definition = store.definitions.get(self._tx, primary.definition) if primary is not None else None
        if definition is None:
            return []
        demand = replace(
            tasks_made.demand(definition, blueprints.read(definition.spec), "", self._service.spec, []),
            cpu=0,
            memory=0,
            ports=frozenset(),
        )
        found = capacity.candidates(self._tx, self._ids, self._service.region, self._service.cluster)
        return [each.arn for each in found if each.accepting and placement.obstacle(demand, each) is None]

    def _daemon_plan(
        self, plan: Plan, deployments: list[Deployment], members: list[Member], bounds: Limits
    ) -> Plan:
        """One task per instance: a task on an instance that no longer takes part goes."""
        eligible = set(self._daemon_candidates())
        primary = _primary(deployments)
        known = {stop.task for stop in plan.stop}
        stops = list(plan.stop)
        for each in members:
            if each.stage is not Stage.STOPPING and each.instance not in eligible and each.task not in known:
                reason = rollout.SCALING.format(primary.id if primary is not None else "")
                stops.append(Stop(each.task, reason))
        return replace(plan, stop=tuple(stops))

    # The end of a service

    def _drain(self) -> TurnResult:
        tasks = store.live_tasks_of_service(self._tx, self._service.arn)
        primary = _primary(store.current_deployments(self._tx, self._service.arn))
        reason = rollout.SCALING.format(primary.id if primary is not None else "")
        stops = tuple(Stop(task.arn, reason) for task in tasks if task.desired is not TaskStatus.STOPPED)
        self._stop(stops, tasks)
        if tasks:
            return Done()  # woken by their ends
        for deployment in store.current_deployments(self._tx, self._service.arn):
            store.deployments.save(
                self._tx, replace(deployment, status=DeploymentStatus.INACTIVE, updated_at=self._now)
            )
        store.services.save(self._tx, replace(self._service, status=ServiceStatus.INACTIVE))
        return Done()

    def _announce(self, text: str, *, complaint: bool = False) -> None:
        announcements.announce(self._tx, self._ids, self._service, text, self._now, complaint=complaint)

    def _wake_task(self, arn: str) -> None:
        self._tx.after_commit(lambda: self._wakes.task(arn))


def _primary(deployments: list[Deployment]) -> Deployment | None:
    return next((each for each in deployments if each.status is DeploymentStatus.PRIMARY), None)


def _by_itself(task: Task) -> bool:
    """Did the task end through a fault of its own, and not because it was told to?"""
    match task.stop_code:
        case StopCode.FAILED_TO_START | StopCode.ESSENTIAL_EXITED:
            return True
        case StopCode.SCHEDULER:
            return "health checks" in task.stop_reason
    return False


def breaker_of(service: Service) -> Breaker:
    """The circuit breaker's settings in a service's deployment configuration."""
    given = (service.spec.get("deploymentConfiguration") or {}).get("deploymentCircuitBreaker") or {}
    thresholds = given.get("thresholdConfiguration") or {}
    return Breaker(
        enabled=bool(given.get("enable")),
        rollback=bool(given.get("rollback")),
        kind=thresholds.get("type") or "BOUNDED_PERCENT",
        value=int(thresholds.get("value") or 50),
        reset=given.get("resetOnHealthyTask", True),
    )

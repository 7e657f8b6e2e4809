"""Starts and stops the tasks that a plan asks for, and says which instances and zones they belong on."""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import (
    announcements,
    blueprints,
    capacity,
    networks,
    placement,
    rebalancing,
    rollout,
    shift_records,
    store,
    tasks_made,
)
from portside.cloud.services.ecs.desired import Member, Stage, daemon_instances
from portside.cloud.services.ecs.placement import NoRoom
from portside.cloud.services.ecs.placer import Launch, Placer
from portside.cloud.services.ecs.records import Deployment, Rollout, StopCode, Task, TaskStatus
from portside.cloud.services.ecs.rollout import Limits, Plan, Stop
from portside.cloud.services.ecs.service_look import Look, primary_of
from portside.cloud.services.ecs.task_loop import halted


class ServiceTasks:
    """The writing half of one look."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._tx, self._now = look.tx, look.now

    def stop(self, stops: tuple[Stop, ...], tasks: list[Task]) -> None:
        running = []
        for stop in stops:
            task = store.tasks.get(self._tx, stop.task)
            assert task is not None
            if task.status is TaskStatus.RUNNING:
                running.append(task.arn)
            store.tasks.save(self._tx, halted(task, StopCode.SCHEDULER, stop.reason, self._now))
            self._look.wake_task(task.arn)
        if running:
            self._look.announce(announcements.stopped(self._look.service.name, running))

    def start(self, plan: Plan, deployments: list[Deployment], members: list[Member]) -> bool:
        """Place and write new tasks; True when not all of them found room."""
        started: list[str] = []
        short = False
        placer = Placer(
            self._tx, self._look.ids, self._look.service.region, self._look.service.cluster, self._look.room
        )
        for deployment_id, count in plan.start:
            deployment = next(each for each in deployments if each.id == deployment_id)
            definition = store.definitions.get(self._tx, deployment.definition)
            assert definition is not None
            group = f"service:{self._look.service.name}"
            blueprint = blueprints.read(definition.spec)
            demand = tasks_made.demand(
                definition, blueprint, group, self._look.service.spec, placement.DEFAULT_SERVICE_STRATEGY
            )
            free: set[str] | None = None
            if self._look.daemon:
                own = [each for each in members if each.deployment == deployment_id]
                free = set(daemon_instances(list(placer.board.instances), own))
            launch = Launch.of(self._look.service.spec | deployment.spec)
            counts = placer.counts(deployment_id, self._look.service.arn)
            for _ in range(count):
                choice = placer.place(demand, launch, counts, free)
                if isinstance(choice, NoRoom):
                    text = announcements.no_room(self._look.service.name, choice.reason)
                    if choice.said:
                        text = announcements.no_capacity(self._look.service.name, choice.said)
                    self._look.announce(text, complaint=True)
                    short = True
                    break
                tags = self._propagated(definition.arn)
                task = tasks_made.make(
                    self._tx,
                    self._look.ids,
                    definition=definition,
                    cluster=self._look.service.cluster,
                    spot=choice,
                    group=group,
                    now=self._now,
                    service=self._look.service.arn,
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
                self._look.wake_task(task.arn)
        if started:
            self._tx.after_commit(lambda: self._look.wakes.providers(self._look.service.region))
            self._look.announce(announcements.started(self._look.service.name, started))
        return short

    def _propagated(self, definition: str) -> list[Params]:
        match self._look.service.spec.get("propagateTags"):
            case "SERVICE":
                return [dict(tag) for tag in store.tags_of(self._tx, self._look.service.arn)]
            case "TASK_DEFINITION":
                return [dict(tag) for tag in store.tags_of(self._tx, definition)]
        return []

    def rebalanced(
        self, members: list[Member], deployments: list[Deployment], desired: int, bounds: Limits
    ) -> list[Member]:
        """With Availability Zone rebalancing, one member may have to move; never during a deployment."""
        spec = self._look.service.spec
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
            definition, blueprints.read(definition.spec), f"service:{self._look.service.name}", spec, []
        )
        found = capacity.candidates(
            self._tx, self._look.ids, self._look.service.region, self._look.service.cluster
        )
        roomy = {
            each.attributes.get(placement.ZONE, "")
            for each in found
            if each.accepting and placement.obstacle(demand, each) is None
        }
        moved = rebalancing.rebalance(members, roomy, desired)
        if moved != members:
            self._look.announce(announcements.rebalancing(self._look.service.name, members, roomy), complaint=True)
        return moved

    def daemon_candidates(self) -> list[str]:
        deployments = store.current_deployments(self._tx, self._look.service.arn)
        primary = primary_of(deployments)
        definition = store.definitions.get(self._tx, primary.definition) if primary is not None else None
        if definition is None:
            return []
        demand = replace(
            tasks_made.demand(definition, blueprints.read(definition.spec), "", self._look.service.spec, []),
            cpu=0,
            memory=0,
            ports=frozenset(),
        )
        found = capacity.candidates(
            self._tx, self._look.ids, self._look.service.region, self._look.service.cluster
        )
        return [each.arn for each in found if each.accepting and placement.obstacle(demand, each) is None]

    def one_each(self, plan: Plan, deployments: list[Deployment], members: list[Member], bounds: Limits) -> Plan:
        """One task per instance: a task on an instance that no longer takes part goes."""
        eligible = set(self.daemon_candidates())
        primary = primary_of(deployments)
        known = {stop.task for stop in plan.stop}
        stops = list(plan.stop)
        for each in members:
            if each.stage is not Stage.STOPPING and each.instance not in eligible and each.task not in known:
                reason = rollout.SCALING.format(primary.id if primary is not None else "")
                stops.append(Stop(each.task, reason))
        return replace(plan, stop=tuple(stops))

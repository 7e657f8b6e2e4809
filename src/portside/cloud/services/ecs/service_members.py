"""What a service has: its tasks as members of its deployments, and what the ones that ended say of them.

A task is healthy when its container's check and its targets say so; without either, when it has run long enough.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.services.ecs import announcements, rollout, store
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.records import HealthStatus, InstanceStatus, StopCode, Task, TaskStatus
from portside.cloud.services.ecs.rollout import Ended
from portside.cloud.services.ecs.service_look import Look


class ServiceMembers:
    """The reading half of one look."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._tx, self._now = look.tx, look.now

    def count_ended(self) -> None:
        for task in store.uncounted_tasks(self._tx, self._look.service.arn):
            deployment = store.deployments.get(self._tx, task.deployment)
            if deployment is not None:
                failed = not task.was_healthy and _by_itself(task)
                ended = Ended(failed, task.started_at is not None, self._now)
                pause = self._look.pace.wait(rollout.throttle(deployment.impaired + 1))
                after = rollout.count_end(deployment, ended, pause)
                if after != deployment:
                    store.deployments.save(self._tx, after)
                if failed and after.impaired >= rollout.IMPAIRED_AFTER:
                    self._look.announce(announcements.impaired(self._look.service.name), complaint=True)
            store.tasks.save(self._tx, replace(task, accounted=True))

    def of(self, order: int, task: Task) -> Member:
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
                    reset = rollout.breaker_of(self._look.service).reset
                    store.deployments.save(self._tx, rollout.count_healthy(deployment, reset))
        protected = task.protected_until is not None and task.protected_until > self._now
        if protected and task.protected_until is not None:
            self._look.again_at(task.protected_until)
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
        steady_at = (task.started_at or self._now) + self._look.pace.wait(rollout.STEADY_SECONDS)
        if self._now < steady_at:
            self._look.again_at(steady_at)
        return self._now >= steady_at

    def _failing(self, task: Task) -> str:
        """Why a running task must be replaced, empty if it need not be."""
        grace = self._look.service.spec.get("healthCheckGracePeriodSeconds") or 0
        until = (task.started_at or self._now) + grace
        if self._now < until:
            self._look.again_at(until)
            return ""
        if task.health is HealthStatus.UNHEALTHY:
            return "Task failed container health checks"
        for balancer in task.balancers:
            group = balancer["targetGroupArn"]
            seen = self._look.seen.get((task.arn, group))
            if seen is not None and seen.state == "unhealthy":
                instance = store.instances.get(self._tx, task.instance)
                reason = seen.description or "Health checks failed"
                text = announcements.unhealthy(
                    self._look.service.name, instance.ec2_id if instance else "", seen.port, group, reason
                )
                self._look.announce(text)
                return f"Task failed ELB health checks in (target-group {group})"
        return ""

    def _state(self, task: Task, group: str) -> str:
        seen = self._look.seen.get((task.arn, group))
        return seen.state if seen is not None else ""

    def _has_check(self, task: Task) -> bool:
        definition = store.definitions.get(self._tx, task.definition)
        if definition is None:
            return False
        containers = definition.spec.get("containerDefinitions") or []
        return any(each.get("healthCheck") and each.get("essential", True) for each in containers)


def _by_itself(task: Task) -> bool:
    """Did the task end through a fault of its own, and not because it was told to?"""
    match task.stop_code:
        case StopCode.FAILED_TO_START | StopCode.ESSENTIAL_EXITED:
            return True
        case StopCode.SCHEDULER:
            return "health checks" in task.stop_reason
    return False

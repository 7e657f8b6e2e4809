"""Scale-in protection of tasks: setting it and looking at it.

Owns the two operations and the rule when a task is protected. Scaling in and deployments honour it elsewhere. The
time is the user's own, so no pace shortens it.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecs import errors, names, store
from portside.cloud.services.ecs.clusters import active_cluster
from portside.cloud.services.ecs.records import Task, TaskStatus
from portside.cloud.services.ecs.wakes import Wakes

MOST_AT_ONCE = 10
DEFAULT_MINUTES = 120
LEAST_MINUTES, MOST_MINUTES = 1, 2880


def is_protected(task: Task, now: float) -> bool:
    return task.protected_until is not None and task.protected_until > now


class ProtectionApi:
    def __init__(self, database: Database, clock: Clock, wakes: Wakes) -> None:
        self._database = database
        self._clock = clock
        self._wakes = wakes

    @operation("UpdateTaskProtection")
    def update_task_protection(self, caller: Caller, params: Params) -> Params:
        minutes = params.get("expiresInMinutes")
        if minutes is not None and not LEAST_MINUTES <= minutes <= MOST_MINUTES:
            raise errors.invalid(
                f"Invalid expiresInMinutes. It must be between {LEAST_MINUTES} and {MOST_MINUTES} minutes."
            )
        enabled, now = bool(params["protectionEnabled"]), self._clock.now()
        until = now + 60.0 * (minutes or DEFAULT_MINUTES) if enabled else None
        shown, failures = [], []
        with self._database.write() as tx:
            for arn in self._asked(tx, caller, params):
                task = store.tasks.get(tx, arn)
                fault = _fault(task)
                if task is None or fault:
                    failures.append({"arn": arn} | fault)
                    continue
                task = replace(task, protected_until=until, version=task.version + 1)
                store.tasks.save(tx, task)
                service = task.service
                tx.after_commit(lambda service=service: self._wakes.service(service))  # type: ignore[misc]
                shown.append(_shown(task, now))
        return {"protectedTasks": shown, "failures": failures}

    @operation("GetTaskProtection")
    def get_task_protection(self, caller: Caller, params: Params) -> Params:
        shown, failures = [], []
        for arn in self._asked(self._database, caller, params):
            task = store.tasks.get(self._database, arn)
            fault = _fault(task)
            if task is None or fault:
                failures.append({"arn": arn} | fault)
            else:
                shown.append(_shown(task, self._clock.now()))
        return {"protectedTasks": shown, "failures": failures}

    def _asked(self, reader: store.Reader, caller: Caller, params: Params) -> list[str]:
        asked = params.get("tasks") or []
        if not asked:
            raise errors.invalid("Tasks cannot be empty.")
        if len(asked) > MOST_AT_ONCE:
            raise errors.invalid(f"Tasks cannot have more than {MOST_AT_ONCE} items.")
        cluster = active_cluster(reader, caller, params["cluster"])
        return [names.task_arn(caller, cluster.name, each) for each in asked]


def _fault(task: Task | None) -> Params:
    """Why a task cannot be protected; empty if it can."""
    if task is None or task.status is TaskStatus.STOPPED:
        return {"reason": "MISSING"}
    if not task.service:
        return {"reason": "TASK_NOT_VALID", "detail": "Task protection is available for tasks of services only."}
    if task.desired is TaskStatus.STOPPED:
        return {"reason": "TASK_NOT_VALID", "detail": "The task is being stopped."}
    return {}


def _shown(task: Task, now: float) -> Params:
    if not is_protected(task, now):
        return {"taskArn": task.arn, "protectionEnabled": False}
    return {"taskArn": task.arn, "protectionEnabled": True, "expirationDate": task.protected_until}

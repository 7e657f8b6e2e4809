"""A deployment is given up, and perhaps undone: what that does to the records.

Owns the one way back: the circuit breaker, alarms, a stop by a person and a shift of traffic that failed all end
here. The deployment that undoes runs what completed last, takes over its tasks, and, where traffic was being
shifted, begins with giving it back. A deployment that undoes another is never undone itself: that would not end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ecs import announcements, shift_records, store
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout, Service
from portside.cloud.services.ecs.shift_records import LifecycleStage, Shift


@dataclass(frozen=True, slots=True)
class Cause:
    """`failed` is the reason of the deployment that is given up, `why` the beginning of the one that undoes it."""

    failed: str
    why: str


def give_up(
    tx: Transaction, ids: Ids, now: float, service: Service, primary: Deployment, cause: Cause, *, undo: bool
) -> Service:
    """The service afterwards."""
    failed = replace(primary, rollout=Rollout.FAILED, reason=cause.failed, updated_at=now, finished_at=now)
    text = announcements.failed(service.name, primary.id, cause.failed)
    announcements.announce(tx, ids, service, text, now)
    shift = shift_records.of(tx, primary.id)
    target = _target(tx, service, primary, shift) if undo and not primary.rollback_of else None
    if target is None:
        store.deployments.save(tx, failed)
        return service
    store.deployments.save(tx, replace(failed, status=DeploymentStatus.ACTIVE))
    back = Deployment(
        id=f"ecs-svc/{ids.digits(19)}",
        service=service.arn,
        status=DeploymentStatus.PRIMARY,
        definition=target.definition,
        desired=service.desired,
        rollout=Rollout.IN_PROGRESS,
        reason=f"{cause.why}: rolling back to deploymentId {target.id}.",
        created_at=now,
        updated_at=now,
        public_id=ids.alnum(21),
        rollback_of=primary.id,
        previous=primary.id,
        images=target.images,
        spec=target.spec,
    )
    store.deployments.save(tx, back)
    # The tasks that still run the good revision stay: they are the new deployment's now.
    for task in store.live_tasks_of_service(tx, service.arn):
        if task.deployment == target.id:
            store.tasks.save(tx, replace(task, deployment=back.id))
    if target.status is DeploymentStatus.ACTIVE:
        store.deployments.save(tx, replace(target, status=DeploymentStatus.INACTIVE))
    if shift is not None:
        shift_records.table.save(tx, _undoing(shift, back.id, now))
    after = replace(service, definition=target.definition, spec=service.spec | target.spec, steady_at=None)
    store.services.save(tx, after)
    announcements.announce(tx, ids, service, announcements.rolling_back(service.name, back.id), now)
    return after


def _undoing(shift: Shift, back: str, now: float) -> Shift:
    """The way back of a shift: both deployments change places. A rolling one just rolls."""
    swapped = [each | {"own": each["other"], "other": each["own"]} for each in shift.routes]
    return replace(
        shift,
        deployment=back,
        source=shift.deployment,
        stage=LifecycleStage.PENDING,
        since=now,
        weight=shift_records.ALONE,
        test=False,
        undoing=True,
        reached_at=None,
        started_at=None,
        baking_since=None,
        stop="",
        stop_at=None,
        hooks=[],
        triggered=[],
        routes=swapped,
    )


def _target(tx: Transaction, service: Service, failed: Deployment, shift: Shift | None) -> Deployment | None:
    """What has the traffic still, or else what completed last."""
    if shift is not None and shift.in_steps:
        return store.deployments.get(tx, shift.source) if shift.source else None
    found = store.deployments.where(
        tx,
        "service = ? AND rollout = ? AND id <> ? AND definition IN (SELECT arn FROM ecs_definition) "
        "ORDER BY created_at DESC, rowid DESC LIMIT 1",
        service.arn,
        Rollout.COMPLETED,
        failed.id,
    )
    return found[0] if found else None

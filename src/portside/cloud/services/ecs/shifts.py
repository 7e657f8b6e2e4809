"""Blue/green, linear and canary: how a deployment takes over the traffic, stage by stage.

Pure. `advance` moves a `Shift` as far as what was observed allows, and no further: tasks that are healthy in their
target group, rules that show the wanted weights, waits that are over. `side_by_side` says which tasks to start
and to stop while both deployments are kept up. `service_turn.py` applies both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import rollout
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout
from portside.cloud.services.ecs.rollout import Limits, Plan, Stop
from portside.cloud.services.ecs.shift_records import ALONE, LifecycleStage, Shift, Strategy

LONGEST_STAGE = 24 * 3600.0
HOOK_MINUTES = 1440
SETTLES = 1.0  # a load balancer takes a moment to do what its rules say
SUPERSEDED = "Deployment {} was replaced by a newer one"

_S = LifecycleStage
_HOOKED = (
    _S.RECONCILE_SERVICE,
    _S.PRE_SCALE_UP,
    _S.POST_SCALE_UP,
    _S.POST_TEST_TRAFFIC_SHIFT,
    _S.PRE_PRODUCTION_TRAFFIC_SHIFT,
    _S.POST_PRODUCTION_TRAFFIC_SHIFT,
)
PAUSES = tuple(str(each) for each in _HOOKED)  # where a PAUSE hook may be
SHOWN = {_S.PRE_PRODUCTION_TRAFFIC_SHIFT: _S.PRODUCTION_TRAFFIC_SHIFT}  # the API has no name of its own for it
_TIMED = (_S.BAKE_TIME, _S.CLEAN_UP, _S.PENDING, _S.ROLLING)


@dataclass(frozen=True, slots=True)
class View:
    """What was seen. `ready`: all tasks of the deployment are healthy; `able`: at least one is, or none is
    wanted. `production`: the deployment's share as the rules
    show it, None when they do not agree or could not be read. `strangers`: there are tasks of a third one."""

    ready: bool
    able: bool
    production: float | None
    test: bool | None
    strangers: bool


@dataclass(frozen=True, slots=True)
class GivenUp:
    reason: str


Wait = Callable[[float], float]
NewId = Callable[[], str]


def weights(percent: float) -> tuple[int, int]:
    """The weights of a deployment and of its source for a share in percent. Both together are 100, or 1000 for a
    share that is not whole."""
    whole = round(percent)
    if abs(percent - whole) < 0.05:
        return whole, 100 - whole
    tenths = round(percent * 10)
    return tenths, 1000 - tenths


def share(own: int, other: int) -> float | None:
    """The share in percent that two weights stand for."""
    return None if own + other == 0 else round(100 * own / (own + other), 1)


def shown_as(percent: float) -> float | None:
    """The share that rules show once `percent` is set."""
    return share(*weights(percent))


def advance(shift: Shift, view: View, now: float, wait: Wait, new_id: NewId) -> Shift | GivenUp:
    while True:
        after = _step(shift, view, now, wait, new_id)
        if isinstance(after, GivenUp) or after == shift:
            return after
        shift = after


def _step(shift: Shift, view: View, now: float, wait: Wait, new_id: NewId) -> Shift | GivenUp:
    if shift.stage is _S.PENDING:
        return _begin(shift, view, now)
    if not shift.in_steps or shift.stage is _S.CLEAN_UP:
        return shift
    if shift.stage not in _TIMED and now - shift.since >= LONGEST_STAGE and not pausing(shift):
        return GivenUp(f"the lifecycle stage {shift.stage} took longer than 24 hours")
    hooked = _hooks(shift, now, new_id)
    if isinstance(hooked, GivenUp) or hooked != shift:
        return hooked
    if pausing(shift):
        return shift
    arrived = shift.weight == ALONE or view.production == shown_as(shift.weight)
    match shift.stage:
        case _S.RECONCILE_SERVICE:
            return _to(shift, _S.PRE_SCALE_UP, now) if arrived and not view.strangers else shift
        case _S.PRE_SCALE_UP:
            return _to(shift, _S.SCALE_UP, now) if arrived else shift
        case _S.SCALE_UP:
            return _to(shift, _S.POST_SCALE_UP, now) if view.ready else shift
        case _S.POST_SCALE_UP:
            if any(each.get("test") for each in shift.routes):
                return replace(_to(shift, _S.TEST_TRAFFIC_SHIFT, now), test=True) if view.ready else shift
            return _to(shift, _S.POST_TEST_TRAFFIC_SHIFT, now)
        case _S.TEST_TRAFFIC_SHIFT:
            return _to(shift, _S.POST_TEST_TRAFFIC_SHIFT, now) if view.test else shift
        case _S.POST_TEST_TRAFFIC_SHIFT:
            return _to(shift, _S.PRE_PRODUCTION_TRAFFIC_SHIFT, now)
        case _S.PRE_PRODUCTION_TRAFFIC_SHIFT:
            if not view.ready:
                return shift
            moved = _to(shift, _S.PRODUCTION_TRAFFIC_SHIFT, now)
            return replace(moved, weight=next_weight(shift), reached_at=None)
        case _S.PRODUCTION_TRAFFIC_SHIFT:
            return _shifting(shift, view, arrived, now, wait)
        case _S.POST_PRODUCTION_TRAFFIC_SHIFT:
            return _to(shift, _S.BAKE_TIME, now)
        case _S.BAKE_TIME:
            return _to(shift, _S.CLEAN_UP, now) if now >= baked_at(shift, wait) else shift
    return shift


def _begin(shift: Shift, view: View, now: float) -> Shift:
    begun = replace(shift, started_at=now)
    if not shift.in_steps:
        return _to(begun, _S.ROLLING, now)
    if shift.undoing:
        return _to(begun, _S.PRODUCTION_TRAFFIC_SHIFT, now)
    return _to(begun, _S.RECONCILE_SERVICE if view.strangers else _S.PRE_SCALE_UP, now)


def _shifting(shift: Shift, view: View, arrived: bool, now: float, wait: Wait) -> Shift:
    if shift.undoing and shift.weight == ALONE:
        return replace(shift, weight=100.0, test=True) if view.able else shift
    if not arrived:
        return shift
    if shift.reached_at is None:
        return replace(shift, reached_at=now)
    if now < shift.reached_at + SETTLES:
        return shift
    if shift.undoing:
        back = view.test or not any(each.get("test") for each in shift.routes)
        return _to(shift, _S.CLEAN_UP, now) if back else shift
    if shift.weight >= 100:
        return _to(shift, _S.POST_PRODUCTION_TRAFFIC_SHIFT, now)
    if now < shift.reached_at + wait(step_seconds(shift)):
        return shift
    return _to(shift, _S.PRE_PRODUCTION_TRAFFIC_SHIFT, now)


def _to(shift: Shift, stage: LifecycleStage, now: float) -> Shift:
    return replace(shift, stage=stage, since=now)


def next_weight(shift: Shift) -> float:
    """The share after the one that is there."""
    present = max(0.0, shift.weight)
    if not shift.source:
        return 100.0
    match shift.strategy:
        case Strategy.LINEAR:
            return min(100.0, present + _part(shift, "linearConfiguration", "stepPercent", 10.0))
        case Strategy.CANARY if present == 0:
            return _part(shift, "canaryConfiguration", "canaryPercent", 5.0)
    return 100.0


def step_seconds(shift: Shift) -> float:
    if shift.strategy is Strategy.LINEAR:
        return 60 * _part(shift, "linearConfiguration", "stepBakeTimeInMinutes", 6)
    return 60 * _part(shift, "canaryConfiguration", "canaryBakeTimeInMinutes", 10)


def baked_at(shift: Shift, wait: Wait) -> float:
    """Until when both are kept. Where nothing came before there is nothing to go back to."""
    minutes = shift.configuration.get("bakeTimeInMinutes") or 0
    return shift.since + (wait(max(60.0 * minutes, shift.alarm_seconds)) if shift.source else 0)


def _part(shift: Shift, member: str, key: str, default: float) -> float:
    value = (shift.configuration.get(member) or {}).get(key)
    return float(default if value is None else value)


def due(shift: Shift, now: float, wait: Wait) -> float | None:
    """When to look again although nothing has been reported."""
    times = [each["expiresAt"] for each in shift.hooks if each["status"] == "AWAITING_ACTION"]
    if shift.stage is _S.BAKE_TIME:
        times.append(baked_at(shift, wait))
    elif shift.stage is _S.PRODUCTION_TRAFFIC_SHIFT and shift.reached_at is not None:
        times += [shift.reached_at + SETTLES, shift.reached_at + wait(step_seconds(shift))]
    if shift.under_way and shift.stage not in _TIMED:
        times.append(shift.since + LONGEST_STAGE)
    later = [each for each in times if each > now]
    return min(later) if later else None


# Hooks


def _hooks(shift: Shift, now: float, new_id: NewId) -> Shift | GivenUp:
    """A visit of a stage has its own hooks: a stage that comes again pauses again."""
    if shift.stage not in _HOOKED or shift.undoing:
        return shift
    here = [each for each in shift.hooks if each["stage"] == shift.stage and each["at"] == shift.since]
    configured = [
        each
        for each in shift.configuration.get("lifecycleHooks") or []
        if shift.stage in (each.get("lifecycleStages") or [])
    ]
    if configured and not here:
        return replace(shift, hooks=[*shift.hooks, *(_hook(each, shift, now, new_id()) for each in configured)])
    for each in here:
        if each["status"] == "FAILED":
            return GivenUp(f"a lifecycle hook at the stage {shift.stage} asked for a rollback")
        if each["status"] == "TIMED_OUT" and each["timeoutAction"] == "ROLLBACK":
            return GivenUp(f"a lifecycle hook at the stage {shift.stage} was not continued in time")
    late = [e for e in here if e["status"] == "AWAITING_ACTION" and now >= e["expiresAt"]]
    if late:
        return replace(shift, hooks=[e | {"status": "TIMED_OUT"} if e in late else e for e in shift.hooks])
    return shift


def _hook(given: Params, shift: Shift, now: float, number: str) -> Params:
    limit = given.get("timeoutConfiguration") or {}
    return {
        "hookId": number,
        "targetType": "PAUSE",
        "status": "AWAITING_ACTION",
        "expiresAt": now + 60 * int(limit.get("timeoutInMinutes") or HOOK_MINUTES),
        "timeoutAction": limit.get("action") or "ROLLBACK",
        "stage": str(shift.stage),
        "at": shift.since,
    }


def pausing(shift: Shift) -> bool:
    """Does a hook hold the deployment at this stage?"""
    return any(
        each["status"] == "AWAITING_ACTION" and each["stage"] == shift.stage and each["at"] == shift.since
        for each in shift.hooks
    )


# Tasks while two deployments are kept up


def side_by_side(
    shift: Shift,
    desired: int,
    deployments: Sequence[Deployment],
    members: Sequence[Member],
    now: float,
    *,
    clear: bool,
    strategy: str = "spread",
) -> Plan:
    """Each of both as if it were alone; those of a third go once `clear` says that no traffic needs them."""
    primary = next(each for each in deployments if each.id == shift.deployment)
    starts: list[tuple[str, int]] = []
    stops: list[Stop] = []
    times: list[float] = []
    for each in deployments:
        if each.id not in (shift.deployment, shift.source):
            continue
        own = [member for member in members if member.deployment == each.id]
        posed = replace(each, status=DeploymentStatus.PRIMARY, rollout=Rollout.COMPLETED)
        part = rollout.decide(desired, Limits(desired, 2 * desired), [posed], own, now, strategy=strategy)
        # A deployment that is given up gets no new tasks while its traffic is taken back.
        waits = each.rollout is Rollout.FAILED or (
            each.id == shift.deployment and shift.stage in (_S.PENDING, _S.RECONCILE_SERVICE, _S.PRE_SCALE_UP)
        )
        if not waits:
            starts.extend(part.start)
            times.extend([part.retry_at] if part.retry_at is not None else [])
        stops.extend(part.stop)
    if clear:
        reason = rollout.SCALING.format(primary.id)
        stops.extend(
            Stop(each.task, reason)
            for each in members
            if each.deployment not in (shift.deployment, shift.source)
            and each.stage is not Stage.STOPPING
            and not each.protected
        )
    return Plan(tuple(starts), tuple(stops), retry_at=min(times) if times else None)

"""How a service gets from the tasks that it has to those that it should have.

Pure. `decide` looks at all tasks of a service and says which to start and to stop now, and what has become of the
deployment; it never plans more tasks than the maximum, nor stops healthy ones below the minimum. The failure
counting of the circuit breaker and of the throttle is here too. `service_loop.py` applies what is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from portside.cloud.services.ecs.desired import Member, Stage, surplus
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout, Service

LOWEST_THRESHOLD = 3
HIGHEST_THRESHOLD = 200
STEADY_SECONDS = 40.0  # a task without any health check counts as healthy after running for so long
FIRST_THROTTLE = 10.0
LONGEST_THROTTLE = 900.0
IMPAIRED_AFTER = 3

SCALING = "Scaling activity initiated by (deployment {})"
TASKS_FAILED = "ECS deployment circuit breaker: tasks failed to start."


@dataclass(frozen=True, slots=True)
class Limits:
    """`lower`: healthy tasks that must stay. `upper`: tasks that may exist, the stopping ones included."""

    lower: int
    upper: int


@dataclass(frozen=True, slots=True)
class Stop:
    task: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`start`: how many tasks of which deployment. `finished`: the deployment has just been completed.
    `blocked`: the percentages allow neither a start nor a stop."""

    start: tuple[tuple[str, int], ...] = ()
    stop: tuple[Stop, ...] = ()
    finished: bool = False
    steady: bool = False
    blocked: bool = False
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """The deployment circuit breaker's settings."""

    enabled: bool = False
    rollback: bool = False
    kind: str = "BOUNDED_PERCENT"
    value: int = 50
    reset: bool = True


def limits(desired: int, minimum: int, maximum: int) -> Limits:
    """From percentages to numbers of tasks."""
    return Limits(ceil(desired * minimum / 100), floor(desired * maximum / 100))


def threshold(desired: int, breaker: Breaker) -> int:
    """How many failures in a row make a deployment FAILED."""
    match breaker.kind:
        case "COUNT":
            return max(1, breaker.value)
        case "UNBOUNDED_PERCENT":
            return max(1, ceil(desired * breaker.value / 100))
    return min(HIGHEST_THRESHOLD, max(LOWEST_THRESHOLD, ceil(desired * breaker.value / 100)))


def throttle(failures: int) -> float:
    """Seconds until the next start after so many starts in a row that came to nothing."""
    if failures < 1:
        return 0.0
    return float(min(LONGEST_THROTTLE, FIRST_THROTTLE * 2 ** min(failures - 1, 20)))


def decide(
    desired: int,
    bounds: Limits,
    deployments: Sequence[Deployment],
    members: Sequence[Member],
    now: float,
    *,
    strategy: str = "spread",
) -> Plan:
    """The next starts and stops. `deployments` are the current ones, the PRIMARY first."""
    primary = next((each for each in deployments if each.status is DeploymentStatus.PRIMARY), None)
    if primary is None:
        return Plan()
    live = [each for each in members if each.stage is not Stage.STOPPING]
    stops: dict[str, Stop] = {}

    # What fails is replaced, whatever the minimum says: it is not healthy, so nothing healthy is lost.
    for each in live:
        if each.failing:
            stops[each.task] = Stop(each.task, each.failing)

    failed = primary.rollout is Rollout.FAILED
    keeper = _keeper(deployments) if failed else None
    current = {primary.id} if keeper is None else {primary.id, keeper.id}
    staying = [e for e in live if e.deployment in current and not e.evacuate and e.task not in stops]
    leaving = [e for e in live if (e.deployment not in current or e.evacuate) and e.task not in stops]
    healthy = sum(1 for each in live if each.healthy and each.task not in stops)

    for each in surplus(staying, len(staying) - desired, strategy):
        stops[each.task] = Stop(each.task, SCALING.format(primary.id))
        healthy -= each.healthy
    for each in leaving:
        if (each.stage is Stage.PENDING or not each.healthy) and not each.protected:
            stops[each.task] = Stop(each.task, SCALING.format(primary.id))
    spare = healthy - bounds.lower
    for each in surplus([e for e in leaving if e.task not in stops], max(0, spare), strategy):
        stops[each.task] = Stop(each.task, SCALING.format(primary.id))

    # Tasks that are being stopped take up room until they are gone.
    room = bounds.upper - len(members)
    kept = [each for each in staying if each.task not in stops]
    starter = keeper or primary
    if failed and keeper is None:
        wanted = 0
    elif failed:
        wanted = desired - len(kept)
    else:
        wanted = desired - sum(1 for each in kept if each.deployment == primary.id)
    count = max(0, min(wanted, room))
    retry_at = None
    if count and now < starter.throttled_until:
        count, retry_at = 0, starter.throttled_until

    settled = not stops and len(members) == len(staying) == desired and all(each.healthy for each in staying)
    complete = settled and not leaving and all(each.deployment == primary.id for each in members)
    blocked = (
        not stops
        and count == 0
        and retry_at is None
        and wanted > 0
        and len(members) == len(live)
        and bounds.upper <= len(live)
        and bool(leaving)
        and bounds.lower >= healthy
        and all(each.healthy for each in live)
    )
    return Plan(
        start=((starter.id, count),) if count else (),
        stop=tuple(stops.values()),
        finished=complete and primary.rollout is Rollout.IN_PROGRESS,
        steady=complete and not failed,
        blocked=blocked,
        retry_at=retry_at,
    )


def _keeper(deployments: Sequence[Deployment]) -> Deployment | None:
    """The deployment that keeps the service up while the PRIMARY has failed without a rollback."""
    others = [e for e in deployments if e.status is DeploymentStatus.ACTIVE and e.rollout is Rollout.COMPLETED]
    return others[0] if others else None


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has stopped, as its deployment counts it. `failed`: it ended by itself, or by its health
    checks, before it was ever healthy; `ran`: it had reached RUNNING."""

    failed: bool
    ran: bool
    at: float


def count_end(deployment: Deployment, ended: Ended, pause: float) -> Deployment:
    """The deployment after one of its tasks has ended; `pause` is what `throttle` says, at this cloud's pace."""
    if not ended.failed:
        return deployment
    return replace(
        deployment,
        failed=deployment.failed + 1,
        impaired=deployment.impaired + 1,
        throttled_until=ended.at + pause,
        updated_at=ended.at,
    )


def count_healthy(deployment: Deployment, reset: bool = True) -> Deployment:
    """The deployment after one of its tasks has become healthy: failures in a row begin at 0 again."""
    if not deployment.failed and not deployment.impaired:
        return deployment
    return replace(deployment, failed=0 if reset else deployment.failed, impaired=0, throttled_until=0.0)


def tripped(deployment: Deployment, desired: int, breaker: Breaker) -> bool:
    """Does the circuit breaker give this deployment up now?"""
    return (
        breaker.enabled
        and deployment.rollout is Rollout.IN_PROGRESS
        and deployment.failed >= threshold(desired, breaker)
    )


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

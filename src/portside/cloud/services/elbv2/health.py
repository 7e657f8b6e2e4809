"""What a health check's result does to a target, and when the next check is due.

Pure arithmetic, as AWS does it: one success makes a new target healthy, an unhealthy one needs
HealthyThresholdCount in a row, a healthy one falls after UnhealthyThresholdCount failures in a row. The loop that
asks is `target_loop.py`; who gets requests is decided in `routing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from portside.cloud.kernel.clock import Pace
from portside.cloud.machine.prober import Answered, ProbeResult, Refused, TimedOut

TRAFFIC_PORT = "traffic-port"
SOONEST = 0.2
# How many times more often a target is looked at that has never answered.
EAGERNESS = 5


class State(StrEnum):
    """What is remembered of a target. `unused` is not: it follows from the rules."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How a target group checks its targets. Times in seconds."""

    protocol: str = "HTTP"
    port: str = TRAFFIC_PORT
    path: str = "/"
    interval: int = 30
    timeout: int = 5
    healthy: int = 5
    unhealthy: int = 2
    matcher: str = "200"
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """Where a target stands. `counted_at` is when a failure of a new target was last counted."""

    state: State = State.INITIAL
    reason: str | None = "Elb.RegistrationInProgress"
    description: str | None = "Target registration is in progress"
    successes: int = 0
    failures: int = 0
    counted_at: float | None = None


def parse_matcher(text: str) -> list[tuple[int, int]]:
    """`200,202` and `200-299` as ranges. ValueError when it is neither, or outside 200-499."""
    ranges = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        first, last = int(low), int(high if dash else low)
        if not 200 <= first <= last <= 499:
            raise ValueError(part)
        ranges.append((first, last))
    return ranges


def passes(result: ProbeResult, matcher: str) -> bool:
    return isinstance(result, Answered) and any(
        low <= result.status <= high for low, high in parse_matcher(matcher)
    )


def failure(result: ProbeResult) -> tuple[str, str]:
    """AWS's reason and description for a check that failed."""
    match result:
        case Answered(status):
            return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"
        case TimedOut():
            return "Target.Timeout", "Request timed out"
        case Refused():
            return "Target.FailedHealthChecks", "Health checks failed"


def observe(health: Health, result: ProbeResult, now: float, settings: HealthSettings) -> Health:
    """The target's health after one more result."""
    if passes(result, settings.matcher):
        return _succeeded(health, settings)
    return _failed(health, result, now, settings)


def _succeeded(health: Health, settings: HealthSettings) -> Health:
    successes = health.successes + 1
    if health.state is State.UNHEALTHY and successes < settings.healthy:
        return replace(health, successes=successes, failures=0)
    return Health(State.HEALTHY, None, None)


def _failed(health: Health, result: ProbeResult, now: float, settings: HealthSettings) -> Health:
    reason, description = failure(result)
    if health.state is State.UNHEALTHY:
        return replace(health, reason=reason, description=description, successes=0)
    counted_at = health.counted_at
    failures = health.failures
    if health.state is State.INITIAL:
        # A new target is looked at more often than AWS would; its failures count at AWS's pace all the same.
        if counted_at is None or now - counted_at >= settings.interval:
            failures, counted_at = failures + 1, now
    else:
        failures += 1
    if failures >= settings.unhealthy:
        return Health(State.UNHEALTHY, reason, description)
    if health.state is State.INITIAL:
        return Health(
            State.INITIAL,
            "Elb.InitialHealthChecking",
            "Initial health checks in progress",
            failures=failures,
            counted_at=counted_at,
        )
    return replace(health, failures=failures, successes=0)


def wait(health: Health, settings: HealthSettings, pace: Pace) -> float:
    """Seconds from one check to the next. A program that is still starting is asked often, so that its first
    answer is noticed at once."""
    usual = pace.wait(settings.interval)
    if health.state is State.INITIAL and usual < settings.interval:
        return max(SOONEST, usual / EAGERNESS)
    return usual

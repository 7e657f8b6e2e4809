import pytest

from portside.cloud.kernel.clock import AWS_PACE, FAST_PACE
from portside.cloud.machine.prober import Answered, Refused, TimedOut
from portside.cloud.services.elbv2.health import (
    Health,
    HealthSettings,
    State,
    failure,
    observe,
    parse_matcher,
    wait,
)

SETTINGS = HealthSettings(interval=20, healthy=3, unhealthy=2, matcher="200,204-206")
OK, BAD = Answered(200), Answered(500)


def after(*results: object, every: float = 20.0, start: Health | None = None) -> Health:
    health = start or Health()
    for number, result in enumerate(results):
        health = observe(health, result, number * every, SETTINGS)  # type: ignore[arg-type]
    return health


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ((OK,), State.HEALTHY),
        ((BAD,), State.INITIAL),
        ((BAD, BAD), State.UNHEALTHY),
        ((BAD, OK), State.HEALTHY),
        ((OK, BAD), State.HEALTHY),
        ((OK, BAD, OK, BAD), State.HEALTHY),
        ((OK, BAD, BAD), State.UNHEALTHY),
        ((BAD, BAD, OK, OK), State.UNHEALTHY),
        ((BAD, BAD, OK, OK, OK), State.HEALTHY),
        ((BAD, BAD, OK, OK, BAD, OK, OK), State.UNHEALTHY),
    ],
)
def test_thresholds(results: tuple[object, ...], state: State) -> None:
    assert after(*results).state is state


def test_failures_of_a_new_target_count_once_per_interval_only() -> None:
    assert after(*[BAD] * 20, every=1.0).state is State.INITIAL
    assert after(*[BAD] * 21, every=1.0).state is State.UNHEALTHY


@pytest.mark.parametrize(
    ("result", "reason", "description"),
    [
        (Answered(404), "Target.ResponseCodeMismatch", "Health checks failed with these codes: [404]"),
        (TimedOut(), "Target.Timeout", "Request timed out"),
        (Refused("refused"), "Target.FailedHealthChecks", "Health checks failed"),
    ],
)
def test_reasons_in_aws_words(result: object, reason: str, description: str) -> None:
    assert failure(result) == (reason, description)  # type: ignore[arg-type]


def test_matchers() -> None:
    assert parse_matcher("200,202") == [(200, 200), (202, 202)]
    assert parse_matcher("200-299") == [(200, 299)]
    for wrong in ("", "abc", "199", "500", "300-200", "200-"):
        with pytest.raises(ValueError):
            parse_matcher(wrong)


def test_pace() -> None:
    new, known = Health(), Health(State.HEALTHY, None, None)
    assert wait(known, SETTINGS, AWS_PACE) == wait(new, SETTINGS, AWS_PACE) == 20
    assert wait(known, SETTINGS, FAST_PACE) == 2
    assert wait(new, SETTINGS, FAST_PACE) == 0.4

"""Rules of load balancing that hold for all inputs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.machine.envoy_match import expression, match_of
from portside.cloud.machine.prober import Answered, ProbeResult, Refused, TimedOut
from portside.cloud.machine.proxy import Match
from portside.cloud.services.elbv2.health import Health, HealthSettings, State, observe

RESULTS = st.sampled_from([Answered(200), Answered(404), TimedOut(), Refused("x")])
STEPS = st.lists(st.tuples(RESULTS, st.floats(0.1, 60.0)), max_size=60)
SETTINGS = st.builds(
    HealthSettings, interval=st.integers(5, 300), healthy=st.integers(2, 10), unhealthy=st.integers(2, 10)
)


def walk(
    steps: list[tuple[ProbeResult, float]], settings: HealthSettings
) -> list[tuple[Health, ProbeResult, float]]:
    health, now, seen = Health(), 0.0, []
    for result, pause in steps:
        now += pause
        health = observe(health, result, now, settings)
        seen.append((health, result, now))
    return seen


@given(STEPS, SETTINGS)
def test_never_healthy_before_a_success(steps: list[tuple[ProbeResult, float]], settings: HealthSettings) -> None:
    succeeded = False
    for health, result, _ in walk(steps, settings):
        succeeded = succeeded or result == Answered(200)
        assert succeeded or health.state is not State.HEALTHY


@given(STEPS, SETTINGS)
def test_a_new_target_is_never_given_up_faster_than_on_aws(
    steps: list[tuple[ProbeResult, float]], settings: HealthSettings
) -> None:
    began = None
    for health, result, now in walk(steps, settings):
        if result == Answered(200):
            return
        began = now if began is None else began
        if health.state is State.UNHEALTHY:
            assert now - began >= settings.interval * (settings.unhealthy - 1) - 1e-6
            return


@given(STEPS, SETTINGS)
def test_a_state_changes_only_by_as_many_results_in_a_row_as_are_set(
    steps: list[tuple[ProbeResult, float]], settings: HealthSettings
) -> None:
    before, row = State.INITIAL, 0
    last: bool | None = None
    for health, result, _ in walk(steps, settings):
        good = result == Answered(200)
        row = row + 1 if good is last else 1
        last = good
        if before is State.HEALTHY and health.state is State.UNHEALTHY:
            assert not good and row >= settings.unhealthy
        if before is State.UNHEALTHY and health.state is State.HEALTHY:
            assert good and row >= settings.healthy
        before = health.state


LETTERS = st.text("ab*?./+-_$()[]\\é", max_size=8)
TEXTS = st.text("ab./+-_$()[]\\é", max_size=10)


def fits(pattern: str, text: str) -> bool:
    """A matcher that has nothing to do with regular expressions."""
    reach = {0}
    for character in pattern:
        if character == "*":
            reach = set(range(min(reach), len(text) + 1)) if reach else set()
        else:
            reach = {i + 1 for i in reach if i < len(text) and character in ("?", text[i])}
    return len(text) in reach


@given(LETTERS, TEXTS)
def test_wildcards(pattern: str, text: str) -> None:
    assert (re.fullmatch(expression(pattern), text, re.DOTALL) is not None) is fits(pattern, text)


@given(st.text("ab*?/", max_size=6).map(lambda p: "/" + p), st.text("ab/", max_size=8).map(lambda t: "/" + t))
def test_paths_match_the_same_in_every_form(pattern: str, path: str) -> None:
    made = match_of(Match(paths=(pattern,)))
    if "path" in made:
        found = path == made["path"]
    elif "prefix" in made:
        found = path.startswith(made["prefix"])
    else:
        found = re.fullmatch(made["safe_regex"]["regex"], path) is not None
    assert found is fnmatchcase(path, pattern)

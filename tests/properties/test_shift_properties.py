"""Blue/green, linear and canary, played through with tasks and rules that do what they want."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from portside.cloud.services.ecs import shifts
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout
from portside.cloud.services.ecs.shift_records import (
    STAGE_TRANSITIONS,
    LifecycleStage,
    Shift,
    Strategy,
)
from portside.cloud.services.ecs.shifts import GivenUp, View

GREEN = Deployment(
    id="green", service="s", status=DeploymentStatus.PRIMARY, definition="d:2", desired=0, reason="",
    rollout=Rollout.IN_PROGRESS, created_at=2, updated_at=2, public_id="",
)  # fmt: skip
BLUE = replace(GREEN, id="blue", status=DeploymentStatus.ACTIVE, rollout=Rollout.COMPLETED, created_at=1)

configurations = st.one_of(
    st.tuples(st.just(Strategy.BLUE_GREEN), st.just({})),
    st.tuples(
        st.just(Strategy.LINEAR),
        st.fixed_dictionaries({"stepPercent": st.floats(3, 100), "stepBakeTimeInMinutes": st.integers(0, 5)}).map(
            lambda given: {"linearConfiguration": given}
        ),
    ),
    st.tuples(
        st.just(Strategy.CANARY),
        st.fixed_dictionaries(
            {"canaryPercent": st.floats(0.1, 100), "canaryBakeTimeInMinutes": st.integers(0, 5)}
        ).map(lambda given: {"canaryConfiguration": given}),
    ),
)


@given(st.floats(0, 100))
def test_weights_share_out_all_of_the_traffic(percent: float) -> None:
    own, other = shifts.weights(percent)
    assert own + other in (100, 1000)
    assert own >= 0
    assert other >= 0
    assert abs(100 * own / (own + other) - percent) <= 0.051


@settings(max_examples=30, deadline=None)
@given(configurations, st.integers(1, 4), st.integers(0, 10), st.randoms(use_true_random=False))
def test_green_gets_no_traffic_before_it_is_healthy_and_blue_stays_until_the_end(
    chosen: tuple[Strategy, dict[str, Any]], desired: int, bake: int, chance: random.Random
) -> None:
    strategy, configuration = chosen
    route = {"own": "g", "other": "b", "production": "rule", "test": ""}
    shift = Shift(
        deployment="green", service="s", strategy=strategy, stage=LifecycleStage.PENDING, since=0.0, source="blue",
        weight=0.0, routes=[route], configuration={"bakeTimeInMinutes": bake, **configuration},
    )  # fmt: skip
    tasks = {f"b{n}": Member(f"b{n}", "blue", Stage.RUNNING, True, order=n) for n in range(desired)}
    rules = 0.0  # the share that the rules show
    now, number, reached = 0.0, 0, None
    ids = (str(each) for each in itertools.count())
    for _ in range(3000):
        now += chance.choice([0.5, 5.0, 30.0])
        green = [each for each in tasks.values() if each.deployment == "green"]
        healthy = sum(each.healthy for each in green)
        view = View(healthy >= desired, healthy > 0, rules, None, False)
        before = shift
        after = shifts.advance(shift, view, now, lambda seconds: seconds, lambda: next(ids))
        assert not isinstance(after, GivenUp)
        if after.weight > before.weight:
            assert healthy == desired, "more traffic only for all of the tasks"
        if after.stage is not before.stage:
            assert after.stage in _reachable(before.stage)
        shift = after
        if rules == 100 and reached is None:
            reached = now
        if shift.stage is LifecycleStage.CLEAN_UP:
            break
        assert sum(each.healthy for each in tasks.values() if each.deployment == "blue") == desired
        plan = shifts.side_by_side(shift, desired, [GREEN, BLUE], list(tasks.values()), now, clear=True)
        assert not [stop for stop in plan.stop if tasks[stop.task].healthy]
        for deployment, count in plan.start:
            assert deployment == "green"
            for _ in range(count):
                number += 1
                tasks[f"g{number}"] = Member(f"g{number}", deployment, Stage.PENDING, order=100 + number)
        assert sum(each.deployment == "green" for each in tasks.values()) <= 2 * desired
        # The world moves when it wants to.
        if chance.random() < 0.5:
            rules = shifts.shown_as(shift.weight) or 0.0
        moving = sorted(name for name, each in tasks.items() if not each.healthy)
        if moving and chance.random() < 0.7:
            name = chance.choice(moving)
            each = tasks[name]
            started = each.stage is Stage.PENDING
            tasks[name] = replace(each, stage=Stage.RUNNING, healthy=not started)
    else:
        raise AssertionError(f"never ended: {shift}")
    assert shift.weight == 100
    assert reached is not None
    assert now - reached >= 60 * bake


def _reachable(stage: LifecycleStage) -> set[LifecycleStage]:
    """`advance` may pass several stages at once."""
    found: set[LifecycleStage] = set()
    waiting = list(STAGE_TRANSITIONS[stage])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += STAGE_TRANSITIONS[each]
    return found

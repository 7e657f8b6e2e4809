"""Capacity provider strategies and the M/N rule of managed scaling."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.services.ecs import provider_scaling, strategies
from portside.cloud.services.ecs.provider_scaling import Need, Settings


def item(name: str, weight: int = 0, base: int = 0) -> dict[str, Any]:
    return {"capacityProvider": name, "weight": weight, "base": base}


@pytest.mark.parametrize(
    ("items", "count", "expected"),
    [
        ([item("a", 1)], 3, {"a": 3}),
        ([item("a")], 2, {"a": 2}),
        ([item("a", 1), item("b", 1)], 5, {"a": 3, "b": 2}),
        ([item("a", 1, base=2), item("b", 3)], 2, {"a": 2}),
        ([item("a", 1, base=2), item("b", 3)], 10, {"a": 4, "b": 6}),
        ([item("a", 0, base=1), item("b", 1)], 4, {"a": 1, "b": 3}),
        ([item("a", 1), item("b", 4)], 10, {"a": 2, "b": 8}),
    ],
)
def test_base_first_then_weights(items: list[dict[str, Any]], count: int, expected: dict[str, int]) -> None:
    assert strategies.split(items, count) == Counter(expected)


@given(
    st.lists(st.integers(0, 10), min_size=1, max_size=5).filter(lambda weights: len(weights) == 1 or any(weights)),
    st.integers(0, 20),
    st.integers(0, 60),
)
def test_a_split_sums_up_and_is_fair(weights: list[int], base: int, count: int) -> None:
    items = [item(f"p{number}", weight) for number, weight in enumerate(weights)]
    items[0]["base"] = base
    found = strategies.split(items, count)
    assert sum(found.values()) == count
    assert found["p0"] >= min(base, count)
    beyond = max(0, count - base)
    total = sum(weights)
    if not total:
        return
    for number, weight in enumerate(weights):
        got = found[f"p{number}"] - (min(base, count) if number == 0 else 0)
        if weight == 0:
            assert got == 0
        assert abs(got - beyond * weight / total) < len(weights)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([item("a", 1)], None),
        ([item("x", 1)], "not associated with the cluster"),
        ([item("a", 1), item("a", 2)], "duplicate"),
        ([item("a", 1), item("FARGATE", 1)], "mix of capacity providers"),
        ([item("a", 1, 1), item("b", 1, 1)], "Only one capacity provider"),
        ([item("a"), item("b")], "weight above zero"),
        ([item("a", 1001)], "weight"),
        ([item("a", 1, 100_001)], "base"),
    ],
)
def test_what_a_strategy_cannot_be(items: list[dict[str, Any]], words: str | None) -> None:
    found = strategies.wrong(items, ["a", "b", "FARGATE"])
    assert found is None if words is None else words in (found or "")


@pytest.mark.parametrize(
    ("needed", "present", "expected"),
    [(0, 0, 100.0), (3, 0, 200.0), (2, 2, 100.0), (3, 2, 150.0), (0, 2, 0.0), (1, 4, 25.0)],
)
def test_reservation(needed: int, present: int, expected: float) -> None:
    assert provider_scaling.reservation(needed, present) == expected


def test_waiting_tasks_fill_instances() -> None:
    small = Need(256, 600)
    assert provider_scaling.additional([small] * 4, 2048, 1945) == 2
    assert provider_scaling.additional([Need(2048, 100)] * 3, 2048, 1945) == 3
    assert provider_scaling.additional([Need(1, 1, frozenset({"80/tcp"}))] * 3, 2048, 1945) == 3
    assert provider_scaling.additional([Need(1, 1, alone="service:web")] * 2, 2048, 1945) == 2
    assert provider_scaling.additional([Need(1, 9000)], 2048, 1945) == 0, "none of this size could hold it"
    assert provider_scaling.additional([], 2048, 1945) == 0


@pytest.mark.parametrize(("needed", "target", "expected"), [(4, 100, 4), (4, 50, 8), (3, 80, 4), (0, 50, 0)])
def test_a_target_below_a_hundred_keeps_spare_instances(needed: int, target: int, expected: int) -> None:
    assert provider_scaling.wanted(needed, Settings(target)) == expected


@given(
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(1, 9),
    st.integers(0, 9),
)
def test_steps_stay_within_bounds_and_go_the_right_way(
    desired: int, goal: int, low: int, high: int, least: int, more: int
) -> None:
    bottom, top = sorted((low, high))
    settings = Settings(100, least, least + more)
    out = provider_scaling.step_out(desired, goal, top, settings)
    assert out == desired or desired < out <= top
    assert out - desired <= least + more
    down = provider_scaling.step_in(desired, goal, bottom, settings)
    assert down == desired or (bottom <= down < desired and down >= goal)
    assert desired - down <= least + more

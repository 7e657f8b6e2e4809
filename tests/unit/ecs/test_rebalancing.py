"""Availability Zone rebalancing as a rule, and played through with the rollout's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.services.ecs import rebalancing, rollout
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.rebalancing import rebalance
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout

DEPLOYMENT = Deployment(
    id="d", service="s", status=DeploymentStatus.PRIMARY, definition="d:1", desired=0, rollout=Rollout.COMPLETED,
    reason="", created_at=1, updated_at=1, public_id="",
)  # fmt: skip


def members(*zones: str) -> list[Member]:
    return [
        Member(f"t{number}", "d", Stage.RUNNING, True, zone=zone, instance=zone, order=number)
        for number, zone in enumerate(zones)
    ]


def moving(found: list[Member]) -> list[str]:
    return [each.task for each in found if each.evacuate]


@pytest.mark.parametrize(
    ("zones", "roomy", "desired", "expected"),
    [
        ("aaa", {"a", "b"}, 3, ["t0"]),
        ("aab", {"a", "b"}, 3, []),
        ("aabb", {"c"}, 4, ["t2"]),
        ("aaa", {"a"}, 3, []),  # no zone to go to
        ("aaa", set(), 3, []),
        ("aab", set(), 2, ["t0"]),  # its replacement has been started: go on
        ("aaa", {"b"}, 4, []),  # something else is on its way
        ("", {"a", "b"}, 0, []),
    ],
)
def test_who_moves(zones: str, roomy: set[str], desired: int, expected: list[str]) -> None:
    assert moving(rebalance(members(*zones), roomy, desired)) == expected


def test_nobody_moves_while_an_instance_drains() -> None:
    found = members(*"aaa")
    found[1] = replace(found[1], evacuate=True)
    assert rebalance(found, {"b"}, 3) == found


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_it_ends_balanced_and_never_stops_one_before_another_is_healthy(zones: list[str]) -> None:
    desired = len(zones)
    bounds = rollout.limits(desired, 100, 200)
    tasks = {each.task: each for each in members(*zones)}
    number = 100
    for _ in range(100):
        present = sorted(tasks.values(), key=lambda each: each.order)
        marked = rebalance(present, {"a", "b", "c"}, desired)
        plan = rollout.decide(desired, bounds, [DEPLOYMENT], marked, 0.0)
        assert sum(each.healthy for each in tasks.values()) >= desired
        if not plan.start and not plan.stop and not any(e.stage is Stage.PENDING for e in present):
            break
        for stop in plan.stop:
            del tasks[stop.task]
        for name, each in list(tasks.items()):
            tasks[name] = replace(each, stage=Stage.RUNNING, healthy=True)
        for _, count in plan.start:
            for _ in range(count):
                number += 1
                counts = Counter(each.zone for each in tasks.values())
                zone = min("abc", key=lambda each: (counts[each], each))
                tasks[f"n{number}"] = Member(f"n{number}", "d", Stage.PENDING, zone=zone, order=number)
    else:
        raise AssertionError("it never comes to rest")
    counts = Counter(each.zone for each in tasks.values())
    assert sum(counts.values()) == desired
    assert max(counts.values()) - min(counts[zone] for zone in "abc") <= 1


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({}, ""),
        ({"placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"}]}, ""),
        ({"placementStrategy": [{"type": "binpack", "field": "cpu"}]}, "first step spreads over"),
        ({"schedulingStrategy": "DAEMON"}, "daemon"),
        ({"deploymentConfiguration": {"maximumPercent": 100}}, "maximumPercent"),
    ],
)
def test_what_can_be_rebalanced(spec: dict[str, object], why: str) -> None:
    found = rebalancing.possible({"deploymentConfiguration": {"maximumPercent": 200}} | spec)
    assert why in found
    assert bool(why) == bool(found)

"""Where tasks go: filters, ranks and reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portside.cloud.services.ecs import expressions, placement
from portside.cloud.services.ecs.placement import Candidate, Demand, NoRoom, Obstacle, Placement

DEMAND = Demand(cpu=256, memory=128, ports=frozenset(), group="service:web")


def candidate(name: str, zone: str = "a", **more: Any) -> Candidate:
    made = Candidate(
        arn=f"arn:ci/{name}",
        ec2_id=f"i-{name}",
        connected=True,
        accepting=True,
        free_cpu=1024,
        free_memory=1024,
        ports=frozenset({"22/tcp"}),
        attributes={"ecs.availability-zone": zone, "ecs.instance-type": "t3.small"},
    )
    return replace(made, **more)


def chosen(demand: Demand, *candidates: Candidate) -> str:
    found = placement.choose(demand, candidates)
    assert isinstance(found, Placement)
    return found.arn.rpartition("/")[2]


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ({"connected": False}, Obstacle.AGENT),
        ({"free_cpu": 255}, Obstacle.CPU),
        ({"free_memory": 127}, Obstacle.MEMORY),
        ({"ports": frozenset({"80/tcp"})}, Obstacle.PORTS),
        ({"groups": {"service:web": 1}}, Obstacle.DISTINCT),
        ({"attributes": {"ecs.instance-type": "m5.large"}}, Obstacle.MEMBER_OF),
        ({}, None),
    ],
)
def test_the_first_obstacle_is_named(change: dict[str, Any], obstacle: Obstacle | None) -> None:
    demand = replace(
        DEMAND,
        ports=frozenset({"80/tcp"}),
        constraints=(
            {"type": "distinctInstance"},
            {"type": "memberOf", "expression": "attribute:ecs.instance-type == t3.small"},
        ),
    )
    assert placement.obstacle(demand, candidate("x", **change)) is obstacle


def test_no_instance_and_no_accepting_instance_are_the_same() -> None:
    for candidates in ([], [candidate("x", accepting=False)]):
        found = placement.choose(DEMAND, candidates)
        assert found == NoRoom()
        assert found.reason == "Reason: No Container Instances were found in your cluster."


def test_the_closest_instance_is_the_one_that_came_furthest() -> None:
    found = placement.choose(
        DEMAND, [candidate("a", connected=False), candidate("b", free_memory=0), candidate("c", free_cpu=0)]
    )
    assert isinstance(found, NoRoom)
    assert found.reason == "The closest matching (container-instance b) has insufficient memory available."
    assert dict(found.obstacles)["arn:ci/a"] is Obstacle.AGENT


def test_spread_over_zones_counts_the_tasks_of_the_same_group() -> None:
    demand = replace(DEMAND, strategy=tuple(placement.DEFAULT_SERVICE_STRATEGY))
    assert (
        chosen(demand, candidate("a", "a", groups={"service:web": 1}), candidate("b", "b", groups={"other": 9}))
        == "b"
    )


def test_binpack_takes_the_fullest_that_still_fits() -> None:
    demand = replace(DEMAND, strategy=({"type": "binpack", "field": "memory"},))
    assert chosen(demand, candidate("a"), candidate("b", free_memory=200), candidate("c", free_memory=100)) == "b"


def test_strategies_are_applied_in_order() -> None:
    demand = replace(
        DEMAND,
        strategy=(
            {"type": "spread", "field": "attribute:ecs.availability-zone"},
            {"type": "binpack", "field": "cpu"},
        ),
    )
    assert (
        chosen(
            demand,
            candidate("a", "a", free_cpu=300, groups={"service:web": 1}),
            candidate("b", "b"),
            candidate("c", "b", free_cpu=500),
        )
        == "c"
    )


def test_random_goes_by_the_key() -> None:
    demand = replace(DEMAND, strategy=({"type": "random"},))
    assert chosen(demand, candidate("a", key=0.9), candidate("b", key=0.1)) == "b"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("attribute:ecs.instance-type == t3.small", True),
        ("attribute:ecs.instance-type != t3.small", False),
        ("attribute:ecs.instance-type =~ t3.*", True),
        ("attribute:ecs.instance-type !~ t3.*", False),
        ("attribute:ecs.instance-type in [t2.micro, t3.small]", True),
        ("attribute:ecs.instance-type not_in [t2.micro]", True),
        ("attribute:gpu exists", False),
        ("attribute:gpu not_exists", True),
        ("not(attribute:gpu exists)", True),
        ("!(attribute:gpu exists)", True),
        ("attribute:gpu exists or attribute:size > 3", True),
        ("attribute:size >= 4 and attribute:size < 5", True),
        ("(attribute:size == 1 or attribute:size == 4) and task:group == service:web", True),
        ("task:group == 'service:api'", False),
        ("ec2InstanceId in ['i-1', 'i-2']", True),
        ("attribute:size greater_than 3 && attribute:size less_than_equal 4", True),
    ],
)
def test_the_cluster_query_language(expression: str, expected: bool) -> None:
    subject = {
        "attribute:ecs.instance-type": ("t3.small",),
        "attribute:size": ("4",),
        "task:group": ("service:web",),
        "ec2InstanceId": ("i-1",),
    }
    assert expressions.matches(expression, subject) is expected


@pytest.mark.parametrize(
    "broken", ["", "attribute:x", "attribute:x ==", "(attribute:x exists", "a == b c", "a =~ [", "a > b", "a in b"]
)
def test_broken_expressions_are_refused(broken: str) -> None:
    with pytest.raises(ValueError):
        expressions.check(broken)


def test_broken_strategies_are_named() -> None:
    check = placement.check_constraints
    assert (
        check([], [{"type": "binpack", "field": "disk"}])
        == "The field of a binpack placement strategy must be cpu or memory."
    )
    assert "instanceId, host or attribute" in (check([], [{"type": "spread", "field": "zone"}]) or "")
    assert "five" in (check([], [{"type": "random"}] * 6) or "")
    assert check([{"type": "distinctInstance"}], [{"type": "spread", "field": "host"}]) is None

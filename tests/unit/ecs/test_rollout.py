"""Rolling updates: arithmetic, order, the circuit breaker and the throttle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portside.cloud.services.ecs import rollout
from portside.cloud.services.ecs.desired import Member, Stage, surplus
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout
from portside.cloud.services.ecs.rollout import Breaker, Ended, Limits

NEW = Deployment(
    id="new", service="s", status=DeploymentStatus.PRIMARY, definition="d:2", desired=0, rollout=Rollout.IN_PROGRESS,
    reason="", created_at=2, updated_at=2, public_id="",
)  # fmt: skip
OLD = replace(NEW, id="old", status=DeploymentStatus.ACTIVE, rollout=Rollout.COMPLETED, created_at=1)


def member(
    number: int, deployment: str = "old", stage: Stage = Stage.RUNNING, healthy: bool = True, **more: Any
) -> Member:
    return Member(f"t{number}", deployment, stage, healthy and stage is Stage.RUNNING, order=number, **more)


def members(count: int, deployment: str = "old", **more: Any) -> list[Member]:
    return [member(number + (100 if deployment == "new" else 0), deployment, **more) for number in range(count)]


@pytest.mark.parametrize(
    ("desired", "low", "high", "expected"),
    [
        (4, 50, 200, Limits(2, 8)),
        (2, 75, 200, Limits(2, 4)),
        (3, 100, 125, Limits(3, 3)),
        (1, 0, 100, Limits(0, 1)),
        (0, 100, 200, Limits(0, 0)),
        (3, 34, 150, Limits(2, 4)),
    ],
)
def test_percentages_become_numbers(desired: int, low: int, high: int, expected: Limits) -> None:
    assert rollout.limits(desired, low, high) == expected


def test_the_examples_of_the_manual() -> None:
    # desired 4, minimum 50: two may stop first.
    plan = rollout.decide(4, Limits(2, 4), [NEW, OLD], members(4), 0)
    assert (len(plan.stop), plan.start) == (2, ())
    # desired 2, minimum 75: none may stop, but two may start.
    plan = rollout.decide(2, Limits(2, 4), [NEW, OLD], members(2), 0)
    assert (plan.stop, plan.start) == ((), (("new", 2),))
    # desired 3, maximum 125: none may start; minimum 100: nothing can be done.
    plan = rollout.decide(3, Limits(3, 3), [NEW, OLD], members(3), 0)
    assert (plan.stop, plan.start, plan.blocked) == ((), (), True)


def test_old_tasks_go_as_new_ones_become_healthy() -> None:
    both = [*members(2), member(100, "new"), member(101, "new", healthy=False)]
    plan = rollout.decide(2, Limits(2, 4), [NEW, OLD], both, 0)
    assert [stop.task for stop in plan.stop] == ["t1"]
    assert plan.stop[0].reason == "Scaling activity initiated by (deployment new)"


def test_it_is_finished_when_only_new_healthy_tasks_are_left() -> None:
    still = [*members(2, "new"), member(1, "old", Stage.STOPPING)]
    assert not rollout.decide(2, Limits(2, 4), [NEW, OLD], still, 0).finished
    plan = rollout.decide(2, Limits(2, 4), [NEW, OLD], members(2, "new"), 0)
    assert (plan.finished, plan.steady, plan.start, plan.stop) == (True, True, (), ())


def test_pending_old_tasks_are_stopped_at_once() -> None:
    both = [member(1), member(2, stage=Stage.PENDING)]
    plan = rollout.decide(2, Limits(2, 4), [NEW, OLD], both, 0)
    assert [stop.task for stop in plan.stop] == ["t2"]


def test_stopping_tasks_take_up_room() -> None:
    stopping = [member(number, "new", Stage.STOPPING) for number in range(3)]
    plan = rollout.decide(2, Limits(2, 4), [NEW], stopping, 0)
    assert plan.start == (("new", 1),)


def test_failing_tasks_are_stopped_with_their_reason() -> None:
    plan = rollout.decide(1, Limits(1, 2), [NEW], [member(1, "new", healthy=False, failing="sick")], 0)
    assert [(stop.task, stop.reason) for stop in plan.stop] == [("t1", "sick")]


def test_tasks_on_draining_instances_are_replaced_first() -> None:
    moving = [member(1, "new", evacuate=True), member(2, "new")]
    plan = rollout.decide(2, Limits(2, 4), [NEW], moving, 0)
    assert (plan.start, plan.stop) == ((("new", 1),), ())
    plan = rollout.decide(2, Limits(2, 4), [NEW], [*moving, member(3, "new")], 0)
    assert [stop.task for stop in plan.stop] == ["t1"]


def test_a_throttled_deployment_waits() -> None:
    plan = rollout.decide(1, Limits(1, 2), [replace(NEW, throttled_until=50.0)], [], 20.0)
    assert (plan.start, plan.retry_at) == ((), 50.0)


def test_after_a_failure_the_last_good_deployment_keeps_the_service_up() -> None:
    failed = replace(NEW, rollout=Rollout.FAILED)
    assert rollout.decide(2, Limits(2, 4), [failed], [], 0).start == ()
    plan = rollout.decide(2, Limits(2, 4), [failed, OLD], [member(1)], 0)
    assert (plan.start, plan.stop, plan.steady) == ((("old", 1),), (), False)


@pytest.mark.parametrize(
    ("desired", "breaker", "expected"),
    [
        (1, Breaker(True), 3),
        (6, Breaker(True), 3),
        (7, Breaker(True), 4),
        (1000, Breaker(True), 200),
        (10, Breaker(True, kind="BOUNDED_PERCENT", value=100), 10),
        (1, Breaker(True, kind="COUNT", value=1), 1),
        (1000, Breaker(True, kind="UNBOUNDED_PERCENT", value=50), 500),
    ],
)
def test_the_threshold(desired: int, breaker: Breaker, expected: int) -> None:
    assert rollout.threshold(desired, breaker) == expected


def test_failures_count_until_a_task_is_healthy() -> None:
    deployment = NEW
    for number in range(1, 4):
        deployment = rollout.count_end(deployment, Ended(True, True, 10.0 * number), rollout.throttle(number))
        assert deployment.failed == number
    assert deployment.throttled_until == 30 + 40
    assert rollout.tripped(deployment, 1, Breaker(True))
    assert not rollout.tripped(deployment, 1, Breaker(False))
    assert rollout.count_healthy(deployment).failed == 0
    assert rollout.count_healthy(deployment, reset=False).failed == 3
    assert rollout.count_end(NEW, Ended(False, True, 1.0), 9.0) is NEW


def test_the_throttle_grows_to_fifteen_minutes() -> None:
    assert [rollout.throttle(number) for number in (0, 1, 2, 3)] == [0.0, 10.0, 20.0, 40.0]
    assert rollout.throttle(50) == 900.0


def test_scale_in_prefers_what_does_not_work_then_keeps_the_balance() -> None:
    some = [
        member(1, zone="a", instance="i1"),
        member(2, zone="a", instance="i1"),
        member(3, zone="b", instance="i2"),
        member(4, zone="b", instance="i2", healthy=False),
    ]
    assert [each.task for each in surplus(some, 2, "spread")] == ["t4", "t2"]
    lonely = [member(1, instance="i1"), member(2, instance="i1"), member(3, instance="i2")]
    assert [each.task for each in surplus(lonely, 1, "binpack")] == ["t3"]
    assert surplus(some, 0, "spread") == []

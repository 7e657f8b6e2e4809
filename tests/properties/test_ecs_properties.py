"""Never: rules of placement and rollout that hold for all inputs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from portside.cloud.services.ecs import placement, rollout
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.placement import Candidate, Demand, NoRoom, Obstacle
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout

ports = st.frozensets(st.sampled_from(["80/tcp", "81/tcp", "82/udp"]), max_size=2)
strategies = st.lists(
    st.sampled_from(
        [
            {"type": "spread", "field": "attribute:ecs.availability-zone"},
            {"type": "spread", "field": "instanceId"},
            {"type": "binpack", "field": "cpu"},
            {"type": "binpack", "field": "memory"},
            {"type": "random"},
        ]
    ),
    max_size=3,
).map(tuple)
demands = st.builds(
    Demand,
    cpu=st.integers(0, 1024),
    memory=st.integers(4, 1024),
    ports=ports,
    group=st.sampled_from(["service:a", "service:b"]),
    constraints=st.sampled_from([(), ({"type": "distinctInstance"},)]),
    strategy=strategies,
)


@st.composite
def clusters(draw: st.DrawFn) -> list[Candidate]:
    return [
        Candidate(
            arn=f"arn:ci/{number}",
            ec2_id=f"i-{number}",
            connected=draw(st.booleans()),
            accepting=draw(st.booleans()),
            free_cpu=draw(st.integers(0, 2048)),
            free_memory=draw(st.integers(0, 2048)),
            ports=frozenset(),
            attributes={"ecs.availability-zone": draw(st.sampled_from("abc"))},
            key=draw(st.floats(0, 1)),
        )
        for number in range(draw(st.integers(0, 5)))
    ]


@given(clusters(), st.lists(demands, max_size=20))
def test_placement_never_overcommits(cluster: list[Candidate], wanted: list[Demand]) -> None:
    for demand in wanted:
        found = placement.choose(demand, cluster)
        if isinstance(found, NoRoom):
            # Truly none: every instance that takes tasks has an obstacle, and each is named.
            accepting = [each for each in cluster if each.accepting]
            assert {arn for arn, _ in found.obstacles} == {each.arn for each in accepting}
            assert all(placement.obstacle(demand, each) is not None for each in accepting)
            continue
        before = next(each for each in cluster if each.arn == found.arn)
        after = placement.taken(before, demand)
        assert before.connected and before.accepting
        assert after.free_cpu >= 0 and after.free_memory >= 0
        assert not before.ports & demand.ports
        if demand.constraints:
            assert not before.groups.get(demand.group)
        cluster = [after if each.arn == found.arn else each for each in cluster]


@given(clusters(), demands)
def test_placement_does_not_depend_on_the_order_of_instances(cluster: list[Candidate], demand: Demand) -> None:
    found = placement.choose(demand, cluster)
    other = placement.choose(demand, list(reversed(cluster)))
    if isinstance(found, NoRoom):
        assert isinstance(other, NoRoom)
        kinds = {obstacle for _, obstacle in found.obstacles}
        assert kinds <= set(Obstacle)
    else:
        assert other == found


NEW = Deployment(
    id="new", service="s", status=DeploymentStatus.PRIMARY, definition="d:2", desired=0, rollout=Rollout.IN_PROGRESS,
    reason="", created_at=2, updated_at=2, public_id="",
)  # fmt: skip
OLD = replace(NEW, id="old", status=DeploymentStatus.ACTIVE, rollout=Rollout.COMPLETED, created_at=1)


@st.composite
def services(draw: st.DrawFn) -> list[Member]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        stage = draw(st.sampled_from(Stage))
        healthy = stage is Stage.RUNNING and draw(st.booleans())
        failing = "" if healthy or stage is not Stage.RUNNING else draw(st.sampled_from(["", "sick"]))
        found.append(
            Member(
                f"t{number}",
                draw(st.sampled_from(["new", "old"])),
                stage,
                healthy,
                failing,
                draw(st.booleans()),
                f"i{number % 3}",
                "abc"[number % 3],
                number,
            )
        )
    return found


percentages = st.tuples(st.integers(0, 100), st.integers(100, 300))


@given(
    services(),
    st.integers(0, 8),
    percentages,
    st.sampled_from([Rollout.IN_PROGRESS, Rollout.COMPLETED, Rollout.FAILED]),
)
def test_a_plan_never_exceeds_the_maximum_nor_stops_healthy_tasks_below_the_minimum(
    tasks: list[Member], desired: int, percent: tuple[int, int], state: Rollout
) -> None:
    bounds = rollout.limits(desired, *percent)
    plan = rollout.decide(desired, bounds, [replace(NEW, rollout=state), OLD], tasks, 0.0)
    started = sum(count for _, count in plan.start)
    if started:
        assert len(tasks) + started <= bounds.upper
    stopped = {stop.task for stop in plan.stop}
    assert len(stopped) == len(plan.stop), "no task is stopped twice"
    by_name = {each.task: each for each in tasks}
    assert all(by_name[name].stage is not Stage.STOPPING for name in stopped)
    healthy = [each for each in tasks if each.healthy]
    left = [each for each in healthy if each.task not in stopped]
    if len(left) < len(healthy):
        assert len(left) >= min(bounds.lower, desired)


@settings(max_examples=60)
@given(st.integers(1, 6), percentages, st.integers(0, 6), st.randoms(use_true_random=False))
def test_a_rollout_never_leaves_its_bounds_and_ends(
    desired: int, percent: tuple[int, int], old: int, chance: random.Random
) -> None:
    """The rules played through to the end, with tasks that start, become healthy and stop in any order."""
    bounds = rollout.limits(desired, *percent)
    old = min(old, desired)
    tasks = {f"o{n}": Member(f"o{n}", "old", Stage.RUNNING, True, order=n) for n in range(old)}
    number = 0
    for _ in range(400):
        plan = rollout.decide(desired, bounds, [NEW, OLD], list(tasks.values()), 0.0)
        if plan.finished:
            break
        for stop in plan.stop:
            tasks[stop.task] = replace(tasks[stop.task], stage=Stage.STOPPING, healthy=False)
        for deployment, count in plan.start:
            for _ in range(count):
                number += 1
                tasks[f"n{number}"] = Member(f"n{number}", deployment, Stage.PENDING, order=100 + number)
        assert len(tasks) <= max(bounds.upper, old)
        assert sum(each.healthy for each in tasks.values()) >= min(bounds.lower, old)
        moving = sorted(name for name, each in tasks.items() if not each.healthy)
        if moving:
            name = chance.choice(moving)
            match tasks[name].stage:
                case Stage.PENDING:
                    tasks[name] = replace(tasks[name], stage=Stage.RUNNING)
                case Stage.RUNNING:
                    tasks[name] = replace(tasks[name], healthy=True)
                case Stage.STOPPING:
                    del tasks[name]
    else:
        stuck = old > 0 and bounds.upper <= desired <= bounds.lower
        assert stuck, "only percentages that allow neither a start nor a stop keep a rollout from ending"
        return
    assert Counter(each.deployment for each in tasks.values()) == {"new": desired}

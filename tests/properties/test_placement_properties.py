"""Never: rules of placing many tasks that hold for all inputs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from portside.cloud.services.ecs import placement
from portside.cloud.services.ecs.board import Board
from portside.cloud.services.ecs.placement import Candidate, Demand, NoRoom, Placement

steps = st.sampled_from(
    [
        {"type": "spread", "field": "attribute:ecs.availability-zone"},
        {"type": "spread", "field": "attribute:rack"},
        {"type": "spread", "field": "instanceId"},
        {"type": "spread", "field": "host"},
        {"type": "binpack", "field": "cpu"},
        {"type": "binpack", "field": "memory"},
        {"type": "random"},
    ]
)
constraints = st.sampled_from(
    [
        {"type": "distinctInstance"},
        {"type": "memberOf", "expression": "attribute:ecs.availability-zone in [a, b]"},
        {"type": "memberOf", "expression": "not(task:group == service:b)"},
        {"type": "memberOf", "expression": "task:group == service:a or attribute:rack == r1"},
    ]
)
demands = st.builds(
    Demand,
    cpu=st.sampled_from([0, 64, 300]),
    memory=st.sampled_from([4, 128, 500]),
    ports=st.frozensets(st.sampled_from(["80/tcp", "81/tcp", "82/udp"]), max_size=2),
    group=st.sampled_from(["service:a", "service:b"]),
    constraints=st.lists(constraints, max_size=2).map(tuple),
    strategy=st.lists(steps, max_size=4).map(tuple),
    architecture=st.sampled_from(["", "", "x86_64", "arm64"]),
    fleet=st.sampled_from(["", "", "", "one"]),
)


@st.composite
def clusters(draw: st.DrawFn) -> list[Candidate]:
    return [
        Candidate(
            arn=f"arn:ci/{number}",
            ec2_id=f"i-{number}",
            connected=draw(st.integers(0, 4)) > 0,
            accepting=draw(st.integers(0, 4)) > 0,
            free_cpu=draw(st.integers(0, 1024)),
            free_memory=draw(st.integers(0, 1024)),
            ports=draw(st.sampled_from([frozenset[str](), frozenset({"80/tcp"})])),
            attributes={
                "ecs.availability-zone": draw(st.sampled_from("abc")),
                "ecs.cpu-architecture": draw(st.sampled_from(["x86_64", "x86_64", "arm64"])),
                "rack": draw(st.sampled_from(["r1", "r2", f"own{number}"])),
            },
            groups=draw(st.dictionaries(st.sampled_from(["service:a", "service:b"]), st.integers(1, 3))),
            key=draw(st.sampled_from([0.0, 0.25, 0.5])),
            fleet=draw(st.sampled_from(["one", "two", ""])),
        )
        for number in range(draw(st.integers(0, 6)))
    ]


@settings(max_examples=300)
@given(clusters(), st.lists(demands, min_size=1, max_size=3), st.lists(st.integers(0, 2), max_size=25))
def test_a_board_chooses_what_looking_at_everything_again_would_choose(
    cluster: list[Candidate], wanted: list[Demand], order: list[int]
) -> None:
    board = Board(cluster)
    for number in order:
        demand = wanted[number % len(wanted)]
        found = board.choose(demand)
        assert found == placement.choose(demand, cluster)
        if isinstance(found, Placement):
            board.take(found.arn, demand)
            cluster = [placement.taken(each, demand) if each.arn == found.arn else each for each in cluster]
    assert list(board.instances.values()) == cluster


@settings(max_examples=200)
@given(clusters(), st.lists(demands, max_size=25))
def test_a_board_never_overcommits_shares_a_port_or_places_against_a_constraint(
    cluster: list[Candidate], wanted: list[Demand]
) -> None:
    board = Board(cluster)
    held: dict[str, list[str]] = {each.arn: list(each.ports) for each in cluster}
    room = {each.arn: (each.free_cpu, each.free_memory) for each in cluster}
    for demand in wanted:
        before = dict(board.instances)
        found = board.place(demand)
        if isinstance(found, NoRoom):
            continue
        chosen = before[found.arn]
        held[found.arn] += demand.ports
        cpu, memory = room[found.arn]
        room[found.arn] = (cpu - demand.cpu, memory - demand.memory)
        assert chosen.accepting and chosen.connected
        assert demand.fleet in ("", chosen.fleet)
        assert demand.architecture in ("", chosen.attributes["ecs.cpu-architecture"])
        for constraint in demand.constraints:
            if constraint["type"] == "distinctInstance":
                assert not chosen.groups.get(demand.group)
            elif "in [a, b]" in constraint["expression"]:
                assert chosen.attributes["ecs.availability-zone"] in "ab"
            elif constraint["expression"].startswith("not"):
                assert not chosen.groups.get("service:b")
    assert all(cpu >= 0 and memory >= 0 for cpu, memory in room.values())
    assert all(len(ports) == len(set(ports)) for ports in held.values())


@given(clusters(), demands)
def test_an_instance_with_less_room_never_becomes_possible(cluster: list[Candidate], demand: Demand) -> None:
    for each in cluster:
        smaller = replace(each, free_cpu=each.free_cpu // 2, free_memory=each.free_memory // 2)
        if placement.obstacle(demand, each) in (placement.Obstacle.CPU, placement.Obstacle.MEMORY):
            assert placement.obstacle(demand, smaller) is not None

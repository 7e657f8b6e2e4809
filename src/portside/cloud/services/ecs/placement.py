"""Where a task goes: filter the instances, rank them, or explain why none will do.

Pure. `choose` never takes an instance whose free CPU, memory or ports are too small, so that placements made one
after the other, each seeing the former ones, never overcommit. `board.py` does the same for many tasks in a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import expressions

ZONE = "ecs.availability-zone"
ARCHITECTURE = "ecs.cpu-architecture"
DEFAULT_SERVICE_STRATEGY: list[Params] = [{"type": "spread", "field": f"attribute:{ZONE}"}]
DEFAULT_TASK_STRATEGY: list[Params] = [{"type": "random"}]


class Obstacle(StrEnum):
    """Why an instance will not do, in the order in which they are looked at."""

    AGENT = "AGENT"
    ATTRIBUTE = "ATTRIBUTE"
    MEMBER_OF = "MemberOf placement constraint unsatisfied."
    DISTINCT = "DistinctInstance placement constraint unsatisfied."
    PORTS = "RESOURCE:PORTS"
    CPU = "RESOURCE:CPU"
    MEMORY = "RESOURCE:MEMORY"
    GPU = "RESOURCE:GPU"
    FARGATE = "RESOURCE:FARGATE"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a task needs. `group` is `service:NAME` or the task group. `architecture` as in the instances'
    attribute, empty when any will do; `fleet` is the Auto Scaling group of a capacity provider, if one was asked
    for."""

    cpu: int
    memory: int
    ports: frozenset[str]
    group: str
    constraints: tuple[Params, ...] = ()
    strategy: tuple[Params, ...] = ()
    architecture: str = ""
    fleet: str = ""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance with what is free on it. `groups` counts its tasks by group; `key` breaks ties; `fleet` is the
    Auto Scaling group that it belongs to."""

    arn: str
    ec2_id: str
    connected: bool
    accepting: bool
    free_cpu: int
    free_memory: int
    ports: frozenset[str]
    attributes: Mapping[str, str]
    groups: Mapping[str, int] = field(default_factory=dict)
    key: float = 0.0
    fleet: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    arn: str


@dataclass(frozen=True, slots=True)
class NoRoom:
    """`obstacles` per instance; `closest` is the one that came furthest. Both empty: there is no instance. `said`
    is the reason where no instance is looked for."""

    obstacles: tuple[tuple[str, Obstacle], ...] = ()
    closest: tuple[str, Obstacle] | None = None
    said: str = ""

    @property
    def reason(self) -> str:
        """The sentence for service events."""
        if self.closest is None:
            return "Reason: No Container Instances were found in your cluster."
        instance, obstacle = self.closest
        return f"The closest matching (container-instance {instance.rpartition('/')[2]}) {_WORDS[obstacle]}."


_WORDS = {
    Obstacle.AGENT: 'encountered error "AGENT"',
    Obstacle.ATTRIBUTE: "is missing an attribute required by your task",
    Obstacle.MEMBER_OF: "is missing an attribute required by your task",
    Obstacle.DISTINCT: "already has a task of this service or group on it (distinctInstance)",
    Obstacle.PORTS: "is already using a port required by your task",
    Obstacle.CPU: "has insufficient CPU units available",
    Obstacle.MEMORY: "has insufficient memory available",
    Obstacle.GPU: "has insufficient GPU units available",
    Obstacle.FARGATE: "is not used by Fargate",
}
_ORDER = list(Obstacle)


def choose(demand: Demand, candidates: Sequence[Candidate]) -> Placement | NoRoom:
    """The instance for one task."""
    eligible = [each for each in candidates if takes_part(demand, each)]
    obstacles = [(each, obstacle(demand, each)) for each in eligible]
    fitting = [each for each, found in obstacles if found is None]
    if fitting:
        return Placement(_rank(demand, fitting, eligible).arn)
    if not obstacles:
        return NoRoom()
    named = tuple((each.arn, found) for each, found in obstacles if found is not None)
    return NoRoom(named, max(named, key=lambda pair: _ORDER.index(pair[1])))


def takes_part(demand: Demand, candidate: Candidate) -> bool:
    """Is the instance looked at at all: ACTIVE, and of the capacity provider that was asked for?"""
    return candidate.accepting and demand.fleet in ("", candidate.fleet)


def obstacle(demand: Demand, candidate: Candidate) -> Obstacle | None:
    """The first reason why this instance will not do."""
    if not candidate.connected:
        return Obstacle.AGENT
    if demand.architecture and candidate.attributes.get(ARCHITECTURE, demand.architecture) != demand.architecture:
        return Obstacle.ATTRIBUTE
    for constraint in demand.constraints:
        match constraint.get("type"):
            case "memberOf":
                if not expressions.compiled(constraint.get("expression") or "")(subject(candidate)):
                    return Obstacle.MEMBER_OF
            case "distinctInstance":
                if candidate.groups.get(demand.group):
                    return Obstacle.DISTINCT
    if demand.ports & candidate.ports:
        return Obstacle.PORTS
    if demand.cpu > candidate.free_cpu:
        return Obstacle.CPU
    if demand.memory > candidate.free_memory:
        return Obstacle.MEMORY
    # No instance type of the local cloud has one that a container could use.
    if demand.gpus:
        return Obstacle.GPU
    return None


def subject(candidate: Candidate) -> dict[str, tuple[str, ...]]:
    """A candidate as the cluster query language sees it."""
    found: dict[str, tuple[str, ...]] = {f"attribute:{k}": (v,) for k, v in candidate.attributes.items()}
    found["task:group"] = tuple(candidate.groups)
    found["ec2InstanceId"] = (candidate.ec2_id,)
    found["agentConnected"] = (str(candidate.connected).lower(),)
    found |= {name: (value,) for name, value in candidate.facts.items()}
    return found


def _rank(demand: Demand, fitting: Sequence[Candidate], all_of_them: Sequence[Candidate]) -> Candidate:
    def rank(each: Candidate) -> tuple[tuple[float, ...], str]:
        scores = [score(step, demand, each, all_of_them) for step in demand.strategy]
        return (*scores, each.key), each.arn

    return min(fitting, key=rank)


def score(step: Params, demand: Demand, candidate: Candidate, everyone: Sequence[Candidate]) -> float:
    """What one step of a strategy says of an instance; the lowest is best."""
    where = step.get("field") or ""
    match step.get("type"):
        case "spread":
            value = spread_value(where, candidate)
            return sum(c.groups.get(demand.group, 0) for c in everyone if spread_value(where, c) == value)
        case "binpack":
            return candidate.free_cpu if where.lower() == "cpu" else candidate.free_memory
    return 0.0


def spread_value(where: str, candidate: Candidate) -> str:
    """Tasks are spread over the different values of this."""
    if where.lower() in ("instanceid", "host"):
        return candidate.arn
    return candidate.attributes.get(where.removeprefix("attribute:"), "")


def taken(candidate: Candidate, demand: Demand) -> Candidate:
    """The same instance after the task has been placed on it."""
    groups = dict(candidate.groups)
    groups[demand.group] = groups.get(demand.group, 0) + 1
    return Candidate(
        candidate.arn,
        candidate.ec2_id,
        candidate.connected,
        candidate.accepting,
        candidate.free_cpu - demand.cpu,
        candidate.free_memory - demand.memory,
        candidate.ports | demand.ports if demand.ports else candidate.ports,
        candidate.attributes,
        groups,
        candidate.key,
        candidate.fleet,
        candidate.facts,
    )


def check_constraints(constraints: Sequence[Params], strategy: Sequence[Params]) -> str | None:
    """What is wrong with placement constraints or strategies of a call, None if nothing is."""
    for constraint in constraints:
        if constraint.get("type") == "memberOf":
            try:
                expressions.check(constraint.get("expression") or "")
            except ValueError as error:
                return f"Invalid memberOf expression '{constraint.get('expression') or ''}': {error}."
    if len(strategy) > 5:
        return "A placement strategy has five steps at most."
    for step in strategy:
        where = (step.get("field") or "").lower()
        if step.get("type") == "binpack" and where not in ("cpu", "memory"):
            return "The field of a binpack placement strategy must be cpu or memory."
        fields = ("instanceid", "host")
        if step.get("type") == "spread" and where not in fields and not where.startswith("attribute:"):
            return "The field of a spread placement strategy must be instanceId, host or attribute:<name>."
    return None

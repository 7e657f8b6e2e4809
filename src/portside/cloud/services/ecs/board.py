"""Many tasks placed one after the other, without looking at every instance again for each of them.

Pure in what it answers: `Board.choose` is `placement.choose` on the instances as they are after everything that
was taken; a property test holds them together. Owns how that is kept fast. Instances that no attribute of a
`spread` step tells apart form a class; within a class their order depends on nothing but themselves, so that each
class is a heap, and a placement moves one instance in one heap. The classes (a few zones, as a rule) are compared
by counts.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable

from portside.cloud.services.ecs import placement
from portside.cloud.services.ecs.placement import Candidate, Demand, NoRoom, Placement

Score = tuple[float, ...]


class Board:
    """`board.choose(demand)`, then `board.take(arn, demand)`; nothing else changes it."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.instances = {each.arn: each for each in candidates}
        self._taken: list[tuple[str, str]] = []  # (instance, task group), in order
        self._rankings: dict[int, _Ranking] = {}

    def choose(self, demand: Demand) -> Placement | NoRoom:
        """The instance for one task."""
        # By identity, for demands hold dicts; the ranking keeps its demand alive, so that its id is its own.
        ranking = self._rankings.get(id(demand))
        if ranking is None:
            ranking = self._rankings[id(demand)] = _Ranking(demand, self.instances, len(self._taken))
        best = ranking.best(self._taken)
        return Placement(best) if best is not None else placement.choose(demand, list(self.instances.values()))

    def take(self, arn: str, demand: Demand) -> None:
        """A task of this demand is on the instance from now on."""
        self.instances[arn] = placement.taken(self.instances[arn], demand)
        self._taken.append((arn, demand.group))

    def place(self, demand: Demand, among: Collection[str] | None = None) -> Placement | NoRoom:
        """Choose and take; `among` leaves only these instances (daemons, which are few and are not ranked)."""
        if among is None:
            choice = self.choose(demand)
        else:
            choice = placement.choose(demand, [self.instances[arn] for arn in among])
        if isinstance(choice, Placement):
            self.take(choice.arn, demand)
        return choice


class _Ranking:
    """The instances in the order in which one demand would take them."""

    def __init__(self, demand: Demand, instances: dict[str, Candidate], seen: int) -> None:
        self._demand = demand
        self._instances = instances
        self._seen = seen
        everyone = [each for each in instances.values() if placement.takes_part(demand, each)]
        # Per step: the counts by value for a spread whose values are shared, None where an instance is on its own.
        self._shared: list[Counter[str] | None] = []
        for step in demand.strategy:
            counts: Counter[str] | None = None
            if step.get("type") == "spread":
                where = step.get("field") or ""
                values = Counter(placement.spread_value(where, each) for each in everyone)
                if any(number > 1 for number in values.values()):
                    counts = Counter()
                    for each in everyone:
                        counts[placement.spread_value(where, each)] += each.groups.get(demand.group, 0)
            self._shared.append(counts)
        self._class_of: dict[str, tuple[str, ...]] = {each.arn: self._class(each) for each in everyone}
        self._heaps: dict[tuple[str, ...], list[tuple[Score, str, int]]] = {
            kind: [] for kind in self._class_of.values()
        }
        self._version: dict[str, int] = {}
        for each in everyone:
            if placement.obstacle(demand, each) is None:
                self._heaps[self._class_of[each.arn]].append((self._own(each), each.arn, 0))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def best(self, taken: list[tuple[str, str]]) -> str | None:
        """The instance that comes first now; None when none will do."""
        self._catch_up(taken)
        found: tuple[Score, str] | None = None
        for kind, heap in self._heaps.items():
            while heap and heap[0][2] != self._version.get(heap[0][1], 0):
                heapq.heappop(heap)
            if heap:
                own, arn, _ = heap[0]
                rival = (self._whole(kind, own), arn)
                if found is None or rival < found:
                    found = rival
        return found[1] if found is not None else None

    def _catch_up(self, taken: list[tuple[str, str]]) -> None:
        """What has been taken since the last time, by whatever demand."""
        changed = taken[self._seen :]
        self._seen = len(taken)
        for arn, group in changed:
            kind = self._class_of.get(arn)
            if kind is not None and group == self._demand.group:
                values = iter(kind)
                for counts in self._shared:
                    if counts is not None:
                        counts[next(values)] += 1
        for arn in dict.fromkeys(arn for arn, _ in changed):
            kind = self._class_of.get(arn)
            if kind is None:
                continue
            self._version[arn] = version = self._version.get(arn, 0) + 1
            candidate = self._instances[arn]
            if placement.obstacle(self._demand, candidate) is None:
                heapq.heappush(self._heaps[kind], (self._own(candidate), arn, version))

    def _class(self, candidate: Candidate) -> tuple[str, ...]:
        return tuple(
            placement.spread_value(step.get("field") or "", candidate)
            for step, counts in zip(self._demand.strategy, self._shared, strict=True)
            if counts is not None
        )

    def _own(self, candidate: Candidate) -> Score:
        """The scores of the steps that look at the instance alone, then its tie-breaker."""
        scores = [
            placement.score(step, self._demand, candidate, (candidate,))
            for step, counts in zip(self._demand.strategy, self._shared, strict=True)
            if counts is None
        ]
        return (*scores, candidate.key)

    def _whole(self, kind: tuple[str, ...], own: Score) -> Score:
        """All scores in the order of the strategy's steps."""
        values, rest = iter(kind), iter(own)
        merged = [next(rest) if counts is None else counts[next(values)] for counts in self._shared]
        return (*merged, *rest)

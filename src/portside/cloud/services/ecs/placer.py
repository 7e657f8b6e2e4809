"""Where the next task goes, in whatever way it is launched: on an instance, on a provider's instances, on Fargate.

Reads records and holds the board of one transaction; writes nothing. Used by RunTask and by the service loop,
which make the task of what they are given. With a capacity provider that scales its group, a task that does not
fit anywhere waits in PROVISIONING instead of being refused; `provider_loop.py` sees to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import capacity, fargate, provider_records, store, strategies
from portside.cloud.services.ecs.board import Board
from portside.cloud.services.ecs.placement import Demand, NoRoom
from portside.cloud.services.ecs.records import Task, TaskStatus

MOST_PROVISIONING = 500  # per cluster


@dataclass(frozen=True, slots=True)
class Launch:
    """How the tasks of one call or one deployment are launched. `strategy` empty: by launch type."""

    type: str = "EC2"
    strategy: tuple[Params, ...] = ()
    network: Params = field(default_factory=dict)

    @staticmethod
    def of(spec: Params) -> Launch:
        """Of a service's or a deployment's spec."""
        network = (spec.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        return Launch(spec.get("launchType") or "EC2", tuple(spec.get("capacityProviderStrategy") or ()), network)


@dataclass(frozen=True, slots=True)
class Spot:
    """What a new task gets. `arn` is the instance, empty on Fargate and while the task waits for one."""

    arn: str = ""
    status: TaskStatus = TaskStatus.PENDING
    launch_type: str = "EC2"
    provider: str = ""
    zone: str = ""
    network: Params = field(default_factory=dict)


class Placer:
    """Use within one transaction; it remembers what it has given away."""

    def __init__(
        self, reader: store.Reader, ids: Ids, region: str, cluster: str, room: fargate.Room | None = None
    ) -> None:
        self._reader = reader
        self._region = region
        self.board = Board(capacity.candidates(reader, ids, region, cluster))
        live = store.live_tasks_of_cluster(reader, region, cluster)
        self._waiting = sum(1 for each in live if waits_for_room(each))
        self._fleets: dict[tuple[int, str], tuple[Demand, Demand]] = {}
        self._fargate = fargate.Plan(reader, room)

    def place(
        self, demand: Demand, launch: Launch, counts: Counter[str], among: Collection[str] | None = None
    ) -> Spot | NoRoom:
        """For the next task; `counts` are the tasks by provider, and are kept up to date."""
        if not launch.strategy:
            if launch.type == "FARGATE":
                return self._on_fargate(demand, launch, "")
            return self._on_instance(demand, "", among)
        name = strategies.next_provider(launch.strategy, counts)
        if name in strategies.BUILT_IN:
            spot = self._on_fargate(demand, launch, name)
        else:
            spot = self._on_provider(demand, name)
        if isinstance(spot, Spot):
            counts[name] += 1
        return spot

    def counts(self, deployment: str, service: str) -> Counter[str]:
        """The tasks of a deployment that there are already, by provider."""
        live = store.live_tasks_of_service(self._reader, service)
        return Counter(
            each.provider
            for each in live
            if each.deployment == deployment and each.desired is not TaskStatus.STOPPED
        )

    def _on_instance(self, demand: Demand, provider: str, among: Collection[str] | None = None) -> Spot | NoRoom:
        choice = self.board.place(demand, among)
        return choice if isinstance(choice, NoRoom) else Spot(choice.arn, provider=provider)

    def _on_provider(self, demand: Demand, name: str) -> Spot | NoRoom:
        provider = provider_records.named(self._reader, self._region, name)
        if provider is None:
            return NoRoom()
        # The same value for the same demand, for a board knows demands by identity.
        key = (id(demand), provider.group_name)
        if key not in self._fleets:
            self._fleets[key] = (demand, replace(demand, fleet=provider.group_name))
        spot = self._on_instance(self._fleets[key][1], name)
        if isinstance(spot, Spot) or not provider.managed or self._waiting >= MOST_PROVISIONING:
            return spot
        self._waiting += 1
        return Spot(status=TaskStatus.PROVISIONING, provider=name)

    def _on_fargate(self, demand: Demand, launch: Launch, provider: str) -> Spot | NoRoom:
        found = self._fargate.next(demand, launch.network)
        if isinstance(found, NoRoom):
            return found
        subnet, zone = found
        network: Params = {"subnets": [subnet]}
        return Spot(launch_type="FARGATE", provider=provider, zone=zone, network=network)


def waits_for_room(task: Task) -> bool:
    """Is this a task that no instance of its capacity provider has had room for yet?"""
    return (
        task.status is TaskStatus.PROVISIONING
        and not task.instance
        and task.launch_type == "EC2"
        and task.desired is not TaskStatus.STOPPED
    )

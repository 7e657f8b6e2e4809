"""Fargate on one machine: what a call for it must say, and how much of the machine its tasks may take.

A Fargate task has no container instance; its share of the machine is its own. `Room` knows what the engine has,
`Plan` gives the subnets of a service to its tasks in turn, so that they spread evenly over the zones. A task that
is larger than what the engine has left is refused, as AWS refuses one when it has no capacity.
"""

from __future__ import annotations

from collections import Counter

from portside.cloud.machine.engine import Engine, EngineError
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import provider_records, store, strategies
from portside.cloud.services.ecs.errors import client, invalid
from portside.cloud.services.ecs.placement import Demand, NoRoom, Obstacle
from portside.cloud.services.ecs.records import TaskStatus

PLATFORM_VERSION = "1.4.0"
PLATFORM_FAMILY = "Linux"
VERSIONS = ("LATEST", "1.4.0", "1.3.0")
UNAVAILABLE = "Capacity is unavailable at this time. Please try again later or in a different availability zone"


class Room:
    """What the engine has for Fargate tasks, as it was when it was last asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.cpu: int | None = None
        self.memory: int | None = None

    async def refresh(self) -> None:
        """Ask the engine again; while it does not answer, nothing is known and nothing is refused for it."""
        try:
            info = await self._engine.info()
        except EngineError:
            self.cpu = self.memory = None
            return
        self.cpu, self.memory = info.cpus * 1024, info.memory

    def holds(self, cpu: int, memory: int) -> bool:
        """Is there that much in all, as far as is known?"""
        return self.cpu is None or self.memory is None or (cpu <= self.cpu and memory <= self.memory)


class Plan:
    """The next Fargate task's subnet, or why there is none; for one transaction."""

    def __init__(self, reader: store.Reader, room: Room | None) -> None:
        self._reader = reader
        self._room = room
        self._used: tuple[int, int] | None = None
        self._zones: Counter[tuple[str, str]] = Counter()
        self._counted: set[str] = set()

    def next(self, demand: Demand, network: Params) -> tuple[str, str] | NoRoom:
        if self._used is None:
            live = store.tasks.where(self._reader, "launch_type = 'FARGATE' AND status <> ?", TaskStatus.STOPPED)
            self._used = (sum(each.cpu for each in live), sum(each.memory for each in live))
            self._zones.update((each.group_name, each.zone) for each in live)
        cpu, memory = self._used
        if self._room is not None and not self._room.holds(cpu + demand.cpu, memory + demand.memory):
            return NoRoom((("", Obstacle.FARGATE),), None, UNAVAILABLE)
        subnets = list(network.get("subnets") or [])
        if not subnets:
            return NoRoom((("", Obstacle.FARGATE),), None, UNAVAILABLE)
        zones = {each: provider_records.zone_of_subnet(self._reader, each) for each in subnets}
        subnet = min(subnets, key=lambda each: (self._zones[demand.group, zones[each]], subnets.index(each)))
        self._zones[demand.group, zones[subnet]] += 1
        self._used = (cpu + demand.cpu, memory + demand.memory)
        return subnet, zones[subnet]


def uses_fargate(spec: Params) -> bool:
    """Do the tasks of a service with this spec, or of such a call, run on Fargate?"""
    names = [each["capacityProvider"] for each in spec.get("capacityProviderStrategy") or []]
    return spec.get("launchType") == "FARGATE" or any(name in strategies.BUILT_IN for name in names)


def check_call(params: Params, definition: Params) -> None:
    """Refuse what a call for Fargate may not say. `params` is the call, `definition` the spec of what it runs."""
    if "FARGATE" not in (definition.get("requiresCompatibilities") or []):
        raise invalid("Task definition does not support launch_type FARGATE.")
    if params.get("placementConstraints"):
        raise client("Placement constraints are not supported with FARGATE launch type.")
    if params.get("placementStrategy"):
        raise client("Placement strategies are not supported with FARGATE launch type.")
    if params.get("schedulingStrategy") == "DAEMON":
        raise invalid(
            "The daemon scheduling strategy is not supported for services using the Fargate launch type."
        )
    version = params.get("platformVersion") or "LATEST"
    if version not in VERSIONS:
        raise AwsError("PlatformUnknownException", "The specified platform does not exist.")

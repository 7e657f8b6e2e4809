"""kill -9 before the writes of a rolling, a blue/green and a rolled back deployment: each ends as it would have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.database import Database, Transaction
from portside.testing.clock import VirtualClock
from portside.testing.engine import EXITS, RUNS, FakeEngine
from worlds.ecs import FakeBalancer, VirtualWorld, virtual_world

CONTAINER = {"portMappings": [{"containerPort": 80}]}
ROLE = "arn:aws:iam::000000000000:role/shift"


class Killed(Exception):
    pass


class Death:
    """Counts the writes of a database, and lets none happen from a given one on."""

    def __init__(self, database: Database, at: int) -> None:
        self.writes, self._at = 0, at
        self._write = database.write
        database.write = self.write  # type: ignore[method-assign]

    @property
    def came(self) -> bool:
        return bool(self._at) and self.writes >= self._at

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self.writes += 1
        if self.came:
            raise Killed
        with self._write() as tx:
            yield tx


class Watched(FakeBalancer):
    """Can tell where something is healthy."""

    def healthy(self, group: str) -> bool:
        return "healthy" in self.groups[group].values()


STRATEGIES: dict[str, dict[str, Any]] = {
    "rolling": {"strategy": "ROLLING"},
    "blue/green": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1},
    "canary": {
        "strategy": "CANARY",
        "bakeTimeInMinutes": 0,
        "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 1},
    },
}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}


class Stage:
    """What outlives a cloud: the engine, the load balancer, time."""

    def __init__(self, path: Path, strategy: str, image: str) -> None:
        path.mkdir()
        self.path, self.strategy, self.image = path, strategy, image
        self.clock = VirtualClock()
        self.engine = FakeEngine(self.clock, {"app": RUNS, "next": RUNS, "broken": EXITS})
        self.balancer = Watched()
        self.blue = self.balancer.group("blue")
        self.green = self.balancer.group("green", attached=False)
        self.rule = self.balancer.rule("production", self.blue)

    def world(self) -> Any:
        return virtual_world(self.path, engine=self.engine, clock=self.clock, balancer=self.balancer)

    async def begin(self, world: VirtualWorld) -> None:
        balancer: dict[str, Any] = {"targetGroupArn": self.blue, "containerName": "app", "containerPort": 80}
        if self.strategy != "rolling":
            balancer["advancedConfiguration"] = {
                "alternateTargetGroupArn": self.green,
                "productionListenerRule": self.rule,
                "roleArn": ROLE,
            }
        await world.register(**CONTAINER)
        configuration = STRATEGIES[self.strategy] | BREAKER
        await world.create_service(loadBalancers=[balancer], deploymentConfiguration=configuration)
        await world.until_steady()
        await world.register(image=self.image, **CONTAINER)
        del self.balancer.written[:]

    def watch(self) -> bool:
        """To be true at any time: whoever has production traffic has a healthy target for it."""
        for group, weight in self.balancer.rules[self.rule].items():
            assert not weight or self.balancer.healthy(group), f"traffic for {group}, where nothing is healthy"
        return False

    async def end(self, world: VirtualWorld) -> None:
        await world.until(lambda: self.watch() or world.steady())
        await world.until(lambda: self.watch() or len(self.engine.states) == 1, 600)
        expected = "app" if self.image == "broken" else self.image
        assert [each["containers"][0]["image"] for each in world.running()] == [expected]
        moved = self.strategy != "rolling" and self.image != "broken"
        own, other = (self.green, self.blue) if moved else (self.blue, self.green)
        assert len(self.balancer.groups[own]) == 1
        assert self.balancer.groups[other] == {}
        weights = self.balancer.rules[self.rule]
        assert (weights.get(own, 0) > 0, weights.get(other, 0)) == (True, 0)
        for _, written in self.balancer.written:
            assert sum(written.values()) == 100
        newest = world._now("ListServiceDeployments", {"service": "web"})["serviceDeployments"]
        status = "ROLLBACK_SUCCESSFUL" if self.image == "broken" else "SUCCESSFUL"
        assert [each["status"] for each in newest] == [status, "SUCCESSFUL"]


async def run(path: Path, strategy: str, image: str, die_at: int = 0) -> int:
    """How many writes the deployment takes."""
    stage = Stage(path, strategy, image)
    try:
        with suppress(Killed):
            async with stage.world() as world:
                await stage.begin(world)
                await world.call("UpdateService", {"service": "web", "taskDefinition": "web"})
                death = Death(world.database, die_at)
                if not die_at:
                    await stage.end(world)
                    return death.writes
                await world.until(lambda: death.came)
        async with stage.world() as world:
            await stage.end(world)
        return die_at
    finally:
        await stage.engine.close()


@pytest.mark.parametrize(
    ("strategy", "image", "step"),
    [
        ("rolling", "next", 1),
        ("blue/green", "next", 1),
        ("canary", "next", 5),
        ("rolling", "broken", 12),
        ("blue/green", "broken", 25),
    ],
)
async def test_a_crash_before_the_writes_of_a_deployment(
    tmp_path: Path, strategy: str, image: str, step: int
) -> None:
    writes = await run(tmp_path / "whole", strategy, image)
    assert writes > 12
    for number in range(1, writes + 1, step):
        await run(tmp_path / str(number), strategy, image, number)

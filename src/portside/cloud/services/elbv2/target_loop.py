"""The loop that checks the health of targets and drains those that leave. One key per registered target.

Owns every change of a target's state after its registration. What a result means is in `health.py`; who then gets
requests is worked out in `routing.py` and put into force by `proxy_loop.py`, which this loop wakes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.machine.prober import Prober
from portside.cloud.machine.proxy import Endpoint
from portside.cloud.services.elbv2 import attributes, health, records
from portside.cloud.services.elbv2.health import TRAFFIC_PORT, Health, State
from portside.cloud.services.elbv2.records import Target, TargetGroup
from portside.cloud.services.elbv2.routing import Resolve

DELAY = "deregistration_delay.timeout_seconds"
WORKERS = 256
# The longest time-out of a health check is 120 s.
TURN_LIMIT = 150.0
STILL_SERVED = 0.05
STILL_BUSY = 0.2
# When the proxy does not come to leave a target out, its delay begins all the same.
LONGEST_OVERTIME = 30.0


class TargetLoop:
    """Use: `async with TargetLoop(...) as loop`, then `loop.resume()`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        prober: Prober,
        resolve: Resolve,
        rotation_changed: Callable[[], None],
        may_be_served: Callable[[str, Endpoint], bool],
        is_busy: Callable[[str, Endpoint], Awaitable[bool]],
        log: Log,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._prober = prober
        self._resolve = resolve
        self._rotation_changed = rotation_changed
        self._may_be_served = may_be_served
        self._is_busy = is_busy
        self._log = log.bind(service="elbv2")
        self.drained: list[Callable[[], None]] = []  # told when a drain has ended
        # Of targets that leave: when they were first looked at, and when they last might still have got requests.
        self._leaving: dict[str, tuple[float, float]] = {}
        self._loop = Loop("elb-target", self.turn, clock, log, workers=WORKERS, turn_limit=TURN_LIMIT)

    def wake(self, key: str) -> None:
        self._loop.wake(key)

    def wake_group(self, arn: str) -> None:
        for target in records.targets(self._database, arn):
            self.wake(target.key)

    def resume(self) -> None:
        """After a start: every target goes on where it was."""
        for target in records.targets(self._database):
            self.wake(target.key)

    async def __aenter__(self) -> TargetLoop:
        await self._loop.__aenter__()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._loop.__aexit__(None, None, None)

    async def turn(self, key: str) -> TurnResult:
        target = records.target(self._database, key)
        group = records.group(self._database, target.group) if target is not None else None
        if target is None or group is None:
            self._leaving.pop(key, None)
            return Done()
        if target.health.state is State.DRAINING:
            return await self._drain(target, group)
        self._leaving.pop(key, None)
        if not records.load_balancers_of(self._database, group.arn):
            # Nobody sends requests there: AWS does not check, and starts anew when somebody does.
            if target.health != Health():
                self._store(target, Health())
            return Done()
        return await self._check(target, group)

    # Draining

    async def _drain(self, target: Target, group: TargetGroup) -> TurnResult:
        now = self._clock.now()
        first, last = self._leaving.get(target.key, (now, target.drained_from or 0.0))
        endpoint = self._resolve(target.id, target.port)
        if endpoint is not None and now < first + LONGEST_OVERTIME and self._may_be_served(group.arn, endpoint):
            self._leaving[target.key] = (first, now)
            return After(STILL_SERVED)
        # The delay is for the last request that went there: on a busy machine the proxy leaves it out late.
        delay = float(attributes.value(attributes.TARGET_GROUP, group.attributes, DELAY))
        end = last + self._pace.wait(delay)
        if now < end:
            return After(end - now)
        # Waiting may be shortened, but not what a user's program has for its answers.
        if endpoint is not None and now < last + delay and await self._is_busy(group.arn, endpoint):
            return After(STILL_BUSY)
        self._leaving.pop(target.key, None)
        with self._database.write() as tx:
            if records.target(tx, target.key) != target:
                return After(0.0)
            records.delete_target(tx, target)
            tx.after_commit(self._rotation_changed)
        for tell in self.drained:
            tell()
        self._log.info("target drained", group=group.name, target=target.id, port=target.port)
        return Done()

    # Checking

    async def _check(self, target: Target, group: TargetGroup) -> TurnResult:
        settings = group.health
        began = self._clock.now()
        port = target.port if settings.port == TRAFFIC_PORT else int(settings.port)
        endpoint = self._resolve(target.id, port)
        if endpoint is None:
            # Its instance is gone. It gets no requests, and is looked for again.
            if target.health != Health():
                self._store(target, Health())
            return After(health.wait(Health(), settings, self._pace))
        result = await self._prober.probe(
            endpoint.address,
            endpoint.port,
            settings.path,
            settings.timeout,
            f"{endpoint.address}:{port}",
            secure=settings.protocol == "HTTPS",
        )
        present = records.target(self._database, target.key)
        if present is None or present.health.state is State.DRAINING:
            return After(0.0)
        after = health.observe(present.health, result, self._clock.now(), settings)
        if after != present.health:
            self._store(present, after)
        return After(max(0.0, began + health.wait(after, settings, self._pace) - self._clock.now()))

    def _store(self, target: Target, after: Health) -> None:
        with self._database.write() as tx:
            records.store_target(tx, replace(target, health=after))
            if target.health.state is not after.state:
                tx.after_commit(self._rotation_changed)
        if target.health.state is not after.state:
            self._log.info(
                "target health changed",
                group=target.group.split("/")[1],
                target=target.id,
                port=target.port,
                state=after.state.value,
                reason=after.description,
            )

"""Publishes what load balancers have done, once a minute. One key: there is one proxy.

Owns the last count. What it means is worked out in `traffic.py`. The first count of a proxy that was found
running is only where counting begins, for nobody knows what of it has been told already.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Loop, TurnResult
from portside.cloud.machine.proxy import Proxy, ProxyError, Snapshot, Statistics
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.elbv2 import records, traffic
from portside.cloud.services.elbv2.health import State
from portside.cloud.services.elbv2.routing import cluster_name
from portside.cloud.services.elbv2.traffic import Group

KEY = "metrics"
PERIOD = 60.0
MOST_DATA = 500


class MetricsLoop:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        proxy: Proxy,
        served: Callable[[], Snapshot],
        own_address: Callable[[str], str],
        log: Log,
    ) -> None:
        self._db = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._proxy = proxy
        self._served = served
        self._own_address = own_address
        self._log = log.bind(service="elbv2")
        self._last: Statistics | None = None
        self.loop = Loop("elb-metrics", self.turn, clock, log)

    def resume(self) -> None:
        self.loop.wake(KEY, after=self._until_next())

    def _until_next(self) -> float:
        """In the middle of the next period, so that every period has one datum."""
        length, now = self._pace.wait(PERIOD), self._clock.now()
        return (math.floor(now / length) + 1.5) * length - now

    async def turn(self, key: str) -> TurnResult:
        balancers = records.load_balancers(self._db)
        if not balancers and self._last is None:
            return After(self._until_next())
        try:
            now = await self._proxy.statistics()
        except ProxyError as error:
            self._log.warning("traffic not counted", reason=error.reason)
            return After(self._until_next())
        before, self._last = self._last, now
        delta = Statistics(now.run) if before is None else traffic.difference(before, now)
        at = self._clock.now()
        groups = self._groups()
        for region in sorted({each.region for each in balancers}):
            sockets = {
                _dimension(each.arn): self._sockets(each.arn) for each in balancers if each.region == region
            }
            here = [each for each in groups if each.balancer in sockets]
            await self._publish(region, balancers[0].arn.split(":")[4], traffic.metrics(here, sockets, delta, at))
        return After(self._until_next())

    def _groups(self) -> list[Group]:
        made = []
        for group in records.groups(self._db):
            states = [each.health.state for each in records.targets(self._db, group.arn)]
            for balancer in records.load_balancers_of(self._db, group.arn):
                made.append(
                    Group(
                        cluster=cluster_name(group.arn),
                        balancer=_dimension(balancer),
                        name=group.arn.rpartition(":")[2],
                        healthy=sum(state is State.HEALTHY for state in states),
                        unhealthy=sum(state is State.UNHEALTHY for state in states),
                    )
                )
        return made

    def _sockets(self, balancer: str) -> list[tuple[str, int]]:
        """Those that are this load balancer's alone."""
        own = self._own_address(balancer)
        ports = {each.port for each in records.listeners(self._db, balancer)}
        hosts: dict[tuple[str, int], int] = {}
        for socket in self._served().listeners:
            place = (socket.address, socket.port)
            hosts[place] = hosts.get(place, 0) + len(socket.hosts)
        return [place for place, number in hosts.items() if place[1] in ports and (place[0] == own or number == 1)]

    async def _publish(self, region: str, account: str, data: list[Params]) -> None:
        caller = Caller.root(account, region)
        for begin in range(0, len(data), MOST_DATA):
            params = {"Namespace": "AWS/ApplicationELB", "MetricData": data[begin : begin + MOST_DATA]}
            await self._calls("cloudwatch", "PutMetricData", params, caller)


def _dimension(balancer: str) -> str:
    """`app/NAME/ID`."""
    return balancer.partition(":loadbalancer/")[2]

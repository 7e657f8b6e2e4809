"""CloudWatch: metrics and alarms. Dashboards, streams, insights and the rest stay ancillary.

Owns the assembly of the groups of operations (`metric_calls.py`, `alarm_calls.py`) with the loop that looks at
alarms (`alarm_loop.py`). Use: `async with CloudWatchApi(...) as api`.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.services.calls import Calls, Service, operations_of
from portside.cloud.services.cloudwatch import records
from portside.cloud.services.cloudwatch.alarm_calls import AlarmCalls
from portside.cloud.services.cloudwatch.alarm_loop import AlarmLoop
from portside.cloud.services.cloudwatch.metric_calls import MetricCalls
from portside.cloud.services.scaling.triggers import ServicePolicies


class CloudWatchApi(MetricCalls, AlarmCalls):
    """The operations. `pace` shortens the periods at which alarms are looked at and their data counted. `policies`
    carries out alarms' actions on services."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        log: Log,
        account: str,
        policies: ServicePolicies | None = None,
    ) -> None:
        database.migrate("cloudwatch", records.MIGRATIONS)
        self._db = database
        self._clock = clock
        self.loop = AlarmLoop(
            database=database,
            clock=clock,
            pace=pace,
            calls=calls,
            log=log,
            account=account,
            policies=policies,
        )
        self._wake = self.loop.wake
        self._move = self.loop.move

    async def __aenter__(self) -> CloudWatchApi:
        await self.loop.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.loop.__aexit__()

    def service(self) -> Service:
        return Service("cloudwatch", operations_of(self), partial=True)

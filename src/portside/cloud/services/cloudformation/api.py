"""CloudFormation: the operations of the service and the life of its loop.

Owns the assembly of the groups of operations (`stack_calls.py`, `change_set_calls.py`, `read_calls.py`) with the
loop that carries them out (`stack_loop.py`). Use: `async with CloudFormationApi(...) as api`; on entering, every
operation that was under way when the cloud stopped goes on.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.kernel.clock import AWS_PACE, Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.services.calls import Calls, Roles, Service, operations_of
from portside.cloud.services.cloudformation import answers, signals
from portside.cloud.services.cloudformation.change_set_calls import ChangeSetCalls
from portside.cloud.services.cloudformation.detection import Detections
from portside.cloud.services.cloudformation.drift_calls import DriftCalls, refused_operations
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.notices_loop import NoticesLoop
from portside.cloud.services.cloudformation.read_calls import ReadCalls
from portside.cloud.services.cloudformation.records import MIGRATIONS
from portside.cloud.services.cloudformation.recovery_calls import RecoveryCalls
from portside.cloud.services.cloudformation.session import Callers, Zones
from portside.cloud.services.cloudformation.signal_calls import SignalCalls
from portside.cloud.services.cloudformation.stack_loop import StackLoop

NAME = "cloudformation"


class CloudFormationApi(ChangeSetCalls, RecoveryCalls, SignalCalls, DriftCalls, ReadCalls):
    """Every operation that this cloud offers of CloudFormation."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        roles: Roles | None = None,
        pace: Pace = AWS_PACE,
    ) -> None:
        database.migrate(NAME, MIGRATIONS)
        database.migrate(f"{NAME}-signals", signals.MIGRATIONS)
        database.migrate(f"{NAME}-answers", answers.MIGRATIONS)
        zones = Zones(calls)
        self.notices = NoticesLoop(database=database, clock=clock, calls=calls, log=log)
        journal = Journal(clock, ids, self.notices.noted)
        callers = Callers(roles, clock)
        self.loop = StackLoop(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            log=log,
            zones=zones,
            journal=journal,
            callers=callers,
            pace=pace,
        )
        self.detections = Detections(
            database=database, ids=ids, clock=clock, calls=calls, callers=callers, log=log
        )
        super().__init__(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            zones=zones,
            journal=journal,
            callers=callers,
            wake=self.loop.wake,
        )

    async def __aenter__(self) -> CloudFormationApi:
        await self.notices.loop.__aenter__()
        self.notices.resume()
        await self.loop.__aenter__()
        await self.detections.loop.__aenter__()
        self.detections.resume()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self.detections.loop.__aexit__(*details)
        await self.loop.__aexit__(*details)
        await self.notices.loop.__aexit__(*details)

    def service(self) -> Service:
        return Service(NAME, refused_operations() | operations_of(self))

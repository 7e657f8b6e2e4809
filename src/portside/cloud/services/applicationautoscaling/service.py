"""Application Auto Scaling as a whole: the operations and their loops, put together.

Owns nothing but the wiring, for the composition root and for tests. `execution` is what CloudWatch's alarms call.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.services.applicationautoscaling import errors, records
from portside.cloud.services.applicationautoscaling.activity_loop import ActivityLoop
from portside.cloud.services.applicationautoscaling.ecs_services import EcsServices
from portside.cloud.services.applicationautoscaling.execution import Execution
from portside.cloud.services.applicationautoscaling.policy_calls import PolicyCalls
from portside.cloud.services.applicationautoscaling.policy_loop import PolicyLoop
from portside.cloud.services.applicationautoscaling.schedule_calls import ScheduleCalls
from portside.cloud.services.applicationautoscaling.schedule_loop import ScheduleLoop
from portside.cloud.services.applicationautoscaling.target_calls import TargetCalls
from portside.cloud.services.calls import Calls, Service, operations_of


class ApplicationAutoScaling:
    """Use: `async with ApplicationAutoScaling(...) as scaling`, with `scaling.service()` in the gateway."""

    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, pace: Pace, calls: Calls, log: Log, account: str
    ) -> None:
        database.migrate("application-autoscaling", records.MIGRATIONS)
        services = EcsServices(calls, account)
        self.policies = PolicyLoop(database=database, clock=clock, calls=calls, services=services, log=log)
        self.activities = ActivityLoop(database=database, ids=ids, clock=clock, services=services, log=log)
        self.schedules = ScheduleLoop(
            database=database, clock=clock, services=services, activities=self.activities, log=log
        )
        self.execution = Execution(
            database=database,
            clock=clock,
            pace=pace,
            calls=calls,
            services=services,
            activities=self.activities,
        )
        self._calls = (
            TargetCalls(database=database, ids=ids, clock=clock, services=services, policies=self.policies),
            PolicyCalls(database=database, ids=ids, clock=clock, policies=self.policies),
            ScheduleCalls(database=database, ids=ids, clock=clock, schedules=self.schedules),
        )
        self._running = AsyncExitStack()

    def service(self) -> Service:
        operations = {name: handler for each in self._calls for name, handler in operations_of(each).items()}
        return Service("application-autoscaling", operations, errors.broken)

    async def __aenter__(self) -> ApplicationAutoScaling:
        for each in (self.policies, self.activities, self.schedules):
            await self._running.enter_async_context(each.loop)
            each.resume()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._running.aclose()

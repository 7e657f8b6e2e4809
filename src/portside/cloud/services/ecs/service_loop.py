"""Keeps every service at what is wanted of it.

The loop itself: it asks the load balancers how a service's targets are, and then lets `service_turn.py` look at
the whole service in one transaction. It never touches a container: that is `task_loop.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.ecs import deployment_alarms, shift_records, store
from portside.cloud.services.ecs.deployment_alarms import AlarmSeen
from portside.cloud.services.ecs.fargate import Room, uses_fargate
from portside.cloud.services.ecs.names import account_of, service_role_caller
from portside.cloud.services.ecs.records import DeploymentStatus, Rollout, Service, ServiceStatus, Task
from portside.cloud.services.ecs.service_look import Seen, TargetSeen
from portside.cloud.services.ecs.service_turn import ServiceTurn
from portside.cloud.services.ecs.shift_records import Shift
from portside.cloud.services.ecs.targets import target_of
from portside.cloud.services.ecs.traffic import Traffic
from portside.cloud.services.ecs.wakes import Wakes


class ServiceLoop:
    """Keys are service ARNs."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        pace: Pace,
        wakes: Wakes,
        room: Room | None = None,
    ) -> None:
        self._room = room
        self._database = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._log = log.bind(service="ecs")
        self._pace = pace
        self._wakes = wakes
        self._traffic = Traffic(calls, self._log)
        self.loop = Loop("ecs-services", self.turn, clock, log)

    def resume(self) -> None:
        for service in store.services.where(self._database, "status <> ?", ServiceStatus.INACTIVE):
            self.loop.wake(service.arn)

    async def turn(self, key: str) -> TurnResult:
        service = store.services.get(self._database, key)
        if service is None or service.status is ServiceStatus.INACTIVE:
            return Done()
        seen = await self._targets(service)
        shift = self._shift(service)
        traffic = await self._traffic.bring(shift) if shift is not None and shift.in_steps else None
        alarms = await self._alarms(service, shift)
        if self._room is not None and uses_fargate(service.spec):
            await self._room.refresh()
        with self._database.write() as tx:
            fresh = store.services.get(tx, key)
            assert fresh is not None
            turn = ServiceTurn(
                tx,
                self._ids,
                self._clock.now(),
                self._pace,
                self._wakes,
                fresh,
                seen,
                self._room,
                traffic=traffic,
                alarms=alarms,
                looked_at=shift.deployment if shift is not None else "",
            )
            return turn.run()

    def _shift(self, service: Service) -> Shift | None:
        """The shift of the newest deployment, while that is in progress."""
        found = store.current_deployments(self._database, service.arn)
        primary = next((each for each in found if each.status is DeploymentStatus.PRIMARY), None)
        if primary is None or primary.rollout is not Rollout.IN_PROGRESS:
            return None
        return shift_records.of(self._database, primary.id)

    async def _alarms(self, service: Service, shift: Shift | None) -> dict[str, AlarmSeen]:
        names = deployment_alarms.watched(shift.configuration) if shift is not None else []
        if not names:
            return {}
        return await deployment_alarms.look(self._calls, service_role_caller(service.arn), names)

    async def _targets(self, service: Service) -> Seen:
        """The health of every task's targets. An error other than a missing group ends the turn: nothing is
        decided on health that nobody has seen."""
        tasks = [t for t in store.live_tasks_of_service(self._database, service.arn) if t.registered]
        account = account_of(service.arn)
        caller = Caller.root(account, service.region)
        seen: dict[tuple[str, str], TargetSeen] = {}
        for group in sorted({group for task in tasks for group in task.registered}):
            try:
                answer = await self._calls("elbv2", "DescribeTargetHealth", {"TargetGroupArn": group}, caller)
            except AwsError as error:
                if error.status >= 500:
                    raise
                self._log.warning("target group cannot be read", group=group, reason=error.message)
                continue
            states = {}
            for each in answer.get("TargetHealthDescriptions") or []:
                health = each.get("TargetHealth") or {}
                target = each["Target"]
                states[target["Id"], target.get("Port") or 0] = TargetSeen(
                    health.get("State") or "", health.get("Description") or "", target.get("Port") or 0
                )
            for task in tasks:
                found = self._target_of(task, group, states)
                if found is not None:
                    seen[task.arn, group] = found
        return seen

    def _target_of(
        self, task: Task, group: str, states: Mapping[tuple[str, int], TargetSeen]
    ) -> TargetSeen | None:
        records = {each.name: each for each in store.containers_of(self._database, task.arn)}
        target = target_of(self._database, task, group, records)
        return None if target is None else states.get((target["Id"], target["Port"]))

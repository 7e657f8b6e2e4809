"""What a resource waits for after its service has made it: signals, messages to a handle, a rolling update.

Owns when such a wait is over. Called by `steps.py` with a step that has settled; everything it needs to go on
after a restart is in the step's progress and in the table of signals.
"""

from __future__ import annotations

import json

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.services.calls import Calls
from portside.cloud.services.cloudformation import handles, rows, signals
from portside.cloud.services.cloudformation.instances import Instances
from portside.cloud.services.cloudformation.outcome import Outcome
from portside.cloud.services.cloudformation.policies import (
    GROUP,
    INSTANCE,
    LONGEST_WAIT,
    WAIT_CONDITION,
    SignalsWanted,
    signals_wanted,
)
from portside.cloud.services.cloudformation.records import Kind, Resource, Stack, Step
from portside.cloud.services.cloudformation.rolling_steps import Roller
from portside.cloud.services.cloudformation.session import Callers
from portside.cloud.services.cloudformation.signals import FAILURE, UNPARSABLE, Signal


class Waits:
    def __init__(self, *, database: Database, clock: Clock, calls: Calls, pace: Pace, callers: Callers) -> None:
        self._db = database
        self._clock = clock
        self._pace = pace
        self.instances = Instances(calls)
        self._roller = Roller(
            database=database, clock=clock, calls=calls, pace=pace, callers=callers, instances=self.instances
        )

    async def look(self, stack: Stack, resource: Resource, step: Step) -> Outcome:
        try:
            if step.kind is Kind.UPDATE:
                return await self._roller.advance(stack, resource, step) if resource.type == GROUP else Outcome()
            if resource.type == WAIT_CONDITION and "ResourceSignal" not in step.target.creation_policy:
                return await self._handle(stack, resource, step)
            if stack.express:
                return Outcome()
            wanted = signals_wanted(step.target.creation_policy)
        except ValueError as error:
            return Outcome(failed=str(error))
        if wanted is None or wanted.count == 0:
            return Outcome()
        return await self._signals(stack, resource, step, wanted)

    async def _signals(self, stack: Stack, resource: Resource, step: Step, wanted: SignalsWanted) -> Outcome:
        group = resource.type == GROUP
        received = signals.received(self._db, step.token)
        if group:
            await self.instances.report(stack, resource.logical_id, step.target.physical_id, set(received))
        elif resource.type == INSTANCE:
            there = await self.instances.running(stack, step.target.physical_id)
            await self.instances.report_of(stack, resource.logical_id, there, set(received))
        received = signals.received(self._db, step.token)
        paced = resource.type in (GROUP, INSTANCE)
        deadline = step.started + (self._pace.wait(wanted.seconds) if paced else wanted.seconds)
        over = self._clock.now() >= deadline
        found = signals.judge(wanted, {key: each.status for key, each in received.items()}, over, group=group)
        notes = (found.note,) if found.note else ()
        # AWS tells of a batch that timed out in these words even while a group is created.
        return Outcome(found.enough, found.failed, deadline, notes, status="UPDATE_IN_PROGRESS")

    async def _handle(self, stack: Stack, resource: Resource, step: Step) -> Outcome:
        properties = step.target.properties
        url = str(properties.get("Handle", ""))
        parts = handles.parts(url)
        if parts is None:
            return Outcome(failed=f"Invalid wait condition handle: {url}")
        count = int(properties.get("Count", 1))
        seconds = float(properties.get("Timeout", 0))
        if not 0 < seconds <= LONGEST_WAIT:
            return Outcome(failed="Timeout of a wait condition must be between 1 and 43200 seconds")
        await self._from_instances(stack, url, parts[2])
        received = signals.received(self._db, parts[2])
        if any(each.status == UNPARSABLE for each in received.values()):
            return Outcome(failed="Unparsable WaitCondition data")
        for each in received.values():
            if each.status == FAILURE:
                return Outcome(
                    failed=f"WaitCondition received failed message: '{each.reason}' for uniqueId: {each.unique_id}"
                )
        data = json.dumps({key: each.data for key, each in received.items()}, separators=(",", ":"))
        if len(data) > handles.LONGEST_DATA:
            return Outcome(failed="WaitCondition data limit exceeded")
        if len(received) >= count:
            return Outcome(attributes={"Data": data})
        deadline = step.started + seconds
        if self._clock.now() >= deadline:
            text = f"WaitCondition timed out. Received {len(received)} conditions when expecting {count}"
            return Outcome(failed=text)
        return Outcome(done=False, deadline=deadline)

    async def _from_instances(self, stack: Stack, url: str, scope: str) -> None:
        """Word that instances of this stack's groups would have sent to the handle."""
        for each in rows.resources(self._db, stack.id).values():
            if each.type != GROUP or not each.applied.physical_id or each.status.gone:
                continue
            for instance, success in (await self.instances.finished(stack, url, each.applied.physical_id)).items():
                if instance not in signals.received(self._db, scope):
                    status = "SUCCESS" if success else FAILURE
                    with self._db.write() as tx:
                        signals.add(tx, scope, Signal(instance, status, time=self._clock.now()))

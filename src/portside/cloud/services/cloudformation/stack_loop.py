"""The loop that carries stack operations out: one turn a stack, all its due resources side by side.

Owns the order of work in each status of a stack and the moves between statuses. What a resource begins when its
turn comes is `begin.py`, what it goes through is `steps.py`; clean-up, deletion and the way back are `undo.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from portside.cloud.kernel.clock import AWS_PACE, Clock, Pace
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import Calls
from portside.cloud.services.cloudformation import hierarchy, outputs, rows, template
from portside.cloud.services.cloudformation.begin import NESTED, Beginnings
from portside.cloud.services.cloudformation.cleanup import CleanUp
from portside.cloud.services.cloudformation.failing import (
    Failing,
    failures,
    half_made,
    settled,
    stops_where_it_fails,
)
from portside.cloud.services.cloudformation.importing import Importing
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator
from portside.cloud.services.cloudformation.jobs import Jobs
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.plan import PlannedView, active, plan
from portside.cloud.services.cloudformation.records import (
    USER_INITIATED,
    Leftover,
    Resource,
    ResourceStatus,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.removal import Removals
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.session import Callers, RowsView, Zones, caller_of, evaluator
from portside.cloud.services.cloudformation.steps import Steps
from portside.cloud.services.cloudformation.triggers import Triggers
from portside.cloud.services.cloudformation.undo import Undo, unfinished
from portside.cloud.services.cloudformation.waits import Waits

# While its parent is in one of these, a nested stack keeps what it replaced.
HOLDING = (
    StackStatus.UPDATE_IN_PROGRESS,
    StackStatus.UPDATE_ROLLBACK_IN_PROGRESS,
    StackStatus.UPDATE_ROLLBACK_FAILED,
)
HOLD_POLL = 5.0
TIMED_OUT = "Stack creation time exceeded the specified timeout."
# A turn makes one pass over the resources that are due; calls to services are short, waiting is not done here.
TURN_LIMIT = 300.0
# So often in a row a turn may end in a fault of our own before the operation fails of it: the pauses in between
# come to about 25 s.
MOST_FAULTS = 8
# Where what is not on its way forward comes to then. Clean-up gives up, as on AWS.
_FAULTY = {
    StackStatus.ROLLBACK_IN_PROGRESS: StackStatus.ROLLBACK_FAILED,
    StackStatus.DELETE_IN_PROGRESS: StackStatus.DELETE_FAILED,
    StackStatus.UPDATE_ROLLBACK_IN_PROGRESS: StackStatus.UPDATE_ROLLBACK_FAILED,
    StackStatus.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS: StackStatus.UPDATE_COMPLETE,
    StackStatus.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS: StackStatus.UPDATE_ROLLBACK_COMPLETE,
}


class StackLoop:
    """Use: `async with StackLoop(...) as loop`, then `loop.wake(stack_id)`."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        zones: Zones,
        journal: Journal,
        callers: Callers,
        pace: Pace = AWS_PACE,
    ) -> None:
        self._db = database
        self._clock = clock
        self._log = log.bind(service="cloudformation")
        self._zones = zones
        self._journal = journal
        jobs = Jobs(calls, callers, database)
        self._steps = Steps(
            database=database,
            ids=ids,
            clock=clock,
            log=self._log,
            journal=journal,
            jobs=jobs,
            waits=Waits(database=database, clock=clock, calls=calls, pace=pace, callers=callers),
        )
        self._beginnings = Beginnings(
            database=database, ids=ids, clock=clock, zones=zones, journal=journal, steps=self._steps
        )
        self._importing = Importing(
            database=database, ids=ids, clock=clock, zones=zones, journal=journal, jobs=jobs
        )
        self._failing = Failing(database=database, ids=ids, journal=journal, steps=self._steps)
        self._triggers = Triggers(calls, clock, pace)
        removals = Removals(clock=clock, ids=ids, log=self._log, jobs=jobs)
        self._cleaning = CleanUp(database=database, clock=clock, journal=journal, removals=removals)
        self._undo = Undo(
            database=database,
            clock=clock,
            journal=journal,
            steps=self._steps,
            removals=removals,
            cleaning=self._cleaning,
        )
        self._faults: dict[str, int] = {}
        self._loop = Loop("cloudformation.stack", self.turn, clock, self._log, turn_limit=TURN_LIMIT)

    async def __aenter__(self) -> StackLoop:
        await self._loop.__aenter__()
        self.resume()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._loop.__aexit__(*details)

    def wake(self, stack_id: str) -> None:
        self._loop.wake(stack_id)

    def resume(self) -> None:
        """Wake every stack whose operation was under way when the cloud stopped."""
        for stack_id in rows.busy_stack_ids(self._db):
            self._loop.wake(stack_id)

    async def turn(self, stack_id: str) -> TurnResult:
        try:
            result = await self._turn(stack_id)
        except Exception as error:
            faults = self._faults[stack_id] = self._faults.get(stack_id, 0) + 1
            ended = self._give_up(stack_id, error) if faults >= MOST_FAULTS else None
            if ended is None:
                raise
            self._log.error("operation given up", stack=stack_id, error=repr(error), exc_info=error)
            result = ended
        self._faults.pop(stack_id, None)
        return result

    def _give_up(self, stack_id: str, error: Exception) -> TurnResult | None:
        """An operation that cannot go on for a fault of our own ends; None where it can only be tried again."""
        stack = rows.stack_by_id(self._db, stack_id)
        if stack is None:
            return Done()
        reason = f"Internal Failure (portside failed: {error!r})"
        if stack.status in (StackStatus.CREATE_IN_PROGRESS, StackStatus.UPDATE_IN_PROGRESS):
            return self._failing.give_up(stack, reason)
        ended = _FAULTY.get(stack.status)
        if ended is None:
            return None
        with self._db.write() as tx:
            if not self._failing.still(tx, stack):
                return After(0.0)
            self._journal.stack(tx, stack, ended, reason)
        return Done()

    async def _turn(self, stack_id: str) -> TurnResult:
        stack = rows.stack_by_id(self._db, stack_id)
        if stack is None:
            return Done()
        match stack.status:
            case StackStatus.CREATE_IN_PROGRESS | StackStatus.UPDATE_IN_PROGRESS:
                return await self._forward(stack)
            case StackStatus.ROLLBACK_IN_PROGRESS | StackStatus.DELETE_IN_PROGRESS:
                return await self._undo.remove_all(stack)
            case StackStatus.UPDATE_ROLLBACK_IN_PROGRESS:
                return await self._undo.go_back(stack)
            case StackStatus.IMPORT_IN_PROGRESS | StackStatus.IMPORT_ROLLBACK_IN_PROGRESS:
                return await self._importing.turn(stack)
            case (
                StackStatus.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS
                | StackStatus.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS
            ):
                return await self._clean_up(stack)
        return Done()

    # Forward: creating and updating

    async def _forward(self, stack: Stack) -> TurnResult:
        if stack.cancelled:
            return self._failing.give_up(stack, USER_INITIATED)
        limit = stack.timeout_minutes
        if (
            limit
            and stack.status is StackStatus.CREATE_IN_PROGRESS
            and self._clock.now() > stack.started + 60 * limit
        ):
            return self._failing.give_up(stack, TIMED_OUT)
        if stack.spec.trouble:
            return self._failing.give_up(stack, stack.spec.trouble)
        alarm = await self._triggers.trouble(stack)
        if alarm:
            return self._failing.give_up(stack, alarm)
        parsed = template.parse(stack.spec.body)
        everything = rows.resources(self._db, stack.id)
        present = {name: each for name, each in everything.items() if not each.status.gone}
        try:
            await self._foresee(stack, parsed, present)
            look = evaluator(self._db, stack, stack.spec, parsed, RowsView(present), self._zones.known)
            needs = await self._zones.with_zones(caller_of(stack), lambda: active(look))
        except EvaluationError as error:
            return self._failing.give_up(stack, str(error))
        halves = [each for each in present.values() if half_made(stack, each)]
        if halves:
            return await self._sweep(stack, halves)
        mine = {name: each for name, each in present.items() if each.operation == stack.operation}
        failed = [name for name in mine if mine[name].status.failed]
        if failed and not stops_where_it_fails(stack):
            return self._failing.give_up(stack, failures(mine, failed))
        work: list[Coroutine[Any, Any, None]] = []
        now = self._clock.now()
        for name, others in needs.items():
            if name in mine:
                step = unfinished(mine[name])
                if step is not None and step.due <= now:
                    work.append(self._steps.advance(stack, mine[name]))
            elif all(other in mine and settled(mine[other]) for other in others):
                work.append(self._beginnings.begin(stack, name, others, present.get(name), look))
        if work:
            await asyncio.gather(*work)
            return After(0.0)
        waits = [step.due - now for each in mine.values() if (step := unfinished(each)) is not None]
        if waits:
            return After(self._triggers.sooner(stack, max(0.0, min(waits))))
        if failed:
            return self._failing.give_up(stack, failures(mine, failed))
        monitored = self._monitored(stack)
        if monitored is not None:
            return monitored
        return await self._finish(stack, look, needs, everything)

    async def _sweep(self, stack: Stack, halves: list[Resource]) -> TurnResult:
        """Take away what an earlier operation could not finish making, before it is made anew."""
        stuck = [each.logical_id for each in halves if each.status is ResourceStatus.DELETE_FAILED]
        if stuck:
            return self._failing.give_up(
                stack, f"The following resource(s) failed to delete: [{', '.join(stuck)}]. "
            )
        now = self._clock.now()
        waiting = [each for each in halves if unfinished(each) is not None and each.step.due > now]  # type: ignore[union-attr]
        due = [each for each in halves if each not in waiting]
        if due:
            await asyncio.gather(*(self._undo.remove(stack, each) for each in due))
            return After(0.0)
        return After(max(0.0, min(each.step.due for each in waiting if each.step is not None) - now))

    def _monitored(self, stack: Stack) -> TurnResult | None:
        """Everything is made: the time in which alarms are still watched."""
        seconds = self._triggers.monitoring(stack)
        if not seconds:
            return None
        now = self._clock.now()
        until = stack.monitored_until
        if not until:
            until = now + seconds
            with self._db.write() as tx:
                if not self._failing.still(tx, stack):
                    return After(0.0)
                rows.save_stack(tx, replace(stack, monitored_until=until))
        return After(self._triggers.sooner(stack, until - now)) if until > now else None

    async def _foresee(self, stack: Stack, parsed: template.Template, present: dict[str, Resource]) -> None:
        """Before the first resource: everything can be evaluated, and what is imported is held fast."""
        if any(each.operation == stack.operation for each in present.values()):
            return
        if not present and not stack.change_set and not parsed.imports:
            return  # CreateStack has just evaluated all of it
        view = PlannedView(parsed, {}, registry.facts)
        look = evaluator(self._db, stack, stack.spec, parsed, view, self._zones.known)

        def foreseen() -> set[str]:
            plan(look, present, registry.facts, stack.spec.tags)
            return look.imported

        imported = await self._zones.with_zones(caller_of(stack), foreseen)

        def held(tx: Transaction) -> None:
            rows.add_imports(tx, stack.region, stack.id, imported)
            for name, each in present.items():
                if name not in look.template.resources or not look.exists(name):
                    self._beginnings.refuse_removal(tx, stack, each)

        await self._db.commit(held)

    async def _finish(
        self, stack: Stack, look: Evaluator, needs: Mapping[str, tuple[str, ...]], present: dict[str, Resource]
    ) -> TurnResult:
        try:
            made = await self._zones.with_zones(caller_of(stack), lambda: outputs.evaluate(look))
        except EvaluationError as error:
            return self._failing.give_up(stack, str(error))
        if look.template.imports:
            # Only what was evaluated counts as imported; kept resources are evaluated anew for that.
            await self._zones.with_zones(caller_of(stack), lambda: [look.properties(name) for name in needs])

        def finished(tx: Transaction) -> TurnResult:
            if not self._failing.still(tx, stack):
                return After(0.0)
            refused = outputs.refuse_exports(tx, stack, made)
            if refused:
                return self._failing.give_up_in(tx, stack, refused)
            outputs.publish(tx, stack, made, look.imported)
            hierarchy.release(tx, self._journal, stack.nested_sets.values())
            if stack.status is StackStatus.CREATE_IN_PROGRESS:
                self._journal.stack(tx, stack, StackStatus.CREATE_COMPLETE, outputs=made)
                return Done()
            cleaning = StackStatus.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS
            if stack.held:
                self._journal.stack(tx, stack, cleaning, outputs=made)
                return After(0.0)
            self._leave_all(tx, stack, present, set(needs))
            self._journal.stack(tx, stack, cleaning, outputs=made, previous=None)
            self._wake_nested(tx, present)
            return After(0.0)

        return await self._db.commit(finished)

    def _leave_all(self, tx: Transaction, stack: Stack, present: dict[str, Resource], kept: set[str]) -> None:
        for name, each in present.items():
            if each.status.gone:
                rows.drop_resource(tx, stack.id, name)
            else:
                self._leave_behind(tx, stack, each, kept=name in kept)

    def _wake_nested(self, tx: Transaction, present: dict[str, Resource]) -> None:
        nested = [each.applied.physical_id for each in present.values() if each.type == NESTED]
        for each in nested:
            tx.after_commit(partial(self.wake, each))

    async def _clean_up(self, stack: Stack) -> TurnResult:
        if not stack.held:
            if not rows.leftovers(self._db, stack.id) and self._cleans_inside(stack):
                return After(HOLD_POLL)
            result = await self._cleaning.clean_up(stack)
            if stack.parent and isinstance(result, Done):
                self.wake(stack.parent)
            return result
        parent = rows.stack_by_id(self._db, stack.parent)
        if parent is not None and parent.status in HOLDING:
            return After(HOLD_POLL)
        parsed = template.parse(stack.spec.body)
        present = rows.resources(self._db, stack.id)
        look = evaluator(self._db, stack, stack.spec, parsed, RowsView(present), self._zones.known)
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            if now is None or now.status is not stack.status or not now.held:
                return After(0.0)
            self._leave_all(tx, stack, present, {name for name in parsed.resources if look.exists(name)})
            rows.save_stack(tx, replace(now, held=False, previous=None))
            self._wake_nested(tx, present)
        return After(0.0)

    def _cleans_inside(self, stack: Stack) -> bool:
        """Whether a nested stack still removes what this update has replaced: until then it takes no other one."""
        present = rows.resources(self._db, stack.id).values()
        nested = [rows.stack_by_id(self._db, each.applied.physical_id) for each in present if each.type == NESTED]
        return any(each is not None and "CLEANUP" in each.status for each in nested)

    def _leave_behind(self, tx: Transaction, stack: Stack, each: Resource, *, kept: bool) -> None:
        """What clean-up has to remove: replaced resources, and those that left the template."""
        before = each.previous
        if not kept:
            policy = each.applied.deletion_policy
            leftover = Leftover(0, stack.id, each.logical_id, each.type, each.applied, True, policy)
            rows.add_leftover(tx, leftover)
        if before is not None and before.physical_id != each.applied.physical_id:
            policy = before.replace_policy
            rows.add_leftover(tx, Leftover(0, stack.id, each.logical_id, each.type, before, False, policy))
        if each.touched:
            rows.save_resource(tx, replace(each, touched=False, previous=None))

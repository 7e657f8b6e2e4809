"""Everything that takes away or goes back: deletion, roll-back of a create, roll-back of an update.

Owns the reverse order of work. Driven by `stack_loop.py`, which owns the way forward; single updates are
`steps.py`, single deletions `removal.py`, and what remains after a rollback is `cleanup.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.loop import After, Done, TurnResult
from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation import graph, outputs, rows, template
from portside.cloud.services.cloudformation.begin import NESTED
from portside.cloud.services.cloudformation.cleanup import CleanUp
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator, NeedsZones
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.records import (
    IMPORTED,
    Applied,
    Kind,
    Leftover,
    Output,
    Phase,
    Resource,
    ResourceStatus,
    Stack,
    StackStatus,
    Step,
)
from portside.cloud.services.cloudformation.refusals import Rejected
from portside.cloud.services.cloudformation.removal import Removals
from portside.cloud.services.cloudformation.session import RowsView, evaluator
from portside.cloud.services.cloudformation.steps import Steps

UPDATE_CANCELLED = "Resource update cancelled"


def keeps(policy: str, stack: Stack, rolls_back: bool) -> bool:
    """Whether a resource with that deletion policy stays; `rolls_back`: it was made by what is taken back now."""
    if policy == "RetainExceptOnCreate":
        return not rolls_back
    return policy == "Retain" and not (rolls_back and stack.retain_except_on_create)


def _same(one: Applied, other: Applied) -> bool:
    same = one.properties == other.properties and one.stored == other.stored
    return same and one.tags == other.tags


def unfinished(resource: Resource) -> Step | None:
    """The step that a resource is still on; None when it is at rest."""
    return resource.step if resource.status.busy else None


class Undo:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        journal: Journal,
        steps: Steps,
        removals: Removals,
        cleaning: CleanUp,
    ) -> None:
        self._db = database
        self._clock = clock
        self._journal = journal
        self._steps = steps
        self._removals = removals
        self._cleaning = cleaning

    # Deleting a stack, and rolling a create back

    async def remove_all(self, stack: Stack) -> TurnResult:
        found = rows.resources(self._db, stack.id)
        alive = {name: each for name, each in found.items() if not each.status.gone}
        failed = {name for name, each in alive.items() if self._failed_now(stack, each)}
        users = graph.reverse({name: each.applied.dependencies for name, each in alive.items()})
        now = self._clock.now()
        work: list[Coroutine[Any, Any, None]] = []
        waits: list[float] = []
        for name, each in alive.items():
            if name in failed or users[name]:
                continue
            if each.operation == stack.operation and each.step is not None and each.step.due > now:
                waits.append(each.step.due - now)
                continue
            work.append(self.remove(stack, each))
        if work:
            await asyncio.gather(*work)
            return After(0.0)
        if waits:
            return After(max(0.0, min(waits)))
        if alive and not failed:
            # After an update that stopped half-way, rows of two templates may depend on one another.
            await asyncio.gather(*(self.remove(stack, each) for each in alive.values()))
            return After(0.0)
        # Left over from an update that did not finish its clean-up before the deletion.
        lost = rows.leftovers(self._db, stack.id)
        if lost:
            return await self._cleaning.clean(stack, lost)
        return self._removed(stack, sorted(failed))

    def _failed_now(self, stack: Stack, each: Resource) -> bool:
        return each.status is ResourceStatus.DELETE_FAILED and each.operation == stack.operation

    def _keeps(self, stack: Stack, each: Resource) -> bool:
        if each.logical_id in stack.retain:
            return True
        rolls_back = stack.status is StackStatus.ROLLBACK_IN_PROGRESS
        # What was there before the stack is not its rollback's to delete.
        return (rolls_back and IMPORTED in each.applied.state) or keeps(
            each.applied.deletion_policy, stack, rolls_back
        )

    async def remove(self, stack: Stack, each: Resource) -> None:
        if each.operation != stack.operation:
            if self._keeps(stack, each) and each.applied.physical_id:
                self._told(stack, replace(each, status=ResourceStatus.DELETE_SKIPPED, step=None, reason=""))
                return
            never_made = not each.applied.physical_id and (each.step is None or each.step.phase is Phase.CHECK)
            if never_made:
                self._told(stack, replace(each, status=ResourceStatus.DELETE_COMPLETE, step=None, reason=""))
                return
            step = self._removals.new_step(each.applied)
            each = replace(
                each, status=ResourceStatus.DELETE_IN_PROGRESS, step=step, operation=stack.operation, reason=""
            )
            self._told(stack, each)
        assert each.step is not None

        def save(step: Step) -> None:
            with self._db.write() as tx:
                rows.save_resource(tx, replace(each, step=step, applied=step.target))

        try:
            if not await self._removals.remove(stack, each.logical_id, each.type, each.step, save):
                return
        except Rejected as error:
            if stack.force and stack.status is StackStatus.DELETE_IN_PROGRESS:
                self._told(stack, replace(each, status=ResourceStatus.DELETE_SKIPPED, step=None, reason=""))
                return
            self._told(stack, replace(each, status=ResourceStatus.DELETE_FAILED, reason=error.reason))
            return
        self._told(stack, replace(each, status=ResourceStatus.DELETE_COMPLETE, step=None, reason=""))

    def _told(self, stack: Stack, each: Resource) -> None:
        with self._db.write() as tx:
            self._journal.resource(tx, stack, replace(each, operation=stack.operation), shown=each.applied.shown)

    def _removed(self, stack: Stack, failed: list[str]) -> TurnResult:
        reason = f"The following resource(s) failed to delete: [{', '.join(failed)}]. " if failed else ""
        rolling_back = stack.status is StackStatus.ROLLBACK_IN_PROGRESS
        with self._db.write() as tx:
            rows.set_imports(tx, stack.region, stack.id, set())
            if failed:
                status = StackStatus.ROLLBACK_FAILED if rolling_back else StackStatus.DELETE_FAILED
                self._journal.stack(tx, stack, status, reason)
            elif rolling_back:
                self._journal.stack(tx, stack, StackStatus.ROLLBACK_COMPLETE, outputs=())
            else:
                rows.set_exports(tx, stack.region, stack.id, {})
                self._journal.stack(tx, stack, StackStatus.DELETE_COMPLETE, deleted=self._clock.now(), outputs=())
        return Done()

    # Rolling an update back

    async def go_back(self, stack: Stack) -> TurnResult:
        found = rows.resources(self._db, stack.id)
        touched = {name: each for name, each in found.items() if each.touched and not each.status.gone}
        done = {
            name for name, each in touched.items() if each.operation == stack.operation and not each.status.busy
        }
        failed = [name for name in done if touched[name].status.failed and touched[name].previous is not None]
        if failed:
            return self._stopped(stack, touched, failed)
        needs = {name: tuple((each.previous or each.applied).dependencies) for name, each in touched.items()}
        now = self._clock.now()
        work: list[Coroutine[Any, Any, None]] = []
        waits: list[float] = []
        for name, each in touched.items():
            if name in done:
                continue
            if each.operation == stack.operation:
                assert each.step is not None
                if each.step.due > now:
                    waits.append(each.step.due - now)
                else:
                    work.append(self._steps.advance(stack, each))
            elif all(other in done or other not in touched for other in needs[name]):
                work.append(self._restore(stack, each))
        if work:
            await asyncio.gather(*work)
            return After(0.0)
        if waits:
            return After(max(0.0, min(waits)))
        return self._gone_back(stack, touched)

    def _stopped(self, stack: Stack, touched: dict[str, Resource], failed: list[str]) -> TurnResult:
        """A resource cannot go back: nothing more is done until somebody continues."""
        with self._db.write() as tx:
            for each in touched.values():
                if each.operation == stack.operation and each.status.busy:
                    self._steps.fail(tx, stack, each, UPDATE_CANCELLED)
            reason = f"The following resource(s) failed to update: [{', '.join(sorted(failed))}]. "
            self._journal.stack(tx, stack, StackStatus.UPDATE_ROLLBACK_FAILED, reason)
        return Done()

    async def _restore(self, stack: Stack, each: Resource) -> None:
        before = each.previous
        if before is None:
            # New in the failed update: clean-up takes it away.
            with self._db.write() as tx:
                status = ResourceStatus.CREATE_FAILED if each.status.busy else each.status
                rows.save_resource(tx, replace(each, operation=stack.operation, status=status))
            return
        if before.physical_id != each.applied.physical_id:
            with self._db.write() as tx:
                lost = Leftover(0, stack.id, each.logical_id, each.type, each.applied, False, "Delete")
                rows.add_leftover(tx, lost)
                self._journal.resource(tx, stack, self._restored(stack, each), shown=before.shown)
            return
        if each.status is ResourceStatus.UPDATE_COMPLETE and each.applied == before and each.type != NESTED:
            # Went back before the rollback stopped, and was continued.
            with self._db.write() as tx:
                rows.save_resource(tx, self._restored(stack, each))
            return
        attempted = each.applied
        step = each.step
        if step is not None and each.status.failed and _same(attempted, before):
            begun = step.kind is Kind.UPDATE and step.phase is not Phase.CHECK
            attempted = step.target if begun else attempted
        # A nested stack has more to put back than its own properties.
        same = _same(attempted, before) and each.type != NESTED
        if same or each.logical_id in stack.skip:
            with self._db.write() as tx:
                self._journal.resource(tx, stack, self._restored(stack, each), shown=before.shown)
            return
        step = self._steps.new_step(Kind.UPDATE, replace(before, state=attempted.state), before.shown)
        if each.step is not None and "sizes" in each.step.progress:
            # What a rolling update that was broken off had found.
            step = replace(step, progress={"sizes": each.step.progress["sizes"]})
        moved = replace(
            each,
            status=ResourceStatus.UPDATE_IN_PROGRESS,
            reason="",
            operation=stack.operation,
            applied=attempted,
            step=step,
        )
        with self._db.write() as tx:
            self._journal.resource(tx, stack, moved, shown=before.shown)
        await self._steps.advance(stack, moved)

    def _restored(self, stack: Stack, each: Resource) -> Resource:
        assert each.previous is not None
        return replace(
            each,
            status=ResourceStatus.UPDATE_COMPLETE,
            reason="",
            operation=stack.operation,
            applied=each.previous,
            step=None,
        )

    def _gone_back(self, stack: Stack, touched: dict[str, Resource]) -> TurnResult:
        imported, made = self._before(stack)
        with self._db.write() as tx:
            if stack.parent and made is not None:
                # A nested stack may have come to the end of its update before its parent turned back.
                outputs.publish(tx, stack, made, imported)
                stack = replace(stack, outputs=made)
            for each in touched.values():
                if each.previous is None:
                    kept = keeps(each.applied.deletion_policy, stack, rolls_back=True)
                    kept = kept or IMPORTED in each.applied.state
                    policy = "Retain" if kept else "Delete"
                    never_made = not each.applied.physical_id and (
                        each.step is None or each.step.phase is Phase.CHECK
                    )
                    policy = "Forget" if never_made else policy
                    lost = Leftover(0, stack.id, each.logical_id, each.type, each.applied, True, policy)
                    rows.add_leftover(tx, lost)
                rows.save_resource(tx, replace(each, touched=False, previous=None))
            for name, each in rows.resources(tx, stack.id).items():
                if each.status.gone:
                    rows.drop_resource(tx, stack.id, name)
            rows.set_imports(tx, stack.region, stack.id, imported)
            self._journal.stack(tx, stack, StackStatus.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS, skip=())
        return After(0.0)

    def _before(self, stack: Stack) -> tuple[set[str], tuple[Output, ...] | None]:
        """The exports that the stack uses in the state it is back in, and its outputs there."""
        parsed = template.parse(stack.spec.body)
        present = rows.resources(self._db, stack.id)
        look: Evaluator = evaluator(self._db, stack, stack.spec, parsed, RowsView(present), {})
        for name in parsed.resources:
            try:
                look.properties(name)
            except (EvaluationError, NeedsZones):
                continue  # what cannot be read imports nothing more
        try:
            return look.imported, outputs.evaluate(look)
        except (EvaluationError, NeedsZones):
            return look.imported, None

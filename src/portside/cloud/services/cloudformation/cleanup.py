"""Clean-up: the physical resources that an update or its rollback leaves behind are removed.

Owns the order among leftovers and how often a removal is tried before the stack lets go of a resource. Single
deletions are `removal.py`; what is left behind is decided in `stack_loop.py` and `undo.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.loop import After, Done, TurnResult
from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.records import Leftover, ResourceStatus, Stack, StackStatus, Step
from portside.cloud.services.cloudformation.refusals import CLEANUP_ATTEMPTS, Rejected
from portside.cloud.services.cloudformation.removal import Removals

NOT_ALL_DELETED = "Update successful. One or more resources could not be deleted."


class CleanUp:
    def __init__(self, *, database: Database, clock: Clock, journal: Journal, removals: Removals) -> None:
        self._db = database
        self._clock = clock
        self._journal = journal
        self._removals = removals

    async def clean_up(self, stack: Stack) -> TurnResult:
        lost = rows.leftovers(self._db, stack.id)
        if lost:
            return await self.clean(stack, lost)
        back = stack.status is StackStatus.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS
        status = StackStatus.UPDATE_ROLLBACK_COMPLETE if back else StackStatus.UPDATE_COMPLETE
        reason = NOT_ALL_DELETED if "cleanup" in stack.failures else ""
        with self._db.write() as tx:
            self._journal.stack(tx, stack, status, reason, failures=())
        return Done()

    async def clean(self, stack: Stack, lost: list[Leftover]) -> TurnResult:
        """Remove leftovers, those first that no other leftover depends on."""
        now = self._clock.now()
        free = [
            each
            for each in lost
            if not any(each.logical_id in other.applied.dependencies for other in lost if other is not each)
        ]
        ready = free or lost
        due = [each for each in ready if each.step is None or each.step.due <= now]
        if due:
            await asyncio.gather(*(self._discard(stack, each) for each in due))
            return After(0.0)
        return After(max(0.0, min(each.step.due - now for each in ready if each.step is not None)))

    async def _discard(self, stack: Stack, each: Leftover) -> None:
        applied = each.applied
        if each.step is None:
            if each.policy == "Forget":
                self._cleaned(stack, each, ResourceStatus.DELETE_COMPLETE)
                return
            if each.policy in ("Retain", "RetainExceptOnCreate"):
                self._cleaned(stack, each, ResourceStatus.DELETE_SKIPPED)
                return
            each = replace(each, step=self._removals.new_step(applied))
            with self._db.write() as tx:
                rows.save_leftover(tx, each)
                if applied.physical_id:
                    self._event(stack, each, ResourceStatus.DELETE_IN_PROGRESS, "", tx)
                present = rows.resources(tx, stack.id).get(each.logical_id) if each.whole else None
                if present is not None:
                    rows.save_resource(tx, replace(present, status=ResourceStatus.DELETE_IN_PROGRESS))
        assert each.step is not None

        def save(step: Step) -> None:
            with self._db.write() as tx:
                rows.save_leftover(tx, replace(each, step=step, applied=step.target))

        try:
            if not await self._removals.remove(stack, each.logical_id, each.type, each.step, save):
                return
        except Rejected as error:
            self._kept(stack, each, error.reason)
            return
        self._cleaned(stack, each, ResourceStatus.DELETE_COMPLETE)

    def _cleaned(self, stack: Stack, each: Leftover, status: ResourceStatus) -> None:
        with self._db.write() as tx:
            rows.drop_leftover(tx, each.number)
            if each.whole:
                rows.drop_resource(tx, stack.id, each.logical_id)
            if each.applied.physical_id or each.whole:
                self._event(stack, each, status, "", tx)

    def _kept(self, stack: Stack, each: Leftover, reason: str) -> None:
        """A clean-up that fails is tried three times; then the resource is no longer the stack's."""
        with self._db.write() as tx:
            self._event(stack, each, ResourceStatus.DELETE_FAILED, reason, tx)
            if each.attempts + 1 < CLEANUP_ATTEMPTS:
                rows.save_leftover(tx, replace(each, attempts=each.attempts + 1, step=None))
                return
            rows.drop_leftover(tx, each.number)
            if each.whole:
                rows.drop_resource(tx, stack.id, each.logical_id)
            now = rows.stack_by_id(tx, stack.id)
            if now is not None:
                rows.save_stack(tx, replace(now, failures=("cleanup",)))

    def _event(self, stack: Stack, each: Leftover, status: ResourceStatus, reason: str, tx: Any) -> None:
        self._journal.resource_event(
            tx, stack, each.logical_id, each.type, each.applied.physical_id, status, reason, cleanup=True
        )

"""Where an operation ends that cannot go on: it stops, turns back, or deletes what it made.

Owns the choice between those, the cancellation of what is in flight, and the words for it. What happens on the way
back is `undo.py`.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.loop import After, Done, TurnResult
from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation import hierarchy, rows
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.records import Resource, ResourceStatus, Stack, StackStatus
from portside.cloud.services.cloudformation.steps import Steps
from portside.cloud.services.cloudformation.undo import unfinished


class Failing:
    def __init__(self, *, database: Database, ids: Ids, journal: Journal, steps: Steps) -> None:
        self._db = database
        self._ids = ids
        self._journal = journal
        self._steps = steps

    def still(self, tx: Transaction, stack: Stack) -> bool:
        """Whether no call (a deletion, a cancellation) came in between."""
        now = rows.stack_by_id(tx, stack.id)
        return now is not None and now.operation == stack.operation and now.cancelled == stack.cancelled

    def give_up(self, stack: Stack, reason: str) -> TurnResult:
        with self._db.write() as tx:
            if not self.still(tx, stack):
                return After(0.0)
            return self.give_up_in(tx, stack, reason)

    def give_up_in(self, tx: Transaction, stack: Stack, reason: str) -> TurnResult:
        """Cancel what is in flight and turn the stack around."""
        for each in rows.resources(tx, stack.id).values():
            if each.operation == stack.operation and each.status.busy:
                if each.status is ResourceStatus.DELETE_IN_PROGRESS:
                    rows.save_resource(tx, replace(each, status=ResourceStatus.DELETE_FAILED, step=None))
                    continue
                creating = each.status is ResourceStatus.CREATE_IN_PROGRESS
                noun = "creation" if creating else "update"
                self._steps.fail(tx, stack, each, f"Resource {noun} cancelled")
        hierarchy.release(tx, self._journal, stack.nested_sets.values())
        operation = self._ids.uuid()
        if stack.status is StackStatus.CREATE_IN_PROGRESS:
            if stack.disable_rollback:
                self._journal.stack(tx, stack, StackStatus.CREATE_FAILED, reason)
                return Done()
            if stack.on_failure == "DELETE":
                deleting = StackStatus.DELETE_IN_PROGRESS
                self._journal.stack(
                    tx, stack, deleting, f"{reason} Delete requested by user.", operation=operation
                )
                return After(0.0)
            reason = f"{reason.strip()}{'' if reason.strip().endswith('.') else '.'} Rollback requested by user."
            self._journal.stack(tx, stack, StackStatus.ROLLBACK_IN_PROGRESS, reason, operation=operation)
            return After(0.0)
        if stack.previous is None or (stack.disable_rollback and not stack.cancelled):
            self._journal.stack(tx, stack, StackStatus.UPDATE_FAILED, reason, cancelled=False)
            return Done()
        turn_back(self._journal, tx, stack, operation, reason)
        return After(0.0)


def turn_back(
    journal: Journal, tx: Transaction, stack: Stack, operation: str, reason: str, **fields: Any
) -> Stack:
    """Begin to roll an update back to what the stack was before it."""
    assert stack.previous is not None
    return journal.stack(
        tx,
        stack,
        StackStatus.UPDATE_ROLLBACK_IN_PROGRESS,
        reason,
        operation=operation,
        spec=stack.previous,
        previous=None,
        cancelled=False,
        held=False,
        **fields,
    )


def stops_where_it_fails(stack: Stack) -> bool:
    """Without rollback, what does not depend on a failed resource is still carried out."""
    return stack.disable_rollback and not stack.cancelled and not stack.parent


def settled(resource: Resource) -> bool:
    return unfinished(resource) is None and not resource.status.failed


def half_made(stack: Stack, each: Resource) -> bool:
    """Left by an earlier operation that failed to create it, and in the way of creating it now."""
    if each.operation == stack.operation:
        return each.status in (ResourceStatus.DELETE_IN_PROGRESS, ResourceStatus.DELETE_FAILED)
    return each.status in (ResourceStatus.CREATE_FAILED, ResourceStatus.DELETE_FAILED)


def failures(mine: dict[str, Resource], failed: list[str]) -> str:
    """`The following resource(s) failed to create: [A]. The following resource(s) failed to update: [B]. `"""
    created = [name for name in failed if mine[name].status is ResourceStatus.CREATE_FAILED]
    updated = [name for name in failed if mine[name].status is ResourceStatus.UPDATE_FAILED]
    text = ""
    if created:
        text += f"The following resource(s) failed to create: [{', '.join(created)}]. "
    if updated:
        text += f"The following resource(s) failed to update: [{', '.join(updated)}]. "
    return text

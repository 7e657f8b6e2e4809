"""Hierarchies of change sets: a root, and the nested ones that were made, are executed and go with it.

Owns what becomes of all of them together, in the caller's transaction, and of the nested stacks that only exist in
name because a change set would create them. They are made in `nested_calls.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.records import (
    USER_INITIATED,
    ChangeSet,
    ChangeSetStatus,
    ExecutionStatus,
    StackStatus,
)


def tree(db: rows.Reader, found: ChangeSet) -> list[ChangeSet]:
    """A change set and all nested in it, parents first."""
    whole = [found]
    for each in found.inner.values():
        inner = rows.change_set_by_id(db, each)
        if inner is not None:
            whole += tree(db, inner)
    return whole


def reaches(db: rows.Reader, found: ChangeSet) -> bool:
    """Whether something changes in the stacks inside."""
    inner = [rows.change_set_by_id(db, each) for each in found.inner.values()]
    return any(each is not None and each.status is ChangeSetStatus.CREATE_COMPLETE for each in inner)


def execute(tx: Transaction, root: ChangeSet) -> None:
    """The root is executed, and with it the nested ones that have something to do. From now on they are described
    by ARN alone."""
    for each in tree(tx, root):
        works = each.status is ChangeSetStatus.CREATE_COMPLETE
        execution = ExecutionStatus.EXECUTE_COMPLETE if works else each.execution
        rows.save_change_set(tx, replace(each, execution=execution, hidden=True))


def retire(tx: Transaction, journal: Journal, found: ChangeSet, *, stack_id: str) -> None:
    """What a change set was made from has changed: its whole hierarchy is obsolete. `stack_id` is the stack that
    changes; what becomes of it is the caller's to say."""
    root = rows.change_set_by_id(tx, found.root) if found.root else None
    if root is None or root.execution is ExecutionStatus.EXECUTE_COMPLETE:
        root = found
    whole = tree(tx, root)
    for each in whole:
        rows.save_change_set(tx, replace(each, execution=ExecutionStatus.OBSOLETE, hidden=True))
    _discard(tx, journal, whole, stack_id)


def forget(tx: Transaction, journal: Journal, root: ChangeSet) -> None:
    """Delete a root change set and everything that was made with it; its own stack stays."""
    whole = tree(tx, root)
    for each in whole:
        rows.drop_change_set(tx, each.id)
    _discard(tx, journal, whole, root.stack_id)


def release(tx: Transaction, journal: Journal, nested_sets: Iterable[str]) -> None:
    """An operation that executed a hierarchy has come to its end, or will not go on: nested stacks that it has not
    begun to create will not be."""
    for each in nested_sets:
        found = rows.change_set_by_id(tx, each)
        if found is not None:
            _discard(tx, journal, tree(tx, found), "")


def _discard(tx: Transaction, journal: Journal, whole: list[ChangeSet], kept: str) -> None:
    for each in whole:
        stack = rows.stack_by_id(tx, each.stack_id) if each.parent else None
        if stack is None or stack.id == kept or stack.status is not StackStatus.REVIEW_IN_PROGRESS:
            continue
        # There is nothing in it to delete, so that nobody has to be waited for.
        deleting = journal.stack(tx, stack, StackStatus.DELETE_IN_PROGRESS, USER_INITIATED)
        journal.stack(tx, deleting, StackStatus.DELETE_COMPLETE)

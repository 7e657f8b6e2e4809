"""Writes events and status changes, always in the transaction that makes them true.

Owns the form of event ids and what an event carries; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.document import dump
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.serialise import iso
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.records import TRANSITIONS, Event, Resource, Stack, StackStatus

STACK_TYPE = "AWS::CloudFormation::Stack"


class Journal:
    """`noted` is called in the transaction of every event."""

    def __init__(
        self, clock: Clock, ids: Ids, noted: Callable[[Transaction, Stack], None] = lambda tx, stack: None
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._noted = noted

    def stack(self, tx: Transaction, stack: Stack, status: StackStatus, reason: str = "", **fields: Any) -> Stack:
        """Move the stack and tell so."""
        if (stack.status, status) not in TRANSITIONS:
            raise RuntimeError(f"a stack does not go from {stack.status} to {status}")
        now = rows.stack_by_id(tx, stack.id)
        if now is not None:
            # May have been switched while the operation was under way.
            fields.setdefault("termination_protection", now.termination_protection)
            fields.setdefault("policy", now.policy)
        if status in (StackStatus.ROLLBACK_IN_PROGRESS, StackStatus.DELETE_IN_PROGRESS):
            fields.setdefault("deleted", self._clock.now())
        moved = replace(stack, status=status, reason=reason, **fields)
        rows.save_stack(tx, moved)
        self.told(tx, moved)
        return moved

    def told(self, tx: Transaction, stack: Stack) -> None:
        """An event with the stack's present status and reason."""
        event = Event(
            id=self._ids.uuid(),
            stack_id=stack.id,
            stack_name=stack.name,
            logical_id=stack.name,
            physical_id=stack.id,
            type=STACK_TYPE,
            time=self._clock.now(),
            status=stack.status,
            reason=stack.reason,
            token=stack.token,
        )
        rows.add_event(tx, event)
        self._noted(tx, stack)

    def resource(
        self,
        tx: Transaction,
        stack: Stack,
        resource: Resource,
        *,
        physical_id: str | None = None,
        shown: Params | None = None,
        cleanup: bool = False,
    ) -> None:
        """Store the resource as it now is and tell so."""
        rows.save_resource(tx, resource, changed=self._clock.now())
        self.resource_event(
            tx,
            stack,
            resource.logical_id,
            resource.type,
            resource.applied.physical_id if physical_id is None else physical_id,
            resource.status,
            resource.reason,
            shown=shown,
            cleanup=cleanup,
        )

    def resource_event(
        self,
        tx: Transaction,
        stack: Stack,
        logical_id: str,
        kind: str,
        physical_id: str,
        status: str,
        reason: str = "",
        *,
        shown: Params | None = None,
        cleanup: bool = False,
    ) -> None:
        now = self._clock.now()
        made = f"{logical_id}-{self._ids.uuid()}" if cleanup else f"{logical_id}-{status}-{iso(now)}"
        event = Event(
            id=made,
            stack_id=stack.id,
            stack_name=stack.name,
            logical_id=logical_id,
            physical_id=physical_id,
            type=kind,
            time=now,
            status=status,
            reason=reason,
            properties="" if shown is None else dump(shown),
            token=stack.token,
        )
        # Two events of a resource may fall into one millisecond; readers tell events apart by their ids.
        later = now
        while not rows.add_event(tx, event):
            later += 0.001
            event = replace(event, id=f"{logical_id}-{status}-{iso(later)}")
        self._noted(tx, stack)

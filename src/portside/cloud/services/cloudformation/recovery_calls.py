"""CancelUpdateStack, RollbackStack and ContinueUpdateRollback: calls that turn an operation around.

Each validates, writes the intent in one transaction and answers; `undo.py` does the work.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import PARENT_KEY, Caller, Params, operation
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.begin import NESTED
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.failing import turn_back
from portside.cloud.services.cloudformation.records import (
    STOPPED,
    USER_INITIATED,
    Resource,
    ResourceStatus,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.stack_calls import StackCalls, modes
from portside.cloud.services.cloudformation.undo import UPDATE_CANCELLED


class RecoveryCalls(StackCalls):
    @operation("CancelUpdateStack")
    def cancel_update_stack(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        token = params.get("ClientRequestToken", "")
        if self._repeated(stack, caller, token, "CancelUpdateStack"):
            return {}
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            if now is None or now.status is not StackStatus.UPDATE_IN_PROGRESS:
                raise invalid("CancelUpdateStack cannot be called from current stack status")
            rows.save_stack(tx, replace(now, cancelled=True, token=token or now.token))
            rows.add_token(tx, caller.region, stack.id, token, "CancelUpdateStack")
            tx.after_commit(lambda: self._wake(stack.id))
        return {}

    @operation("RollbackStack")
    async def rollback_stack(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        token = params.get("ClientRequestToken", "")
        if self._repeated(stack, caller, token, "RollbackStack"):
            return {"StackId": stack.id}
        role: str = params.get("RoleARN") or ""
        await self._callers.verify(role or stack.spec.role, stack.id, caller)
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            nested = PARENT_KEY in params and now is not None and now.held
            if now is None or (now.status not in STOPPED and not nested):
                status = stack.status if now is None else now.status
                raise invalid(f"Stack:{stack.id} is in {status} state and can not be rolled back.")
            fields: Params = {
                "token": token,
                "spec": replace(now.spec, role=role or now.spec.role),
                "retain_except_on_create": modes(params)["retain_except_on_create"],
            }
            if now.previous is None:
                # There is no state to go back to.
                self.begin_delete(tx, now, caller, **fields)
            else:
                before = replace(now.previous, role=role or now.previous.role)
                self._turn(tx, replace(now, previous=before), caller, fields | {"spec": before})
            rows.add_token(tx, caller.region, stack.id, token, "RollbackStack")
        return {"StackId": stack.id}

    @operation("ContinueUpdateRollback")
    async def continue_update_rollback(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        token = params.get("ClientRequestToken", "")
        if self._repeated(stack, caller, token, "ContinueUpdateRollback"):
            return {}
        role: str = params.get("RoleARN") or ""
        await self._callers.verify(role or stack.spec.role, stack.id, caller)
        skipped = tuple(params.get("ResourcesToSkip") or ())
        force = bool(params.get("ForceRollback", False))
        above = rows.stack_by_id(self._db, params[PARENT_KEY]["stack"]) if PARENT_KEY in params else None
        if above is not None:
            prefix = f"{stack.name}."
            skipped = tuple(each.removeprefix(prefix) for each in above.skip if each.startswith(prefix))
            force, skipped = above.force, () if above.force else skipped
        if skipped and force:
            raise invalid("ForceRollback and ResourcesToSkip are mutually exclusive.")
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            if now is None or now.status is not StackStatus.UPDATE_ROLLBACK_FAILED:
                status = stack.status if now is None else now.status
                raise invalid(f"Stack:{stack.id} is in {status} state and can not continue update rollback.")
            present = rows.resources(tx, stack.id)
            if force:
                # A nested stack is not skipped, it is told to go on in the same way.
                failed = [each for each in present.values() if may_be_skipped(each) and each.type != NESTED]
                skipped = tuple(each.logical_id for each in failed)
            mine = tuple(each for each in skipped if "." not in each)
            wrong = [
                each
                for each in mine
                if each not in present or not may_be_skipped(present[each]) or self._lives(present[each])
            ]
            if wrong:
                raise invalid(
                    f"Resources [{', '.join(wrong)}] cannot be skipped: only resources in UPDATE_FAILED state "
                    "because a rollback failed can be skipped."
                )
            spec = replace(now.spec, role=role or now.spec.role)
            # The state to go back to has been the stack's own since the rollback began.
            fields: Params = {"token": token, "skip": skipped, "force": force, "spec": spec}
            self._turn(tx, replace(now, previous=spec), caller, fields)
            rows.add_token(tx, caller.region, stack.id, token, "ContinueUpdateRollback")
        return {}

    def _lives(self, each: Resource) -> bool:
        """A nested stack is skipped only once it is gone or on its way out."""
        inside = rows.stack_by_id(self._db, each.applied.physical_id) if each.type == NESTED else None
        return inside is not None and not inside.status.startswith("DELETE")

    def _turn(self, tx: Transaction, stack: Stack, caller: Caller, fields: dict[str, Any]) -> None:
        rest = {key: value for key, value in fields.items() if key != "spec"}
        moved = replace(
            stack,
            started=self._clock.now(),
            caller_arn=caller.arn,
            caller_role=caller.role,
            endpoint=caller.endpoint or stack.endpoint,
            **rest,
        )
        turn_back(self._journal, tx, moved, self._ids.uuid(), USER_INITIATED)
        tx.after_commit(lambda: self._wake(stack.id))


def may_be_skipped(each: Resource) -> bool:
    return each.status is ResourceStatus.UPDATE_FAILED and each.reason != UPDATE_CANCELLED

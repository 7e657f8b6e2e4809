"""CreateStack, UpdateStack, DeleteStack and the smaller calls that change a stack.

Each validates, writes the intent in one transaction and answers; `stack_loop.py` does the work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from portside.cloud.kernel.database import Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudformation import outputs, rows
from portside.cloud.services.cloudformation.base import Operations
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.proposal import (
    Proposal,
    make_spec,
    nothing_changes,
    propose,
    read_body,
    require_capabilities,
    require_types,
)
from portside.cloud.services.cloudformation.records import (
    UPDATABLE,
    USER_INITIATED,
    ExecutionStatus,
    Leftover,
    Spec,
    Stack,
    StackStatus,
)

NO_UPDATES = "No updates are to be performed."
_UNOFFERED = (
    "StackPolicyBody",
    "StackPolicyURL",
    "StackPolicyDuringUpdateBody",
    "StackPolicyDuringUpdateURL",
)


def refuse_unoffered(params: Params) -> None:
    for name in _UNOFFERED:
        if params.get(name):
            raise invalid(f"portside's local cloud does not offer {name}.")


class StackCalls(Operations):
    @operation("CreateStack")
    async def create_stack(self, caller: Caller, params: Params) -> Params:
        refuse_unoffered(params)
        name: str = params["StackName"]
        if name.startswith("arn:"):
            raise invalid(
                f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )
        token = params.get("ClientRequestToken", "")
        present = self._live(caller, name)
        if present is not None and present.status is not StackStatus.REVIEW_IN_PROGRESS:
            if self._repeated(present, caller, token, "CreateStack"):
                return {"StackId": present.id}
            raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists")
        if params.get("OnFailure") and params.get("DisableRollback") is not None:
            raise invalid("Only one of OnFailure and DisableRollback may be specified.")
        body = await read_body(params, self._calls, caller, None)
        spec, parsed = await make_spec(params, body, None, self._calls, caller, direct=True)
        require_capabilities(parsed, list(spec.capabilities))
        require_types(parsed, params.get("ResourceTypes"))
        stack = present or self.blank_stack(caller, name)
        await self._callers.verify(spec.role, stack.id, caller)
        proposal = await propose(self._db, self._zones, stack, spec, caller, new=True)
        on_failure = params.get("OnFailure") or ("DO_NOTHING" if params.get("DisableRollback") else "ROLLBACK")
        with self._db.write() as tx:
            now = rows.live_stack(tx, caller.region, name)
            if now is not None and now.status is not StackStatus.REVIEW_IN_PROGRESS:
                raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists")
            begun = self.begin_create(
                tx,
                now or stack,
                proposal,
                caller,
                on_failure=on_failure,
                timeout_minutes=params.get("TimeoutInMinutes"),
                token=token,
                termination_protection=bool(params.get("EnableTerminationProtection", False)),
            )
            rows.add_token(tx, caller.region, begun.id, token, "CreateStack")
        return {"StackId": begun.id}

    def blank_stack(self, caller: Caller, name: str) -> Stack:
        """A stack that exists in name only, not stored yet."""
        return Stack(
            id=f"arn:aws:cloudformation:{caller.region}:{caller.account}:stack/{name}/{self._ids.uuid()}",
            region=caller.region,
            account=caller.account,
            name=name,
            status=StackStatus.REVIEW_IN_PROGRESS,
            reason=USER_INITIATED,
            spec=Spec(body=""),
            created=self._clock.now(),
        )

    def begin_create(
        self,
        tx: Transaction,
        stack: Stack,
        proposal: Proposal,
        caller: Caller,
        *,
        on_failure: str,
        timeout_minutes: int | None,
        token: str,
        termination_protection: bool,
        **fields: Any,
    ) -> Stack:
        """Write the intent to create; used by CreateStack and ExecuteChangeSet."""
        self.retire_change_sets(tx, stack, executed=fields.get("change_set", ""))
        moved = replace(
            stack,
            spec=proposal.spec,
            description=proposal.template.description,
            on_failure=on_failure,
            disable_rollback=on_failure == "DO_NOTHING",
            timeout_minutes=timeout_minutes,
            operation=self._ids.uuid(),
            started=self._clock.now(),
            token=token,
            caller_arn=caller.arn,
            caller_role=caller.role,
            endpoint=caller.endpoint,
            **fields,
        )
        begun = self._journal.stack(
            tx,
            moved,
            StackStatus.CREATE_IN_PROGRESS,
            USER_INITIATED,
            termination_protection=termination_protection or stack.termination_protection,
        )
        tx.after_commit(lambda: self._wake(begun.id))
        return begun

    def retire_change_sets(self, tx: Transaction, stack: Stack, executed: str = "") -> None:
        """Every other change set of the stack is obsolete, and no longer listed."""
        for each in rows.change_sets(tx, stack.id):
            if each.id != executed:
                rows.save_change_set(tx, replace(each, execution=ExecutionStatus.OBSOLETE, hidden=True))

    def _repeated(self, stack: Stack, caller: Caller, token: str, wanted: str) -> bool:
        """Whether a call only repeats an earlier one that carried the same token."""
        if not token:
            return False
        before = rows.operation_of_token(self._db, caller.region, stack.id, token)
        if before is not None and before != wanted:
            raise AwsError(
                "TokenAlreadyExistsException", f"Token {token} was already used by another operation, {before}."
            )
        return before is not None and stack.token == token

    @operation("UpdateStack")
    async def update_stack(self, caller: Caller, params: Params) -> Params:
        refuse_unoffered(params)
        name: str = params["StackName"]
        token = params.get("ClientRequestToken", "")
        stack = self._need(caller, name)
        if self._repeated(stack, caller, token, "UpdateStack"):
            return {"StackId": stack.id}
        refuse_update(stack)
        body = await read_body(params, self._calls, caller, stack.spec.sent)
        spec, parsed = await make_spec(params, body, stack.spec, self._calls, caller, direct=True)
        await self._callers.verify(spec.role, stack.id, caller)
        require_capabilities(parsed, list(spec.capabilities))
        require_types(parsed, params.get("ResourceTypes"))
        proposal = await propose(self._db, self._zones, stack, spec, caller, new=False)
        if proposal.trouble and not spec.trouble:
            raise invalid(proposal.trouble)
        if nothing_changes(stack, proposal):
            raise invalid(NO_UPDATES)
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            assert now is not None
            refuse_update(now)
            begun = self.begin_update(
                tx, now, proposal, caller, token=token, disable_rollback=bool(params.get("DisableRollback", False))
            )
            rows.add_token(tx, caller.region, begun.id, token, "UpdateStack")
        return {"StackId": begun.id}

    def begin_update(
        self,
        tx: Transaction,
        stack: Stack,
        proposal: Proposal,
        caller: Caller,
        *,
        token: str,
        disable_rollback: bool,
        **fields: Any,
    ) -> Stack:
        """Write the intent to update; used by UpdateStack and ExecuteChangeSet."""
        self.retire_change_sets(tx, stack, executed=fields.get("change_set", ""))
        moved = replace(
            stack,
            spec=proposal.spec,
            previous=stack.spec,
            description=proposal.template.description,
            updated=self._clock.now(),
            disable_rollback=disable_rollback,
            operation=self._ids.uuid(),
            started=self._clock.now(),
            token=token,
            caller_arn=caller.arn,
            caller_role=caller.role,
            endpoint=caller.endpoint,
            failures=(),
            cancelled=False,
            **fields,
        )
        begun = self._journal.stack(tx, moved, StackStatus.UPDATE_IN_PROGRESS, USER_INITIATED)
        tx.after_commit(lambda: self._wake(begun.id))
        return begun

    @operation("CancelUpdateStack")
    def cancel_update_stack(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            if now is None or now.status is not StackStatus.UPDATE_IN_PROGRESS:
                raise invalid("CancelUpdateStack cannot be called from current stack status")
            token = params.get("ClientRequestToken", "") or now.token
            rows.save_stack(tx, replace(now, cancelled=True, token=token))
            tx.after_commit(lambda: self._wake(stack.id))
        return {}

    @operation("DeleteStack")
    async def delete_stack(self, caller: Caller, params: Params) -> Params:
        name: str = params["StackName"]
        role: str = params.get("RoleARN") or ""
        found = self._live(caller, name)
        if found is not None:
            await self._callers.verify(role or found.spec.role, found.id, caller)
        stack = self._live(caller, name)
        if stack is None or stack.status is StackStatus.DELETE_IN_PROGRESS:
            return {}
        if stack.termination_protection:
            raise invalid(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        # A creation may be broken off by deleting; other operations end by themselves or are cancelled.
        if stack.status.busy and stack.status is not StackStatus.CREATE_IN_PROGRESS:
            raise invalid(f"Stack [{stack.id}] cannot be deleted while in status {stack.status}")
        retain = tuple(params.get("RetainResources") or ())
        if (retain or params.get("DeletionMode") == "FORCE_DELETE_STACK") and (
            stack.status is not StackStatus.DELETE_FAILED
        ):
            raise invalid(
                f"Invalid operation on stack [{stack.id}]. RetainResources and FORCE_DELETE_STACK are "
                "only allowed "
                "for stacks in status DELETE_FAILED"
            )
        present = rows.resources(self._db, stack.id)
        strangers = [each for each in retain if each not in present]
        if strangers:
            raise invalid(f"Resources [{', '.join(strangers)}] do not exist in stack {stack.name}")
        if params.get("DeletionMode") == "FORCE_DELETE_STACK":
            retain += tuple(key for key, each in present.items() if each.status.failed and key not in retain)
        with self._db.write() as tx:
            refused = outputs.refuse_deletion(tx, stack)
            token = params.get("ClientRequestToken", "")
            if refused:
                kept = replace(stack, reason=refused, token=token)
                rows.save_stack(tx, kept)
                self._journal.told(tx, kept)
                return {}
            self.retire_change_sets(tx, stack)
            for each in present.values():
                before = each.previous
                if before is not None and before.physical_id != each.applied.physical_id:
                    rows.add_leftover(
                        tx, Leftover(0, stack.id, each.logical_id, each.type, before, False, "Delete")
                    )
                    rows.save_resource(tx, replace(each, previous=None))
            moved = replace(
                stack,
                operation=self._ids.uuid(),
                started=self._clock.now(),
                token=token,
                retain=retain,
                spec=replace(stack.spec, role=role or stack.spec.role),
                caller_arn=caller.arn,
                caller_role=caller.role,
                endpoint=caller.endpoint or stack.endpoint,
            )
            begun = self._journal.stack(tx, moved, StackStatus.DELETE_IN_PROGRESS, USER_INITIATED)
            tx.after_commit(lambda: self._wake(begun.id))
        return {}

    @operation("UpdateTerminationProtection")
    def update_termination_protection(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        if stack.status is StackStatus.DELETE_COMPLETE:
            raise invalid(f"Stack [{params['StackName']}] does not exist")
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            assert now is not None
            wanted = bool(params["EnableTerminationProtection"])
            rows.save_stack(tx, replace(now, termination_protection=wanted))
        return {"StackId": stack.id}


def refuse_update(stack: Stack) -> None:
    if stack.status not in UPDATABLE:
        raise invalid(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")

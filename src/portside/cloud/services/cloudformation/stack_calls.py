"""CreateStack, UpdateStack, DeleteStack and the smaller calls that change a stack.

Each validates, writes the intent in one transaction and answers; `stack_loop.py` does the work.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import PARENT_KEY, Caller, Params, operation
from portside.cloud.services.cloudformation import hierarchy, outputs, rows, template
from portside.cloud.services.cloudformation.base import NAME, refuse_name
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.policy_calls import PolicyCalls
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
    STOPPED,
    UPDATABLE,
    USER_INITIATED,
    ChangeSet,
    ChangeSetStatus,
    Leftover,
    Spec,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.template import Template

# A template that contains itself would never end.
DEEPEST = 20
NO_UPDATES = "No updates are to be performed."


class StackCalls(PolicyCalls):
    @operation("CreateStack")
    async def create_stack(self, caller: Caller, params: Params) -> Params:
        name: str = params["StackName"]
        refuse_name(name, NAME)
        token = params.get("ClientRequestToken", "")
        present = self._live(caller, name)
        if present is not None and present.status is not StackStatus.REVIEW_IN_PROGRESS:
            if self._repeated(present, caller, token, "CreateStack"):
                return {"StackId": present.id}
            raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists")
        if params.get("OnFailure") and params.get("DisableRollback") is not None:
            raise invalid("Only one of OnFailure and DisableRollback may be specified.")
        parent, frozen = self._parent(params), self._frozen(params)
        params = params if parent is None else params | handed_down(parent)
        spec, parsed = await self._wanted(params, None, caller, frozen)
        require_capabilities(parsed, list(spec.capabilities))
        require_types(parsed, params.get("ResourceTypes"))
        stack = present or self.blank_stack(caller, name)
        if parent is not None:
            stack = replace(stack, parent=parent.id, root=parent.root or parent.id)
        await self._callers.verify(spec.role, stack.id, caller)
        proposal = await propose(self._db, self._zones, stack, spec, self._calls, caller, new=True)
        on_failure = params.get("OnFailure") or ("DO_NOTHING" if keeps_failures(params) else "ROLLBACK")
        policy = await self._policy_text(params, caller)

        def begin(tx: Transaction) -> str:
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
                policy=policy or stack.policy,
                **shown_by(frozen),
                **modes(params),
            )
            rows.add_token(tx, caller.region, begun.id, token, "CreateStack")
            return begun.id

        return {"StackId": await self._db.commit(begin)}

    async def _wanted(
        self, params: Params, previous: Spec | None, caller: Caller, frozen: ChangeSet | None
    ) -> tuple[Spec, Template]:
        """What a creation or an update asks for; `frozen` is the change set that has shown it, if one has."""
        if frozen is None:
            body = await read_body(params, self._calls, caller, None if previous is None else previous.sent)
            return await make_spec(params, body, previous, self._calls, caller, direct=True)
        if frozen.settled:
            return frozen.spec, template.parse(frozen.spec.body)
        # The same template, with what was not known yet.
        return await make_spec(params, frozen.spec.sent, previous, self._calls, caller, direct=False)

    def _frozen(self, params: Params) -> ChangeSet | None:
        """The change set of a nested stack, if the operation of its parent executes a hierarchy of them."""
        parent, named = self._parent(params), params.get(PARENT_KEY) or {}
        found = parent.nested_sets.get(named.get("resource", "")) if parent is not None else None
        return rows.change_set_by_id(self._db, found) if found else None

    def _parent(self, params: Params) -> Stack | None:
        """The stack in whose name the call is made, for nested stacks."""
        named = params.get(PARENT_KEY)
        found = rows.stack_by_id(self._db, named["stack"]) if named else None
        depth, above = 0, found
        while above is not None and above.parent:
            depth, above = depth + 1, rows.stack_by_id(self._db, above.parent)
        if depth >= DEEPEST:
            raise invalid(f"Stacks cannot be nested more than {DEEPEST} deep here.")
        return found

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
        once: Params = {"nested_sets": {}}
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
            **once | fields,
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
                hierarchy.retire(tx, self._journal, each, stack_id=stack.id)

    @operation("UpdateStack")
    async def update_stack(self, caller: Caller, params: Params) -> Params:
        name: str = params["StackName"]
        token = params.get("ClientRequestToken", "")
        stack = self._need(caller, name)
        if self._repeated(stack, caller, token, "UpdateStack"):
            return {"StackId": stack.id}
        refuse_update(stack, without_rollback=keeps_failures(params))
        parent, frozen = self._parent(params), self._frozen(params)
        if frozen is not None and frozen.status is ChangeSetStatus.FAILED:
            raise invalid(NO_UPDATES)
        params = params if parent is None else params | handed_down(parent)
        spec, parsed = await self._wanted(params, stack.spec, caller, frozen)
        await self._callers.verify(spec.role, stack.id, caller)
        require_capabilities(parsed, list(spec.capabilities))
        require_types(parsed, params.get("ResourceTypes"))
        proposal = await propose(self._db, self._zones, stack, spec, self._calls, caller, new=False)
        if proposal.trouble and not spec.trouble:
            raise invalid(proposal.trouble)
        policy = await self._policy_text(params, caller)
        override = await self._policy_text(params, caller, "StackPolicyDuringUpdate")
        deeper = frozen is not None and hierarchy.reaches(self._db, frozen)
        if nothing_changes(stack, proposal) and stack.status in UPDATABLE and not deeper:
            raise invalid(NO_UPDATES)
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            assert now is not None
            refuse_update(now, without_rollback=keeps_failures(params))
            begun = self.begin_update(
                tx,
                now,
                proposal,
                caller,
                token=token,
                disable_rollback=keeps_failures(params),
                policy=policy or now.policy,
                policy_override=override,
                held=parent is not None and bool(params[PARENT_KEY].get("held")),
                **shown_by(frozen),
                **modes(params),
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
        once: Params = {
            "policy_override": "",
            "express": False,
            "retain_except_on_create": False,
            "held": False,
            "nested_sets": {},
        }
        moved = replace(
            stack,
            spec=proposal.spec,
            # Going on from where an operation stopped, the state to go back to stays what it was.
            previous=stack.previous if stack.status in STOPPED else stack.spec,
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
            monitored_until=0.0,
            **once | fields,
        )
        begun = self._journal.stack(tx, moved, StackStatus.UPDATE_IN_PROGRESS, USER_INITIATED)
        tx.after_commit(lambda: self._wake(begun.id))
        return begun

    @operation("DeleteStack")
    async def delete_stack(self, caller: Caller, params: Params) -> Params:
        name: str = params["StackName"]
        role: str = params.get("RoleARN") or ""
        found = self._live(caller, name)
        if found is not None:
            await self._callers.verify(role or found.spec.role, found.id, caller)
        stack = self._live(caller, name)
        token = params.get("ClientRequestToken", "")
        if stack is not None:
            self._repeated(stack, caller, token, "DeleteStack")
        if stack is None or stack.status is StackStatus.DELETE_IN_PROGRESS:
            return {}
        root = rows.stack_by_id(self._db, stack.root) if stack.root else None
        if stack.termination_protection or (root is not None and root.termination_protection):
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
        force = params.get("DeletionMode") == "FORCE_DELETE_STACK"
        with self._db.write() as tx:
            refused = outputs.refuse_deletion(tx, stack)
            if refused:
                kept = replace(stack, reason=refused, token=token)
                rows.save_stack(tx, kept)
                self._journal.told(tx, kept)
                return {}
            self.begin_delete(
                tx,
                stack,
                caller,
                token=token,
                retain=retain,
                force=force,
                spec=replace(stack.spec, role=role or stack.spec.role),
            )
            rows.add_token(tx, caller.region, stack.id, token, "DeleteStack")
        return {}

    def begin_delete(self, tx: Transaction, stack: Stack, caller: Caller, **fields: Any) -> None:
        """Write the intent to delete; used by DeleteStack and RollbackStack."""
        self.retire_change_sets(tx, stack)
        hierarchy.release(tx, self._journal, stack.nested_sets.values())
        for each in rows.resources(tx, stack.id).values():
            before = each.previous
            if before is not None and before.physical_id != each.applied.physical_id:
                rows.add_leftover(tx, Leftover(0, stack.id, each.logical_id, each.type, before, False, "Delete"))
                rows.save_resource(tx, replace(each, previous=None))
        moved = replace(
            stack,
            operation=self._ids.uuid(),
            started=self._clock.now(),
            caller_arn=caller.arn,
            caller_role=caller.role,
            endpoint=caller.endpoint or stack.endpoint,
            **fields,
        )
        begun = self._journal.stack(tx, moved, StackStatus.DELETE_IN_PROGRESS, USER_INITIATED)
        tx.after_commit(lambda: self._wake(begun.id))


def refuse_update(stack: Stack, *, without_rollback: bool = False) -> None:
    """Where an operation without rollback stopped, only another one without may go on."""
    if stack.status in UPDATABLE or (without_rollback and stack.status in STOPPED):
        return
    raise invalid(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")


def keeps_failures(params: Params) -> bool:
    """Whether the operation is to stop, not to roll back, where something fails."""
    configured = params.get("DeploymentConfig") or {}
    return bool(params.get("DisableRollback") or configured.get("DisableRollback"))


def handed_down(parent: Stack) -> Params:
    """What a nested stack is allowed because its parent is."""
    return {"Capabilities": list(parent.spec.capabilities), "RoleARN": parent.spec.role}


def shown_by(found: ChangeSet | None) -> Params:
    """The fields of a stack whose operation executes a change set."""
    return {} if found is None else {"change_set": found.id, "nested_sets": found.inner}


def modes(params: Params) -> Params:
    """The fields of a stack that say how this one operation is carried out."""
    configured = params.get("DeploymentConfig") or {}
    return {
        "express": configured.get("Mode") == "EXPRESS",
        "retain_except_on_create": bool(params.get("RetainExceptOnCreate", False)),
    }

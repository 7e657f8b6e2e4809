"""The part of change sets that is about imports: what is asked for is checked, and the intent to import written.

Owns the look at whether the resources exist and are nobody's. The rules of requests are `imports.py`, the loop's
part is `importing.py`.
"""

from __future__ import annotations

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.cloudformation import imports, rows, template
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.importing import COMPLETED, STARTED, look, not_found
from portside.cloud.services.cloudformation.imports import Wanted
from portside.cloud.services.cloudformation.intrinsics import unknown_inside
from portside.cloud.services.cloudformation.jobs import Jobs
from portside.cloud.services.cloudformation.plan import Planned, Verdict
from portside.cloud.services.cloudformation.proposal import Proposal, propose
from portside.cloud.services.cloudformation.records import (
    IMPORTED,
    USER_INITIATED,
    Applied,
    ChangeSet,
    Kind,
    Phase,
    Resource,
    ResourceStatus,
    Spec,
    Stack,
    StackStatus,
    Step,
)
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.stack_calls import StackCalls


class ImportCalls(StackCalls):
    def _imports(self, params: Params, before: Spec | None, proposal: Proposal) -> list[Wanted]:
        given = params.get("ResourcesToImport") or []
        new = proposal.template
        known = {each.type: registry.facts(each.type) for each in new.resources.values()}
        wanted = imports.requested(given, new, known)
        if proposal.trouble:
            return wanted
        old = template.parse(before.body) if before is not None else None
        imports.refuse(wanted, given, proposal.plan, old, new, proposal.spec.body)
        for each in wanted:
            # Shown with the change; the decision stays.
            proposal.plan.planned[each.logical_id].applied = Applied(each.physical_id, each.name)
        return wanted

    async def _unimportable(self, stack: Stack, wanted: list[Wanted], proposal: Proposal) -> str:
        """Why the resources cannot become the stack's; empty if they can."""
        for each in wanted:
            owner = rows.owner_of(self._db, stack.region, each.type, each.physical_id)
            if owner is not None:
                return f"{each.shown} already exists in stack {owner}"
            planned = proposal.plan.planned[each.logical_id]
            target = Applied(each.physical_id, each.name, planned.properties)
            step = Step(Kind.UPDATE, Phase.CHECK, target, self._ids.uuid(), self._clock.now())
            job = await Jobs(self._calls, self._callers, self._db).removal(stack, each.logical_id, each.type, step)
            if not await look(each.type, job):
                return not_found(each.type, each.shown)
        return ""

    def _begin_import(self, tx: Transaction, stack: Stack, found: ChangeSet, caller: Caller, token: str) -> None:
        self.retire_change_sets(tx, stack, executed=found.id)
        new = stack.status is StackStatus.REVIEW_IN_PROGRESS
        moved = replace(
            stack,
            spec=found.spec,
            previous=None if new else stack.spec,
            description=template.parse(found.spec.body).description,
            updated=self._clock.now(),
            operation=self._ids.uuid(),
            started=self._clock.now(),
            token=token,
            change_set=found.id,
            caller_arn=caller.arn,
            caller_role=caller.role,
            endpoint=caller.endpoint,
            failures=(),
            cancelled=False,
            nested_sets={},
        )
        begun = self._journal.stack(tx, moved, StackStatus.IMPORT_IN_PROGRESS, USER_INITIATED)
        for logical_id, kind, physical_id, name in found.imports:
            row = Resource(
                stack_id=stack.id,
                logical_id=logical_id,
                type=kind,
                status=ResourceStatus.IMPORT_IN_PROGRESS,
                changed=self._clock.now(),
                applied=Applied(physical_id, name, deletion_policy="Retain"),
                reason=STARTED,
                operation=begun.operation,
            )
            self._journal.resource(tx, begun, row)
        tx.after_commit(lambda: self._wake(begun.id))

    def _refuse_owned(self, tx: Transaction, stack: Stack, found: ChangeSet) -> None:
        for _, kind, physical_id, _ in found.imports:
            owner = rows.owner_of(tx, stack.region, kind, physical_id)
            if owner is not None:
                raise invalid(f"{physical_id} already exists in stack {owner}")

    # Resources that exist among others that are made

    async def _existing(self, stack: Stack, proposal: Proposal) -> list[Wanted]:
        """The new resources that exist already under the names that the template gives them, and are nobody's."""
        found: list[Wanted] = []
        for each in proposal.plan.planned.values():
            facts = registry.facts(each.type)
            name = each.properties.get(facts.name_property) if facts.name_property else None
            if each.decision.verdict is not Verdict.CREATE or not isinstance(name, str):
                continue
            physical_id = await self._found(stack, each, name)
            if physical_id is None or rows.owner_of(self._db, stack.region, each.type, physical_id) is not None:
                continue
            shown = f"{{{facts.name_property}={name}}}"
            found.append(Wanted(each.logical_id, each.type, physical_id, name, shown))
            # Shown with the change; the decision stays.
            each.applied = Applied(physical_id, name)
        return found

    async def _found(self, stack: Stack, each: Planned, name: str) -> str | None:
        target = Applied("", name, each.properties)
        step = Step(Kind.CREATE, Phase.CHECK, target, self._ids.uuid(), self._clock.now())
        work = await Jobs(self._calls, self._callers, self._db).removal(stack, each.logical_id, each.type, step)
        return await registry.handler(each.type).find(work)

    async def _adopted(self, stack: Stack, found: ChangeSet, caller: Caller) -> list[Resource]:
        """The rows of what the execution takes over; what is gone meanwhile will be made instead."""
        if not found.imports:
            return []
        new = stack.status is StackStatus.REVIEW_IN_PROGRESS
        proposal = await propose(self._db, self._zones, stack, found.spec, self._calls, caller, new=new)
        adopted = []
        for logical_id, kind, physical_id, name in found.imports:
            planned = proposal.plan.planned[logical_id]
            if await self._found(stack, planned, name) != physical_id:
                continue
            target = Applied(physical_id, name, planned.properties, deletion_policy="Retain")
            step = Step(Kind.UPDATE, Phase.CHECK, target, self._ids.uuid(), self._clock.now())
            work = await Jobs(self._calls, self._callers, self._db).removal(stack, logical_id, kind, step)
            attributes = await registry.handler(kind).read(work)
            adopted.append(
                Resource(
                    stack_id=stack.id,
                    logical_id=logical_id,
                    type=kind,
                    status=ResourceStatus.IMPORT_IN_PROGRESS,
                    changed=self._clock.now(),
                    applied=replace(target, attributes=attributes, state={IMPORTED: True}),
                    reason=STARTED,
                    touched=not new,
                )
            )
        return adopted

    def _adopt(self, tx: Transaction, stack: Stack, adopted: list[Resource]) -> None:
        begun = rows.stack_by_id(tx, stack.id) or stack
        for each in adopted:
            owner = rows.owner_of(tx, stack.region, each.type, each.applied.physical_id)
            if owner is not None:
                raise invalid(f"{each.applied.physical_id} already exists in stack {owner}")
            self._journal.resource(tx, begun, each)
            done = replace(each, status=ResourceStatus.IMPORT_COMPLETE, reason=COMPLETED)
            self._journal.resource(tx, begun, done)
            rows.save_resource(tx, replace(done, reason=""))


def exposed(wanted: list[Wanted], proposal: Proposal) -> str:
    """Why existing resources may not be taken over; empty if they may."""
    loose = [
        each
        for each in wanted
        if not proposal.template.resources[each.logical_id].deletion_policy.startswith("Retain")
    ]
    if loose:
        shown = ", ".join(f"{each.logical_id} ({each.shown})" for each in loose)
        return (
            "CloudFormation is attempting to import some resources because they already exist in your account. "
            "The resources must have the DeletionPolicy attribute set to 'Retain' or 'RetainExceptOnCreate' in "
            f"the template for successful import. The affected resources are {shown}"
        )
    unsettled = [
        each.logical_id for each in wanted if unknown_inside(proposal.plan.planned[each.logical_id].properties)
    ]
    if unsettled:
        return (
            f"portside's local cloud does not import resources [{', '.join(unsettled)}] whose properties depend "
            "on resources that the same change set makes."
        )
    return ""

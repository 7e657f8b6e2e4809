"""The loop that carries stack operations out: one turn a stack, all its due resources side by side.

Owns the order of work in each status of a stack and the moves between statuses. What a single resource goes
through is `steps.py`; what an update means for a resource is `plan.py`; clean-up, deletion and the way back are
`undo.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.services.calls import Calls
from portside.cloud.services.cloudformation import outputs, properties, rows, template
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.plan import PlannedView, Verdict, active, custom_named, decide, plan
from portside.cloud.services.cloudformation.records import (
    USER_INITIATED,
    Applied,
    Kind,
    Leftover,
    Resource,
    ResourceStatus,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.session import Callers, RowsView, Zones, caller_of, evaluator
from portside.cloud.services.cloudformation.steps import Steps
from portside.cloud.services.cloudformation.undo import Undo, unfinished

REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."
TIMED_OUT = "Stack creation time exceeded the specified timeout."
# A turn makes one pass over the resources that are due; calls to services are short, waiting is not done here.
TURN_LIMIT = 300.0


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
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._log = log.bind(service="cloudformation")
        self._zones = zones
        self._journal = journal
        self._steps = Steps(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            log=self._log,
            journal=journal,
            callers=callers,
        )
        self._undo = Undo(database=database, ids=ids, clock=clock, journal=journal, steps=self._steps)
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
            case (
                StackStatus.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS
                | StackStatus.UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS
            ):
                return await self._undo.clean_up(stack)
        return Done()

    # Forward: creating and updating

    async def _forward(self, stack: Stack) -> TurnResult:
        if stack.cancelled:
            return self._give_up(stack, USER_INITIATED)
        limit = stack.timeout_minutes
        if (
            limit
            and stack.status is StackStatus.CREATE_IN_PROGRESS
            and self._clock.now() > stack.started + 60 * limit
        ):
            return self._give_up(stack, TIMED_OUT)
        if stack.spec.trouble:
            return self._give_up(stack, stack.spec.trouble)
        parsed = template.parse(stack.spec.body)
        present = rows.resources(self._db, stack.id)
        try:
            await self._foresee(stack, parsed, present)
            look = evaluator(self._db, stack, stack.spec, parsed, RowsView(present), self._zones.known)
            needs = await self._zones.with_zones(caller_of(stack), lambda: active(look))
        except EvaluationError as error:
            return self._give_up(stack, str(error))
        mine = {name: each for name, each in present.items() if each.operation == stack.operation}
        failed = [name for name in needs if name in mine and mine[name].status.failed]
        if failed:
            return self._give_up(stack, _failures(stack, mine, failed))
        work: list[Coroutine[Any, Any, None]] = []
        now = self._clock.now()
        for name, others in needs.items():
            if name in mine:
                step = mine[name].step
                if step is not None and step.due <= now:
                    work.append(self._steps.advance(stack, mine[name]))
            elif all(other in mine and unfinished(mine[other]) is None for other in others):
                work.append(self._begin(stack, name, others, present.get(name), look))
        if work:
            await asyncio.gather(*work)
            return After(0.0)
        waits = [step.due - now for each in mine.values() if (step := unfinished(each)) is not None]
        if waits:
            return After(max(0.0, min(waits)))
        return await self._finish(stack, look, needs, present)

    async def _foresee(self, stack: Stack, parsed: template.Template, present: dict[str, Resource]) -> None:
        """Before the first resource: everything can be evaluated, and what is imported is held fast."""
        if any(each.operation == stack.operation for each in present.values()):
            return
        view = PlannedView(parsed, {}, registry.facts)
        look = evaluator(self._db, stack, stack.spec, parsed, view, self._zones.known)

        def foreseen() -> set[str]:
            plan(look, present, registry.facts, stack.spec.tags)
            return look.imported

        imported = await self._zones.with_zones(caller_of(stack), foreseen)
        with self._db.write() as tx:
            rows.add_imports(tx, stack.region, stack.id, imported)

    async def _begin(
        self, stack: Stack, name: str, needs: tuple[str, ...], present: Resource | None, look: Evaluator
    ) -> None:
        declared = look.template.resources[name]
        facts = registry.facts(declared.type)
        trouble = ""
        wanted: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        try:
            given, metadata = await self._zones.with_zones(
                caller_of(stack), lambda: (look.properties(name), look.evaluate(declared.metadata))
            )
            wanted, trouble = properties.fit(facts.schema, given)
        except EvaluationError as error:
            trouble = str(error)
        target = Applied(
            properties=wanted,
            metadata=metadata,
            tags=stack.spec.tags if facts.tagged else (),
            dependencies=needs,
            deletion_policy=declared.deletion_policy,
            replace_policy=declared.replace_policy,
        )
        shown = self._masked(stack, name, wanted, look)
        resource: Resource | None
        if present is None:
            resource = self._new(stack, name, declared.type, target, shown)
        else:
            resource = self._changed(stack, present, target, shown, trouble)
        if resource is None:
            return
        step = resource.step
        if step is not None and step.kind is Kind.REPLACE and custom_named(facts, resource.applied, wanted):
            trouble = trouble or (
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {resource.applied.name or resource.applied.physical_id} and update the stack again."
            )
        if trouble:
            with self._db.write() as tx:
                self._steps.fail(tx, stack, resource, trouble)
            return
        await self._steps.advance(stack, resource)

    def _masked(self, stack: Stack, name: str, wanted: dict[str, Any], look: Evaluator) -> dict[str, Any]:
        """The properties as events show them: without the values of NoEcho parameters."""
        if not any(str(each.get("NoEcho", "")).lower() == "true" for each in look.template.parameters.values()):
            return wanted
        masked = evaluator(
            self._db, stack, stack.spec, look.template, look.resources, self._zones.known, masked=True
        )
        try:
            return masked.properties(name)
        except EvaluationError:
            return {}

    def _new(self, stack: Stack, name: str, kind: str, target: Applied, shown: dict[str, Any]) -> Resource:
        chosen = registry.handler(kind).choose_name(self._ids, stack.name, name, target.properties)
        target = replace(target, name=chosen)
        resource = Resource(
            stack_id=stack.id,
            logical_id=name,
            type=kind,
            status=ResourceStatus.CREATE_IN_PROGRESS,
            changed=self._clock.now(),
            applied=target,
            operation=stack.operation,
            step=self._steps.new_step(Kind.CREATE, target, shown),
            touched=stack.status is StackStatus.UPDATE_IN_PROGRESS,
        )
        with self._db.write() as tx:
            self._journal.resource(tx, stack, resource, shown=shown)
        return resource

    def _changed(
        self, stack: Stack, present: Resource, target: Applied, shown: dict[str, Any], trouble: str
    ) -> Resource | None:
        """Begin what the update does to a resource; None if that is nothing, or done at once."""
        facts = registry.facts(present.type)
        decision = decide(facts, present.applied, target.properties, target.metadata, stack.spec.tags)
        adopted = replace(
            present.applied,
            metadata=target.metadata,
            dependencies=target.dependencies,
            deletion_policy=target.deletion_policy,
            replace_policy=target.replace_policy,
        )
        moved = replace(present, operation=stack.operation, reason="", step=None)
        match decision.verdict:
            case Verdict.KEEP | Verdict.METADATA if not trouble:
                changed = decision.verdict is Verdict.METADATA
                moved = replace(moved, applied=adopted)
                if changed:
                    moved = replace(
                        moved, status=ResourceStatus.UPDATE_COMPLETE, touched=True, previous=present.applied
                    )
                with self._db.write() as tx:
                    if changed:
                        self._journal.resource(tx, stack, moved, shown=shown)
                    else:
                        rows.save_resource(tx, moved)
                return None
            case Verdict.REPLACE:
                handler = registry.handler(present.type)
                chosen = handler.choose_name(self._ids, stack.name, present.logical_id, target.properties)
                step = self._steps.new_step(Kind.REPLACE, replace(target, name=chosen), shown)
                reason = REPLACING
            case _:
                kept = replace(
                    target,
                    name=present.applied.name,
                    physical_id=present.applied.physical_id,
                    state=present.applied.state,
                )
                step = self._steps.new_step(Kind.UPDATE, kept, shown)
                reason = ""
        moved = replace(
            moved,
            status=ResourceStatus.UPDATE_IN_PROGRESS,
            reason=reason,
            touched=True,
            previous=present.applied,
            step=step,
        )
        with self._db.write() as tx:
            self._journal.resource(tx, stack, moved, shown=shown)
        return moved

    async def _finish(
        self, stack: Stack, look: Evaluator, needs: dict[str, tuple[str, ...]], present: dict[str, Resource]
    ) -> TurnResult:
        try:
            made = await self._zones.with_zones(caller_of(stack), lambda: outputs.evaluate(look))
        except EvaluationError as error:
            return self._give_up(stack, str(error))
        # Only what was evaluated counts as imported; kept resources are evaluated anew for that.
        await self._zones.with_zones(caller_of(stack), lambda: [look.properties(name) for name in needs])
        with self._db.write() as tx:
            if not self._still(tx, stack):
                return After(0.0)
            refused = outputs.refuse_exports(tx, stack, made)
            if refused:
                return self._give_up_in(tx, stack, refused)
            outputs.publish(tx, stack, made, look.imported)
            if stack.status is StackStatus.CREATE_IN_PROGRESS:
                self._journal.stack(tx, stack, StackStatus.CREATE_COMPLETE, outputs=made)
                return Done()
            for name, each in present.items():
                self._leave_behind(tx, stack, each, kept=name in needs)
            self._journal.stack(
                tx, stack, StackStatus.UPDATE_COMPLETE_CLEANUP_IN_PROGRESS, outputs=made, previous=None
            )
        return After(0.0)

    def _leave_behind(self, tx: Transaction, stack: Stack, each: Resource, *, kept: bool) -> None:
        """What clean-up has to remove: replaced resources, and those that left the template."""
        before = each.previous
        if not kept:
            policy = each.applied.deletion_policy
            leftover = Leftover(0, stack.id, each.logical_id, each.type, each.applied, True, policy)
            rows.add_leftover(tx, leftover)
        elif before is not None and before.physical_id != each.applied.physical_id:
            policy = before.replace_policy
            rows.add_leftover(tx, Leftover(0, stack.id, each.logical_id, each.type, before, False, policy))
        if each.touched:
            rows.save_resource(tx, replace(each, touched=False, previous=None))

    # Failing

    def _still(self, tx: Transaction, stack: Stack) -> bool:
        """Whether no call (a deletion, a cancellation) came in between."""
        now = rows.stack_by_id(tx, stack.id)
        return now is not None and now.operation == stack.operation and now.cancelled == stack.cancelled

    def _give_up(self, stack: Stack, reason: str) -> TurnResult:
        with self._db.write() as tx:
            if not self._still(tx, stack):
                return After(0.0)
            return self._give_up_in(tx, stack, reason)

    def _give_up_in(self, tx: Transaction, stack: Stack, reason: str) -> TurnResult:
        """Cancel what is in flight and turn the stack around."""
        for each in rows.resources(tx, stack.id).values():
            if each.operation == stack.operation and each.status.busy:
                creating = each.status is ResourceStatus.CREATE_IN_PROGRESS
                noun = "creation" if creating else "update"
                self._steps.fail(tx, stack, each, f"Resource {noun} cancelled")
        operation = self._ids.uuid()
        if stack.status is StackStatus.CREATE_IN_PROGRESS:
            if stack.on_failure == "DO_NOTHING" or stack.disable_rollback:
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
        if stack.disable_rollback:
            self._journal.stack(tx, stack, StackStatus.UPDATE_FAILED, reason)
            return Done()
        assert stack.previous is not None
        self._journal.stack(
            tx,
            stack,
            StackStatus.UPDATE_ROLLBACK_IN_PROGRESS,
            reason,
            operation=operation,
            spec=stack.previous,
            previous=None,
            cancelled=False,
        )
        return After(0.0)


def _failures(stack: Stack, mine: dict[str, Resource], failed: list[str]) -> str:
    """`The following resource(s) failed to create: [A]. The following resource(s) failed to update: [B]. `"""
    created = [name for name in failed if mine[name].status is ResourceStatus.CREATE_FAILED]
    updated = [name for name in failed if mine[name].status is ResourceStatus.UPDATE_FAILED]
    text = ""
    if created:
        text += f"The following resource(s) failed to create: [{', '.join(created)}]. "
    if updated:
        text += f"The following resource(s) failed to update: [{', '.join(updated)}]. "
    return text

"""What happens when a resource's turn comes: its properties are settled, and its step is written down.

Owns the decision between creating, keeping, updating and replacing, made by `plan.py` with real values, what the
stack policy has to say to it, and how a resource is taken on that an earlier operation left half done. The step
itself is carried out by `steps.py`; whose turn it is, `stack_loop.py` decides.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation import dynamic, policies, properties, rows, secrecy, stack_policy
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.plan import Decision, Recreation, Verdict, custom_named, decide
from portside.cloud.services.cloudformation.records import (
    Applied,
    Kind,
    Leftover,
    Phase,
    Resource,
    ResourceStatus,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.session import RowsView, Zones, caller_of, evaluator
from portside.cloud.services.cloudformation.steps import Steps

NESTED = "AWS::CloudFormation::Stack"
REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."


class Beginnings:
    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, zones: Zones, journal: Journal, steps: Steps
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._zones = zones
        self._journal = journal
        self._steps = steps

    async def begin(
        self, stack: Stack, name: str, needs: tuple[str, ...], present: Resource | None, look: Evaluator
    ) -> None:
        """Write down what becomes of a resource, and take it as far as it goes without waiting."""
        declared = look.template.resources[name]
        facts = registry.facts(declared.type)
        trouble = ""
        wanted: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        found: dict[str, dict[str, Any]] = {}
        try:
            given, metadata, found = await self._zones.with_zones(
                caller_of(stack),
                lambda: (
                    look.properties(name),
                    look.members(declared.metadata),
                    {
                        "creation": look.members(declared.creation_policy),
                        "update": look.members(declared.update_policy),
                    },
                ),
            )
            wanted, trouble = properties.fit(facts.schema, given)
        except EvaluationError as error:
            trouble = str(error)
        shown = self._masked(stack, name, wanted, look)
        target = Applied(
            properties=wanted,
            masked=None if shown == wanted else shown,
            metadata=metadata,
            tags=stack.spec.tags if facts.tagged else (),
            dependencies=needs,
            deletion_policy=declared.deletion_policy,
            replace_policy=declared.replace_policy,
            creation_policy=found.get("creation", {}),
            update_policy=found.get("update", {}),
            stored=dynamic.among(stack.spec.stored, wanted),
        )
        resource: Resource | None
        if present is None:
            resource = self._new(stack, name, declared.type, target, shown)
            if not trouble:
                await self._steps.open(stack, resource)
                return
            with self._db.write() as tx:
                self._journal.resource(tx, stack, resource, shown=shown)
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
        if not trouble and step is not None and step.kind in (Kind.UPDATE, Kind.REPLACE):
            replaces = step.kind is Kind.REPLACE
            trouble = refused(
                stack, stack_policy.REPLACE if replaces else stack_policy.MODIFY, name, declared.type
            )
        if trouble:
            with self._db.write() as tx:
                self._steps.fail(tx, stack, resource, trouble)
            return
        await self._steps.advance(stack, resource)

    def _masked(self, stack: Stack, name: str, wanted: dict[str, Any], look: Evaluator) -> dict[str, Any]:
        """The properties as events show them, without what `secrecy.py` says."""
        declared = look.template.parameters
        secret = any(secrecy.hides(declared, each) for each in stack.spec.parameters)
        view = look.resources
        assert isinstance(view, RowsView)
        if not secret and not view.secret:
            return wanted
        masked = evaluator(
            self._db, stack, stack.spec, look.template, view.masked(), self._zones.known, masked=True
        )
        try:
            return masked.properties(name)
        except EvaluationError:
            return {}

    def _new(self, stack: Stack, name: str, kind: str, target: Applied, shown: dict[str, Any]) -> Resource:
        target = replace(target, name=self._name(stack, name, kind, target))
        return Resource(
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

    def _name(self, stack: Stack, logical_id: str, kind: str, target: Applied) -> str:
        """For a nested stack that a change set has announced, the name that it was announced by."""
        announced = stack.nested_sets.get(logical_id)
        found = rows.change_set_by_id(self._db, announced) if announced else None
        if found is not None and found.kind == "CREATE":
            return found.stack_name
        return registry.handler(kind).choose_name(self._ids, stack.name, logical_id, target.properties)

    def _changed(
        self, stack: Stack, present: Resource, target: Applied, shown: dict[str, Any], trouble: str
    ) -> Resource | None:
        """Begin what the update does to a resource; None if that is nothing, or done at once."""
        if present.status is ResourceStatus.UPDATE_FAILED:
            present = self._taken_on(present, target.properties)
        decision = self._decide(present, target)
        # What it was before the first of several updates that did not roll back.
        before = present.previous if present.touched and present.previous is not None else present.applied
        adopted = replace(
            present.applied,
            metadata=target.metadata,
            dependencies=target.dependencies,
            deletion_policy=target.deletion_policy,
            replace_policy=target.replace_policy,
            creation_policy=target.creation_policy,
            update_policy=target.update_policy,
            stored=target.stored,
            masked=target.masked,
        )
        moved = replace(present, operation=stack.operation, reason="", step=None)
        new = present.touched and present.previous is None
        match decision.verdict:
            case Verdict.KEEP | Verdict.METADATA if not trouble:
                changed = decision.verdict is Verdict.METADATA
                trouble = refused(stack, stack_policy.MODIFY, present.logical_id, present.type) if changed else ""
                if trouble:
                    step = self._steps.new_step(Kind.UPDATE, present.applied, shown)
                    with self._db.write() as tx:
                        denied = replace(moved, step=step, touched=True, previous=before)
                        self._steps.fail(tx, stack, denied, trouble)
                    return None
                moved = replace(moved, applied=adopted)
                if changed:
                    moved = replace(
                        moved,
                        status=ResourceStatus.UPDATE_COMPLETE,
                        touched=True,
                        previous=None if new else before,
                    )
                elif moved.status.failed:
                    moved = replace(moved, status=ResourceStatus.UPDATE_COMPLETE)
                    changed = True
                with self._db.write() as tx:
                    if changed:
                        self._journal.resource(tx, stack, moved, shown=shown)
                    else:
                        rows.save_resource(tx, moved)
                return None
            case Verdict.REPLACE:
                chosen = self._name(stack, present.logical_id, present.type, target)
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
            previous=None if new else before,
            step=step,
        )
        with self._db.write() as tx:
            self._journal.resource(tx, stack, moved, shown=shown)
        return moved

    def _decide(self, present: Resource, target: Applied) -> Decision:
        facts = registry.facts(present.type)
        decision = decide(facts, present.applied, target.properties, target.metadata, target.tags, target.stored)
        if present.status is ResourceStatus.UPDATE_FAILED and decision.verdict in (Verdict.KEEP, Verdict.METADATA):
            attempted = present.step is not None and present.step.phase is not Phase.CHECK
            # The failed update may have done part of its work.
            return replace(decision, verdict=Verdict.UPDATE) if attempted else decision
        if present.type == NESTED and decision.verdict in (Verdict.KEEP, Verdict.METADATA):
            # Its template may have changed behind the same address.
            return replace(decision, verdict=Verdict.UPDATE)
        conditional = any(each.recreation is Recreation.CONDITIONALLY for each in decision.changes)
        if decision.verdict is Verdict.UPDATE and conditional and policies.replaces_group(target.update_policy):
            return replace(decision, verdict=Verdict.REPLACE)
        return decision

    def _taken_on(self, present: Resource, wanted: dict[str, Any]) -> Resource:
        """A resource whose last update failed, for another attempt: what it is now, as far as that is known."""
        before = present.previous
        if before is not None and before.physical_id != present.applied.physical_id:
            # Its replacement failed: the one that was replaced counts again.
            lost = Leftover(
                0, present.stack_id, present.logical_id, present.type, present.applied, False, "Delete"
            )
            with self._db.write() as tx:
                rows.add_leftover(tx, lost)
                present = replace(present, applied=before, step=None)
                rows.save_resource(tx, present)
            return present
        step = present.step
        if step is not None and step.kind is Kind.UPDATE and step.phase is not Phase.CHECK:
            doubtful = in_doubt(present.applied.properties, step.target.properties, wanted)
            return replace(present, applied=replace(step.target, properties=doubtful))
        return present

    def refuse_removal(self, tx: Transaction, stack: Stack, present: Resource) -> bool:
        """Whether the stack policy keeps a resource from leaving the template; it has failed then."""
        reason = refused(stack, stack_policy.DELETE, present.logical_id, present.type)
        if not reason:
            return False
        step = self._steps.new_step(Kind.UPDATE, present.applied)
        before = present.previous if present.touched else present.applied
        moved = replace(present, operation=stack.operation, step=step, touched=True, previous=before)
        self._steps.fail(tx, stack, moved, reason)
        return True


def in_doubt(before: dict[str, Any], attempted: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The properties to compare `wanted` with where each may be as it was before an update that failed, or as that
    update wanted it: of the two always the one that differs, for then it is set."""
    found = {}
    for name in before | attempted:
        side = attempted if attempted.get(name) != wanted.get(name) else before
        if name in side:
            found[name] = side[name]
    return found


def refused(stack: Stack, action: str, logical_id: str, kind: str) -> str:
    """What the stack's policy says against an update of a resource; empty if nothing."""
    text = stack.policy_override or stack.policy
    if not text or stack.status is not StackStatus.UPDATE_IN_PROGRESS:
        return ""
    return stack_policy.parse(text).refusal(action, logical_id, kind)

"""The loop's part in imports: resources that exist become a stack's own, or are left alone.

Owns IMPORT_IN_PROGRESS and IMPORT_ROLLBACK_IN_PROGRESS. Nothing is changed in the world: a resource is looked at,
and its row is written. Safe to run again at any point.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.loop import After, Done, TurnResult
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import properties, rows, template
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator
from portside.cloud.services.cloudformation.jobs import Jobs
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.plan import active
from portside.cloud.services.cloudformation.records import (
    Applied,
    Kind,
    Phase,
    Resource,
    ResourceStatus,
    Spec,
    Stack,
    StackStatus,
    Step,
)
from portside.cloud.services.cloudformation.resources import live, registry
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work, passing
from portside.cloud.services.cloudformation.session import RowsView, Zones, caller_of, evaluator

# A service that does not answer is asked again for this long.
PATIENCE = 300.0
PAUSE = 2.0
STARTED = "Resource import started."
COMPLETED = "Resource import completed."


class NotImportable(Exception):
    """The text is the event's reason."""


def not_found(kind: str, shown: str) -> str:
    return f"Resource of type '{kind}' with identifier '{shown}' was not found."


async def look(kind: str, work: Work) -> bool:
    """Whether the resource is there. Raises what its service raises."""
    if live.checked(kind):
        return await live.read(kind, work) is not None
    handler = registry.handler(kind)
    try:
        found = await handler.find(work)
        if found is not None:
            return found == work.physical_id
        if type(handler).read is Handler.read:
            return False
        return bool(await handler.read(work))
    except Failure:
        return False
    except AwsError as error:
        if handler.missing(error):
            return False
        raise


class Importing:
    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, zones: Zones, journal: Journal, jobs: Jobs
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._zones = zones
        self._journal = journal
        self._jobs = jobs

    async def turn(self, stack: Stack) -> TurnResult:
        if stack.status is StackStatus.IMPORT_ROLLBACK_IN_PROGRESS:
            return self._go_back(stack)
        present = {name: each for name, each in rows.resources(self._db, stack.id).items() if not each.status.gone}
        parsed = template.parse(stack.spec.body)
        name = ""
        try:
            seen = evaluator(self._db, stack, stack.spec, parsed, RowsView(present), self._zones.known)
            order = await self._zones.with_zones(caller_of(stack), lambda: active(seen))
            for name, needs in order.items():
                if present[name].status is ResourceStatus.IMPORT_IN_PROGRESS:
                    present[name] = await self._adopt(stack, present[name], needs, seen)
        except (EvaluationError, NotImportable) as error:
            return self._fail(stack, present.get(name), str(error))
        except AwsError as error:
            if passing(error) and self._clock.now() < stack.started + PATIENCE:
                return After(PAUSE)
            return self._fail(stack, present.get(name), error.message)
        with self._db.write() as tx:
            rows.set_imports(tx, stack.region, stack.id, _exports_read(seen))
            self._journal.stack(tx, stack, StackStatus.IMPORT_COMPLETE, previous=None)
        return Done()

    async def _adopt(self, stack: Stack, each: Resource, needs: tuple[str, ...], seen: Evaluator) -> Resource:
        name = each.logical_id
        declared = seen.template.resources[name]
        handler, facts = registry.handler(each.type), registry.facts(each.type)
        given = await self._zones.with_zones(caller_of(stack), lambda: seen.properties(name))
        wanted, complaint = properties.fit(facts.schema, given)
        if complaint:
            raise NotImportable(complaint)
        applied = Applied(
            physical_id=each.applied.physical_id,
            name=each.applied.name,
            properties=wanted,
            metadata=seen.members(declared.metadata),
            dependencies=needs,
            deletion_policy=declared.deletion_policy,
            replace_policy=declared.replace_policy,
            creation_policy=seen.members(declared.creation_policy),
            update_policy=seen.members(declared.update_policy),
        )
        step = Step(Kind.UPDATE, Phase.CHECK, applied, self._ids.uuid(), self._clock.now())
        work = await self._jobs.removal(stack, name, each.type, step)
        if not await look(each.type, work):
            raise NotImportable(not_found(each.type, applied.physical_id))
        try:
            attributes = await handler.read(work)
        except Failure as error:
            raise NotImportable(error.message) from None
        moved = replace(
            each,
            status=ResourceStatus.IMPORT_COMPLETE,
            reason=COMPLETED,
            applied=replace(applied, attributes=attributes),
        )
        with self._db.write() as tx:
            self._journal.resource(tx, stack, moved, shown=wanted)
        return replace(moved, reason="")

    def _fail(self, stack: Stack, each: Resource | None, reason: str) -> TurnResult:
        with self._db.write() as tx:
            if each is not None and each.operation == stack.operation:
                failed = replace(each, status=ResourceStatus.IMPORT_FAILED, reason=reason)
                self._journal.resource(tx, stack, failed)
                reason = f"The following resource(s) failed to import: [{each.logical_id}]. "
            self._journal.stack(tx, stack, StackStatus.IMPORT_ROLLBACK_IN_PROGRESS, reason)
        return After(0.0)

    def _go_back(self, stack: Stack) -> TurnResult:
        """The resources are left as they are, and are no longer the stack's."""
        with self._db.write() as tx:
            for name, each in rows.resources(tx, stack.id).items():
                if each.operation == stack.operation:
                    self._journal.resource(
                        tx, stack, replace(each, status=ResourceStatus.IMPORT_ROLLBACK_COMPLETE, reason="")
                    )
                    rows.drop_resource(tx, stack.id, name)
            before = stack.previous or Spec(body="")
            self._journal.stack(tx, stack, StackStatus.IMPORT_ROLLBACK_COMPLETE, spec=before, previous=None)
        return Done()


def _exports_read(seen: Evaluator) -> set[str]:
    """The exports that the template reads, imported resources and those that were there alike."""
    for name in seen.template.resources:
        if seen.exists(name):
            seen.properties(name)
    return seen.imported

"""One resource, one step at a time: check, call the service, wait until it is stable.

Owns what is written down before and after every call, so that a crash at any point neither doubles a resource
nor loses one: a step found in phase CALL after a restart asks the service whether the resource is there before
it creates it. Which resource is due is decided in `stack_loop.py`; deletion is `removal.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.intrinsics import EvaluationError
from portside.cloud.services.cloudformation.jobs import Jobs
from portside.cloud.services.cloudformation.journal import Journal
from portside.cloud.services.cloudformation.outcome import Outcome
from portside.cloud.services.cloudformation.records import (
    Applied,
    Kind,
    Leftover,
    Phase,
    Resource,
    ResourceStatus,
    Stack,
    Step,
)
from portside.cloud.services.cloudformation.refusals import (
    CLEANUP_ATTEMPTS,
    LONGEST_POLL,
    Rejected,
    failed,
    pause,
    said,
    told,
)
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.resources.handler import (
    Failure,
    Foreign,
    Handler,
    Work,
    passing,
)
from portside.cloud.services.cloudformation.waits import Waits

# A rolling update goes through many batches, each of which has a limit of its own.
LONGEST_ROLL = 12 * 3600.0
ATTEMPTS = 5
INITIATED = "Resource creation Initiated"
NEW_PHYSICAL = "Requested update required the provider to create a new physical resource"


class Steps:
    """Carries steps out. All methods may be cut off at any await."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        log: Log,
        journal: Journal,
        jobs: Jobs,
        waits: Waits,
    ) -> None:
        self._jobs = jobs
        self._waits = waits
        self._db = database
        self._ids = ids
        self._clock = clock
        self._log = log
        self._journal = journal
        # (region, type, name) of what is being made, with the token of its step.
        self._claims: dict[tuple[str, str, str], str] = {}

    def new_step(self, kind: Kind, target: Applied, shown: Params | None = None) -> Step:
        return Step(kind, Phase.CHECK, target, self._ids.uuid(), self._clock.now(), shown=shown or {})

    # Creating and updating

    async def open(self, stack: Stack, resource: Resource) -> None:
        """Write a new resource down and take it as far as it goes. What is asked before it is made is asked first,
        so that one commit tells of it and of the call to come; if that fails, `advance` meets it again."""
        with self._claimed(stack, resource):
            resource, ready = await self._prepared(stack, resource)
            shown = resource.step.shown if resource.step is not None else None
            await self._db.commit(lambda tx: self._journal.resource(tx, stack, resource, shown=shown))
            await self._advance(stack, resource, ready)

    async def advance(self, stack: Stack, resource: Resource) -> None:
        """As far as the resource's step goes without waiting; every stage is committed."""
        with self._claimed(stack, resource):
            await self._advance(stack, resource, None)

    async def _prepared(self, stack: Stack, resource: Resource) -> tuple[Resource, Work | None]:
        step = resource.step
        assert step is not None
        try:
            work = await self._jobs.work(stack, resource, step)
            noted = await self._check(registry.handler(resource.type), work, step)
        except Exception:
            return resource, None
        if not noted:
            return replace(resource, step=replace(step, phase=Phase.CALL)), work
        target = replace(step.target, state=step.target.state | noted)
        moved = replace(resource, applied=target, step=replace(step, phase=Phase.CALL, target=target))
        return moved, work.noted(**noted)

    @contextmanager
    def _claimed(self, stack: Stack, resource: Resource) -> Iterator[None]:
        """Between the look for a name and the call that takes it no other stack may come to take it too: some
        services would hand both of them the same resource."""
        step = resource.step
        if step is None or step.kind is Kind.UPDATE or not registry.handler(resource.type).name_is_unique:
            yield
            return
        claim = (stack.region, resource.type, step.target.name)
        first = bool(step.target.name) and self._claims.setdefault(claim, step.token) == step.token
        try:
            yield
        finally:
            if first:
                self._claims.pop(claim, None)

    async def _advance(self, stack: Stack, resource: Resource, ready: Work | None) -> None:
        """`ready` is the step's job if what is asked before the call has just been asked."""
        fresh = ready is not None
        assert resource.step is not None
        try:
            while resource.step is not None and resource.step.due <= self._clock.now():
                before = resource.step.phase
                moved = await self._stage(stack, resource, fresh, ready)
                if moved is None:
                    return
                ready = None
                fresh = before is Phase.CHECK
                resource = moved
        except Rejected as error:
            self._fail(stack, resource, error)

    async def _stage(self, stack: Stack, resource: Resource, fresh: bool, ready: Work | None) -> Resource | None:
        step = resource.step
        assert step is not None
        handler = registry.handler(resource.type)
        try:
            work = ready or await self._jobs.work(stack, resource, step)
            match step.phase:
                case Phase.CHECK:
                    return self._checked(resource, step, await self._check(handler, work, step))
                case Phase.CALL:
                    return await self._call(stack, resource, step, handler, work, fresh)
                case Phase.SETTLE:
                    return await self._settle(stack, resource, step, handler, work)
        except Rejected:
            raise
        except AwsError as error:
            again = passing(error) and step.attempts < ATTEMPTS
            if not again:
                definite = error.status < 500
                raise Rejected(
                    said(error, step.token), made=step.phase is not Phase.CHECK and not definite
                ) from None
            return self._again(resource, step, repr(error))
        except Foreign as error:
            owner = rows.owner_of(self._db, stack.region, resource.type, error.identifier)
            if owner is not None:
                raise Rejected(f"{error.identifier} already exists in stack {owner}", made=False) from None
            message = f"Resource of type '{resource.type}' with identifier '{error.identifier}' already exists."
            raise Rejected(told(message, step.token, "AlreadyExists"), made=False) from None
        except Failure as error:
            raise Rejected(failed(error, step.token)) from None
        except EvaluationError as error:
            raise Rejected(str(error), made=step.phase is not Phase.CHECK) from None
        except Exception as error:
            if step.attempts >= CLEANUP_ATTEMPTS:
                raise Rejected(told(f"portside failed: {error!r}", step.token, "InternalFailure")) from error
            self._log.error("step failed", resource=resource.logical_id, error=repr(error), exc_info=error)
            return self._again(resource, step, repr(error))

    async def _check(self, handler: Handler, work: Work, step: Step) -> Params:
        handler.refuse(work.properties)
        if step.kind is not Kind.UPDATE and handler.may_exist(work):
            if self._claims.get((work.caller.region, handler.type, work.name), step.token) != step.token:
                raise Foreign(work.name)
            found = await handler.find(work)
            if found is not None:
                raise Foreign(found)
        return await handler.baseline(work)

    def _checked(self, resource: Resource, step: Step, noted: Params) -> Resource:
        target = replace(step.target, state=step.target.state | noted)
        return self._save(resource, replace(step, phase=Phase.CALL, target=target))

    def _save(self, resource: Resource, step: Step) -> Resource:
        # A new resource has no earlier state: its target is what must be found again after a failure.
        applied = step.target if step.kind is Kind.CREATE else resource.applied
        moved = replace(resource, step=step, applied=applied)
        with self._db.write() as tx:
            rows.save_resource(tx, moved)
        return moved

    async def _call(
        self, stack: Stack, resource: Resource, step: Step, handler: Handler, work: Work, fresh: bool
    ) -> Resource | None:
        if step.kind is Kind.UPDATE:
            noted = await handler.update(work)
            target = replace(step.target, state=step.target.state | noted)
            return self._save(resource, replace(step, phase=Phase.SETTLE, target=target, due=0.0, attempts=0))
        found = None if fresh else await handler.find(work)
        noted = {}
        if found is None:
            found, noted = await handler.create(work)
        target = replace(step.target, physical_id=found, state=step.target.state | noted)
        attributes = await self._complete_at_once(stack, step, handler, work, target)
        if attributes is None:
            after = replace(
                resource,
                applied=target,
                step=replace(step, phase=Phase.SETTLE, target=target, due=0.0, attempts=0),
                reason=INITIATED,
            )
        else:
            after = self._completed(resource, target, attributes)

        def made(tx: Transaction) -> None:
            if step.kind is Kind.REPLACE:
                self._leave_between(tx, resource)
            if attributes is not None:
                told = (resource.logical_id, resource.type, found, resource.status, INITIATED)
                self._journal.resource_event(tx, stack, *told, shown=step.shown)
            self._journal.resource(tx, stack, after, shown=step.shown)

        await self._db.commit(made)
        return None if attributes is not None else after

    async def _complete_at_once(
        self, stack: Stack, step: Step, handler: Handler, work: Work, target: Applied
    ) -> Params | None:
        """The attributes of a new resource that has nothing to wait for, so that one commit tells of both its last
        events; None if there is something, or if it fails, which the next stage meets again."""
        work = replace(work, physical_id=target.physical_id, state=target.state)
        if step.target.creation_policy or handler.extends or handler.answers_late:
            return None
        if not handler.complete_at_once(work):
            return None
        known = handler.known(work)
        if known is not None:
            return known
        try:
            if not stack.express and not await handler.settled(work):
                return None
            return await handler.read(work)
        except (AwsError, Failure):
            return None

    def _completed(self, resource: Resource, target: Applied, attributes: Params) -> Resource:
        created = resource.status is ResourceStatus.CREATE_IN_PROGRESS
        return replace(
            resource,
            status=ResourceStatus.CREATE_COMPLETE if created else ResourceStatus.UPDATE_COMPLETE,
            reason="",
            applied=replace(target, attributes=attributes),
            step=None,
        )

    def _leave_between(self, tx: Transaction, resource: Resource) -> None:
        """Replaced once more before an update came to an end: the one in between is nobody's."""
        old, before = resource.applied, resource.previous
        if before is None or before.physical_id != old.physical_id:
            lost = Leftover(0, resource.stack_id, resource.logical_id, resource.type, old, False, "Delete")
            rows.add_leftover(tx, lost)

    async def _settle(
        self, stack: Stack, resource: Resource, step: Step, handler: Handler, work: Work
    ) -> Resource | None:
        if step.polls == 0 and step.kind is not Kind.UPDATE:
            await handler.configure(work)
        waits = handler.answers_late or not stack.express
        if waits and not await handler.settled(work):
            limit = LONGEST_ROLL if step.progress else handler.limit(work)
            if self._clock.now() - step.started > limit:
                raise handler.out_of_time(work)
            due = self._clock.now() + pause(step.polls)
            return self._save(resource, replace(step, polls=step.polls + 1, due=due, attempts=0))
        outcome = await self._waits.look(stack, resource, step)
        if not outcome.done and not outcome.failed:
            return self._wait(stack, resource, step, outcome)
        if outcome.notes:
            await self._db.commit(lambda tx: self._notes(tx, stack, resource, outcome))
        if outcome.failed:
            raise Rejected(outcome.failed)
        complete = self._completed(resource, step.target, await handler.read(work) | outcome.attributes)
        if handler.answers_late:
            found = handler.identified(work)
            applied = replace(complete.applied, physical_id=found, hidden=handler.hides(work))
            complete = replace(complete, applied=applied)
        extended = await self._extended(stack, handler, work)

        def end(tx: Transaction) -> None:
            for logical_id, attributes in extended.items():
                other = rows.resources(tx, stack.id)[logical_id]
                rows.save_resource(tx, replace(other, applied=replace(other.applied, attributes=attributes)))
            if step.kind is Kind.UPDATE and complete.applied.physical_id != step.target.physical_id:
                moved = replace(outcome, notes=(NEW_PHYSICAL,))
                self._notes(tx, stack, resource, moved)
            self._journal.resource(tx, stack, complete, shown=step.shown)

        await self._db.commit(end)
        return None

    async def _extended(self, stack: Stack, handler: Handler, work: Work) -> dict[str, Params]:
        """What the attributes of the stack's resource are to which this one has added."""
        if not handler.extends:
            return {}
        return {
            name: await registry.handler(other.type).read(await self._jobs.look(stack, other))
            for name, other in rows.resources(self._db, stack.id).items()
            if other.applied.physical_id == work.properties.get(handler.extends) and other.step is None
        }

    def _notes(self, tx: Transaction, stack: Stack, resource: Resource, outcome: Outcome) -> None:
        physical_id = resource.step.target.physical_id if resource.step is not None else ""
        for each in outcome.notes:
            self._journal.resource_event(
                tx, stack, resource.logical_id, resource.type, physical_id, outcome.status or resource.status, each
            )

    def _wait(self, stack: Stack, resource: Resource, step: Step, outcome: Outcome) -> Resource:
        now = self._clock.now()
        due = min(now + pause(step.polls), max(now, outcome.deadline) if outcome.deadline else now + LONGEST_POLL)
        progress = step.progress if outcome.progress is None else outcome.progress
        polls = step.polls + 1 if progress == step.progress else 1
        moved = replace(resource, step=replace(step, polls=polls, due=due, attempts=0, progress=progress))
        with self._db.write() as tx:
            self._notes(tx, stack, resource, outcome)
            rows.save_resource(tx, moved if step.kind is not Kind.CREATE else replace(moved, applied=step.target))
        return moved

    def _again(self, resource: Resource, step: Step, why: str) -> Resource:
        self._log.warning("will try again", resource=resource.logical_id, attempt=step.attempts + 1, error=why)
        due = self._clock.now() + pause(3 * (step.attempts + 1))
        return self._save(resource, replace(step, attempts=step.attempts + 1, due=due))

    def _fail(self, stack: Stack, resource: Resource, error: Rejected) -> None:
        step = resource.step
        assert step is not None
        # A refused creation made nothing; an update of several calls may have done part of its work.
        if not error.made and step.phase is Phase.CALL and step.kind is not Kind.UPDATE:
            step = replace(step, phase=Phase.CHECK)
        with self._db.write() as tx:
            self.fail(tx, stack, replace(resource, step=step), error.reason)

    def fail(self, tx: Transaction, stack: Stack, resource: Resource, reason: str) -> None:
        """Mark the resource's operation as failed. Its step stays, for it tells what may have been made."""
        created = resource.status is ResourceStatus.CREATE_IN_PROGRESS
        status = ResourceStatus.CREATE_FAILED if created else ResourceStatus.UPDATE_FAILED
        step = resource.step
        if step is not None and step.kind is Kind.REPLACE and step.phase is Phase.CALL:
            # The replacement may exist without our knowing its id; clean-up looks for it by name.
            lost = Leftover(0, stack.id, resource.logical_id, resource.type, step.target, False, "Delete")
            rows.add_leftover(tx, lost)
        shown = step.shown if step is not None else None
        self._journal.resource(tx, stack, replace(resource, status=status, reason=reason), shown=shown)

"""One resource, one step at a time: check, call the service, wait until it is stable; the same for deletion.

Owns what is written down before and after every call, so that a crash at any point neither doubles a resource
nor loses one: a step found in phase CALL after a restart asks the service whether the resource is there before
it creates it. Which resource is due is decided in `stack_loop.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import dynamic, properties, rows
from portside.cloud.services.cloudformation.intrinsics import EvaluationError
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
    StackStatus,
    Step,
)
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.resources.handler import (
    Failure,
    Foreign,
    Handler,
    PlainFailure,
    Work,
    error_code,
    is_existing,
    passing,
)
from portside.cloud.services.cloudformation.session import Callers
from portside.cloud.services.cloudformation.waits import Waits

FIRST_POLL = 0.15
LONGEST_POLL = 15.0
# A rolling update goes through many batches, each of which has a limit of its own.
LONGEST_ROLL = 12 * 3600.0
ATTEMPTS = 5
CLEANUP_ATTEMPTS = 3
# What still uses a resource is often on its way out: about a minute of patience.
DELETE_ATTEMPTS = 8
_TRANSIENT_DELETE = frozenset({"ResourceConflict"})


class Rejected(Exception):
    """The step failed; the text is the event's reason. `made` says that something may have been made."""

    def __init__(self, reason: str, *, made: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.made = made


def pause(polls: int) -> float:
    """Seconds before the next look: local things are fast, AWS-like ones need not be asked often."""
    return float(min(LONGEST_POLL, FIRST_POLL * 1.5 ** min(polls, 20)))


def told(message: str, token: str, code: str) -> str:
    return f'Resource handler returned message: "{message}" (RequestToken: {token}, HandlerErrorCode: {code})'


class Steps:
    """Carries steps out. All methods may be cut off at any await."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        journal: Journal,
        callers: Callers,
        waits: Waits,
    ) -> None:
        self._callers = callers
        self._waits = waits
        self._db = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._log = log
        self._journal = journal

    def new_step(self, kind: Kind, target: Applied, shown: Params | None = None) -> Step:
        return Step(kind, Phase.CHECK, target, self._ids.uuid(), self._clock.now(), shown=shown or {})

    # Creating and updating

    async def advance(self, stack: Stack, resource: Resource) -> None:
        """As far as the resource's step goes without waiting; every stage is committed."""
        assert resource.step is not None
        fresh = False
        try:
            while resource.step is not None and resource.step.due <= self._clock.now():
                before = resource.step.phase
                moved = await self._stage(stack, resource, fresh)
                if moved is None:
                    return
                fresh = before is Phase.CHECK
                resource = moved
        except Rejected as error:
            self._fail(stack, resource, error)

    async def _stage(self, stack: Stack, resource: Resource, fresh: bool) -> Resource | None:
        step = resource.step
        assert step is not None
        handler = registry.handler(resource.type)
        try:
            work = await self._work(stack, resource, step)
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
                    _said(error, step.token), made=step.phase is not Phase.CHECK and not definite
                ) from None
            return self._again(resource, step, repr(error))
        except Foreign as error:
            message = f"Resource of type '{resource.type}' with identifier '{error.identifier}' already exists."
            raise Rejected(told(message, step.token, "AlreadyExists"), made=False) from None
        except Failure as error:
            raise Rejected(_failed(error, step.token)) from None
        except EvaluationError as error:
            raise Rejected(str(error), made=step.phase is not Phase.CHECK) from None
        except Exception as error:
            if step.attempts >= CLEANUP_ATTEMPTS:
                raise Rejected(told(f"portside failed: {error!r}", step.token, "InternalFailure")) from error
            self._log.error("step failed", resource=resource.logical_id, error=repr(error), exc_info=error)
            return self._again(resource, step, repr(error))

    async def _work(self, stack: Stack, resource: Resource, step: Step) -> Work:
        target = step.target
        final = await dynamic.resolve(target.properties, self._calls, await self._callers.of(stack))
        if final is not target.properties:
            final, complaint = properties.fit(registry.facts(resource.type).schema, final)
            if complaint:
                raise Rejected(complaint, made=step.phase is not Phase.CHECK)
        old: Params = {}
        if step.kind is Kind.UPDATE:
            old = resource.applied.properties
        caller = await self._callers.of(stack, resource.type)
        return self._job(stack, caller, resource.logical_id, target, final, step.token, old)

    def _job(
        self,
        stack: Stack,
        caller: Caller,
        logical_id: str,
        target: Applied,
        final: Params,
        token: str,
        old: Params,
    ) -> Work:
        automatic = {
            "aws:cloudformation:stack-name": stack.name,
            "aws:cloudformation:stack-id": stack.id,
            "aws:cloudformation:logical-id": logical_id,
        }
        return Work(
            calls=self._calls,
            caller=caller,
            stack_name=stack.name,
            stack_id=stack.id,
            logical_id=logical_id,
            properties=final,
            tags=automatic | dict(target.tags),
            name=target.name,
            physical_id=target.physical_id,
            token=token,
            state=target.state,
            old=old,
            update_policy=target.update_policy,
            rolls_back=stack.status is StackStatus.UPDATE_ROLLBACK_IN_PROGRESS,
        )

    async def _check(self, handler: Handler, work: Work, step: Step) -> Params:
        if step.kind is not Kind.UPDATE:
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
    ) -> Resource:
        if step.kind is Kind.UPDATE:
            noted = await handler.update(work)
            target = replace(step.target, state=step.target.state | noted)
            return self._save(resource, replace(step, phase=Phase.SETTLE, target=target, due=0.0, attempts=0))
        found = None if fresh else await handler.find(work)
        noted = {}
        if found is None:
            found, noted = await handler.create(work)
        target = replace(step.target, physical_id=found, state=step.target.state | noted)
        moved = replace(
            resource,
            applied=target,
            step=replace(step, phase=Phase.SETTLE, target=target, due=0.0, attempts=0),
            reason="Resource creation Initiated",
        )
        with self._db.write() as tx:
            if step.kind is Kind.REPLACE:
                self._leave_between(tx, resource)
            self._journal.resource(tx, stack, moved, shown=step.shown)
        return moved

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
        if not stack.express and not await handler.settled(work):
            limit = LONGEST_ROLL if step.progress else handler.stable_within
            if self._clock.now() - step.started > limit:
                raise Failure("Exceeded attempts to wait", "NotStabilized")
            due = self._clock.now() + pause(step.polls)
            return self._save(resource, replace(step, polls=step.polls + 1, due=due, attempts=0))
        outcome = await self._waits.look(stack, resource, step)
        if not outcome.done and not outcome.failed:
            return self._wait(stack, resource, step, outcome)
        if outcome.notes:
            with self._db.write() as tx:
                self._notes(tx, stack, resource, outcome)
        if outcome.failed:
            raise Rejected(outcome.failed)
        attributes = await handler.read(work) | outcome.attributes
        created = resource.status is ResourceStatus.CREATE_IN_PROGRESS
        moved = replace(
            resource,
            status=ResourceStatus.CREATE_COMPLETE if created else ResourceStatus.UPDATE_COMPLETE,
            reason="",
            applied=replace(step.target, attributes=attributes),
            step=None,
        )
        with self._db.write() as tx:
            self._journal.resource(tx, stack, moved, shown=step.shown)
        return None

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

    # Deleting

    async def remove(
        self, stack: Stack, logical_id: str, kind: str, step: Step, save: Callable[[Step], None]
    ) -> bool:
        """Delete a physical resource as far as it goes without waiting; True when it is gone. `save` commits
        the step; raises Rejected."""
        handler = registry.handler(kind)
        target = step.target
        try:
            final = target.properties
            if dynamic.present(final):
                final = await self._resolved(final, stack)
            work = self._job(stack, await self._callers.of(stack, kind), logical_id, target, final, step.token, {})
            if step.phase is not Phase.SETTLE:
                if not target.physical_id:
                    found = await handler.find(work)
                    if found is None:
                        return True
                    target = replace(target, physical_id=found)
                    work = replace(work, physical_id=found)
                await handler.delete(work)
                step = replace(step, phase=Phase.SETTLE, target=target, attempts=0)
                if not await handler.gone(work):
                    save(replace(step, due=self._clock.now() + pause(step.polls), polls=step.polls + 1))
                    return False
                return True
            if await handler.gone(work):
                return True
        except AwsError as error:
            if handler.missing(error):
                return True
            transient = passing(error) or error_code(error) in _TRANSIENT_DELETE
            if transient and step.attempts < DELETE_ATTEMPTS:
                due = self._clock.now() + pause(2 * (step.attempts + 1))
                save(replace(step, attempts=step.attempts + 1, due=due))
                return False
            raise Rejected(_said(error, step.token)) from None
        except Failure as error:
            raise Rejected(_failed(error, step.token)) from None
        except Exception as error:
            if step.attempts >= CLEANUP_ATTEMPTS:
                raise Rejected(told(f"portside failed: {error!r}", step.token, "InternalFailure")) from error
            self._log.error("deletion failed", resource=logical_id, error=repr(error), exc_info=error)
            save(replace(step, attempts=step.attempts + 1, due=self._clock.now() + pause(3)))
            return False
        if self._clock.now() - step.started > handler.gone_within:
            raise Rejected(told("Exceeded attempts to wait", step.token, "NotStabilized"))
        save(replace(step, due=self._clock.now() + pause(step.polls), polls=step.polls + 1))
        return False

    async def _resolved(self, found: Params, stack: Stack) -> Params:
        try:
            resolved: Params = await dynamic.resolve(found, self._calls, await self._callers.of(stack))
        except EvaluationError:
            # A secret that is gone must not keep its user from being deleted.
            return found
        return resolved


def _failed(error: Failure, token: str) -> str:
    return error.message if isinstance(error, PlainFailure) else told(error.message, token, error.code)


def _said(error: AwsError, token: str) -> str:
    code = error_code(error)
    if is_existing(error):
        code = "AlreadyExists"
    return told(f"{error.message} (Error Code: {error.code}, Status Code: {error.status})", token, code)

"""What a handler is told: a step made into a job.

Owns the final properties (dynamic references replaced by what they name), the automatic tags, and as whom services
are called.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import answers, dynamic, properties, secrecy
from portside.cloud.services.cloudformation.intrinsics import EvaluationError
from portside.cloud.services.cloudformation.records import (
    Applied,
    Kind,
    Phase,
    Resource,
    Stack,
    StackStatus,
    Step,
)
from portside.cloud.services.cloudformation.refusals import Rejected
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.resources.handler import Work
from portside.cloud.services.cloudformation.session import Callers


class Jobs:
    def __init__(self, calls: Calls, callers: Callers, database: Database) -> None:
        self._db = database
        self._calls = calls
        self._callers = callers

    async def work(self, stack: Stack, resource: Resource, step: Step) -> Work:
        target = step.target
        known = dynamic.filled(target.properties, target.stored) if target.stored else target.properties
        final = await dynamic.resolve(known, self._calls, await self._callers.of(stack))
        if final is not target.properties:
            final, complaint = properties.fit(registry.facts(resource.type).schema, final)
            if complaint:
                raise Rejected(complaint, made=step.phase is not Phase.CHECK)
        old: Params = {}
        if step.kind is Kind.UPDATE:
            old = dynamic.filled(resource.applied.properties, resource.applied.stored)
        caller = await self._callers.of(stack, resource.type)
        made = self.job(stack, caller, resource.logical_id, target, final, step.token, old)
        return replace(made, type=resource.type)

    def job(
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
            answer=partial(answers.of, self._db),
            secrets=partial(secrecy.of_stack, self._db, stack.id),
        )

    async def look(self, stack: Stack, resource: Resource) -> Work:
        """The job of reading a resource that is at rest."""
        caller = await self._callers.of(stack, resource.type)
        applied = resource.applied
        return self.job(stack, caller, resource.logical_id, applied, applied.properties, "", {})

    async def removal(self, stack: Stack, logical_id: str, kind: str, step: Step) -> Work:
        """The job of deleting a physical resource."""
        final = dynamic.filled(step.target.properties, step.target.stored)
        if dynamic.present(final):
            # A secret that is gone must not keep its user from being deleted.
            with suppress(EvaluationError):
                final = await dynamic.resolve(final, self._calls, await self._callers.of(stack))
        caller = await self._callers.of(stack, kind)
        return replace(self.job(stack, caller, logical_id, step.target, final, step.token, {}), type=kind)

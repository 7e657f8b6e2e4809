"""One physical resource is deleted: the service is asked, and watched until it is gone.

Owns how often and how long; safe to run again at any point. Which resource is due is decided in `undo.py` and
`cleanup.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation.jobs import Jobs
from portside.cloud.services.cloudformation.records import Applied, Kind, Phase, Stack, Step
from portside.cloud.services.cloudformation.refusals import CLEANUP_ATTEMPTS, Rejected, failed, pause, said, told
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.resources.handler import Failure, error_code, passing

# What still uses a resource is often on its way out: about a minute of patience.
DELETE_ATTEMPTS = 8
_TRANSIENT_DELETE = frozenset({"ResourceConflict"})


class Removals:
    def __init__(self, *, clock: Clock, ids: Ids, log: Log, jobs: Jobs) -> None:
        self._clock = clock
        self._ids = ids
        self._log = log
        self._jobs = jobs

    def new_step(self, target: Applied) -> Step:
        return Step(Kind.DELETE, Phase.CHECK, target, self._ids.uuid(), self._clock.now())

    async def remove(
        self, stack: Stack, logical_id: str, kind: str, step: Step, save: Callable[[Step], None]
    ) -> bool:
        """Delete a physical resource as far as it goes without waiting; True when it is gone. `save` commits
        the step; raises Rejected."""
        handler = registry.handler(kind)
        target = step.target
        try:
            work = await self._jobs.removal(stack, logical_id, kind, step)
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
            raise Rejected(said(error, step.token)) from None
        except Failure as error:
            raise Rejected(failed(error, step.token)) from None
        except Exception as error:
            if step.attempts >= CLEANUP_ATTEMPTS:
                raise Rejected(told(f"portside failed: {error!r}", step.token, "InternalFailure")) from error
            self._log.error("deletion failed", resource=logical_id, error=repr(error), exc_info=error)
            save(replace(step, attempts=step.attempts + 1, due=self._clock.now() + pause(3)))
            return False
        if self._clock.now() - step.started > handler.leaves_within(work):
            raise Rejected(failed(handler.out_of_time(work), step.token))
        save(replace(step, due=self._clock.now() + pause(step.polls), polls=step.polls + 1))
        return False

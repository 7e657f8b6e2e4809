"""The callers that actions act as: sessions of the pipeline's role or of an action's own.

Owns the sessions while they last. They are lost with the process and simply asked for anew.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.services.calls import Caller, Roles, RoleSession
from portside.cloud.services.codepipeline.records import Pipeline

SERVICE = "codepipeline.amazonaws.com"
SPARE_SECONDS = 300.0
MOST = 1000


class Sessions:
    def __init__(self, roles: Roles, clock: Clock) -> None:
        self._roles = roles
        self._clock = clock
        self._known: dict[tuple[str, str], RoleSession] = {}

    def account(self, pipeline: Pipeline) -> Caller:
        """The account itself."""
        return Caller.root(pipeline.account, pipeline.region, endpoint=pipeline.endpoint)

    async def caller(self, pipeline: Pipeline, role: str, name: str) -> Caller:
        """A caller with the permissions of `role`; raises AwsError if the role cannot be taken on."""
        known = self._known.get((role, name))
        if known is None or known.expires - SPARE_SECONDS < self._clock.now():
            known = await self._roles.assume(role, name, SERVICE, self.account(pipeline), source=pipeline.arn)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[role, name] = known
        return known.caller(pipeline.region, pipeline.endpoint)

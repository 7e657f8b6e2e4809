"""CodePipeline as a whole: the API and its loops, put together.

Owns nothing but the wiring, for the composition root and for tests. The watch of the repositories is handed in
and told whom to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Protocol

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.repositories import Bound, Repositories
from portside.cloud.services.calls import Calls, Roles, Service
from portside.cloud.services.codepipeline import records
from portside.cloud.services.codepipeline.action_loop import ActionLoop
from portside.cloud.services.codepipeline.actions.git_source import Permit
from portside.cloud.services.codepipeline.actions.registry import providers
from portside.cloud.services.codepipeline.api import CodePipelineApi
from portside.cloud.services.codepipeline.pipeline_loop import PipelineLoop
from portside.cloud.services.codepipeline.sessions import Sessions
from portside.cloud.services.codepipeline.source_loop import Pushed, SourceLoop


class Watch(Protocol):
    """The watch of the repositories."""

    def listen(
        self, listener: Callable[[Transaction, Iterable[Pushed]], None], wanted: Callable[[], set[str]]
    ) -> None: ...

    def wake(self) -> None: ...


class CodePipeline:
    """Use: `async with CodePipeline(...) as pipelines`, with `pipelines.service()` in the gateway."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        log: Log,
        calls: Calls,
        roles: Roles,
        repositories: Repositories,
        bound: Bound,
        watch: Watch | None = None,
        permit: Permit | None = None,
    ) -> None:
        database.migrate("codepipeline", records.MIGRATIONS)
        sessions = Sessions(roles, clock)
        self._watch = watch
        self.pipelines = PipelineLoop(
            database=database, ids=ids, clock=clock, log=log, begin=lambda key: self.actions.loop.wake(key)
        )
        self.actions = ActionLoop(
            database=database,
            ids=ids,
            clock=clock,
            log=log,
            calls=calls,
            sessions=sessions,
            providers=providers(repositories, bound, permit),
            ended=self.pipelines.loop.wake,
        )
        self.sources = SourceLoop(
            database=database, clock=clock, log=log, calls=calls, sessions=sessions, intents=self.pipelines.intents
        )
        self.api = CodePipelineApi(
            database=database,
            ids=ids,
            clock=clock,
            log=log,
            intents=self.pipelines.intents,
            declared=self._declared,
        )
        if watch is not None:
            watch.listen(self.sources.pushed, self.sources.repositories)
        self._parts = AsyncExitStack()

    def service(self) -> Service:
        return self.api.service()

    def _declared(self, key: str) -> None:
        """A pipeline is new or has another structure: its sources may be others."""
        self.sources.loop.wake(key)
        if self._watch is not None:
            self._watch.wake()

    async def __aenter__(self) -> CodePipeline:
        for each in (self.pipelines.loop, self.actions.loop, self.sources.loop):
            await self._parts.enter_async_context(each)
        self.pipelines.resume()
        self.actions.resume()
        self.sources.wake()
        if self._watch is not None:
            self._watch.wake()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._parts.aclose()

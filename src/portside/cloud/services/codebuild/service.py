"""CodeBuild as one part with a life: its API and its loop, built and started together.

Owns the wiring inside the service; the composition root and tests see only this class.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine import Engine
from portside.cloud.machine.repositories import Bound, Repositories
from portside.cloud.services.calls import Calls, Roles, Service
from portside.cloud.services.codebuild import records
from portside.cloud.services.codebuild.api import CodeBuildApi
from portside.cloud.services.codebuild.build_loop import BuildLoop
from portside.cloud.services.codebuild.execution import Execution
from portside.cloud.services.codebuild.outside import BuildImages, Endpoint, Guards
from portside.cloud.services.codebuild.preparing import BUILD_LABEL, CLOUD_LABEL
from portside.cloud.services.codebuild.sources import Sources
from portside.cloud.services.codebuild.starting import Starter


class CodeBuild:
    """Use: `async with CodeBuild(...) as codebuild`. `directory` is for what builds work with, and for caches."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        engine: Engine,
        roles: Roles,
        images: BuildImages,
        guards: Guards,
        repositories: Repositories,
        bound: Bound,
        endpoint: Endpoint,
        directory: Path,
        cloud: str,
    ) -> None:
        self._database = database
        self._engine = engine
        self._guards = guards
        self._cloud = cloud
        self.api = CodeBuildApi(database=database, ids=ids, clock=clock, wake=self._wake)
        self.execution = Execution(
            database=database,
            clock=clock,
            calls=calls,
            log=log,
            engine=engine,
            roles=roles,
            images=images,
            guards=guards,
            sources=Sources(calls, repositories, bound),
            endpoint=endpoint,
            directory=directory,
            cloud=cloud,
        )
        self.builds = BuildLoop(
            database=database,
            clock=clock,
            log=log,
            execution=self.execution,
            starter=Starter(ids=ids, clock=clock),
        )
        self._stack: AsyncExitStack | None = None

    def service(self) -> Service:
        return self.api.service()

    def _wake(self, key: str) -> None:
        self.builds.loop.wake(key)

    async def __aenter__(self) -> CodeBuild:
        stack = self._stack = AsyncExitStack()
        stack.push_async_callback(self._guards.shutdown)
        stack.push_async_callback(self.builds.close)
        await stack.enter_async_context(self.builds.loop)
        self.builds.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = None

    async def remove_all(self) -> None:
        """Remove every build container of this cloud, for `cloud stop`, after the loop has ended. Builds that were
        under way end as FAULT at the next start. Raises EngineError when the engine does not answer."""
        for state in await self._engine.containers({CLOUD_LABEL: self._cloud}):
            if BUILD_LABEL in state.labels:
                await self._engine.remove(state.id)
        for build in records.unfinished(self._database):
            await self._guards.close(build.uuid)

"""The loop of builds: which may begin, which must end, and that nothing is left of those that have.

A turn decides; what a stage does is `execution.py`'s business, as one task per build beside the loop, for a build
takes longer than a turn may. Such a task is begun again wherever it ended without having brought the build on:
after a restart, or when the engine went away.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult, backoff
from portside.cloud.services.codebuild import records
from portside.cloud.services.codebuild.execution import Execution
from portside.cloud.services.codebuild.failures import INTERNAL, TIMED_OUT, BuildLost
from portside.cloud.services.codebuild.records import Build, Context, Stage, Status
from portside.cloud.services.codebuild.starting import Starter

MOST_AT_ONCE = 60
MOST_ATTEMPTS = 8
CHECK_SECONDS = 60.0
MINUTE = 60.0
PROJECT = "project/"


class BuildLoop:
    """Keys are ids of builds, and `project/NAME` for projects that were deleted."""

    def __init__(
        self, *, database: Database, clock: Clock, log: Log, execution: Execution, starter: Starter
    ) -> None:
        self._starter = starter
        self._database = database
        self._clock = clock
        self._log = log.bind(service="codebuild")
        self._execution = execution
        self._works: dict[str, asyncio.Task[None]] = {}
        self._faults: dict[str, str] = {}
        self.loop = Loop("codebuild-builds", self.turn, clock, log)

    def resume(self) -> None:
        for build in records.unfinished(self._database):
            self.loop.wake(build.id)
        for key in self._execution.remains():
            self.loop.wake(key)

    async def close(self) -> None:
        works = list(self._works.values())
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def turn(self, key: str) -> TurnResult:
        if key.startswith(PROJECT):
            await self._execution.forget(key.removeprefix(PROJECT))
            return Done()
        build = records.build(self._database, key)
        if build is None:
            return Done()
        if build.complete:
            # Cut off before it had cleared up.
            await self._execution.clean(build)
            return Done()
        now = self._clock.now()
        if build.stage is Stage.FINALIZING:
            return await self._finish(build)
        if build.stop_asked_at is not None:
            return await self._end(build, Status.STOPPED, ())
        deadline = _deadline(build)
        if now >= deadline:
            return await self._end(build, Status.TIMED_OUT, (Context(TIMED_OUT, "Build has timed out. "),))
        if key in self._faults:
            return await self._end(build, Status.FAULT, (Context(INTERNAL, self._faults.pop(key)),))
        if build.stage is Stage.QUEUED:
            if not self._may_begin(build):
                return After(deadline - now)
            build = build.left(Status.SUCCEEDED, now).moved(Stage.PROVISIONING).entered("PROVISIONING", now)
            self._save(replace(build, provisioned_at=now))
        self._work(key)
        return After(min(CHECK_SECONDS, max(0.0, _deadline(build) - now)))

    def _may_begin(self, build: Build) -> bool:
        """In the order of their start, as many as the project lets run at once."""
        unfinished = records.unfinished(self._database)
        running = [each for each in unfinished if each.stage is not Stage.QUEUED]
        if len(running) >= MOST_AT_ONCE:
            return False
        limit = int(build.spec.get("concurrentBuildLimit") or 0)
        if not limit:
            return True
        own = [each for each in unfinished if (each.region, each.project) == (build.region, build.project)]
        ahead = [each for each in own if each.stage is not Stage.QUEUED]
        for each in own:
            if each.stage is Stage.QUEUED:
                if each.id == build.id:
                    break
                ahead.append(each)
        return len(ahead) < limit

    def _work(self, key: str) -> None:
        if key not in self._works:
            self._works[key] = asyncio.create_task(self._carry(key), name=f"build:{key}")

    async def _carry(self, key: str) -> None:
        """One try to bring a build to its end. Whatever happens, the loop looks at it again."""
        after = 0.0
        try:
            await self._execution.run(key)
        except BuildLost as lost:
            self._faults[key] = lost.message
        except Exception as error:
            build = records.build(self._database, key)
            attempts = (build.attempts if build is not None else 0) + 1
            self._log.warning(
                "build is interrupted", build=key, attempts=attempts, error=repr(error), exc_info=error
            )
            if build is not None:
                self._save(replace(build, attempts=attempts))
            if attempts >= MOST_ATTEMPTS:
                self._faults[key] = f"The build cannot go on: {error}"
            after = backoff(attempts)
        finally:
            self._works.pop(key, None)
        self.loop.wake(key, after)

    async def _end(self, build: Build, status: Status, contexts: tuple[Context, ...]) -> TurnResult:
        """Stopped, out of time, or lost: the phase it is in ends now, and those after it never begin."""
        work = self._works.pop(build.id, None)
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            fresh = records.build(self._database, build.id)
            assert fresh is not None
            build = fresh
            if build.stage in (Stage.FINALIZING, Stage.COMPLETED):
                return After(0.0)
        now = self._clock.now()
        if build.phases[-1].ended_at is None:
            build = build.left(status, now, contexts)
        build = replace(build.moved(Stage.FINALIZING), status=status).entered("FINALIZING", now)
        self._save(build)
        if build.provisioned_at is not None:
            text = contexts[0].message if contexts else "Build was stopped"
            await self._execution.say(build, f"Build {status.value}: {text}")
        return After(0.0)

    async def _finish(self, build: Build) -> TurnResult:
        now = self._clock.now()
        status = build.status
        if status is Status.IN_PROGRESS:
            status = Status.FAILED if build.failed else Status.SUCCEEDED
        build = replace(
            build.left(Status.SUCCEEDED, now).entered("COMPLETED", now), status=status, ended_at=now
        ).moved(Stage.COMPLETED)
        with self._database.write() as tx:
            # In one with its end, so that a build that failed is retried once whatever happens.
            again = self._starter.again(tx, build)
            build = build if again is None else replace(build, retried_by=again.arn)
            self._keep(tx, build)
        for each in records.unfinished(self._database):
            if each.stage is Stage.QUEUED:
                self.loop.wake(each.id)
        # Whoever waits for the build need not wait for this.
        await self._execution.clean(build)
        return Done()

    def _save(self, build: Build) -> None:
        with self._database.write() as tx:
            self._keep(tx, build)

    def _keep(self, tx: Transaction, build: Build) -> None:
        present = records.build(tx, build.id)
        asked = present.stop_asked_at if present is not None else None
        records.save_build(tx, replace(build, stop_asked_at=asked))


def _deadline(build: Build) -> float:
    if build.provisioned_at is None:
        return build.started_at + float(build.spec["queuedTimeoutInMinutes"]) * MINUTE
    return build.provisioned_at + float(build.spec["timeoutInMinutes"]) * MINUTE

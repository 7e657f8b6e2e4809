"""Carries a build from one stage to the next, on behalf of `build_loop.py`.

Owns the order of what is done in the world for a build. Each stage begins with what the record says and ends with
one commit; a stage that is cut off is done again, so it first removes what it may have left. The container is the
one thing that outlives the cloud: once it runs, it is only ever followed, never started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine import Engine, Missing
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Roles
from portside.cloud.services.codebuild import records
from portside.cloud.services.codebuild.buildspec import Buildspec
from portside.cloud.services.codebuild.collecting import Collector
from portside.cloud.services.codebuild.failures import (
    NO_IMAGE,
    BuildLost,
    PhaseFailed,
)
from portside.cloud.services.codebuild.following import GONE, Following
from portside.cloud.services.codebuild.outside import BuildImages, Endpoint, Guards, NoImage
from portside.cloud.services.codebuild.preparing import Preparing, parsed
from portside.cloud.services.codebuild.records import Build, Context, Stage, Status
from portside.cloud.services.codebuild.reporting import Reporting
from portside.cloud.services.codebuild.sources import Sources
from portside.cloud.services.codebuild.transcript import Said, completed, stamped
from portside.cloud.services.codebuild.uploads import Uploads
from portside.cloud.services.codebuild.workplace import Lines, Workplace


class Execution:
    """`directory` is where builds keep what they work with, `cloud` the id that containers are labelled with."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        calls: Calls,
        log: Log,
        engine: Engine,
        roles: Roles,
        images: BuildImages,
        guards: Guards,
        sources: Sources,
        endpoint: Endpoint,
        directory: Path,
        cloud: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._calls = calls
        self._engine = engine
        self._images = images
        self._guards = guards
        self._place = place = Workplace(
            database=database, clock=clock, calls=calls, log=log, roles=roles, endpoint=endpoint, root=directory
        )
        self._preparing = Preparing(
            place=place,
            clock=clock,
            calls=calls,
            engine=engine,
            guards=guards,
            sources=sources,
            endpoint=endpoint,
            cloud=cloud,
        )
        self._following = Following(place=place, clock=clock, engine=engine, guards=guards)
        self._reporting = Reporting(database, clock)

    async def run(self, key: str) -> None:
        """From the stage the build is in to FINALIZING. Raises EngineError and AwsError for what may pass."""
        while True:
            build = records.build(self._database, key)
            if build is None:
                return
            match build.stage:
                case Stage.PROVISIONING:
                    step = self._provision
                case Stage.DOWNLOAD_SOURCE:
                    step = self._preparing.run
                case Stage.RUNNING:
                    step = self._following.run
                case Stage.UPLOAD_ARTIFACTS:
                    step = self._collect
                case _:
                    return
            await asyncio.to_thread(self._place.directory(build).mkdir, parents=True, exist_ok=True)
            try:
                await step(build)
            except PhaseFailed as failure:
                await self._fail(key, failure)

    # Stages

    async def _provision(self, build: Build) -> None:
        lines = Lines(self._clock, [])
        caller = await self._place.caller(build)
        log = self._place.log_of(build, caller)
        await log.open()
        lines.say("Waiting for agent ping")
        reference = build.spec["environment"]["image"]
        await self._may_pull(build, reference, caller)

        def say(text: str) -> None:
            lines.say(text)
            if "\n" not in text:
                told.append(asyncio.create_task(log.write(lines.take())))

        told: list[asyncio.Task[None]] = []
        try:
            image = await self._images.ensure(reference, build.region, say)
        except NoImage as error:
            await asyncio.gather(*told)
            await log.write(lines.take())
            raise PhaseFailed(NO_IMAGE, f"Unable to pull customer's container image. {error.reason}") from None
        await asyncio.gather(*told)
        lines.say("Waiting for DOWNLOAD_SOURCE")
        await log.write(lines.take())
        now = self._clock.now()
        self._place.save(
            replace(build.left(Status.SUCCEEDED, now), image=image)
            .moved(Stage.DOWNLOAD_SOURCE)
            .entered("DOWNLOAD_SOURCE", now)
        )

    async def _may_pull(self, build: Build, reference: str, caller: Caller) -> None:
        """With SERVICE_ROLE the role itself must be allowed to read the image from the account's registry."""
        host, _, rest = reference.partition("/")
        own = f"{build.account}.dkr.ecr."
        if build.spec["environment"].get("imagePullCredentialsType") != "SERVICE_ROLE" or not host.startswith(own):
            return
        name, _, tag = rest.partition(":")
        region = host.removeprefix(own).partition(".")[0]
        params = {"repositoryName": name, "imageIds": [{"imageTag": tag or "latest"}]}
        try:
            await self._calls("ecr", "BatchGetImage", params, replace(caller, region=region))
        except AwsError as error:
            raise PhaseFailed(
                NO_IMAGE, f"Unable to pull customer's container image. CannotPullContainerError: {error.message}"
            ) from None

    async def _collect(self, build: Build) -> None:
        spec = parsed(build.buildspec or "")
        caller = await self._place.caller(build)
        log = self._place.log_of(build, caller)
        lines = Lines(self._clock, [])
        collector = Collector(self._engine, build.container, self._place.directory(build))
        try:
            reports = await self._reporting.read(build, spec, collector, lines.say)
        except Missing:
            raise BuildLost(GONE) from None
        build = replace(build, reports=reports)
        uploading = _uploads(build, spec)
        if uploading:
            build = build.entered("UPLOAD_ARTIFACTS", self._clock.now())
        self._place.save(build)
        up = Uploads(build, self._calls, caller, collector, lines.say)
        contexts: tuple[Context, ...] = ()
        outputs = build.outputs
        try:
            if uploading:
                try:
                    outputs = tuple(await up.artifacts(spec))
                except PhaseFailed as failure:
                    contexts = (Context(failure.code, failure.message),)
            if not build.failed:
                await up.save_cache(spec, self._place.local_cache(build), self._place.cache_key(build))
        finally:
            await self._place.write(log, lines.take(), None)
        now = self._clock.now()
        build = self._place.fresh(build)
        build = replace(build, outputs=outputs)
        if uploading:
            status = Status.FAILED if contexts else Status.SUCCEEDED
            await self._place.write(log, completed(now, "UPLOAD_ARTIFACTS", status, contexts), None)
            build = build.left(status, now, contexts)
        with contextlib.suppress(PhaseFailed):
            await log.upload()
        self._place.save(build.moved(Stage.FINALIZING).entered("FINALIZING", now))

    async def _fail(self, key: str, failure: PhaseFailed) -> None:
        build = self._place.current(key)
        now = self._clock.now()
        contexts = (Context(failure.code, failure.message),)
        failed = build.left(Status.FAILED, now, contexts)
        with contextlib.suppress(AwsError, PhaseFailed):
            log = self._place.log_of(build, await self._place.caller(build))
            await log.write(completed(now, build.phases[-1].type, Status.FAILED, contexts))
            await log.upload()
        self._place.save(failed.moved(Stage.FINALIZING).entered("FINALIZING", now))

    async def clean(self, build: Build) -> None:
        """Remove what a build had in the engine and on this machine. Safe to do twice."""
        self._place.leave(build)
        await asyncio.gather(
            self._engine.remove(build.container or self._place.container_name(build)),
            self._guards.close(build.uuid),
        )
        # Last, for it is by this that what is not cleared up is known.
        await asyncio.to_thread(shutil.rmtree, self._place.directory(build), ignore_errors=True)

    async def forget(self, project: str) -> None:
        """Take away what stayed in the engine for a project that is no more."""
        await self._guards.forget(project)

    def remains(self) -> list[str]:
        return self._place.remains()

    async def say(self, build: Build, *texts: str) -> None:
        """Lines at the end of a build's log, as far as they can be had."""
        now = self._clock.now()
        with contextlib.suppress(AwsError, PhaseFailed):
            log = self._place.log_of(build, await self._place.caller(build))
            await log.write([Said(now, stamped(now, text)) for text in texts])


def _uploads(build: Build, spec: Buildspec) -> bool:
    """Whether artifacts are due: the build phase was begun, and not aborted."""
    began = {phase.type: phase for phase in build.phases}
    if "BUILD" not in began:
        return False
    return all(
        not (phase.on_failure == "ABORT" and began.get(phase.type) and began[phase.type].status is Status.FAILED)
        for phase in spec.phases
    )

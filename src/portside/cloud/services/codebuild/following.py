"""The third stage of a build: its container runs, and what it prints becomes the log and the phases.

A container outlives the cloud and is never started again: whoever follows it anew reads its output from the
beginning and writes what the log does not have yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.machine.engine import Engine, EngineError, LogLine, Missing, Phase, Unavailable
from portside.cloud.services.codebuild import buildspec
from portside.cloud.services.codebuild.build_log import BuildLog
from portside.cloud.services.codebuild.failures import (
    CLIENT_ERROR,
    BuildLost,
)
from portside.cloud.services.codebuild.outside import Guards
from portside.cloud.services.codebuild.preparing import parsed
from portside.cloud.services.codebuild.records import Build, Context, Stage, Status
from portside.cloud.services.codebuild.specs import drives_an_engine
from portside.cloud.services.codebuild.transcript import Said, Transcript, masker
from portside.cloud.services.codebuild.workplace import Workplace

QUEUED_LINES = 20_000
LINES_AT_ONCE = 5000
GONE = "The build's container was removed from outside"


class Following:
    def __init__(self, *, place: Workplace, clock: Clock, engine: Engine, guards: Guards) -> None:
        self._place = place
        self._clock = clock
        self._engine = engine
        self._guards = guards

    async def run(self, build: Build) -> None:
        if drives_an_engine(build.spec["environment"]):
            await self._guards.open(build.uuid, build.project)
        spec = parsed(build.buildspec or "")
        caller = await self._place.caller(build)
        log = self._place.log_of(build, caller)
        try:
            state = await self._engine.inspect(build.container)
            if state.phase is Phase.CREATED:
                await self._engine.start(build.container)
        except Missing:
            raise BuildLost(GONE) from None
        secrets = await asyncio.to_thread(self._place.secrets, build)
        transcript = Transcript(spec, build.nonce, masker(secrets))
        delivered = await log.delivered()
        before = len(build.phases) if not _command_phases(build) else _command_phases(build)[0]
        seen = 0
        queue: asyncio.Queue[LogLine | Exception | None] = asyncio.Queue(QUEUED_LINES)
        reader = asyncio.create_task(_read(self._engine.logs(build.container, 0.0, True), queue))
        try:
            ended = False
            while not ended:
                item = await queue.get()
                batch: list[Said] = []
                while True:
                    if isinstance(item, Missing):
                        raise BuildLost(GONE)
                    if isinstance(item, Exception):
                        raise item
                    if item is None:
                        ended = True
                        break
                    for said in transcript.feed(item.at, item.text):
                        seen += 1
                        if seen > delivered:
                            batch.append(said)
                    if queue.empty() or len(batch) >= LINES_AT_ONCE:
                        break
                    item = queue.get_nowait()
                await self._place.write(log, batch, seen)
                self._show(build.id, before, transcript)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        await self._ran(build.id, before, transcript, log)

    def _show(self, key: str, before: int, transcript: Transcript) -> None:
        """The phases as far as they are known now."""
        build = self._place.current(key)
        phases = (*build.phases[:before], *transcript.phases)
        if phases != build.phases and build.stage is Stage.RUNNING:
            self._place.save(replace(build, phases=phases))

    async def _ran(self, key: str, before: int, transcript: Transcript, log: BuildLog) -> None:
        build = self._place.current(key)
        now = self._clock.now()
        phases = (*build.phases[:before], *transcript.phases)
        if not transcript.ended:
            try:
                state = await self._engine.inspect(build.container)
            except Missing:
                raise BuildLost(GONE) from None
            if state.phase is Phase.RUNNING:
                raise Unavailable("the engine ended the container's output while it runs")
            why = "out of memory" if state.out_of_memory else f"exit status {state.exit_code}"
            context = Context(CLIENT_ERROR, f"The build container ended before the build: {why}")
            if phases and phases[-1].ended_at is None:
                phases = (
                    *phases[:-1],
                    replace(phases[-1], ended_at=now, status=Status.FAILED, contexts=(context,)),
                )
            self._place.save(replace(build, phases=phases).moved(Stage.FINALIZING).entered("FINALIZING", now))
            return
        build = replace(
            build,
            phases=phases,
            exported=transcript.exported,
            values={**build.values, **transcript.values},
        )
        # Reports are read whatever happened; artifacts only of builds that came to their build phase.
        self._place.save(build.moved(Stage.UPLOAD_ARTIFACTS))


def _command_phases(build: Build) -> list[int]:
    types = {name.upper() for name in buildspec.PHASES}
    return [index for index, phase in enumerate(build.phases) if phase.type in types]


async def _read(lines: AsyncIterator[LogLine], queue: asyncio.Queue[LogLine | Exception | None]) -> None:
    try:
        async for line in lines:
            await queue.put(line)
    except EngineError as error:
        await queue.put(error)
    else:
        await queue.put(None)

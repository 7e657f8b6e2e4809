"""Carries a build from one stage to the next, on behalf of `build_loop.py`.

Owns the order of what is done in the world for a build. Each stage begins with what the record says and ends with
one commit; a stage that is cut off is done again, so it first removes what it may have left. The container is the
one thing that outlives the cloud: once it runs, it is only ever followed, never started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine import ContainerSpec, Engine, EngineError, LogLine, Missing, Phase, Unavailable
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Roles, RoleSession
from portside.cloud.services.codebuild import buildspec, driver, environment, records, stored_values, uploads
from portside.cloud.services.codebuild.build_log import BuildLog
from portside.cloud.services.codebuild.buildspec import Buildspec, BuildspecError
from portside.cloud.services.codebuild.collecting import Collector, stream
from portside.cloud.services.codebuild.failures import (
    ACCESS_DENIED,
    CLIENT_ERROR,
    NO_IMAGE,
    YAML_FILE_ERROR,
    BuildLost,
    PhaseFailed,
)
from portside.cloud.services.codebuild.outside import BuildImages, Endpoint, Guards, NoImage
from portside.cloud.services.codebuild.records import Build, Context, Stage, Status
from portside.cloud.services.codebuild.reporting import Reporting
from portside.cloud.services.codebuild.sources import Fetched, Sources, read_file
from portside.cloud.services.codebuild.specs import drives_an_engine
from portside.cloud.services.codebuild.transcript import Said, Transcript, completed, masker, stamped
from portside.cloud.services.codebuild.uploads import Uploads, find_cache
from portside.cloud.services.codebuild.validate import is_inline

# Not the label of ECS, which removes containers of its own that no task has.
CLOUD_LABEL = "portside.builds"
BUILD_LABEL = "portside.build"
SERVICE = "codebuild.amazonaws.com"
LONGEST_SESSION = 43_200
SESSION_MARGIN = 600
RENEW_BEFORE = 300.0
QUEUED_LINES = 20_000
GONE = "The build's container was removed from outside"
LINES_AT_ONCE = 5000
WRITE_RETRIES = 5
WRITE_RETRY_SECONDS = 1.0


@dataclass
class _Lines:
    """Lines of the build service itself, until they are written."""

    clock: Clock
    lines: list[Said]

    def say(self, text: str) -> None:
        at = self.clock.now()
        self.lines.append(Said(at, stamped(at, text)))

    def take(self) -> list[Said]:
        taken, self.lines = self.lines, []
        return taken


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
        self._log = log
        self._engine = engine
        self._roles = roles
        self._images = images
        self._guards = guards
        self._sources = sources
        self._endpoint = endpoint
        self._directory = directory
        self._cloud = cloud
        self._reporting = Reporting(database, clock)
        self._sessions: dict[str, RoleSession] = {}

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
                    step = self._prepare
                case Stage.RUNNING:
                    step = self._follow
                case Stage.UPLOAD_ARTIFACTS:
                    step = self._collect
                case _:
                    return
            await asyncio.to_thread(self._work(build).mkdir, parents=True, exist_ok=True)
            try:
                await step(build)
            except PhaseFailed as failure:
                await self._fail(key, failure)

    # Stages

    async def _provision(self, build: Build) -> None:
        lines = _Lines(self._clock, [])
        caller = await self._caller(build)
        log = self._log_of(build, caller)
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
        self._save(
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

    async def _prepare(self, build: Build) -> None:
        caller = await self._caller(build)
        log = self._log_of(build, caller)
        lines = _Lines(self._clock, [])
        lines.say("Phase is DOWNLOAD_SOURCE")
        try:
            fetched = await self._sources.fetch(build, caller, self._work(build))
            primary = fetched[0]
            build = replace(build, resolved_version=primary.resolved, repository_url=primary.url)
            for each in fetched:
                suffix = f"_{each.identifier}" if each.identifier else ""
                lines.say(f"CODEBUILD_SRC_DIR{suffix}={each.directory}")
            text, location = await self._buildspec_text(build, primary, caller)
            lines.say(f"YAML location is {location}")
            spec = _parsed(text)
            build = replace(build, buildspec=text, values={"source": primary.directory})
            lines.say("Processing environment variables")
            values = await self._values(build, spec, caller)
            lines.say("Registering with agent")
            lines.say(f"Phases found in YAML: {len(spec.declared)}")
            for phase in spec.phases:
                if phase.name in spec.declared:
                    lines.say(f" {phase.type}: {len(phase.commands)} commands")
            container = await self._container(build, spec, fetched, values, caller)
        finally:
            await log.write(lines.take())
        now = self._clock.now()
        await log.write(completed(now, "DOWNLOAD_SOURCE", Status.SUCCEEDED, ()))
        build = self._fresh(build)
        self._save(replace(build.left(Status.SUCCEEDED, now), container=container).moved(Stage.RUNNING))

    async def _follow(self, build: Build) -> None:
        if drives_an_engine(build.spec["environment"]):
            await self._guards.open(build.uuid, build.project)
        spec = _parsed(build.buildspec or "")
        caller = await self._caller(build)
        log = self._log_of(build, caller)
        try:
            state = await self._engine.inspect(build.container)
            if state.phase is Phase.CREATED:
                await self._engine.start(build.container)
        except Missing:
            raise BuildLost(GONE) from None
        secrets = await asyncio.to_thread(self._read_secrets, build)
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
                await self._write(log, batch, seen)
                self._show(build.id, before, transcript)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        await self._ran(build.id, before, transcript, log)

    def _show(self, key: str, before: int, transcript: Transcript) -> None:
        """The phases as far as they are known now."""
        build = self._current(key)
        phases = (*build.phases[:before], *transcript.phases)
        if phases != build.phases and build.stage is Stage.RUNNING:
            self._save(replace(build, phases=phases))

    async def _ran(self, key: str, before: int, transcript: Transcript, log: BuildLog) -> None:
        build = self._current(key)
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
            self._save(replace(build, phases=phases).moved(Stage.FINALIZING).entered("FINALIZING", now))
            return
        build = replace(
            build,
            phases=phases,
            exported=transcript.exported,
            values={**build.values, **transcript.values},
        )
        # Reports are read whatever happened; artifacts only of builds that came to their build phase.
        self._save(build.moved(Stage.UPLOAD_ARTIFACTS))

    async def _collect(self, build: Build) -> None:
        spec = _parsed(build.buildspec or "")
        caller = await self._caller(build)
        log = self._log_of(build, caller)
        lines = _Lines(self._clock, [])
        collector = Collector(self._engine, build.container, self._work(build))
        try:
            reports = await self._reporting.read(build, spec, collector, lines.say)
        except Missing:
            raise BuildLost(GONE) from None
        build = replace(build, reports=reports)
        uploading = _uploads(build, spec)
        if uploading:
            build = build.entered("UPLOAD_ARTIFACTS", self._clock.now())
        self._save(build)
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
                await up.save_cache(spec, self._local_cache(build), self._cache_key(build))
        finally:
            await self._write(log, lines.take(), None)
        now = self._clock.now()
        build = self._fresh(build)
        build = replace(build, outputs=outputs)
        if uploading:
            status = Status.FAILED if contexts else Status.SUCCEEDED
            await self._write(log, completed(now, "UPLOAD_ARTIFACTS", status, contexts), None)
            build = build.left(status, now, contexts)
        with contextlib.suppress(PhaseFailed):
            await log.upload()
        self._save(build.moved(Stage.FINALIZING).entered("FINALIZING", now))

    async def _fail(self, key: str, failure: PhaseFailed) -> None:
        build = self._current(key)
        now = self._clock.now()
        contexts = (Context(failure.code, failure.message),)
        failed = build.left(Status.FAILED, now, contexts)
        with contextlib.suppress(AwsError, PhaseFailed):
            log = self._log_of(build, await self._caller(build))
            await log.write(completed(now, build.phases[-1].type, Status.FAILED, contexts))
            await log.upload()
        self._save(failed.moved(Stage.FINALIZING).entered("FINALIZING", now))

    async def clean(self, build: Build) -> None:
        """Remove what a build had in the engine and on this machine. Safe to do twice."""
        self._sessions.pop(build.id, None)
        await asyncio.gather(
            self._engine.remove(build.container or self._name(build)), self._guards.close(build.uuid)
        )
        # Last, for it is by this that what is not cleared up is known.
        await asyncio.to_thread(shutil.rmtree, self._work(build), ignore_errors=True)

    async def forget(self, project: str) -> None:
        """Take away what stayed in the engine for a project that is no more."""
        await self._guards.forget(project)

    def remains(self) -> list[str]:
        """The ids of completed builds that are not cleared up."""
        places = (self._directory / "builds").glob("*")
        found = (records.by_uuid(self._database, place.name) for place in places)
        return [build.id for build in found if build is not None and build.complete]

    async def say(self, build: Build, *texts: str) -> None:
        """Lines at the end of a build's log, as far as they can be had."""
        now = self._clock.now()
        with contextlib.suppress(AwsError, PhaseFailed):
            log = self._log_of(build, await self._caller(build))
            await log.write([Said(now, stamped(now, text)) for text in texts])

    # Parts of the stages

    async def _caller(self, build: Build) -> Caller:
        endpoint, _ = await self._endpoint()
        return (await self._session(build)).caller(build.region, endpoint)

    async def _session(self, build: Build) -> RoleSession:
        found = self._sessions.get(build.id)
        if found is not None and found.expires - RENEW_BEFORE > self._clock.now():
            return found
        role = build.spec["serviceRole"]
        own = Caller(build.account, build.region, f"arn:aws:iam::{build.account}:root")
        seconds = min(LONGEST_SESSION, build.spec["timeoutInMinutes"] * 60 + SESSION_MARGIN)
        try:
            project = f"arn:aws:codebuild:{build.region}:{build.account}:project/{build.project}"
            session = await self._roles.assume(
                role, f"AWSCodeBuild-{build.uuid}", SERVICE, own, seconds, source=project
            )
        except AwsError as error:
            if error.status >= 500:
                raise
            raise PhaseFailed(
                ACCESS_DENIED,
                f"CodeBuild is not authorized to perform: sts:AssumeRole on service role {role}. The role must "
                f"exist, and its trust policy must allow {SERVICE} to assume it",
            ) from None
        self._sessions[build.id] = session
        return session

    async def _buildspec_text(self, build: Build, primary: Fetched, caller: Caller) -> tuple[str, str]:
        given = build.spec["source"].get("buildspec") or ""
        if given.startswith("arn:aws:s3:::"):
            bucket, _, key = given.removeprefix("arn:aws:s3:::").partition("/")
            try:
                answer = await self._calls("s3", "GetObject", {"Bucket": bucket, "Key": key}, caller)
            except AwsError as error:
                message = f"{given}: {error.code}: {error.message}"
                raise PhaseFailed(YAML_FILE_ERROR, message) from None
            return bytes(answer["Body"]).decode("utf-8", "replace"), given
        if is_inline(given):
            return given, f"{primary.directory}/buildspec.yml"
        location = f"{primary.directory}/{given or 'buildspec.yml'}"
        content = await asyncio.to_thread(read_file, primary.archive, location)
        if content is None:
            raise PhaseFailed(YAML_FILE_ERROR, "YAML file does not exist")
        return content.decode("utf-8", "replace"), location

    async def _values(self, build: Build, spec: Buildspec, caller: Caller) -> dict[str, str]:
        """All variables that the user set. The secret ones are written where only this build's directory has them,
        for the log must go on hiding them after a restart."""
        wanted = environment.wanted(build, spec)
        try:
            hidden = await stored_values.parameters(self._calls, wanted.parameters, caller)
            hidden |= await stored_values.secrets(self._calls, wanted.secrets, caller)
        except stored_values.ValueFailed as error:
            raise PhaseFailed(error.code, error.reason) from None
        session = await self._session(build)
        await asyncio.to_thread(self._write_secrets, build, [*hidden.values(), session.secret_key, session.token])
        return {**wanted.plain, **hidden}

    async def _container(
        self, build: Build, spec: Buildspec, fetched: list[Fetched], values: dict[str, str], caller: Caller
    ) -> str:
        endpoint, hosts = await self._endpoint()
        session = await self._session(build)
        directories = {each.identifier: each.directory for each in fetched}
        kms = build.spec["encryptionKey"]
        own = environment.own(build, directories, image=build.spec["environment"]["image"], kms_key=kms)
        privileged = drives_an_engine(build.spec["environment"])
        binds: tuple[str, ...] = ()
        if privileged:
            sockets = await self._guards.open(build.uuid, build.project)
            binds = (f"{sockets}:{driver.SOCKET_DIRECTORY}",)
        name = self._name(build)
        made = ContainerSpec(
            name=name,
            image=build.image,
            labels={CLOUD_LABEL: self._cloud, BUILD_LABEL: build.id},
            entrypoint=(spec.shell, driver.SUPERVISOR),
            command=(),
            environment={**own, **environment.credentials(session, endpoint), **values},
            user="0:0",
            working_directory="/",
            extra_hosts=hosts,
            binds=binds,
        )
        try:
            await self._engine.remove(name)  # from a try that was cut off
            container = await self._engine.create(made)
            for each in fetched:
                await self._engine.put_archive(container, "/", stream(each.archive))
            cache = await find_cache(
                build, self._calls, caller, self._local_cache(build), self._cache_key(build), self._work(build)
            )
            if cache is not None:
                await self._engine.put_archive(container, "/", stream(cache))
            files = driver.files(spec, build.nonce, uploads.expressions(spec), engine=privileged)
            await self._engine.put_archive(container, "/", _once(_pack(files)))
        except Unavailable:
            raise
        except EngineError as error:
            raise PhaseFailed(CLIENT_ERROR, f"The build container cannot be created: {error.reason}") from None
        return container

    async def _write(self, log: BuildLog, lines: list[Said], position: int | None) -> None:
        """The output is not lost because the logs are busy for a moment."""
        for attempt in range(WRITE_RETRIES):
            try:
                await log.write(lines, position)
                return
            except AwsError as error:
                if attempt == WRITE_RETRIES - 1 or error.status == 403 or "AccessDenied" in error.code:
                    self._log.warning("the log does not take lines", reason=f"{error.code}: {error.message}")
                    return
                await self._clock.sleep_until(self._clock.now() + WRITE_RETRY_SECONDS * 2**attempt)

    # Places and records

    def _log_of(self, build: Build, caller: Caller) -> BuildLog:
        return BuildLog(build, self._calls, caller, self._work(build))

    def _work(self, build: Build) -> Path:
        return self._directory / "builds" / build.uuid

    def _name(self, build: Build) -> str:
        return f"codebuild-{build.project}-{build.uuid}"

    def _cache_key(self, build: Build) -> str:
        project = records.project(self._database, build.region, build.project)
        suffix = f"-{project.cache}" if project is not None and project.cache else ""
        return f"{build.project}{suffix}"

    def _local_cache(self, build: Build) -> Path:
        return self._directory / "caches" / build.region / f"{self._cache_key(build)}.tar"

    def _write_secrets(self, build: Build, values: list[str]) -> None:
        file = self._work(build) / "secrets"
        file.touch(mode=0o600)
        file.write_text(json.dumps(values))

    def _read_secrets(self, build: Build) -> list[str]:
        try:
            found: list[str] = json.loads((self._work(build) / "secrets").read_text())
        except OSError:
            return []
        return found

    def _current(self, key: str) -> Build:
        build = records.build(self._database, key)
        assert build is not None
        return build

    def _fresh(self, build: Build) -> Build:
        """With what a client may have asked for meanwhile."""
        return replace(build, stop_asked_at=self._current(build.id).stop_asked_at)

    def _save(self, build: Build) -> None:
        with self._database.write() as tx:
            present = records.build(tx, build.id)
            asked = present.stop_asked_at if present is not None else None
            records.save_build(tx, replace(build, stop_asked_at=asked))


def _parsed(text: str) -> Buildspec:
    try:
        return buildspec.parse(text)
    except BuildspecError as error:
        raise PhaseFailed(YAML_FILE_ERROR, f"invalid buildspec: {error}") from None


def _command_phases(build: Build) -> list[int]:
    types = {name.upper() for name in buildspec.PHASES}
    return [index for index, phase in enumerate(build.phases) if phase.type in types]


def _uploads(build: Build, spec: Buildspec) -> bool:
    """Whether artifacts are due: the build phase was begun, and not aborted."""
    began = {phase.type: phase for phase in build.phases}
    if "BUILD" not in began:
        return False
    return all(
        not (phase.on_failure == "ABORT" and began.get(phase.type) and began[phase.type].status is Status.FAILED)
        for phase in spec.phases
    )


def _pack(files: list[driver.File]) -> bytes:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in ("codebuild", driver.DIRECTORY.lstrip("/")):
            member = tarfile.TarInfo(path)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for each in files:
            data = each.text.encode()
            member = tarfile.TarInfo(each.path.lstrip("/"))
            member.mode, member.size = 0o666 if each.writable else 0o644, len(data)
            tar.addfile(member, BytesIO(data))
    return content.getvalue()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _read(lines: AsyncIterator[LogLine], queue: asyncio.Queue[LogLine | Exception | None]) -> None:
    try:
        async for line in lines:
            await queue.put(line)
    except EngineError as error:
        await queue.put(error)
    else:
        await queue.put(None)

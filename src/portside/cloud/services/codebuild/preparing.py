"""The second stage of a build: its sources, its build specification, its variables, and the container of them."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO

from portside.cloud.kernel.clock import Clock
from portside.cloud.machine.engine import ContainerSpec, Engine, EngineError, Unavailable
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.codebuild import buildspec, driver, environment, stored_values, uploads
from portside.cloud.services.codebuild.buildspec import Buildspec, BuildspecError
from portside.cloud.services.codebuild.collecting import stream
from portside.cloud.services.codebuild.failures import (
    CLIENT_ERROR,
    YAML_FILE_ERROR,
    PhaseFailed,
)
from portside.cloud.services.codebuild.outside import Endpoint, Guards
from portside.cloud.services.codebuild.records import Build, Stage, Status
from portside.cloud.services.codebuild.sources import Fetched, Sources, read_file
from portside.cloud.services.codebuild.specs import drives_an_engine
from portside.cloud.services.codebuild.transcript import completed
from portside.cloud.services.codebuild.uploads import find_cache
from portside.cloud.services.codebuild.validate import is_inline
from portside.cloud.services.codebuild.workplace import Lines, Workplace

# Not the label of ECS, which removes containers of its own that no task has.
CLOUD_LABEL = "portside.builds"
BUILD_LABEL = "portside.build"


class Preparing:
    """`cloud` is the id that containers are labelled with."""

    def __init__(
        self,
        *,
        place: Workplace,
        clock: Clock,
        calls: Calls,
        engine: Engine,
        guards: Guards,
        sources: Sources,
        endpoint: Endpoint,
        cloud: str,
    ) -> None:
        self._place = place
        self._clock = clock
        self._calls = calls
        self._engine = engine
        self._guards = guards
        self._sources = sources
        self._endpoint = endpoint
        self._cloud = cloud

    async def run(self, build: Build) -> None:
        caller = await self._place.caller(build)
        log = self._place.log_of(build, caller)
        lines = Lines(self._clock, [])
        lines.say("Phase is DOWNLOAD_SOURCE")
        try:
            fetched = await self._sources.fetch(build, caller, self._place.directory(build))
            primary = fetched[0]
            build = replace(build, resolved_version=primary.resolved, repository_url=primary.url)
            for each in fetched:
                suffix = f"_{each.identifier}" if each.identifier else ""
                lines.say(f"CODEBUILD_SRC_DIR{suffix}={each.directory}")
            text, location = await self._buildspec_text(build, primary, caller)
            lines.say(f"YAML location is {location}")
            spec = parsed(text)
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
        build = self._place.fresh(build)
        self._place.save(replace(build.left(Status.SUCCEEDED, now), container=container).moved(Stage.RUNNING))

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
        session = await self._place.session(build)
        await asyncio.to_thread(
            self._place.keep_secrets, build, [*hidden.values(), session.secret_key, session.token]
        )
        return {**wanted.plain, **hidden}

    async def _container(
        self, build: Build, spec: Buildspec, fetched: list[Fetched], values: dict[str, str], caller: Caller
    ) -> str:
        endpoint, hosts = await self._endpoint()
        session = await self._place.session(build)
        directories = {each.identifier: each.directory for each in fetched}
        kms = build.spec["encryptionKey"]
        own = environment.own(build, directories, image=build.spec["environment"]["image"], kms_key=kms)
        privileged = drives_an_engine(build.spec["environment"])
        binds: tuple[str, ...] = ()
        if privileged:
            sockets = await self._guards.open(build.uuid, build.project)
            binds = (f"{sockets}:{driver.SOCKET_DIRECTORY}",)
        name = self._place.container_name(build)
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
                build,
                self._calls,
                caller,
                self._place.local_cache(build),
                self._place.cache_key(build),
                self._place.directory(build),
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


def parsed(text: str) -> Buildspec:
    try:
        return buildspec.parse(text)
    except BuildspecError as error:
        raise PhaseFailed(YAML_FILE_ERROR, f"invalid buildspec: {error}") from None


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

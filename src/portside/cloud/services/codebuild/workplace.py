"""Where a build works and as whom: its directory, the session of its role, its log, its record.

The stages of a build share it. A record is written together with what a client may have asked meanwhile: that the
build stop.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Roles, RoleSession
from portside.cloud.services.codebuild import records
from portside.cloud.services.codebuild.build_log import BuildLog
from portside.cloud.services.codebuild.failures import (
    ACCESS_DENIED,
    PhaseFailed,
)
from portside.cloud.services.codebuild.outside import Endpoint
from portside.cloud.services.codebuild.records import Build
from portside.cloud.services.codebuild.transcript import Said, stamped

LONGEST_SESSION = 43_200
SESSION_MARGIN = 600
RENEW_BEFORE = 300.0
WRITE_RETRIES = 5
WRITE_RETRY_SECONDS = 1.0
SERVICE = "codebuild.amazonaws.com"


@dataclass
class Lines:
    """Lines of the build service itself, until they are written."""

    clock: Clock
    lines: list[Said]

    def say(self, text: str) -> None:
        at = self.clock.now()
        self.lines.append(Said(at, stamped(at, text)))

    def take(self) -> list[Said]:
        taken, self.lines = self.lines, []
        return taken


class Workplace:
    """`root` is where builds keep what they work with."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        calls: Calls,
        log: Log,
        roles: Roles,
        endpoint: Endpoint,
        root: Path,
    ) -> None:
        self._database = database
        self._clock = clock
        self._calls = calls
        self._log = log
        self._roles = roles
        self._endpoint = endpoint
        self._root = root
        self._sessions: dict[str, RoleSession] = {}

    def leave(self, build: Build) -> None:
        """The session of its role is not needed any more."""
        self._sessions.pop(build.id, None)

    def remains(self) -> list[str]:
        """The ids of completed builds that are not cleared up."""
        places = (self._root / "builds").glob("*")
        found = (records.by_uuid(self._database, place.name) for place in places)
        return [build.id for build in found if build is not None and build.complete]

    async def caller(self, build: Build) -> Caller:
        endpoint, _ = await self._endpoint()
        return (await self.session(build)).caller(build.region, endpoint)

    async def session(self, build: Build) -> RoleSession:
        found = self._sessions.get(build.id)
        if found is not None and found.expires - RENEW_BEFORE > self._clock.now():
            return found
        role = build.spec["serviceRole"]
        own = Caller.root(build.account, build.region)
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

    def log_of(self, build: Build, caller: Caller) -> BuildLog:
        return BuildLog(build, self._calls, caller, self.directory(build))

    async def write(self, log: BuildLog, lines: list[Said], position: int | None) -> None:
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

    def directory(self, build: Build) -> Path:
        return self._root / "builds" / build.uuid

    def container_name(self, build: Build) -> str:
        return f"codebuild-{build.project}-{build.uuid}"

    def cache_key(self, build: Build) -> str:
        project = records.project(self._database, build.region, build.project)
        suffix = f"-{project.cache}" if project is not None and project.cache else ""
        return f"{build.project}{suffix}"

    def local_cache(self, build: Build) -> Path:
        return self._root / "caches" / build.region / f"{self.cache_key(build)}.tar"

    def keep_secrets(self, build: Build, values: list[str]) -> None:
        file = self.directory(build) / "secrets"
        file.touch(mode=0o600)
        file.write_text(json.dumps(values))

    def secrets(self, build: Build) -> list[str]:
        try:
            found: list[str] = json.loads((self.directory(build) / "secrets").read_text())
        except OSError:
            return []
        return found

    def current(self, key: str) -> Build:
        build = records.build(self._database, key)
        assert build is not None
        return build

    def fresh(self, build: Build) -> Build:
        """With what a client may have asked for meanwhile."""
        return replace(build, stop_asked_at=self.current(build.id).stop_asked_at)

    def save(self, build: Build) -> None:
        with self._database.write() as tx:
            present = records.build(tx, build.id)
            asked = present.stop_asked_at if present is not None else None
            records.save_build(tx, replace(build, stop_asked_at=asked))

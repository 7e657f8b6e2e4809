"""CodeBuild over an engine whose containers run their program in a directory of this machine, with the real shell.

Virtual time, a real database, the cloud's own Logs service, and buckets, parameters and roles in memory.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.machine.engine import Phase
from portside.cloud.machine.repositories import RepositoryError
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, RoleSession
from portside.cloud.services.codebuild.outside import NoImage
from portside.cloud.services.codebuild.service import CodeBuild
from portside.cloud.services.logs.api import LogsApi
from portside.testing.clock import VirtualClock
from portside.testing.engine import FakeEngine, Program
from portside.testing.guards import FakeGuards
from portside.testing.server import ACCOUNT, REGION, quiet_log

CALLER = Caller(ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:user/dev", endpoint="http://127.0.0.1:4566")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/build"
IMAGE = "aws/codebuild/standard:7.0"


def archive(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return content.getvalue()


def unpacked(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        return {name: found.read(name).decode() for name in found.namelist()}


class ShellEngine(FakeEngine):
    """Runs the driver of a build when its container starts, unless the image is named as one that hangs."""

    def __init__(self, clock: VirtualClock, root: Path) -> None:
        super().__init__(clock, {"image": Program()})
        self.root = root
        self.hangs = False
        self.shell = "/bin/sh"

    async def start(self, container: str) -> None:
        state = await self.inspect(container)
        if state.phase is not Phase.CREATED:
            return
        await super().start(container)
        if not self.hangs:
            self.run(container)

    def run(self, container: str) -> None:
        place = self.root / container[-8:]
        files = self.files(container)
        for name, content in files.items():
            target = place / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            ours = name.startswith("/codebuild/driver/")
            # The driver runs on this machine here: it must not touch the engine's socket of this machine.
            content = content.replace(b"/var/run", f"{place}/var/run".encode()) if ours else content
            target.write_bytes(
                content.replace(b"/codebuild/", f"{place}/codebuild/".encode()) if ours else content
            )
        spec = self.spec(container)
        environment = {
            name: value.replace("/codebuild/output", f"{place}/codebuild/output")
            for name, value in spec.environment.items()
        }
        source = Path(environment["CODEBUILD_SRC_DIR"])
        source.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [self.shell, str(place / "codebuild/driver/supervisor")],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            timeout=30,
        )
        for found in place.rglob("*"):
            if found.is_file():
                files["/" + str(found.relative_to(place))] = found.read_bytes()
        output = done.stdout.decode().replace(f"{place}/codebuild", "/codebuild")
        self.print(container, *output.removesuffix("\n").split("\n"))
        self._exit(container, done.returncode)


class Services:
    """Implements `Calls`: buckets, parameters and secrets in memory, and the real logs."""

    def __init__(self, logs: LogsApi) -> None:
        self.logs = logs.service()
        self.objects: dict[tuple[str, str], bytes] = {}
        self.metadata: dict[tuple[str, str], dict[str, str]] = {}
        self.parameters: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.denied: set[tuple[str, str]] = set()
        self.callers: set[str] = set()

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        if caller.role:
            self.callers.add(caller.role)
            if (service, operation) in self.denied:
                raise AwsError(
                    "AccessDenied",
                    f"User: {caller.arn} is not authorized to perform: {service}:{operation}",
                    403,
                )
        if service == "logs":
            found: Any = self.logs.operations[operation](caller, params)
            return await found if inspect.isawaitable(found) else found
        return getattr(self, f"{service}_{operation}")(params)  # type: ignore[no-any-return]

    def s3_GetObject(self, params: Params) -> Params:
        found = self.objects.get((params["Bucket"], params["Key"]))
        if found is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": found}

    def s3_PutObject(self, params: Params) -> Params:
        self.objects[params["Bucket"], params["Key"]] = params["Body"]
        self.metadata[params["Bucket"], params["Key"]] = params.get("Metadata") or {}
        return {}

    def s3_ListObjectsV2(self, params: Params) -> Params:
        keys = [k for b, k in self.objects if b == params["Bucket"] and k.startswith(params["Prefix"])]
        return {"Contents": [{"Key": key} for key in keys]}

    def ssm_GetParameters(self, params: Params) -> Params:
        found = [{"Name": n, "Value": self.parameters[n]} for n in params["Names"] if n in self.parameters]
        return {"Parameters": found}

    def secretsmanager_GetSecretValue(self, params: Params) -> Params:
        if params["SecretId"] not in self.secrets:
            raise AwsError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return {"SecretString": self.secrets[params["SecretId"]]}


class Roles:
    """Implements `Roles`; only ROLE exists."""

    async def assume(
        self, role: str, session_name: str, service: str, caller: Caller, seconds: int = 3600, source: str = ""
    ) -> RoleSession:
        if role != ROLE:
            raise AwsError("AccessDenied", f"{service} is not authorized to perform: sts:AssumeRole", 403)
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/build/{session_name}"
        return RoleSession(role, arn, f"AROA:{session_name}", "ASIA1", "secret-key", "session-token", 2e9)


class Images:
    """Implements `BuildImages`."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    async def ensure(self, reference: str, region: str, say: Any) -> str:
        if reference in self.missing:
            raise NoImage(f"CannotPullContainerError: manifest for {reference} not found")
        return "image"


class Checkouts:
    """Implements `Repositories` for clones alone: path -> files."""

    def __init__(self) -> None:
        self.paths: dict[str, dict[str, str]] = {}
        self.cloned: list[tuple[str, str, int]] = []

    async def resolve(self, path: str, revision: str) -> str:
        if revision == "missing":
            raise RepositoryError("there is no revision missing")
        return "c0ffee" * 6 + "1234"

    async def clone(self, path: str, commit: str, target: Path, depth: int = 0) -> None:
        self.cloned.append((path, commit, depth))
        for name, text in self.paths[path].items():
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a build never asks for {name}")


class World:
    """`async with World(tmp_path).running() as world`; a second `running` is a cloud that was started again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.engine = ShellEngine(self.clock, path / "containers")
        self.images = Images()
        self.checkouts = Checkouts()
        self.guards = FakeGuards()
        self.bound: dict[str, str] = {}
        self.seed = 0
        self.services: Services
        self.codebuild: CodeBuild
        self._kept: Services | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        self.seed += 1
        database = Database(self.path / "state.db")
        logs = LogsApi(database=database, ids=Ids(self.seed), clock=self.clock, log=quiet_log())
        services = Services(logs)
        if self._kept is not None:
            for name in ("objects", "metadata", "parameters", "secrets", "denied", "callers"):
                setattr(services, name, getattr(self._kept, name))
        self.services = self._kept = services
        self.codebuild = CodeBuild(
            database=database,
            ids=Ids(self.seed),
            clock=self.clock,
            calls=services,
            log=quiet_log(),
            engine=self.engine,
            roles=Roles(),
            images=self.images,
            guards=self.guards,
            repositories=self.checkouts,  # type: ignore[arg-type]
            bound=self.bound.get,
            endpoint=_endpoint,
            directory=self.path,
            cloud="cloud",
        )
        self.operations = self.codebuild.service().operations
        try:
            async with self.codebuild:
                yield self
        finally:
            database.close()

    def call(self, operation: str, **params: Any) -> Params:
        result: Any = self.operations[operation](CALLER, params)
        return result  # type: ignore[no-any-return]

    def refused(self, operation: str, **params: Any) -> AwsError:
        try:
            self.call(operation, **params)
        except AwsError as error:
            return error
        raise AssertionError(f"{operation} was not refused")

    def project(self, name: str = "app", buildspec: str = "", **more: Any) -> Params:
        source = more.pop("source", {"type": "NO_SOURCE"})
        environment = {"type": "LINUX_CONTAINER", "image": IMAGE, "computeType": "BUILD_GENERAL1_SMALL"}
        params = {
            "source": source | ({"buildspec": buildspec} if buildspec else {}),
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": environment | more.pop("environment", {}),
            "serviceRole": ROLE,
        }
        return self.call("CreateProject", name=name, **params | more)["project"]  # type: ignore[no-any-return]

    async def build(self, project: str = "app", **params: Any) -> Params:
        """Start a build and wait for its end."""
        started = self.call("StartBuild", projectName=project, **params)["build"]
        return await self.finished(started["id"])

    async def finished(self, build: str) -> Params:
        # Files are read and written in threads, which virtual time knows nothing of.
        for _ in range(2000):
            found = self.find(build)
            # It is complete before it is cleared up.
            if found["buildComplete"] and not (self.path / "builds" / build.split(":")[1]).exists():
                return found
            await self._settle()
        raise AssertionError(f"not finished: {found}")

    async def _settle(self) -> None:
        import asyncio

        await asyncio.sleep(0.002)
        await self.clock.idle()

    async def reached(self, build: str, phase: str) -> Params:
        for _ in range(1000):
            found = self.find(build)
            if any(each["phaseType"] == phase for each in found["phases"]):
                return found
            await self._settle()
        raise AssertionError(f"not reached: {found}")

    def find(self, build: str) -> Params:
        return self.call("BatchGetBuilds", ids=[build])["builds"][0]  # type: ignore[no-any-return]

    def lines(self, build: Params) -> list[str]:
        params = {
            "logGroupName": build["logs"]["groupName"],
            "logStreamName": build["logs"]["streamName"],
            "startFromHead": True,
        }
        found = self.services.logs.operations["GetLogEvents"](CALLER, params)
        return [each["message"].rstrip("\n") for each in found["events"]]  # type: ignore[index]

    def output(self, build: Params) -> list[str]:
        """What the commands printed."""
        return [line for line in self.lines(build) if not line.startswith("[Container]")]


async def _endpoint() -> tuple[str, dict[str, str]]:
    return "http://172.17.0.1:4566", {}


def phases(build: Params) -> dict[str, str]:
    return {each["phaseType"]: each.get("phaseStatus", "") for each in build["phases"]}


def contexts(build: Params, phase: str) -> list[tuple[str, str]]:
    (found,) = [each for each in build["phases"] if each["phaseType"] == phase]
    return [(each["statusCode"], each["message"]) for each in found.get("contexts", [])]


def policy(*actions: str) -> str:
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    )

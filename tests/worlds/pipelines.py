"""CodePipeline with what is around it faked: buckets, builds, roles, repositories and time. CloudFormation is ours."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from cfn_world import FakeServices
from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.protocol.shapes import violations
from portside.cloud.services.calls import PIPELINE_KEY, Caller, Params, RoleSession
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.cloud.services.codeconnections.api import ConnectionsApi
from portside.cloud.services.codepipeline.service import CodePipeline
from portside.cloud.services.repositories.service import Bindings
from portside.testing.clock import VirtualClock
from portside.testing.repositories import FakeRepositories
from portside.testing.server import ACCOUNT, REGION, quiet_log

ROOT = Caller.root(ACCOUNT, REGION, endpoint="http://127.0.0.1:4566")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/pipeline"
DEPLOY_ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy"
BUCKET = "artifacts"


class FakeBuckets:
    """Objects with versions, by bucket and key."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], list[bytes]] = {}
        self.versioned = {BUCKET, "source"}
        self.changed: list[Callable[[str], None]] = []

    def put(self, bucket: str, key: str, data: bytes) -> str:
        self.objects.setdefault((bucket, key), []).append(bytes(data))
        for each in self.changed:
            each(REGION)
        return str(len(self.objects[bucket, key]))

    def s3_PutObject(self, params: Params, caller: Caller) -> Params:
        return {"VersionId": self.put(params["Bucket"], params["Key"], params["Body"])}

    def _find(self, params: Params) -> tuple[str, bytes]:
        found = self.objects.get((params["Bucket"], params["Key"]))
        version = int(params.get("VersionId") or len(found or ()))
        if not found or not 1 <= version <= len(found):
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return str(version), found[version - 1]

    def s3_GetObject(self, params: Params, caller: Caller) -> Params:
        version, data = self._find(params)
        return {"Body": data, "VersionId": version}

    def s3_HeadObject(self, params: Params, caller: Caller) -> Params:
        version, data = self._find(params)
        tag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return {"ContentLength": len(data), "VersionId": version, "ETag": f'"{tag}"'}

    def s3_GetBucketVersioning(self, params: Params, caller: Caller) -> Params:
        return {"Status": "Enabled"} if params["Bucket"] in self.versioned else {}


class FakeBuilds:
    """Builds that end when the test says so, or at once by `script`: commit -> files of the artifact, or a failure."""

    def __init__(self, buckets: FakeBuckets) -> None:
        self.buckets = buckets
        self.builds: dict[str, Params] = {}
        self.tokens: dict[str, str] = {}
        self.started: list[Params] = []
        self.stopped: list[str] = []
        self.script: Callable[[str], dict[str, bytes] | str] | None = None
        self.exported: dict[str, str] = {}

    def codebuild_StartBuild(self, params: Params, caller: Caller) -> Params:
        if params["projectName"] == "missing":
            raise AwsError(
                "ResourceNotFoundException", "Project cannot be found: arn:aws:codebuild:project/missing"
            )
        token = params["idempotencyToken"]
        if token in self.tokens:
            return {"build": self.builds[self.tokens[token]]}
        number = len(self.builds) + 1
        build_id = f"{params['projectName']}:{number:08d}-0000-0000-0000-000000000000"
        self.tokens[token] = build_id
        self.started.append(params)
        self.builds[build_id] = {"id": build_id, "buildStatus": "IN_PROGRESS", "params": params}
        if self.script is not None:
            result = self.script(params[PIPELINE_KEY]["sources"][0]["revision"])
            if isinstance(result, str):
                self.fail(build_id, result)
            else:
                self.succeed(build_id, result)
        return {"build": self.builds[build_id]}

    def running(self) -> list[str]:
        return [each["id"] for each in self.builds.values() if each["buildStatus"] == "IN_PROGRESS"]

    def succeed(self, build_id: str, files: dict[str, bytes] | None = None, *, writes: bool = True) -> None:
        build = self.builds[build_id]
        for each in build["params"][PIPELINE_KEY]["artifacts"] if writes else ():
            self.buckets.put(each["bucket"], each["key"], archive(files or {}))
        build["buildStatus"] = "SUCCEEDED"
        build["exportedEnvironmentVariables"] = [{"name": k, "value": v} for k, v in self.exported.items()]

    def fail(self, build_id: str, message: str) -> None:
        context = {"statusCode": "COMMAND_EXECUTION_ERROR", "message": message}
        self.builds[build_id] |= {
            "buildStatus": "FAILED",
            "phases": [{"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [context]}],
        }

    def codebuild_BatchGetBuilds(self, params: Params, caller: Caller) -> Params:
        return {"builds": [self.builds[each] for each in params["ids"] if each in self.builds]}

    def codebuild_StopBuild(self, params: Params, caller: Caller) -> Params:
        self.stopped.append(params["id"])
        self.builds[params["id"]]["buildStatus"] = "STOPPED"
        return {"build": self.builds[params["id"]]}


class FakeRoles:
    """Roles exist unless they are in `missing`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.missing: set[str] = set()
        self.assumed: list[tuple[str, str, str]] = []

    async def assume(
        self, role: str, session_name: str, service: str, caller: Caller, seconds: int = 3600, source: str = ""
    ) -> RoleSession:
        if role in self.missing:
            raise AwsError("AccessDenied", f"User: {service} is not authorized to perform: sts:AssumeRole", 403)
        self.assumed.append((role, session_name, service))
        name = role.rpartition("/")[2]
        arn = f"arn:aws:sts::{caller.account}:assumed-role/{name}/{session_name}"
        return RoleSession(role, arn, "AROA", "ASIA", "secret", "token", self.clock.now() + seconds)


class Cloud:
    """Implements `Calls`: ours where there is one, else the fakes. `denied`: (role, service, operation)."""

    def __init__(self, clock: VirtualClock) -> None:
        self.fakes: list[Any] = [FakeServices(clock)]
        self.services: dict[str, Any] = {}
        self.denied: set[tuple[str, str, str]] = set()
        self.broken: dict[tuple[str, str], Callable[[Params], None]] = {}
        self.made: list[tuple[str, str, Params, Caller]] = []

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        self.made.append((service, operation, params, caller))
        if (caller.role, service, operation) in self.denied:
            text = f"User: {caller.arn} is not authorized to perform: {service}:{operation} on resource: *"
            raise AwsError("AccessDenied", text, 403)
        if (service, operation) in self.broken:
            self.broken[service, operation](params)
        if service in self.services:
            described = model(service)
            found = violations(described.operation_model(operation).input_shape, params)
            if found:
                raise AwsError("ValidationError", "; ".join(str(each) for each in found))
            result = self.services[service].operations[operation](caller, params)
            return await result if hasattr(result, "__await__") else result
        for fake in self.fakes:
            answer = getattr(fake, f"{service}_{operation}", None)
            if answer is not None:
                return answer(params, caller) or {}
        raise AwsError("NotImplemented", f"the test has no {service}:{operation}", 501)

    def asked(self, service: str, operation: str) -> list[Params]:
        return [params for s, o, params, _ in self.made if (s, o) == (service, operation)]


class Killed(BaseException):
    """Not an Exception: nothing in the cloud may handle it."""


class MortalDatabase(Database):
    """Dies before its nth write, and does not write any more after that."""

    def __init__(self, path: Path, die_at: int) -> None:
        self.left = -1
        self.dead = False
        super().__init__(path)
        self.left = die_at

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self.left -= 1
        if self.left == 0 or self.dead:
            self.dead = True
            raise Killed
        with super().write() as tx:
            yield tx


class World:
    """`async with World(path).running() as world`; may be run again, as after a restart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.repositories = FakeRepositories()
        self.buckets = FakeBuckets()
        self.builds = FakeBuilds(self.buckets)
        self.roles = FakeRoles(self.clock)
        self.calls = Cloud(self.clock)
        # Before those of CloudFormation, whose S3 holds templates only.
        self.calls.fakes[:0] = [self.buckets, self.builds]
        self.pipelines: CodePipeline
        self.database: MortalDatabase

    @asynccontextmanager
    async def running(self, die_at: int = 0) -> AsyncIterator[World]:
        """`die_at`: the write before which the process dies, whatever it has done in the world by then."""
        database = MortalDatabase(self.path, die_at)
        try:
            async with self._services(database):
                yield self
        finally:
            self.buckets.changed = []
            database.close()
            if database.dead:
                gc.collect()

    @asynccontextmanager
    async def _services(self, database: MortalDatabase) -> AsyncIterator[None]:
        shared: dict[str, Any] = {"database": database, "clock": self.clock, "log": quiet_log()}
        bindings = Bindings(**shared, repositories=self.repositories)
        self.bindings = bindings
        self.database = database
        stacks = CloudFormationApi(**shared, ids=Ids(), calls=self.calls)
        self.pipelines = CodePipeline(
            **shared,
            ids=Ids(),
            calls=self.calls,
            roles=self.roles,
            repositories=self.repositories,
            bound=bindings.path,
            watch=bindings.watch,
        )
        connections = {
            name: ConnectionsApi(name=name, **shared, ids=Ids(), any_bound=lambda: bindings.any)
            for name in ("codeconnections", "codestar-connections")
        }
        self.calls.services = {
            "cloudformation": stacks.service(),
            "codepipeline": self.pipelines.service(),
            **{name: each.service() for name, each in connections.items()},
        }
        self.buckets.changed = [self.pipelines.sources.wake]
        async with bindings, stacks, self.pipelines:
            yield

    @property
    def dead(self) -> bool:
        return self.database.dead

    # Calls

    async def call(self, operation: str, service: str = "codepipeline", **params: Any) -> Params:
        described = model(service)
        found = violations(described.operation_model(operation).input_shape, params)
        assert not found, found
        return await self.calls(service, operation, params, ROOT)

    async def refused(self, operation: str, **params: Any) -> AwsError:
        try:
            await self.call(operation, **params)
        except AwsError as error:
            return error
        raise AssertionError(f"{operation} was not refused")

    async def bind(self, name: str = "acme/app", path: str = "/checkout") -> str:
        commit = self.commit({"app.js": b"1"}, path=path)
        await self.bindings.bind(name, path)
        return commit

    def commit(self, files: dict[str, bytes], *, path: str = "/checkout", **more: Any) -> str:
        return self.repositories.commit_files(path, files, **more)

    async def create(self, declared: Params, **more: Any) -> None:
        await self.call("CreatePipeline", pipeline=declared, **more)

    async def start(self, name: str = "app", **params: Any) -> str:
        return (await self.call("StartPipelineExecution", name=name, **params))["pipelineExecutionId"]

    # What tests look at

    async def executions(self, name: str = "app") -> list[Params]:
        """Oldest first."""
        found = await self.call("ListPipelineExecutions", pipelineName=name)
        return list(reversed(found["pipelineExecutionSummaries"]))

    async def statuses(self, name: str = "app") -> list[str]:
        return [str(each["status"]) for each in await self.executions(name)]

    async def state(self, stage: str, name: str = "app") -> Params:
        found = await self.call("GetPipelineState", name=name)
        return next(each for each in found["stageStates"] if each["stageName"] == stage)

    async def action(self, stage: str, action: str, name: str = "app") -> Params:
        found = (await self.state(stage, name))["actionStates"]
        return next(each for each in found if each["actionName"] == action).get("latestExecution") or {}

    async def token(self, stage: str = "Approval", action: str = "Approve", name: str = "app") -> str:
        return (await self.action(stage, action, name))["token"]

    async def approve(self, status: str = "Approved", *, token: str = "", summary: str = "looks good") -> Params:
        return await self.call(
            "PutApprovalResult",
            pipelineName="app",
            stageName="Approval",
            actionName="Approve",
            result={"summary": summary, "status": status},
            token=token or await self.token(),
        )

    def rows(self, sql: str) -> list[Any]:
        return [tuple(row) for row in self.database.read(sql)]

    async def until(self, sql: str, *wanted: Any, limit: float = 600.0) -> None:
        """Let time pass until the rows of a query are the wanted ones."""
        try:
            await self.patient(lambda: self.rows(sql) == list(wanted), limit)
        except AssertionError:
            raise AssertionError(f"{self.rows(sql)} is not {list(wanted)}") from None

    async def patient(self, reached: Callable[[], bool], limit: float = 600.0) -> None:
        end = self.clock.now() + limit
        idle = 0
        while not reached():
            due = self.clock._next()
            if idle < 4:
                idle += 1
                await self.clock.idle()
            elif due is not None and due <= end:
                idle = 0
                await self.clock._jump(due)
            else:
                raise AssertionError(f"not reached within {limit} virtual seconds")

    def skip(self, seconds: float) -> None:
        """Let time pass at one go: what was due in between is due now."""
        self.clock._now += seconds

    async def settle(self, *statuses: str, limit: float = 600.0) -> None:
        """Let time pass until the executions, oldest first, have these statuses."""
        await self.until(
            "SELECT status FROM cp_execution ORDER BY seq", *((each,) for each in statuses), limit=limit
        )

    async def reach(self, stage: str, phase: str = "Actions", count: int = 1, limit: float = 600.0) -> None:
        """Let time pass until so many executions are in that phase of a stage."""
        sql = f"SELECT COUNT(*) FROM cp_stage WHERE stage = '{stage}' AND phase = '{phase}'"
        await self.until(sql, (count,), limit=limit)

    async def running_action(self, action: str, limit: float = 600.0) -> None:
        sql = f"SELECT status FROM cp_action WHERE action = '{action}' ORDER BY seq DESC LIMIT 1"
        await self.until(sql, ("InProgress",), limit=limit)
        await self.clock.idle()


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


# Declarations


def action(
    name: str,
    category: str,
    provider: str,
    configuration: dict[str, str] | None = None,
    *,
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    owner: str = "AWS",
    **more: Any,
) -> Params:
    made: Params = {
        "name": name,
        "actionTypeId": {"category": category, "owner": owner, "provider": provider, "version": "1"},
        "configuration": configuration or {},
    }
    if inputs:
        made["inputArtifacts"] = [{"name": each} for each in inputs]
    if outputs:
        made["outputArtifacts"] = [{"name": each} for each in outputs]
    return made | more


def github(name: str = "Fetch", output: str = "App", branch: str = "main", **more: str) -> Params:
    configuration = {"Owner": "acme", "Repo": "app", "Branch": branch, "OAuthToken": "hush"} | more
    return action(name, "Source", "GitHub", configuration, outputs=(output,), owner="ThirdParty")


def codebuild(name: str = "Build", **more: Any) -> Params:
    configuration = {"ProjectName": "web"} | more.pop("configuration", {})
    more = {"inputs": ("App",), "outputs": ("BuildOutput",)} | more
    return action(name, "Build", "CodeBuild", configuration, **more)


def manual(name: str = "Approve", **more: str) -> Params:
    return action(name, "Approval", "Manual", more)


def deploy(name: str = "Deploy", stack: str = "staging", **more: str) -> Params:
    configuration = {
        "ActionMode": "CREATE_UPDATE",
        "StackName": stack,
        "RoleArn": DEPLOY_ROLE,
        "TemplatePath": "App::service.template",
        "ParameterOverrides": '{"Tag": {"Fn::GetParam": ["BuildOutput", "build.json", "tag"]}}',
    } | more
    configuration = {key: value for key, value in configuration.items() if value}
    return action(name, "Deploy", "CloudFormation", configuration, inputs=("App", "BuildOutput"))


def stage(name: str, *actions: Params, **more: Any) -> Params:
    return {"name": name, "actions": list(actions)} | more


def pipeline(*stages: Params, name: str = "app", **more: Any) -> Params:
    made = {
        "name": name,
        "roleArn": ROLE,
        "artifactStore": {"type": "S3", "location": BUCKET},
        "stages": list(stages) or [stage("Source", github()), stage("Build", codebuild())],
    }
    return made | more


def delivery(**more: Any) -> Params:
    """From a commit over staging and approval to production."""
    return pipeline(
        stage("Source", github()),
        stage("Build", codebuild()),
        stage("Staging", deploy()),
        stage("Approval", manual()),
        stage("Production", deploy(stack="production")),
        **more,
    )


def template(**parameters: Any) -> bytes:
    """A stack whose one resource holds the tag."""
    return json.dumps(
        {
            "Parameters": {"Tag": {"Type": "String", "Default": "none"}} | parameters,
            "Resources": {
                "Value": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": {"Ref": "Tag"}}}
            },
            "Outputs": {"Tag": {"Value": {"Ref": "Tag"}}},
        }
    ).encode()

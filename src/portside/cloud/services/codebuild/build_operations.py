"""The operations on builds. A part of `CodeBuildApi`.

Writes what is wanted and wakes the build loop; nothing here waits for a build.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import PIPELINE_KEY, Caller, Params, operation
from portside.cloud.services.codebuild import answers, pages, records, specs
from portside.cloud.services.codebuild.project_operations import ProjectOperations
from portside.cloud.services.codebuild.records import Build, Project
from portside.cloud.services.codebuild.starting import Starter
from portside.cloud.services.codebuild.validate import invalid

TOKEN_SECONDS = 300.0


class BuildOperations(ProjectOperations):
    _database: Database
    _clock: Clock
    _ids: Ids
    _wake: Callable[[str], None]

    @operation("StartBuild")
    def start_build(self, caller: Caller, params: Params) -> Params:
        project = self._project(caller, str(params["projectName"]))
        token = str(params.get("idempotencyToken") or "")
        if token:
            since = self._clock.now() - TOKEN_SECONDS
            known = records.build_by_token(self._database, caller.region, project.name, token, since)
            if known is not None:
                if known.overrides != specs.overrides(params):
                    raise invalid("The idempotency token was used for a build with other parameters")
                return {"build": answers.build(known)}
        return {"build": answers.build(self._start(caller, project, params, token))}

    def _start(self, caller: Caller, project: Project, params: Params, token: str) -> Build:
        pipeline = params.get(PIPELINE_KEY)
        spec = specs.build_spec(project, specs.with_whole_role(params, "serviceRoleOverride", caller.account))
        with self._database.write() as tx:
            build = Starter(ids=self._ids, clock=self._clock).start(
                tx,
                project,
                caller.account,
                spec,
                initiator=f"codepipeline/{pipeline['pipeline']}" if pipeline else _initiator(caller),
                source_version=_source_version(spec, pipeline),
                overrides=specs.overrides(params),
                pipeline=pipeline,
                token=token,
            )
            tx.after_commit(lambda: self._wake(build.id))
        return build

    @operation("RetryBuild")
    def retry_build(self, caller: Caller, params: Params) -> Params:
        if not params.get("id"):
            raise invalid("The id of a build must be given")
        old = self._build(caller, str(params["id"]))
        if old.pipeline is not None:
            raise invalid(f"Build {old.id} was started by a pipeline; retry the stage of the pipeline instead")
        if not old.complete:
            raise invalid(f"Build {old.id} is still in progress and cannot be retried")
        project = self._project(caller, old.project)
        return {"build": answers.build(self._start(caller, project, dict(old.overrides), ""))}

    @operation("StopBuild")
    def stop_build(self, caller: Caller, params: Params) -> Params:
        with self._database.write() as tx:
            build = self._build(caller, str(params["id"]))
            if not build.complete and build.stop_asked_at is None:
                build = replace(build, stop_asked_at=self._clock.now())
                records.save_build(tx, build)
                tx.after_commit(lambda: self._wake(build.id))
        return {"build": answers.build(build)}

    @operation("BatchGetBuilds")
    def batch_get_builds(self, caller: Caller, params: Params) -> Params:
        found, missing = [], []
        for given in dict.fromkeys(params["ids"]):
            build = records.build(self._database, _build_id(caller, given))
            if build is None or build.region != caller.region:
                missing.append(given)
            else:
                found.append(answers.build(build))
        return {"builds": found, "buildsNotFound": missing}

    @operation("ListBuilds")
    def list_builds(self, caller: Caller, params: Params) -> Params:
        ids = pages.ordered(records.build_ids(self._database, caller.region), params)
        shown, token = pages.page(ids, params)
        return {"ids": shown, "nextToken": token}

    @operation("ListBuildsForProject")
    def list_builds_for_project(self, caller: Caller, params: Params) -> Params:
        project = self._project(caller, str(params["projectName"]))
        ids = pages.ordered(records.build_ids(self._database, caller.region, project.name), params)
        shown, token = pages.page(ids, params)
        return {"ids": shown, "nextToken": token}

    @operation("BatchDeleteBuilds")
    def batch_delete_builds(self, caller: Caller, params: Params) -> Params:
        deleted: list[str] = []
        kept: list[Params] = []
        with self._database.write() as tx:
            for given in dict.fromkeys(params["ids"]):
                self._delete(tx, caller, given, deleted, kept)
        return {"buildsDeleted": deleted, "buildsNotDeleted": kept}

    def _delete(self, tx: Transaction, caller: Caller, given: str, deleted: list[str], kept: list[Params]) -> None:
        build = records.build(tx, _build_id(caller, given))
        if build is None or build.region != caller.region:
            kept.append({"id": given, "statusCode": "BUILD_NOT_FOUND"})
        elif not build.complete:
            kept.append({"id": given, "statusCode": "BUILD_IN_PROGRESS"})
        else:
            records.delete_build(tx, build.id)
            deleted.append(build.arn)

    def _build(self, caller: Caller, given: str) -> Build:
        build = records.build(self._database, _build_id(caller, given))
        if build is None or build.region != caller.region:
            raise AwsError("ResourceNotFoundException", f"Build cannot be found: {given}")
        return build


def _build_id(caller: Caller, given: str) -> str:
    return given.removeprefix(f"arn:aws:codebuild:{caller.region}:{caller.account}:build/")


def _initiator(caller: Caller) -> str:
    """The user's name, or ROLE/SESSION."""
    _, _, name = caller.arn.rpartition(":")
    kind, slash, rest = name.partition("/")
    return rest.rpartition("/")[2] if slash and kind == "user" else rest if slash else name


def _source_version(spec: Params, pipeline: Params | None) -> str:
    if pipeline is not None:
        first = pipeline["sources"][0] if pipeline.get("sources") else None
        return f"arn:aws:s3:::{first['bucket']}/{first['key']}" if first else ""
    return str(spec.get("sourceVersion") or "")

"""Build and test actions: a build of a CodeBuild project.

The build is started with the action's id as its token, so that it is the same build if it is started again after a
crash. docs/decisions/0011-delivery.md says what is handed over.
"""

from __future__ import annotations

import json
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import PIPELINE_KEY, Params
from portside.cloud.services.codepipeline.actions.job import (
    ActionFailure,
    Job,
    Outcome,
    Running,
    Succeeded,
    passing,
    permitted,
)
from portside.cloud.services.codepipeline.records import Artifact

EVERY = 0.15


class CodeBuild:
    async def advance(self, job: Job) -> Outcome:
        if not job.run.external_id:
            return await self._start(job)
        answer = await job.call("codebuild", "BatchGetBuilds", {"ids": [job.run.external_id]})
        found = answer.get("builds") or []
        if not found:
            raise ActionFailure(f"Build {job.run.external_id} of {job.where} does not exist any more.")
        build = found[0]
        status = str(build["buildStatus"])
        if status == "IN_PROGRESS":
            return Running(EVERY)
        if status != "SUCCEEDED":
            raise ActionFailure(_reason(build, status))
        exported = {
            str(each["name"]): str(each.get("value") or "")
            for each in build.get("exportedEnvironmentVariables") or ()
        }
        return Succeeded(variables=exported, artifacts=await self._written(job))

    async def _written(self, job: Job) -> tuple[Artifact, ...]:
        """The output artifacts that are there: a build specification may declare fewer than the action."""
        found = []
        for each in _outputs(job):
            try:
                await job.calls("s3", "HeadObject", {"Bucket": each.bucket, "Key": each.key}, job.account)
            except AwsError as error:
                if error.status not in (403, 404):
                    raise
            else:
                found.append(each)
        return tuple(found)

    async def _start(self, job: Job) -> Outcome:
        project = job.configuration["ProjectName"]
        primary = job.configuration.get("PrimarySource") or (job.action.inputs[0] if job.action.inputs else "")
        names = sorted(job.action.inputs, key=lambda name: name != primary)
        sources = [
            {"identifier": each.name, "bucket": each.bucket, "key": each.key, "revision": each.revision}
            for each in (job.input(name) for name in names)
        ]
        artifacts = [
            {"identifier": each.name, "bucket": each.bucket, "key": each.key, "revision": ""}
            for each in _outputs(job)
        ]
        params: Params = {
            "projectName": project,
            "idempotencyToken": job.run.id,
            PIPELINE_KEY: {"pipeline": job.pipeline.name, "sources": sources, "artifacts": artifacts},
        }
        variables = _environment(job)
        if variables:
            params["environmentVariablesOverride"] = variables
        try:
            answer = await job.call("codebuild", "StartBuild", params)
        except AwsError as error:
            if passing(error):
                raise
            code = "ConfigurationError" if permitted(error) else "PermissionError"
            raise ActionFailure(f"Error calling startBuild: {error.message}", code) from error
        return Running(EVERY, external_id=str(answer["build"]["id"]))

    async def stop(self, job: Job) -> None:
        if job.run.external_id:
            await job.call("codebuild", "StopBuild", {"id": job.run.external_id})


def _outputs(job: Job) -> tuple[Artifact, ...]:
    return tuple(Artifact(name, *job.place(name)) for name in job.action.outputs)


def _environment(job: Job) -> list[Params]:
    text = job.configuration.get("EnvironmentVariables")
    if not text:
        return []
    try:
        given: Any = json.loads(text)
        return [
            {"name": str(each["name"]), "value": str(each["value"]), "type": str(each.get("type") or "PLAINTEXT")}
            for each in given
        ]
    except (ValueError, TypeError, KeyError):
        raise ActionFailure(
            f"EnvironmentVariables of {job.where} is not a JSON array of objects with name and value.",
            "ConfigurationError",
        ) from None


def _reason(build: Params, status: str) -> str:
    """`Build terminated with state: FAILED`, and what the phase that failed says."""
    for phase in build.get("phases") or ():
        if phase.get("phaseStatus") in ("FAILED", "FAULT", "TIMED_OUT", "STOPPED", "CLIENT_ERROR"):
            for context in phase.get("contexts") or ():
                message = context.get("message")
                if message:
                    return (
                        f"Build terminated with state: {status}. Phase: {phase['phaseType']}, "
                        f"Code: {context.get('statusCode') or ''}, Message: {message}"
                    )
    return f"Build terminated with state: {status}"

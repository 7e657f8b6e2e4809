"""From what a client sends to what is kept: a project with its defaults, and a build with the overrides of its
start.

Pure. `answers.py` is the way back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from portside.cloud.services.calls import PIPELINE_KEY, Params
from portside.cloud.services.codebuild.records import Project
from portside.cloud.services.codebuild.validate import check, invalid, not_offered

MEMBERS = (
    "description", "source", "secondarySources", "sourceVersion", "secondarySourceVersions", "artifacts",
    "secondaryArtifacts", "cache", "environment", "serviceRole", "timeoutInMinutes", "queuedTimeoutInMinutes",
    "encryptionKey", "tags", "vpcConfig", "badgeEnabled", "logsConfig", "fileSystemLocations", "buildBatchConfig",
    "concurrentBuildLimit", "autoRetryLimit",
)  # fmt: skip

ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")
ENGINE_IMAGES = "aws/codebuild/docker:"

# Parameter of StartBuild -> where in the project it goes.
_OVERRIDES = {
    "sourceTypeOverride": ("source", "type"),
    "sourceLocationOverride": ("source", "location"),
    "sourceAuthOverride": ("source", "auth"),
    "gitCloneDepthOverride": ("source", "gitCloneDepth"),
    "gitSubmodulesConfigOverride": ("source", "gitSubmodulesConfig"),
    "buildspecOverride": ("source", "buildspec"),
    "insecureSslOverride": ("source", "insecureSsl"),
    "reportBuildStatusOverride": ("source", "reportBuildStatus"),
    "buildStatusConfigOverride": ("source", "buildStatusConfig"),
    "environmentTypeOverride": ("environment", "type"),
    "imageOverride": ("environment", "image"),
    "computeTypeOverride": ("environment", "computeType"),
    "certificateOverride": ("environment", "certificate"),
    "privilegedModeOverride": ("environment", "privilegedMode"),
    "registryCredentialOverride": ("environment", "registryCredential"),
    "imagePullCredentialsTypeOverride": ("environment", "imagePullCredentialsType"),
    "fleetOverride": ("environment", "fleet"),
    "hostKernelOverride": ("environment", "hostKernel"),
    "secondarySourcesOverride": ("", "secondarySources"),
    "secondarySourcesVersionOverride": ("", "secondarySourceVersions"),
    "artifactsOverride": ("", "artifacts"),
    "secondaryArtifactsOverride": ("", "secondaryArtifacts"),
    "cacheOverride": ("", "cache"),
    "serviceRoleOverride": ("", "serviceRole"),
    "timeoutInMinutesOverride": ("", "timeoutInMinutes"),
    "queuedTimeoutInMinutesOverride": ("", "queuedTimeoutInMinutes"),
    "encryptionKeyOverride": ("", "encryptionKey"),
    "logsConfigOverride": ("", "logsConfig"),
    "autoRetryLimitOverride": ("", "autoRetryLimit"),
    "sourceVersion": ("", "sourceVersion"),
}


def project_spec(name: str, given: Params, present: Mapping[str, Any], key: str) -> Params:
    """The project as it is kept. `present` is what an update alters; `key` the default of encryptionKey."""
    spec: Params = dict(present) | {member: given[member] for member in MEMBERS if given.get(member) is not None}
    if spec.get("concurrentBuildLimit", 0) < 0:  # how a client takes the limit off
        del spec["concurrentBuildLimit"]
    defaults: Params = {
        "timeoutInMinutes": 60,
        "queuedTimeoutInMinutes": 480,
        "encryptionKey": key,
        "cache": {"type": "NO_CACHE"},
        "tags": [],
    }
    spec = defaults | spec
    spec["source"] = _source(spec["source"])
    spec["artifacts"] = _artifacts(spec["artifacts"], name)
    for member, complete in (("secondarySources", _source), ("secondaryArtifacts", _secondary)):
        if spec.get(member):
            spec[member] = [complete(each) for each in spec[member]]
    environment = {"privilegedMode": False, "imagePullCredentialsType": "CODEBUILD"} | spec["environment"]
    environment["environmentVariables"] = [
        {"type": "PLAINTEXT"} | each for each in environment.get("environmentVariables") or []
    ]
    spec["environment"] = environment
    check(spec)
    return spec


def with_whole_role(params: Params, member: str, account: str) -> Params:
    """The call with the role's ARN where it gives the bare name, as `Ref` of a role does in templates."""
    given = str(params.get(member) or "")
    if not ROLE_NAME.fullmatch(given):
        return params
    return params | {member: f"arn:aws:iam::{account}:role/{given}"}


def drives_an_engine(environment: Mapping[str, Any]) -> bool:
    """Whether a build gets an engine's socket.

    The first images for Docker started an engine before there was a setting for it: projects that name one come
    without privilegedMode.
    """
    return bool(environment.get("privilegedMode")) or str(environment.get("image", "")).startswith(ENGINE_IMAGES)


def _source(given: Params) -> Params:
    return {"insecureSsl": False} | given


def _artifacts(given: Params, name: str) -> Params:
    if given["type"] != "S3":
        return given
    return {"namespaceType": "NONE", "packaging": "NONE", "name": name, "encryptionDisabled": False} | given


def _secondary(given: Params) -> Params:
    return _artifacts(given, given.get("artifactIdentifier") or "")


def overrides(params: Params) -> Params:
    """What a start alters, kept for a retry."""
    return {
        name: value
        for name, value in params.items()
        if name in (*_OVERRIDES, "environmentVariablesOverride") and value is not None
    }


def build_spec(project: Project, params: Params) -> Params:
    """The project's settings with the overrides of StartBuild. Raises InvalidInputException."""
    spec: Params = {**project.spec}
    for name, (part, member) in _OVERRIDES.items():
        value = params.get(name)
        if value is None:
            continue
        if part:
            spec[part] = {**spec[part], member: value}
        else:
            spec[member] = value
    other = params.get("sourceTypeOverride") not in (None, project.spec["source"]["type"])
    if other and not params.get("sourceLocationOverride"):
        # The location belongs to the source that was overridden.
        spec["source"] = {key: value for key, value in spec["source"].items() if key != "location"}
    given = params.get("environmentVariablesOverride")
    if given:
        names = {each["name"] for each in given}
        kept = [each for each in spec["environment"]["environmentVariables"] if each["name"] not in names]
        spec["environment"] = {**spec["environment"], "environmentVariables": [*kept, *given]}
    if params.get("debugSessionEnabled"):
        raise not_offered("debug sessions (debugSessionEnabled)")
    spec = project_spec(project.name, spec, {}, spec["encryptionKey"])
    if spec["source"]["type"] == "CODEPIPELINE" and PIPELINE_KEY not in params:
        raise invalid(
            "The source and the artifacts of this project come from AWS CodePipeline. A build of it outside of a "
            "pipeline needs sourceTypeOverride and artifactsOverride"
        )
    return spec

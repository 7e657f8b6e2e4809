"""What a project may look like: AWS's rules, and what this cloud does not offer, each refused by its name.

Pure. Works on the documents of the API; the shapes themselves (types, lengths, known values) are checked
before, from botocore's model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_]{1,254}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_]{1,128}")
GIT = frozenset({"CODECOMMIT", "GITHUB", "GITHUB_ENTERPRISE", "BITBUCKET", "GITLAB", "GITLAB_SELF_MANAGED"})
ENVIRONMENTS = ("LINUX_CONTAINER", "ARM_CONTAINER")
MOST_SECONDARY = 12
TIMEOUT = (5, 2160)
QUEUED_TIMEOUT = (5, 480)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")


def invalid(message: str) -> AwsError:
    return AwsError("InvalidInputException", message)


def not_offered(what: str) -> AwsError:
    return invalid(f"portside's local cloud does not offer {what}")


def check(spec: Params) -> None:
    """A whole project, as it would be kept. Raises InvalidInputException."""
    source, artifacts = spec["source"], spec["artifacts"]
    _source(source, "source")
    _artifacts(artifacts, "artifacts")
    if (source["type"] == "CODEPIPELINE") != (artifacts["type"] == "CODEPIPELINE"):
        raise invalid("Source and artifacts must both be of type CODEPIPELINE, or neither of them")
    secondary = spec.get("secondarySources") or []
    others = spec.get("secondaryArtifacts") or []
    _identified(secondary, "secondarySources", "sourceIdentifier")
    _identified(others, "secondaryArtifacts", "artifactIdentifier")
    for each in secondary:
        _source(each, "secondarySources")
        if each["type"] in ("CODEPIPELINE", "NO_SOURCE"):
            raise invalid(f"Secondary sources cannot be of type {each['type']}")
    for each in others:
        _artifacts(each, "secondaryArtifacts")
        if each["type"] == "NO_ARTIFACTS":
            raise invalid("Secondary artifacts cannot be of type NO_ARTIFACTS")
    known = {each["sourceIdentifier"] for each in secondary}
    for each in spec.get("secondarySourceVersions") or []:
        if each["sourceIdentifier"] not in known:
            raise invalid(f"There is no secondary source with the identifier {each['sourceIdentifier']}")
    _environment(spec["environment"])
    if not _ROLE.fullmatch(spec.get("serviceRole") or ""):
        raise invalid(f"Invalid service role: {spec.get('serviceRole') or ''}. It must be the ARN of a role")
    _range(spec.get("timeoutInMinutes"), TIMEOUT, "timeoutInMinutes")
    _range(spec.get("queuedTimeoutInMinutes"), QUEUED_TIMEOUT, "queuedTimeoutInMinutes")
    if (spec.get("concurrentBuildLimit") or 0) < 0:
        raise invalid("Invalid concurrent build limit: it must be 1 or more")
    _cache(spec.get("cache") or {})
    s3_logs = (spec.get("logsConfig") or {}).get("s3Logs") or {}
    if s3_logs.get("status") == "ENABLED" and not s3_logs.get("location"):
        raise invalid("Invalid logsConfig: S3 logs need a location")
    if spec.get("badgeEnabled"):
        raise not_offered("build badges (badgeEnabled)")
    if spec.get("fileSystemLocations"):
        raise not_offered("file systems in builds (fileSystemLocations)")
    if (spec.get("environment") or {}).get("registryCredential"):
        raise not_offered("credentials of other registries (registryCredential)")
    if spec.get("buildBatchConfig"):
        raise not_offered("batch builds (buildBatchConfig)")
    if (spec.get("autoRetryLimit") or 0) < 0:
        raise invalid("Invalid auto-retry limit: it must be 0 or more")


def _identified(given: Iterable[Params], place: str, key: str) -> None:
    found = [each.get(key) or "" for each in given]
    if len(found) > MOST_SECONDARY:
        raise invalid(f"Invalid {place}: at most {MOST_SECONDARY} are possible")
    for identifier in found:
        if not _IDENTIFIER.fullmatch(identifier):
            raise invalid(f"Invalid {place}: {key} must be given, and consist of letters, digits and underscores")
    if len(set(found)) != len(found):
        raise invalid(f"Invalid {place}: each {key} can be used once only")


def _source(source: Params, place: str) -> None:
    kind, location = source["type"], source.get("location") or ""
    buildspec = source.get("buildspec") or ""
    if kind == "NO_SOURCE" and not is_inline(buildspec):
        raise invalid("Invalid project source: type NO_SOURCE needs a buildspec that is given inline")
    if kind in ("CODEPIPELINE", "NO_SOURCE") and location:
        raise invalid(f"Invalid project source: location must not be given for type {kind}")
    if kind == "S3" and (not location.strip("/").partition("/")[2] or location.startswith(("s3://", "arn:"))):
        raise invalid("Invalid project source: location must be BUCKET/PATH of a ZIP file or of a folder/")
    if kind in GIT and not location:
        raise invalid(f"Invalid project source: location must be given for type {kind}")
    if (source.get("gitSubmodulesConfig") or {}).get("fetchSubmodules"):
        raise not_offered("Git submodules (gitSubmodulesConfig.fetchSubmodules)")


def _artifacts(artifacts: Params, place: str) -> None:
    kind, location = artifacts["type"], artifacts.get("location") or ""
    if kind == "S3" and (not location or "/" in location.removeprefix("arn:aws:s3:::")):
        raise invalid("Invalid artifacts: location must be the name of a bucket for type S3")
    if kind == "NO_ARTIFACTS" and location:
        raise invalid("Invalid artifacts: location must not be given for type NO_ARTIFACTS")


def _environment(environment: Params) -> None:
    kind = environment["type"]
    if kind not in ENVIRONMENTS:
        raise not_offered(f"the environment type {kind}, only {' and '.join(ENVIRONMENTS)}")
    for name in ("fleet", "computeConfiguration", "dockerServer", "certificate", "hostKernel"):
        if environment.get(name):
            raise not_offered(f"environment.{name}")
    variables(environment.get("environmentVariables") or [])


def variables(given: Iterable[Params]) -> None:
    names = [each["name"] for each in given]
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise invalid(f"Invalid environment variable name: {name}")
        if name.startswith("CODEBUILD_"):
            raise invalid(
                f"Invalid environment variable name: {name}. Names that start with CODEBUILD_ are reserved"
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid(f"Environment variables must be unique: {', '.join(twice)}")


def _cache(cache: Params) -> None:
    kind = cache.get("type") or "NO_CACHE"
    if kind == "S3" and not cache.get("location"):
        raise invalid("Invalid cache: location must be given for type S3")
    if kind == "LOCAL" and not cache.get("modes"):
        raise invalid("Invalid cache: at least one mode must be given for type LOCAL")
    if cache.get("cacheNamespace"):
        raise not_offered("cache.cacheNamespace")


def _range(value: int | None, bounds: tuple[int, int], name: str) -> None:
    if value is not None and not bounds[0] <= value <= bounds[1]:
        raise invalid(f"Invalid {name}: {value}. It must be from {bounds[0]} to {bounds[1]}")


def is_inline(buildspec: str) -> bool:
    """A document, not the path or ARN of one."""
    return "\n" in buildspec.strip() or ":" in buildspec.removeprefix("arn:aws:s3:::")

"""AWS's words: the errors and records of the ECR API, as values.

Pure. Used by the three parts of the API: `api.py` (repositories), `image_operations.py`, `layer_operations.py`.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.ecr import records
from portside.cloud.services.ecr.names import repository_arn, repository_uri
from portside.cloud.services.ecr.records import Image, Reader, Repository


def broken_constraint(parameter: str, constraint: str) -> AwsError:
    return AwsError(
        "InvalidParameterException",
        f"Invalid parameter at '{parameter}' failed to satisfy constraint: '{constraint}'",
    )


def invalid(found: list[Violation]) -> AwsError:
    """ECR reports the first broken constraint, in words of its own."""
    first = found[0]
    text = first.constraint
    pattern = text.removeprefix("Member must satisfy regular expression pattern: ")
    if pattern != text:
        text = f"must satisfy regular expression '{pattern}'"
    elif text.startswith("Member must "):
        text = text.removeprefix("Member ")
    return broken_constraint(first.path, text)


def page(found: list[Params], params: Params, limit: int = 100) -> tuple[list[Params], str | None]:
    """A page of results and the token of the next one."""
    token = str(params.get("nextToken") or "0")
    if not token.isdigit():
        raise broken_constraint("nextToken", "must be a token that an earlier call returned")
    start = int(token)
    end = start + int(params.get("maxResults") or limit)
    return found[start:end], str(end) if end < len(found) else None


def repository_of(reader: Reader, caller: Caller, params: Params) -> Repository:
    """The repository that a call is about. AWS looks at the registry's id first."""
    name = str(params["repositoryName"])
    registry = params.get("registryId") or caller.account
    found = records.repository(reader, caller.region, name) if registry == caller.account else None
    if found is None:
        raise AwsError(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id '{registry}'",
        )
    return found


def described_repository(caller: Caller, record: Repository) -> Params:
    answer: Params = {
        "repositoryArn": repository_arn(caller.account, record.region, record.name),
        "registryId": caller.account,
        "repositoryName": record.name,
        "repositoryUri": repository_uri(caller.account, record.region, record.name),
        "createdAt": record.created_at,
        "imageTagMutability": record.mutability,
        "imageScanningConfiguration": {"scanOnPush": record.scan_on_push},
        "encryptionConfiguration": dict(record.encryption),
    }
    if record.exclusions:
        answer["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": each} for each in record.exclusions
        ]
    return answer


def described_image(caller: Caller, image: Image) -> Params:
    return {
        "registryId": caller.account,
        "repositoryName": image.repository,
        "imageDigest": image.digest,
        "imageTags": list(image.tags) or None,
        "imageSizeInBytes": image.size,
        "imagePushedAt": image.pushed_at,
        "imageManifestMediaType": image.media_type,
        "artifactMediaType": image.artifact_type,
        "lastRecordedPullTime": image.pulled_at,
        "subjectManifestDigest": image.subject,
        "imageStatus": "ACTIVE",
    }


def whole_image(caller: Caller, image: Image, tag: str | None) -> Params:
    identifier = {"imageDigest": image.digest}
    if tag is not None:
        identifier["imageTag"] = tag
    return {
        "registryId": caller.account,
        "repositoryName": image.repository,
        "imageId": identifier,
        "imageManifest": image.manifest.decode(),
        "imageManifestMediaType": image.media_type,
    }


def failure(identifier: Any, code: str, reason: str) -> Params:
    return {"imageId": identifier, "failureCode": code, "failureReason": reason}


def where(caller: Caller, repository: Repository) -> Params:
    return {"registryId": caller.account, "repositoryName": repository.name}


def in_registry(caller: Caller, repository: Repository) -> str:
    return f"the repository with name '{repository.name}' in registry with id '{caller.account}'"

"""The variables of a build: those of CodeBuild itself, of the project, and of the build specification.

Pure. Where the values of stored variables come from is `stored_values.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portside.cloud.services.calls import RoleSession
from portside.cloud.services.codebuild.answers import log_place
from portside.cloud.services.codebuild.buildspec import Buildspec
from portside.cloud.services.codebuild.records import Build

PARAMETER_STORE = "PARAMETER_STORE"
SECRETS_MANAGER = "SECRETS_MANAGER"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Variables by name: plain values, and references to a parameter or a secret."""

    plain: Mapping[str, str]
    parameters: Mapping[str, str]
    secrets: Mapping[str, str]

    @property
    def hidden(self) -> frozenset[str]:
        return frozenset(self.parameters) | frozenset(self.secrets)


def wanted(build: Build, spec: Buildspec) -> Wanted:
    """The project's variables, with the overrides of the start, win over those of the build specification."""
    kinds: dict[str, tuple[str, str]] = {name: ("PLAINTEXT", value) for name, value in spec.variables.items()}
    kinds |= {name: (PARAMETER_STORE, value) for name, value in spec.parameters.items()}
    kinds |= {name: (SECRETS_MANAGER, value) for name, value in spec.secrets.items()}
    for each in build.spec["environment"].get("environmentVariables") or []:
        kinds[each["name"]] = (each.get("type") or "PLAINTEXT", each["value"])

    def of(kind: str) -> dict[str, str]:
        return {name: value for name, (each, value) in kinds.items() if each == kind}

    return Wanted(of("PLAINTEXT"), of(PARAMETER_STORE), of(SECRETS_MANAGER))


def own(build: Build, directories: Mapping[str, str], *, image: str, kms_key: str) -> dict[str, str]:
    """What CodeBuild sets. `directories` are the sources' by identifier, the primary one's by the empty text."""
    place = log_place(build)
    found = {
        "HOME": "/root",
        "AWS_DEFAULT_REGION": build.region,
        "AWS_REGION": build.region,
        "CODEBUILD_BUILD_ARN": build.arn,
        "CODEBUILD_BUILD_ID": build.id,
        "CODEBUILD_BUILD_IMAGE": image,
        "CODEBUILD_BUILD_NUMBER": str(build.number),
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_CI": "true",
        "CODEBUILD_INITIATOR": build.initiator,
        "CODEBUILD_KMS_KEY_ID": kms_key,
        "CODEBUILD_LOG_PATH": place[1] if place is not None else "",
        "CODEBUILD_SOURCE_REPO_URL": build.repository_url,
        "CODEBUILD_SOURCE_VERSION": build.source_version,
        "CODEBUILD_START_TIME": str(int(build.started_at * 1000)),
        "CI": "true",
    }
    if build.resolved_version:
        found["CODEBUILD_RESOLVED_SOURCE_VERSION"] = build.resolved_version
    for identifier, directory in directories.items():
        found[f"CODEBUILD_SRC_DIR_{identifier}" if identifier else "CODEBUILD_SRC_DIR"] = directory
    return found


def credentials(session: RoleSession, endpoint: str) -> dict[str, str]:
    """How AWS clients in the container act for the service role, and where they find the cloud."""
    found = {
        "AWS_ACCESS_KEY_ID": session.access_key,
        "AWS_SECRET_ACCESS_KEY": session.secret_key,
        "AWS_SESSION_TOKEN": session.token,
    }
    return found | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})

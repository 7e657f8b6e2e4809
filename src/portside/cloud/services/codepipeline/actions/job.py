"""What an action is told, what it can do with artifacts, and how it says where it stands.

Owns the vocabulary between `action_loop.py` and the providers in this folder. A provider's `advance` takes one
step and may be run twice: what it must find again it hands back as `note`, which is written down before the next
step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.codepipeline import archives
from portside.cloud.services.codepipeline.records import ActionRun, Artifact, Execution, Pipeline, Revision
from portside.cloud.services.codepipeline.structure import Action, Structure

PERMISSION = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403", "Forbidden"}
)
LARGEST_INPUT = 256 * archives.MIB


class ActionFailure(Exception):
    """The action cannot succeed. `code` as in errorDetails: JobFailed, ConfigurationError, PermissionError, ..."""

    def __init__(self, message: str, code: str = "JobFailed") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Running:
    """Look again after so many seconds, or when woken. None leaves what is known as it is."""

    seconds: float
    external_id: str | None = None
    note: Params | None = None
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    summary: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    revision: Revision | None = None
    external_id: str | None = None


Outcome = Running | Succeeded


@dataclass(frozen=True, slots=True)
class Job:
    """`caller` acts as the action's role, `account` as the account itself. Artifacts that a crash left half
    written are written anew under the same key."""

    calls: Calls
    ids: Ids
    caller: Caller
    account: Caller
    pipeline: Pipeline
    structure: Structure
    execution: Execution
    action: Action
    run: ActionRun
    configuration: Mapping[str, str]
    now: float

    @property
    def where(self) -> str:
        return f"action {self.action.name} in stage {self.run.stage}"

    def flag(self, key: str, default: bool) -> bool:
        text = self.configuration.get(key, "").lower()
        return text == "true" if text else default

    async def call(self, service: str, operation: str, params: Params) -> Params:
        return await self.calls(service, operation, params, self.caller)

    # Artifacts

    def input(self, name: str) -> Artifact:
        for each in self.run.inputs:
            if each.name == name:
                return each
        raise ActionFailure(
            f"Input artifact {name} of {self.where} does not exist: the action that makes it has written none.",
            "ConfigurationError",
        )

    async def fetch(self, artifact: Artifact) -> bytes:
        """The archive of an input artifact."""
        place = {"Bucket": artifact.bucket, "Key": artifact.key}
        try:
            size = int((await self.call("s3", "HeadObject", place)).get("ContentLength") or 0)
            if size > LARGEST_INPUT:
                raise ActionFailure(
                    f"Artifact {artifact.name} of {self.where} has {size} bytes; {LARGEST_INPUT} are allowed."
                )
            return bytes((await self.call("s3", "GetObject", place))["Body"])
        except AwsError as error:
            raise bucket_failure(error, artifact.bucket, f"artifact {artifact.name}") from error

    async def file(self, name: str, path: str, most: int = archives.LARGEST_FILE) -> bytes:
        """One file of an input artifact."""
        data = await self.fetch(self.input(name))
        try:
            return archives.read(data, path, most)
        except archives.NoSuchFile:
            raise ActionFailure(f"File {path} not found in artifact {name} of {self.where}.") from None
        except archives.BadArchive as error:
            raise ActionFailure(f"Artifact {name} of {self.where} {error}.") from None

    def place(self, name: str, suffix: str = "") -> tuple[str, str]:
        """Bucket and key of an output artifact. The end of the key follows from the action's id, so that a second
        attempt after a crash writes to the same place."""
        end = self.run.id.replace("-", "")[:7]
        return self.structure.bucket, f"{self.pipeline.name[:20]}/{name[:10]}/{end}{suffix}"

    async def store(self, name: str, data: bytes, revision: str = "", suffix: str = ".zip") -> Artifact:
        """Write an output artifact."""
        bucket, key = self.place(name, suffix)
        try:
            await self.call(
                "s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": data, "ContentType": "application/zip"}
            )
        except AwsError as error:
            raise bucket_failure(error, bucket, f"artifact {name}") from error
        return Artifact(name, bucket, key, revision)


class Provider(Protocol):
    async def advance(self, job: Job) -> Outcome:
        """One step. Raises ActionFailure, or AwsError as the service answered."""
        ...

    async def stop(self, job: Job) -> None:
        """Break off, after a time-out. May do nothing."""
        ...


def permitted(error: AwsError) -> bool:
    return error.code not in PERMISSION and "is not authorized to perform" not in error.message


def passing(error: AwsError) -> bool:
    """Worth another attempt."""
    return error.status in (500, 502, 503, 504) or error.code in (
        "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown",
    )  # fmt: skip


def bucket_failure(error: AwsError, bucket: str, what: str) -> Exception:
    """What to raise when S3 says no."""
    if passing(error):
        return error
    if not permitted(error):
        return ActionFailure(
            "The service role or action role doesn't have the permissions required to access the Amazon S3 bucket "
            f"named {bucket}. Update the IAM role permissions, and then try again. Error: "
            f"{error.message or error.code}",
            "PermissionError",
        )
    if error.code in ("NoSuchBucket", "NoSuchKey", "404", "NotFound", "NoSuchVersion"):
        return ActionFailure(
            f"The Amazon S3 bucket named {bucket} does not hold {what}: {error.message or error.code}",
            "ConfigurationError",
        )
    return ActionFailure(f"Amazon S3, bucket {bucket}, {what}: {error.code}: {error.message}", "JobFailed")

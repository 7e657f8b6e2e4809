"""Source actions that read a git repository: connections, GitHub (version 1) and CodeCommit.

The repository is a checkout on this machine that is bound to the name; it is read, never written. What an
execution was started for, a commit, is what it gets; without one the head of the branch.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Protocol

from portside.cloud.machine.repositories import Bound, Commit, Repositories, RepositoryError
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.codepipeline import archives
from portside.cloud.services.codepipeline.actions.job import ActionFailure, Job, Outcome, Succeeded
from portside.cloud.services.codepipeline.records import Revision
from portside.cloud.services.codepipeline.structure import Action

CLONE_REF = "codebuild-clone-ref.json"
LONGEST_SUMMARY = 2048


def repository_of(action: Action) -> tuple[str, str]:
    """The repository's name, as it is bound, and the branch."""
    given = action.configuration
    match action.provider:
        case "CodeStarSourceConnection":
            return given["FullRepositoryId"], given["BranchName"]
        case "GitHub":
            return f"{given['Owner']}/{given['Repo']}", given["Branch"]
        case _:
            return given["RepositoryName"], given["BranchName"]


class Permit(Protocol):
    """Whether a session may do what is no call. Raises AwsError."""

    async def __call__(self, access_key: str, action: str, resource: str, region: str) -> None: ...


class GitSource:
    def __init__(self, repositories: Repositories, bound: Bound, permit: Permit | None = None) -> None:
        self._permit = permit
        self._repositories = repositories
        self._bound = bound

    async def advance(self, job: Job) -> Outcome:
        name, branch = self._named(job)
        if job.action.provider == "CodeStarSourceConnection":
            await self._connection(job)
        path = self._bound(name)
        if path is None:
            raise ActionFailure(
                f"No checkout on this machine stands for the repository {name} of {job.where}. Bind one: "
                f"portside connect {name} PATH",
                "ConfigurationError",
            )
        try:
            return await self._read(job, name, branch, path)
        except RepositoryError as error:
            raise ActionFailure(
                f"The repository {name} of {job.where}, {path}: {error.reason}", "RevisionUnavailable"
            ) from error

    def _named(self, job: Job) -> tuple[str, str]:
        given = job.configuration
        match job.action.provider:
            case "CodeStarSourceConnection":
                return given["FullRepositoryId"], given["BranchName"]
            case "GitHub":
                return f"{given['Owner']}/{given['Repo']}", given["Branch"]
            case _:
                return given["RepositoryName"], given["BranchName"]

    async def _connection(self, job: Job) -> None:
        """The connection has to be there, and the role has to be allowed to use it. Using one is no call; looking
        it up, which on AWS needs no permission, is the account's."""
        arn = job.configuration["ConnectionArn"]
        service = arn.split(":")[2] if arn.count(":") >= 5 else "codeconnections"
        if service not in ("codeconnections", "codestar-connections"):
            service = "codeconnections"
        try:
            await job.calls(service, "GetConnection", {"ConnectionArn": arn}, job.account)
        except AwsError as error:
            raise ActionFailure(
                f"The connection {arn} of {job.where} cannot be used: {error.message}", "ConfigurationError"
            ) from error

        if self._permit is None:
            return
        try:
            await self._permit(job.caller.access_key, f"{service}:UseConnection", arn, job.caller.region)
        except AwsError as error:
            raise ActionFailure(
                f"Unable to use Connection: {arn}. The provided role does not have sufficient permissions. "
                f"{error.message}",
                "PermissionError",
            ) from error

    async def _read(self, job: Job, name: str, branch: str, path: str) -> Outcome:
        override = job.execution.overrides.get(job.action.name)
        wanted = (
            override.value if override is not None and override.kind == "COMMIT_ID" else f"refs/heads/{branch}"
        )
        if override is not None and override.ref.startswith("refs/heads/"):
            branch = override.ref.removeprefix("refs/heads/")
        commit = await self._repositories.commit(path, await self._repositories.resolve(path, wanted))
        if job.configuration.get("OutputArtifactFormat") == "CODEBUILD_CLONE_REF":
            reference = {"repository": name, "commit": commit.id, "branch": branch}
            data = archives.pack({CLONE_REF: json.dumps(reference).encode()})
        else:
            data = await self._archive(path, commit)
        artifact = await job.store(job.action.outputs[0], data, commit.id)
        return Succeeded(
            summary=commit.message[:LONGEST_SUMMARY],
            variables=_variables(job, name, branch, commit),
            artifacts=(artifact,),
            revision=Revision(commit.id, commit.id, commit.message[:LONGEST_SUMMARY], job.now),
        )

    async def _archive(self, path: str, commit: Commit) -> bytes:
        with tempfile.TemporaryDirectory(prefix="portside-source-") as directory:
            target = Path(directory) / "source.zip"
            await self._repositories.archive(path, commit.id, target)
            return target.read_bytes()

    async def stop(self, job: Job) -> None:
        return None


def _variables(job: Job, name: str, branch: str, commit: Commit) -> dict[str, str]:
    values = {
        "AuthorDate": commit.author_date,
        "BranchName": branch,
        "CommitId": commit.id,
        "CommitMessage": commit.message,
    }
    if job.action.provider == "CodeStarSourceConnection":
        return values | {"ConnectionArn": job.configuration["ConnectionArn"], "FullRepositoryName": name}
    values |= {"CommitterDate": commit.committer_date, "RepositoryName": name.rpartition("/")[2]}
    if job.action.provider == "GitHub":
        values["CommitUrl"] = f"https://github.com/{name}/commit/{commit.id}"
    return values

"""Which pushes and changes start a pipeline, by its declaration.

Pure. A trigger of the declaration decides for its source action alone; without one it is the branch of the source
action, unless changes are not to be detected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline import patterns
from portside.cloud.services.codepipeline.actions.git_source import repository_of
from portside.cloud.services.codepipeline.records import Webhook
from portside.cloud.services.codepipeline.structure import Action, Structure

GIT = frozenset({"CodeStarSourceConnection", "GitHub", "CodeCommit"})
BRANCH, TAG = "refs/heads/", "refs/tags/"


@dataclass(frozen=True, slots=True)
class Start:
    """Start an execution: because of what, and for which source action."""

    action: str
    kind: str
    detail: str


def detects(action: Action) -> bool:
    """Whether changes are looked for without anybody telling."""
    key = "DetectChanges" if action.provider == "CodeStarSourceConnection" else "PollForSourceChanges"
    return action.configuration.get(key, "true").lower() != "false"


def repositories(structure: Structure) -> set[str]:
    return {repository_of(each)[0] for each in structure.sources if each.provider in GIT}


def pushed(
    structure: Structure, repository: str, ref: str, files: tuple[str, ...] | None, webhooks: list[Webhook]
) -> list[Start]:
    """The starts that a push to a repository causes; at most one an action."""
    found = []
    for action in structure.sources:
        if action.provider not in GIT or repository_of(action)[0].lower() != repository.lower():
            continue
        trigger = next(
            (each for each in structure.triggers if each["gitConfiguration"]["sourceActionName"] == action.name),
            None,
        )
        start = (
            _filtered(action, trigger["gitConfiguration"], ref, files)
            if trigger is not None
            else _by_branch(structure, action, ref, webhooks)
        )
        if start is not None:
            found.append(start)
    return found


def _filtered(action: Action, git: Params, ref: str, files: tuple[str, ...] | None) -> Start | None:
    filters = git.get("push") or [{"branches": {"includes": [repository_of(action)[1]]}}]
    if any(_meant(each, ref, files) for each in filters):
        return Start(action.name, "WebhookV2", action.configuration["ConnectionArn"])
    return None


def _meant(push: Params, ref: str, files: tuple[str, ...] | None) -> bool:
    if push.get("tags"):
        return ref.startswith(TAG) and patterns.picked(push["tags"], ref.removeprefix(TAG))
    if not ref.startswith(BRANCH):
        return False
    branches, paths = push.get("branches") or {}, push.get("filePaths")
    return patterns.picked(branches, ref.removeprefix(BRANCH)) and (not paths or patterns.touched(paths, files))


def _by_branch(structure: Structure, action: Action, ref: str, webhooks: list[Webhook]) -> Start | None:
    branch = repository_of(action)[1]
    if action.provider == "GitHub":
        for each in webhooks:
            definition = each.definition
            if (definition["targetPipeline"], definition["targetAction"]) == (structure.name, action.name) and (
                _hooked(action, definition["filters"], ref)
            ):
                return Start(action.name, "Webhook", each.name)
    if ref != BRANCH + branch or not detects(action):
        return None
    if action.provider == "CodeStarSourceConnection":
        return Start(action.name, "WebhookV2", action.configuration["ConnectionArn"])
    return Start(action.name, "PollForSourceChanges", action.name)


def _hooked(action: Action, filters: list[Params], ref: str) -> bool:
    """Whether a webhook's filters let a push of `ref` pass. All else that a delivery would hold is not there."""
    known: dict[str, Any] = {"$.ref": ref}
    for each in filters:
        wanted = each.get("matchEquals") or ""
        for key, value in action.configuration.items():
            wanted = wanted.replace("{" + key + "}", value)
        if known.get(each["jsonPath"]) != wanted:
            return False
    return True


# Events, for rules to match


def commit_event(arn: str, ref: str, commit: str, repository: str, *, new: bool) -> Params:
    kind = "tag" if ref.startswith(TAG) else "branch"
    return {
        "source": "aws.codecommit",
        "detail-type": "CodeCommit Repository State Change",
        "resources": [arn],
        "detail": {
            "event": "referenceCreated" if new else "referenceUpdated",
            "referenceType": kind,
            "referenceName": ref.removeprefix(BRANCH).removeprefix(TAG),
            "referenceFullName": ref,
            "commitId": commit,
            "repositoryName": repository,
        },
    }


def object_events(bucket: str, key: str, version: str) -> list[Params]:
    """A new object as S3 tells of it, and as CloudTrail does."""
    return [
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "resources": [f"arn:aws:s3:::{bucket}"],
            "detail": {
                "bucket": {"name": bucket},
                "object": {"key": key, "version-id": version},
                "reason": "PutObject",
            },
        },
        {
            "source": "aws.s3",
            "detail-type": "AWS API Call via CloudTrail",
            "resources": [f"arn:aws:s3:::{bucket}"],
            "detail": {
                "eventSource": "s3.amazonaws.com",
                "eventName": "PutObject",
                "requestParameters": {"bucketName": bucket, "key": key},
            },
        },
    ]


def image_event(repository: str, tag: str, digest: str) -> Params:
    return {
        "source": "aws.ecr",
        "detail-type": "ECR Image Action",
        "resources": [],
        "detail": {
            "action-type": "PUSH",
            "result": "SUCCESS",
            "repository-name": repository,
            "image-tag": tag,
            "image-digest": digest,
        },
    }

"""What approving would change: the image, the commits since the one that runs, and the template.

Read from what the waiting execution brought (its artifacts and its build's variables) and from the stacks that
the next stages deploy, as they are now.
"""

from __future__ import annotations

import difflib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portside.deploy import deployment, pipeline
from portside.deploy.api import Aws
from portside.deploy.errors import DeployError
from portside.deploy.pipeline import APPROVAL, Action, Commit, Execution, Picture

LARGEST_ARTIFACT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Image:
    """`digest` is empty where the registry has no image of that tag."""

    tag: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """One stack: as it is (`now`, None where there is no stack) and as it would be."""

    stack: str
    now: Image | None
    then: Image
    commits: tuple[Commit, ...]
    complete: bool
    template: str
    template_unknown: str = ""

    @property
    def same_image(self) -> bool:
        return self.now is not None and bool(self.now.digest) and self.now.digest == self.then.digest


# Commits after the first and up to the second, newest first; None if the place does not know them.
Log = Callable[[str, str], tuple[Commit, ...] | None]


def previews(aws: Aws, picture: Picture, action: Action, repository: str, log: Log | None = None) -> list[Preview]:
    """One for every stack that is deployed between this approval and the next."""
    stage = picture.stage(action.stage)
    assert stage is not None
    execution = picture.execution(stage.execution)
    runs = pipeline.runs(aws, picture.name, execution.id)
    return [
        _preview(aws, picture, execution, each, runs, repository, log) for each in _deployments(picture, action)
    ]


def _deployments(picture: Picture, approval: Action) -> list[Action]:
    names = [stage.name for stage in picture.stages]
    found: list[Action] = []
    for stage in picture.stages[names.index(approval.stage) + 1 :]:
        if any(action.category == APPROVAL for action in stage.actions):
            break
        found += [action for action in stage.actions if action.provider == "CloudFormation"]
    return found


def _preview(
    aws: Aws,
    picture: Picture,
    execution: Execution,
    action: Action,
    runs: list[dict[str, Any]],
    repository: str,
    log: Log | None,
) -> Preview:
    stack = action.configuration["StackName"]
    record = deployment.find(aws, stack)
    now = None
    if record is not None:
        tag = deployment.parameters(record).get("Tag", "")
        now = Image(tag, digest(aws, repository, tag))
    then = built(runs) or execution.commit.id
    commits, complete = _commits(aws, picture, execution, now.tag if now else "", log)
    try:
        template, unknown = _template(aws, action, runs, record is not None), ""
    except DeployError as error:
        template, unknown = "", str(error)
    return Preview(stack, now, Image(then, digest(aws, repository, then)), commits, complete, template, unknown)


def built(runs: list[dict[str, Any]]) -> str:
    """The tag that the execution's build says it made."""
    for row in runs:
        if row["input"]["actionTypeId"]["category"] == "Build":
            tag = (row.get("output", {}).get("outputVariables") or {}).get("TAG")
            if tag:
                return str(tag)
    return ""


def digest(aws: Aws, repository: str, tag: str) -> str:
    if not tag:
        return ""
    try:
        with aws.errors(f"the image {tag} cannot be looked up"):
            rows = aws.client("ecr").describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except DeployError:
        return ""
    return str(rows["imageDetails"][0]["imageDigest"]) if rows["imageDetails"] else ""


def _commits(
    aws: Aws, picture: Picture, execution: Execution, running: str, log: Log | None
) -> tuple[tuple[Commit, ...], bool]:
    """From the checkout if there is one, else from what the pipeline brought; and whether that is all of them."""
    if log is not None and running:
        found = log(running, execution.commit.id)
        if found is not None:
            return found, True
    commits: dict[str, Commit] = {}
    reached = False
    for each in pipeline.executions(aws, picture.name, pipeline.HISTORY):
        if not commits and each.id != execution.id:
            continue  # newer than the one that waits
        if each.commit.id and each.commit.id == running:
            reached = True
            break
        if each.commit.id:
            commits.setdefault(each.commit.id, each.commit)
    return tuple(commits.values()), reached


def _template(aws: Aws, action: Action, runs: list[dict[str, Any]], present: bool) -> str:
    """The difference as a unified diff, empty if there is none."""
    artifact, _, path = action.configuration.get("TemplatePath", "").partition("::")
    new = _text(_member(aws, runs, artifact, path).decode("utf-8", "replace"))
    old: list[str] = []
    if present:
        with aws.errors("the present template cannot be read"):
            stack = action.configuration["StackName"]
            body = aws.client("cloudformation").get_template(StackName=stack)["TemplateBody"]
        old = _text(body if isinstance(body, str) else json.dumps(body))
    return "\n".join(difflib.unified_diff(old, new, "now", "then", lineterm="", n=2))


def _text(template: str) -> list[str]:
    """Lines to compare. JSON is written one way, whoever wrote it."""
    try:
        return json.dumps(json.loads(template), indent=2).splitlines()
    except ValueError:
        return template.splitlines()


def _member(aws: Aws, runs: list[dict[str, Any]], artifact: str, path: str) -> bytes:
    place = next(
        (
            row["s3location"]
            for run in runs
            for row in run.get("output", {}).get("outputArtifacts") or []
            if row["name"] == artifact
        ),
        None,
    )
    if place is None:
        raise DeployError(f"the template cannot be read: the execution has no artifact {artifact}")
    with aws.errors(f"the artifact {artifact} cannot be read"):
        answer = aws.client("s3").get_object(Bucket=place["bucket"], Key=place["key"])
        if answer["ContentLength"] > LARGEST_ARTIFACT:
            raise DeployError(f"the template cannot be read: the artifact {artifact} is too large")
        content = answer["Body"].read()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(path)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DeployError(f"the template cannot be read: {artifact} holds no {path}") from error

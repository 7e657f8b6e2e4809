"""Builds of a CodeBuild project, and what they print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portside.deploy.api import Aws, error_code
from portside.deploy.errors import DeployError, NotAccepted

MOST_AT_ONCE = 100
IN_PROGRESS = "IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    status: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Build:
    """`group` and `stream` are empty until the build has a log."""

    id: str
    number: int
    status: str
    phase: str
    commit: str
    initiator: str
    started: datetime | None
    ended: datetime | None
    phases: tuple[Phase, ...] = ()
    group: str = ""
    stream: str = ""

    @property
    def live(self) -> bool:
        return self.status == IN_PROGRESS

    @property
    def broken(self) -> Phase | None:
        """The phase that it failed in."""
        return next((p for p in self.phases if p.status not in ("", "SUCCEEDED", IN_PROGRESS, "QUEUED")), None)


def find(aws: Aws, build_id: str) -> Build:
    with aws.errors(f"the build {build_id} cannot be read"):
        answer = aws.client("codebuild").batch_get_builds(ids=[build_id])
    if not answer["builds"]:
        raise DeployError(f"there is no build {build_id}", "", "`portside build list` names them.")
    return _build(answer["builds"][0])


def newest(aws: Aws, project: str, most: int) -> list[Build]:
    """Newest first."""
    client = aws.client("codebuild")
    try:
        with aws.errors(f"the builds of {project} cannot be listed"):
            ids = client.list_builds_for_project(projectName=project, sortOrder="DESCENDING").get("ids", [])
            rows = client.batch_get_builds(ids=ids[: min(most, MOST_AT_ONCE)])["builds"] if ids else []
    except NotAccepted as error:
        if error_code(error.__cause__ or error) == "ResourceNotFoundException":
            raise DeployError(f"there is no project {project}", "", "Make it with `portside up`.") from None
        raise
    found = {row["id"]: _build(row) for row in rows}
    return [found[each] for each in ids if each in found]


def stop_all(aws: Aws, project: str) -> None:
    """Ends what runs; a project that does not exist has nothing to end."""
    try:
        running = [each for each in newest(aws, project, MOST_AT_ONCE) if each.live]
    except DeployError:
        return
    for each in running:
        with aws.errors(f"the build {each.id} cannot be stopped"):
            aws.client("codebuild").stop_build(id=each.id)


def tail(aws: Aws, build: Build, most: int) -> list[str]:
    """The last lines that a build printed; none while it has no log."""
    return last_lines(aws, build.group, build.stream, most)


def last_lines(aws: Aws, group: str, stream: str, most: int) -> list[str]:
    """The last lines of one stream. What cannot be read is left out."""
    if not group or not stream:
        return []
    try:
        with aws.errors("the output cannot be read"):
            answer = aws.client("logs").get_log_events(
                logGroupName=group, logStreamName=stream, limit=most, startFromHead=False
            )
    except DeployError:
        return []
    return [row["message"].rstrip("\n") for row in answer["events"]]


def follow(aws: Aws, build_id: str) -> Iterator[str]:
    """Every line of a build, until it has ended and all was read."""
    token = ""
    while True:
        # The status is read before the lines, so that a build seen at its end has had all its lines read.
        build = find(aws, build_id)
        lines, token = _more(aws, build, token)
        yield from lines
        if not build.live and not lines:
            return
        if not lines:
            aws.clock.sleep(aws.target.poll)


def everything(aws: Aws, build_id: str) -> list[str]:
    """Every line that a build has printed until now."""
    build = find(aws, build_id)
    found: list[str] = []
    token = ""
    while True:
        lines, token = _more(aws, build, token)
        if not lines:
            return found
        found += lines


def _more(aws: Aws, build: Build, token: str) -> tuple[list[str], str]:
    if not build.group or not build.stream:
        return [], token
    asked: dict[str, Any] = {"logGroupName": build.group, "logStreamName": build.stream, "startFromHead": True}
    if token:
        asked["nextToken"] = token
    try:
        with aws.errors("the build's output cannot be read"):
            answer = aws.client("logs").get_log_events(**asked)
    except NotAccepted as error:
        if error_code(error.__cause__ or error) == "ResourceNotFoundException":  # named, but nothing written yet
            return [], token
        raise
    return [row["message"].rstrip("\n") for row in answer["events"]], answer["nextForwardToken"]


def _build(row: dict[str, Any]) -> Build:
    logs = row.get("logs") or {}
    return Build(
        row["id"],
        row.get("buildNumber") or 0,
        row["buildStatus"],
        row.get("currentPhase") or "",
        row.get("resolvedSourceVersion") or "",
        row.get("initiator") or "",
        row.get("startTime"),
        row.get("endTime"),
        tuple(
            Phase(
                phase["phaseType"],
                phase.get("phaseStatus") or "",
                "; ".join(
                    f"{context.get('statusCode', '')}: {context.get('message', '')}".strip(": ")
                    for context in phase.get("contexts") or []
                    if context.get("message")
                ),
            )
            for phase in row.get("phases") or []
        ),
        logs.get("groupName") or "",
        logs.get("streamName") or "",
    )

"""portside down: take an app's environment away, dependents first, and say what is kept and why."""

from __future__ import annotations

import os
from typing import Any

import typer

from portside.cli import down_delivery
from portside.cli.context import Work, place
from portside.cli.stacks import report
from portside.cli.terminal import Board, Terminal
from portside.cloud import process
from portside.cloud import settings as cloud_settings
from portside.deploy import buckets, deployment, registry
from portside.deploy.deployment import Progress
from portside.deploy.errors import DeployError, StackFailed
from portside.deploy.events import StackEvent
from portside.image import provision

ATTEMPTS = 3


def down(terminal: Terminal, work: Work, yes: bool) -> None:
    """Deletes service, load balancer, cluster and repository of this app and environment, as far as nobody else
    uses them, and the pipeline with all that was made for it when no other environment was asked for by name. On
    the local cloud, the cloud itself goes with the last stack."""
    app = work.app
    plan = down_delivery.plan(work)
    wanted = [
        *(app.service_stack(environment) for environment in plan.environments),
        *([app.pipeline_stack, app.build_stack] if plan.pipeline else []),
        *(app.load_balancer_stack(environment) for environment in plan.environments),
        *(app.cluster_stack(environment) for environment in plan.environments),
        app.repository_stack,
    ]
    present = {name: record for name in wanted if (record := deployment.find(work.aws, name)) is not None}
    if present and work.running is None and not yes:
        terminal.say(f"This deletes {', '.join(present)} on {work.aws.target.name}, with all images.")
        if not typer.confirm("Go on?", err=True):
            raise typer.Exit(1)
    kept: list[str] = []
    with terminal.board() as board:
        if plan.pipeline:
            down_delivery.halt(board, work)
        for name, record in present.items():
            users = _used_by(work, record)
            if users:
                kept.append(name)
                board.put(name, name, "stack", "kept", note=f"used by {', '.join(users)}")
                continue
            board.put(name, name, "stack", "deleting")
            _delete(board, work, name, record)
            board.put(name, name, "stack", "deleted")
        if plan.pipeline:
            down_delivery.disconnect(board, work)
    if not present:
        terminal.say(f"{app.name} has nothing in {work.environment}.")
    for note in plan.notes:
        terminal.say(note)
    if work.running is not None and not kept:
        _leave(terminal, work)


def _delete(board: Board, work: Work, name: str, record: dict[str, Any]) -> None:
    """What CloudFormation deletes only when it is empty is emptied first; again if something came in between."""

    def happened(event: StackEvent) -> None:
        report(board, name, event)

    for attempt in range(ATTEMPTS):
        if name == work.app.repository_stack:
            registry.empty(work.aws, work.app.repository)
        bucket = deployment.outputs(record).get("ArtifactBucket", "")
        if bucket:
            buckets.empty(work.aws, bucket)
        try:
            deployment.delete(work.aws, name, Progress(happened=happened))
        except StackFailed as error:
            if bucket and attempt + 1 < ATTEMPTS:
                continue
            board.put(name, name, "stack", "not deleted", failed=True, note=error.why)
            raise
        return


def _used_by(work: Work, record: dict[str, Any]) -> list[str]:
    """The stacks that import something of this one."""
    cloudformation = work.aws.client("cloudformation")
    users: set[str] = set()
    for row in record.get("Outputs", []):
        name = row.get("ExportName")
        if not name:
            continue
        try:
            with work.aws.errors("the imports cannot be read"):
                users.update(cloudformation.list_imports(ExportName=name)["Imports"])
        except DeployError as error:
            if "is not imported" not in str(error):
                raise
    return sorted(users)


def _leave(terminal: Terminal, work: Work) -> None:
    """The local cloud goes once nothing is left in it, and so does an engine that was started for it."""
    with work.aws.errors("the stacks cannot be listed"):
        pages = work.aws.client("cloudformation").get_paginator("list_stacks").paginate()
        left = [
            row["StackName"]
            for page in pages
            for row in page["StackSummaries"]
            if row["StackStatus"] != "DELETE_COMPLETE"
        ]
    if left:
        terminal.say(f"The local cloud stays, for it still holds {', '.join(sorted(left))}.")
        return
    home = place()
    process.stop(home, cloud_settings.read(home, os.environ))
    terminal.say("The local cloud is stopped.")
    if provision.stop(home.directory):
        terminal.say("The container engine that was started for it is stopped.")

"""One stack on the board: what it needs, how its deployment goes, event by event."""

from __future__ import annotations

import os

from portside.blueprint.synth import Synthesised
from portside.cli.context import Work
from portside.cli.terminal import Board, kind, words
from portside.deploy import deployment, network
from portside.deploy.changeset import Change
from portside.deploy.deployment import Outcome, Progress, Stack
from portside.deploy.errors import DeployError
from portside.deploy.events import StackEvent

OURS = ("repository", "service", "build", "pipeline")


def parameters(work: Work, stack: Synthesised, given: dict[str, str]) -> dict[str, str]:
    """A value for everything that the template asks for."""
    values = dict(given)
    if {"VpcId", "PublicSubnet"} & {*stack.parameters}:
        found = network.find(work.aws)
        values |= {"VpcId": found.vpc, "PublicSubnet": ",".join(found.subnets)}
    if "RepoName" in stack.parameters:
        values["RepoName"] = work.app.repository
    missing = [name for name in stack.parameters if name not in values]
    if missing:
        raise DeployError(f"{stack.stack} needs a value for {missing[0]}, and there is none")
    return values


def deploy(
    board: Board,
    work: Work,
    stack: Synthesised,
    values: dict[str, str],
    tags: dict[str, str] | None = None,
) -> Outcome:
    title = stack.stack
    board.put(title, title, f"{stack.kind} stack", "comparing")

    def planned(name: str, new: bool, changes: tuple[Change, ...]) -> None:
        count = f"{len(changes)} resource{'s' if len(changes) != 1 else ''}"
        board.put(title, title, f"{stack.kind} stack, {count}", "creating" if new else "updating")

    def happened(event: StackEvent) -> None:
        report(board, title, event)

    own = {"portside:app": work.app.name} if stack.kind in OURS else {}
    wanted = Stack(
        name=stack.stack,
        template=stack.template,
        parameters=values,
        capabilities=stack.capabilities,
        tags=own | (tags or {}),
    )
    try:
        outcome = deployment.deploy(
            work.aws,
            wanted,
            Progress(planned, happened),
            token=os.urandom(6).hex(),
        )
    except DeployError as error:
        board.put(title, title, f"{stack.kind} stack", "failed", failed=True, note=error.what)
        raise
    board.put(title, title, f"{stack.kind} stack", outcome.action)
    return outcome


def report(board: Board, stack: str, event: StackEvent) -> None:
    """One stack event as a line of progress."""
    if event.about_stack:
        return
    key = f"{stack}/{event.logical_id}"
    note = event.reason if event.failed else ""
    board.put(key, f"  {event.logical_id}", kind(event.type), words(event.status), failed=event.failed, note=note)

"""portside up: from the directory of an app to its URL.

The repository, cluster and load balancer first, then the image and the service that runs it, each only if it
differs from what is there already. The order and the templates come from the blueprint, the work is done by
`deploy` and `image`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from portside.blueprint.synth import Synthesised, stacks
from portside.cli.context import Work
from portside.cli.terminal import Board, Terminal, kind, words
from portside.deploy import deployment, network, registry, verify
from portside.deploy.changeset import Change
from portside.deploy.deployment import Outcome, Progress, Stack
from portside.deploy.errors import DeployError
from portside.deploy.events import StackEvent
from portside.image import debian, provision
from portside.image.builder import Builder, Login, base_of
from portside.image.context import Context
from portside.image.errors import ImageError
from portside.image.upload import out_of_reach, upload

TAG_LENGTH = 16


def up(terminal: Terminal, work: Work) -> bool:
    """True if anything was changed."""
    app, aws = work.app, work.aws
    made = stacks(app, work.environment)
    outcomes: list[Outcome] = []
    context = Context(work.directory / app.settings.build.context, app.settings.build.dockerfile)
    tag = context.digest(app.settings.build.args)[:TAG_LENGTH]
    with terminal.board() as board:
        pushed = False
        for stack in made:
            if stack.kind == "service":
                pushed = _image(board, work, context, tag)
            values = _parameters(work, stack, tag)
            outcomes.append(_deploy(board, work, stack, values))
        changed = pushed or any(outcome.action != "unchanged" for outcome in outcomes)
        url = next((o.outputs["URL"] for o in outcomes if "URL" in o.outputs), "")
        service = outcomes[-1].stack
        if changed:
            board.put("answer", app.name, "behind the load balancer", "waiting")
        running = verify.wait_until_answering(aws, service, tag)
        if changed:
            board.put("answer", app.name, f"{running} of {running} targets", "healthy")
    if not changed:
        terminal.say(
            f"Nothing to change: {app.name} in {work.environment} is as portside.toml and the sources say."
        )
    terminal.data(url)
    return changed


def _parameters(work: Work, stack: Synthesised, tag: str) -> dict[str, str]:
    values: dict[str, str] = {}
    if {"VpcId", "PublicSubnet"} & {*stack.parameters}:
        found = network.find(work.aws)
        values |= {"VpcId": found.vpc, "PublicSubnet": ",".join(found.subnets)}
    for name in stack.parameters:
        match name:
            case "RepoName":
                values[name] = work.app.repository
            case "Tag":
                values[name] = tag
            case _ if name not in values:
                raise DeployError(f"{stack.stack} needs a value for {name}, and there is none")
    return values


def _deploy(board: Board, work: Work, stack: Synthesised, values: dict[str, str]) -> Outcome:
    title = stack.stack
    board.put(title, title, f"{stack.kind} stack", "comparing")

    def planned(name: str, new: bool, changes: tuple[Change, ...]) -> None:
        count = f"{len(changes)} resource{'s' if len(changes) != 1 else ''}"
        board.put(title, title, f"{stack.kind} stack, {count}", "creating" if new else "updating")

    def happened(event: StackEvent) -> None:
        report(board, title, event)

    wanted = Stack(
        name=stack.stack,
        template=stack.template,
        parameters=values,
        capabilities=stack.capabilities,
        tags={"portside:app": work.app.name} if stack.kind in ("repository", "service") else {},
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


def _image(board: Board, work: Work, context: Context, tag: str) -> bool:
    """Build and push the image unless the registry has it. True if it was pushed."""
    repository = registry.find(work.aws, work.app.repository)
    if registry.has(work.aws, work.app.repository, tag):
        board.put("image", "image", f"{work.app.repository}:{tag}", "unchanged")
        return False
    board.put("image", "image", f"{work.app.repository}:{tag}", "building")
    engine = provision.ensure(Path(), install=False, say=board.print)
    # On the local cloud the registry answers on its own port; on AWS under its own name.
    server = f"{work.running.address}:{work.running.port}" if work.running else repository.uri.split("/", 1)[0]
    name = f"{server}/{work.app.repository}"
    token = registry.login(work.aws)
    try:
        digest = asyncio.run(
            _build_and_push(board, engine, work, context, name, tag, Login(token.username, token.password, server))
        )
    except ImageError as error:
        board.put("image", "image", f"{work.app.repository}:{tag}", "failed", failed=True, note=error.what)
        raise
    board.put("image", "image", f"{work.app.repository}:{tag} {digest[:19]}", "pushed")
    return True


async def _build_and_push(
    board: Board, engine: str, work: Work, context: Context, name: str, tag: str, login: Login
) -> str:
    settings = work.app.settings.build
    detail = f"{work.app.repository}:{tag}"
    async with Builder(engine) as builder:
        arguments = dict(settings.args)
        if settings.node_base_argument and settings.node_base_argument not in arguments:
            arguments |= await _base(board, builder, context, settings.node_base_argument)

        def step(line: str) -> None:
            if line.startswith("Step "):
                board.put("image", "image", f"{detail} {line.split(':', 1)[-1].strip()[:40]}", "building")

        await builder.build(context.archive(), context.dockerfile, f"{name}:{tag}", arguments, step)
        board.put("image", "image", detail, "pushing")
        try:
            return await builder.push(name, tag, login)
        except ImageError as error:
            if work.running is None or not out_of_reach(error):
                raise
        return await upload(builder, f"{name}:{tag}", work.app.repository, tag, login)


async def _base(board: Board, builder: Builder, context: Context, argument: str) -> dict[str, str]:
    """Nothing if the Dockerfile's own base image is to be had, else one made of Debian packages."""
    public = base_of((context.root / context.dockerfile).read_text(encoding="utf-8"), argument)
    if not public or await builder.present(public):
        return {}
    try:
        await builder.pull(public)
    except ImageError as error:
        name = debian.reference()
        board.put(
            "base", "base image", public, "not to be had", note=error.why.splitlines()[0] if error.why else ""
        )
        board.put("debian", "base image", f"{name}, of Debian packages", "making")
        made = await debian.ensure(builder)
        board.put("debian", "base image", f"{name}, of Debian packages", "ready")
        return {argument: made}
    return {}

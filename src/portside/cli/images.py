"""The app's image on the developer's side: built and pushed, and with which base image."""

from __future__ import annotations

import asyncio
from pathlib import Path

from portside.cli.context import Work
from portside.cli.terminal import Board
from portside.deploy import registry
from portside.image import debian, provision
from portside.image.builder import Builder, Login, base_of
from portside.image.context import Context
from portside.image.errors import ImageError
from portside.image.upload import out_of_reach, upload


def build(board: Board, work: Work, context: Context, tag: str) -> bool:
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
            arguments |= await _base_arguments(board, builder, context, settings.node_base_argument)

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


async def _base_arguments(board: Board, builder: Builder, context: Context, argument: str) -> dict[str, str]:
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


def base_arguments(board: Board, work: Work, context: Context) -> dict[str, str]:
    """The arguments that a build on this machine takes for its base image; none if it is to be had."""
    settings = work.app.settings.build
    if not settings.node_base_argument or settings.node_base_argument in settings.args:
        return {}
    engine = provision.ensure(Path(), install=False, say=board.print)
    return asyncio.run(_ask_base(board, engine, context, settings.node_base_argument))


async def _ask_base(board: Board, engine: str, context: Context, argument: str) -> dict[str, str]:
    async with Builder(engine) as builder:
        return await _base_arguments(board, builder, context, argument)

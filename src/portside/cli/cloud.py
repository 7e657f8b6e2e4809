"""portside cloud: start, stop, look at and forget the local cloud."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from portside.cli.context import place
from portside.cli.examples import examples
from portside.cli.exits import UNREACHABLE, Failure
from portside.cli.terminal import Terminal
from portside.cloud import process
from portside.cloud import settings as cloud_settings

commands = typer.Typer(
    no_args_is_help=True,
    help="The local cloud: start, stop, status, reset, env.",
    epilog=examples("portside cloud start", 'eval "$(portside cloud env)"', "portside cloud status"),
)


@commands.command(epilog=examples('portside cloud start && eval "$(portside cloud env)"'))
def start() -> None:
    """Start the local cloud in the background."""
    from portside.cli import background

    background.start()


@commands.command(epilog=examples("portside cloud stop"))
def stop() -> None:
    """Stop the local cloud, its containers and its processes. What is stored stays."""
    from portside.cli import background

    background.stop()


@commands.command(epilog=examples("portside cloud status", "portside cloud status --json"))
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether the local cloud runs, where, and with what. Exits with 5 if it does not run."""
    terminal = Terminal()
    home = place()
    running = process.find(home)
    if running is None:
        if as_json:
            terminal.json({"running": False, "home": str(home.directory)})
        else:
            terminal.fail(
                Failure(
                    5,
                    "the local cloud does not run",
                    "it was killed, and may have left containers" if process.left_over(home) else "",
                    "Start it with `portside cloud start`.",
                )
            )
        raise typer.Exit(5)
    size = _directory_size(home.state)
    if as_json:
        terminal.json(
            {
                "running": True,
                "endpoint": running.endpoint,
                "pid": running.pid,
                "id": running.id,
                "region": running.region,
                "account": running.account,
                "home": str(home.directory),
                "state_bytes": size,
                "authority": str(home.authority) if home.authority.exists() else None,
            }
        )
        return
    terminal.data(f"endpoint  {running.endpoint}")
    terminal.data(f"region    {running.region}")
    terminal.data(f"account   {running.account}")
    terminal.data(f"process   {running.pid}")
    terminal.data(f"state     {home.state} ({size / 1048576:.1f} MiB)")
    terminal.data(f"log       {home.log}")
    if home.authority.exists():
        terminal.data(f"trust     {home.authority} (issues the certificates that ACM is asked for)")


@commands.command(epilog=examples("portside cloud reset", "portside cloud reset --yes"))
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the local cloud and forget everything in it: stacks, images, logs."""
    home = place()
    if not yes and not typer.confirm(f"Forget everything in {home.state}?", err=True):
        raise typer.Exit(1)
    process.reset(home, cloud_settings.read(home, os.environ))
    Terminal().say("The local cloud is empty.")


@commands.command(epilog=examples('eval "$(portside cloud env)" && aws ecs list-clusters'))
def env() -> None:
    """Print the variables that point AWS clients and docker at the local cloud, for eval."""
    from portside.cli import background

    if not background.env():
        raise typer.Exit(UNREACHABLE)


def _directory_size(directory: os.PathLike[str]) -> int:
    total = 0
    for root, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118
            except FileNotFoundError:
                continue
    return total

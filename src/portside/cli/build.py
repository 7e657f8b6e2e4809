"""portside build: options and help of the commands about builds that `delivery.py` carries out."""

from __future__ import annotations

from typing import Annotated

import typer

from portside.cli import exits
from portside.cli.context import open_delivery
from portside.cli.examples import examples
from portside.cli.options import HERE, AppOption, JsonOption, TargetName, TargetOption
from portside.cli.terminal import Terminal

commands = typer.Typer(
    no_args_is_help=True,
    help="Builds of the app's image: list, logs.",
    epilog=examples("portside build list", "portside build logs -f"),
)


@commands.command(name="list", epilog=examples("portside build list -n 5"))
def list_builds(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    most: Annotated[int, typer.Option("-n", metavar="COUNT", help="How many.", min=1, max=100)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List builds, newest first: number, how it ended, when, how long it took, commit, id."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.build_list(terminal, open_delivery(terminal, directory, target), most, as_json)


@commands.command(epilog=examples("portside build logs -f", "portside build logs 3"))
def logs(
    build: Annotated[
        str, typer.Argument(metavar="BUILD", help="A number, an id or a commit. Default: the newest.")
    ] = "",
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the build ends.")] = False,
) -> None:
    """Print what a build prints. Exits with 10 if it failed."""
    from portside.cli import delivery

    terminal = Terminal()
    if not delivery.build_logs(terminal, open_delivery(terminal, directory, target), build, follow):
        raise typer.Exit(exits.NOT_DELIVERED)

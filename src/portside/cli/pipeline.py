"""portside pipeline: options and help of the commands that `delivery.py` carries out."""

from __future__ import annotations

from typing import Annotated

import typer

from portside.cli import exits
from portside.cli.context import open_delivery
from portside.cli.options import HERE, AppOption, JsonOption, TargetName, TargetOption
from portside.cli.terminal import Terminal

commands = typer.Typer(
    no_args_is_help=True,
    help="The way of a commit to production: status, start, stop, retry, approve, reject, history, logs.",
)

CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Kept with the answer.")]


@commands.command()
def status(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Go on until nothing moves by itself any more.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show stages and actions, which commit is where, and who waits for what; why, if something failed.

    Exits with 10 if the newest execution failed or was stopped.

    Example: portside pipeline status -w
    """
    from portside.cli import delivery

    terminal = Terminal()
    if not delivery.status(terminal, open_delivery(terminal, directory, target), watch, as_json):
        raise typer.Exit(exits.NOT_DELIVERED)


@commands.command()
def start(directory: AppOption = HERE, target: TargetOption = TargetName.LOCAL) -> None:
    """Start an execution with the newest commit of the branch. Prints its id.

    Example: portside pipeline start
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.start(terminal, open_delivery(terminal, directory, target))


@commands.command()
def stop(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Do not wait for actions that run; what they began goes on.")
    ] = False,
    comment: CommentOption = "",
) -> None:
    """Stop the newest execution that is in progress.

    Example: portside pipeline stop --comment "wrong branch"
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.stop(terminal, open_delivery(terminal, directory, target), abandon, comment)


@commands.command()
def retry(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="Default: the one that failed.")] = "",
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    everything: Annotated[
        bool, typer.Option("--all", help="All actions of the stage, not only failed ones.")
    ] = False,
) -> None:
    """Try a failed stage again, with the same commit.

    Example: portside pipeline retry Staging
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.retry(terminal, open_delivery(terminal, directory, target), stage, everything)


@commands.command()
def approve(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    comment: CommentOption = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what would change as JSON; answer nothing.")
    ] = False,
) -> None:
    """Show what the commit that waits would change, ask, and let it through.

    Example: portside pipeline approve --comment "looked at it in staging"
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.approve(terminal, open_delivery(terminal, directory, target), yes, comment, as_json)


@commands.command()
def reject(
    directory: AppOption = HERE, target: TargetOption = TargetName.LOCAL, comment: CommentOption = ""
) -> None:
    """Refuse the commit that waits; what runs stays as it is.

    Example: portside pipeline reject --comment "the greeting is wrong"
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.reject(terminal, open_delivery(terminal, directory, target), comment)


@commands.command()
def history(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    most: Annotated[int, typer.Option("-n", metavar="COUNT", help="How many.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List executions, newest first: when, how it ended, how long it took, commit, what started it.

    Example: portside pipeline history -n 5
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.history(terminal, open_delivery(terminal, directory, target), most, as_json)


@commands.command()
def logs(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the execution ends or waits for a person.")
    ] = False,
) -> None:
    """Print what the newest execution says: its build's output, then the events of its deployments.

    Example: portside pipeline logs -f
    """
    from portside.cli import delivery

    terminal = Terminal()
    delivery.logs(terminal, open_delivery(terminal, directory, target), follow)

"""portside pipeline: options and help of the commands that `delivery.py` carries out."""

from __future__ import annotations

from typing import Annotated

import typer

from portside.cli import completion, exits
from portside.cli.context import open_delivery
from portside.cli.examples import examples
from portside.cli.options import HERE, AppOption, JsonOption, TargetName, TargetOption
from portside.cli.terminal import Terminal

commands = typer.Typer(
    no_args_is_help=True,
    help="The way of a commit to production: status, start, stop, retry, approve, reject, history, logs.",
    epilog=examples("portside pipeline status -w", "portside pipeline approve", "portside pipeline logs -f"),
)

CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Kept with the answer.")]


@commands.command(
    epilog=examples("portside pipeline status -w", "portside pipeline status --app services/shop --json")
)
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
    """
    from portside.cli import delivery

    terminal = Terminal()
    if not delivery.status(terminal, open_delivery(terminal, directory, target), watch, as_json):
        raise typer.Exit(exits.NOT_DELIVERED)


@commands.command(epilog=examples("portside pipeline start"))
def start(directory: AppOption = HERE, target: TargetOption = TargetName.LOCAL) -> None:
    """Start an execution with the newest commit of the branch. Prints its id."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.start(terminal, open_delivery(terminal, directory, target))


@commands.command(
    epilog=examples('portside pipeline stop --comment "wrong branch"', "portside pipeline stop --abandon")
)
def stop(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Do not wait for actions that run; what they began goes on.")
    ] = False,
    comment: CommentOption = "",
) -> None:
    """Stop the newest execution that is in progress."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.stop(terminal, open_delivery(terminal, directory, target), abandon, comment)


@commands.command(epilog=examples("portside pipeline retry", "portside pipeline retry Staging --all"))
def retry(
    stage: Annotated[
        str,
        typer.Argument(metavar="STAGE", help="Default: the one that failed.", autocompletion=completion.stages),
    ] = "",
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    everything: Annotated[
        bool, typer.Option("--all", help="All actions of the stage, not only failed ones.")
    ] = False,
) -> None:
    """Try a failed stage again, with the same commit."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.retry(terminal, open_delivery(terminal, directory, target), stage, everything)


@commands.command(
    epilog=examples(
        'portside pipeline approve --comment "looked at it in staging"', "portside pipeline approve --json"
    )
)
def approve(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    comment: CommentOption = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what would change as JSON; answer nothing.")
    ] = False,
) -> None:
    """Show what the commit that waits would change, ask, and let it through."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.approve(terminal, open_delivery(terminal, directory, target), yes, comment, as_json)


@commands.command(epilog=examples('portside pipeline reject --comment "the greeting is wrong"'))
def reject(
    directory: AppOption = HERE, target: TargetOption = TargetName.LOCAL, comment: CommentOption = ""
) -> None:
    """Refuse the commit that waits; what runs stays as it is."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.reject(terminal, open_delivery(terminal, directory, target), comment)


@commands.command(epilog=examples("portside pipeline history", "portside pipeline history -n 5 --json"))
def history(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    most: Annotated[int, typer.Option("-n", metavar="COUNT", help="How many.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List executions, newest first: when, how it ended, how long it took, commit, what started it."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.history(terminal, open_delivery(terminal, directory, target), most, as_json)


@commands.command(epilog=examples("portside pipeline logs -f"))
def logs(
    directory: AppOption = HERE,
    target: TargetOption = TargetName.LOCAL,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on until the execution ends or waits for a person.")
    ] = False,
) -> None:
    """Print what the newest execution says: its build's output, then the events of its deployments."""
    from portside.cli import delivery

    terminal = Terminal()
    delivery.logs(terminal, open_delivery(terminal, directory, target), follow)

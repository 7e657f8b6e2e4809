"""The command line. Each command is a few lines here and a module of its own beside; this one knows options and
help, `entry.py` what becomes of errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from portside import __version__
from portside.cli import build, cloud, completion, exits, pipeline
from portside.cli.context import has_state, open_work
from portside.cli.examples import examples
from portside.cli.options import HERE, AppArgument, AppOption, EnvOption, JsonOption, TargetName, TargetOption
from portside.cli.terminal import Terminal

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a repository with a Dockerfile to a load-balanced service on Amazon ECS, on this machine first.",
    epilog=examples("portside init && portside up", "portside status", "portside logs -f", "portside down"),
)
app.add_typer(cloud.commands, name="cloud")
app.add_typer(pipeline.commands, name="pipeline")
app.add_typer(build.commands, name="build")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"portside {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of all commands."""


@app.command(epilog=examples("portside init", "portside init services/shop --name shop"))
def init(
    directory: AppArgument = HERE,
    name: Annotated[Optional[str], typer.Option(help="The app's name; default: the directory's.")] = None,  # noqa: UP045
    force: Annotated[bool, typer.Option("--force", help="Write over a portside.toml that is there.")] = False,
) -> None:
    """Write a commented portside.toml from what the Dockerfile says."""
    from portside.cli.init import init as run

    run(Terminal(), directory, name, force)


@app.command(epilog=examples("portside synth --env staging", "portside synth -o templates"))
def synth(
    directory: AppArgument = HERE,
    env: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--env",
            metavar="NAME",
            help="Only this environment; default: all.",
            autocompletion=completion.environments,
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", metavar="DIR", help="Write one file per stack into DIR."),
    ] = None,
) -> None:
    """Print the CloudFormation templates, or write them into a directory."""
    from portside.cli.synth import synth as run

    run(Terminal(), directory, env, output)


@app.command(
    epilog=examples("portside up", "portside up examples/helloworld --env production", "portside up --target aws")
)
def up(directory: AppArgument = HERE, env: EnvOption = "staging", target: TargetOption = TargetName.LOCAL) -> None:
    """Build the app and bring it to its URL; change only what differs.

    The local cloud is started if it does not run. Prints the URL.
    """
    from portside.cli.up import up as run

    terminal = Terminal()
    run(terminal, open_work(terminal, directory, env, target, start=True))


@app.command(epilog=examples("portside status", "portside status --env production --json"))
def status(
    directory: AppArgument = HERE,
    env: EnvOption = "staging",
    target: TargetOption = TargetName.LOCAL,
    as_json: JsonOption = False,
) -> None:
    """Show stacks, tasks, targets and the URL. Exits with 9 unless all of it runs and answers."""
    from portside.cli.status import status as run

    terminal = Terminal()
    if not run(terminal, open_work(terminal, directory, env, target, start=False), as_json):
        raise typer.Exit(exits.NOT_HEALTHY)


@app.command(epilog=examples("portside logs -f", "portside logs --env production --since 10m"))
def logs(
    directory: AppArgument = HERE,
    env: EnvOption = "staging",
    target: TargetOption = TargetName.LOCAL,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with each new line.")] = False,
    since: Annotated[str, typer.Option(metavar="SPAN", help="How far back: 90s, 10m, 2h, 1d.")] = "1h",
    as_json: JsonOption = False,
) -> None:
    """Print what the app's containers print."""
    from portside.cli.logs import logs as run

    terminal = Terminal()
    run(terminal, open_work(terminal, directory, env, target, start=False), follow, since, as_json)


@app.command(
    name="exec",
    context_settings={"ignore_unknown_options": True},
    epilog=examples("portside exec", "portside exec --env staging -- ls -l /srv"),
)
def execute(
    command: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="COMMAND", help="Default: a shell.", show_default=False),
    ] = None,
    directory: AppOption = HERE,
    env: EnvOption = "staging",
    target: TargetOption = TargetName.LOCAL,
    task: Annotated[str, typer.Option(metavar="ID", help="How the task's id begins; default: the newest.")] = "",
    container: Annotated[
        str, typer.Option(metavar="NAME", help="Default: the task's first.", autocompletion=completion.containers)
    ] = "",
) -> None:
    """Run a command in a running container of the app, and exit with its code.

    The service must allow it: `exec = true` in the table service of portside.toml.
    """
    from portside.cli.execute import execute as run

    terminal = Terminal()
    work = open_work(terminal, directory, env, target, start=False)
    raise typer.Exit(run(terminal, work, command or [], task, container))


@app.command(epilog=examples("portside down", "portside down --env production --target aws --yes"))
def down(
    directory: AppArgument = HERE,
    env: EnvOption = "staging",
    target: TargetOption = TargetName.LOCAL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask (only AWS is asked about).")] = False,
) -> None:
    """Take the app's environment away again, with all that nobody else uses.

    With the last stack, the local cloud stops too.
    """
    from portside.cli.down import down as run

    terminal = Terminal()
    if target is TargetName.LOCAL and not has_state():
        terminal.say("There is no local cloud, so there is nothing to take away.")
        return
    run(terminal, open_work(terminal, directory, env, target, start=True), yes)


@app.command(
    epilog=examples(
        "portside connect ada/shop ~/src/shop", "portside connect", "portside connect --remove ada/shop"
    )
)
def connect(
    repository: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            metavar="OWNER/REPO",
            help="Without it, what is bound is listed.",
            show_default=False,
            autocompletion=completion.repositories,
        ),
    ] = None,
    path: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="PATH", help="The checkout that stands for it.", show_default=False),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the checkout of OWNER/REPO.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a checkout on this machine stand for a repository, on the local cloud. It is never written to.

    A commit on a branch that a pipeline follows starts that pipeline.
    """
    from portside.cli.context import running_cloud
    from portside.cli.repositories import connect as run

    terminal = Terminal()
    run(terminal, running_cloud(terminal, start=False), repository, path, remove, as_json)


@app.command(epilog=examples("portside engine", "portside engine --install"))
def engine(
    install: Annotated[
        bool, typer.Option("--install", help="On Debian or Ubuntu as root: install and start one if none answers.")
    ] = False,
) -> None:
    """Find a container engine and print its socket."""
    from portside.cli.context import place
    from portside.image.provision import ensure

    terminal = Terminal()
    terminal.data(ensure(place().directory, install=install, say=terminal.say))


@app.command(epilog=examples("portside doctor", "portside doctor --json"))
def doctor(as_json: JsonOption = False) -> None:
    """Examine this machine (engine, ports, names, disk, memory, leftovers) and say what mends each finding.

    Exits with 9 if something stands in the way of the local cloud.
    """
    from portside.cli.doctor import doctor as run

    run(Terminal(), as_json)

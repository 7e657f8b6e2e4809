"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from portside.cli import completion


class TargetName(StrEnum):
    """Where to: the local cloud, or AWS as boto3's own configuration names it."""

    LOCAL = "local"
    AWS = "aws"


AppArgument = Annotated[
    Path,
    typer.Argument(
        metavar="APP",
        help="The app's directory, with its portside.toml.",
        show_default=False,
        autocompletion=completion.apps,
    ),
]
# For commands whose argument is something else.
AppOption = Annotated[
    Path,
    typer.Option(
        "--app",
        metavar="DIR",
        help="The app's directory, with its portside.toml.",
        show_default=False,
        autocompletion=completion.apps,
    ),
]
EnvOption = Annotated[
    str, typer.Option("--env", metavar="NAME", help="The environment.", autocompletion=completion.environments)
]
TargetOption = Annotated[TargetName, typer.Option("--target", help="Where to: the local cloud or AWS.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path()

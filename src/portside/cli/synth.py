"""portside synth: print or write the templates, without asking any endpoint."""

from __future__ import annotations

from pathlib import Path

from portside.blueprint.synth import Synthesised, delivery, every, stacks
from portside.cli.context import open_app
from portside.cli.terminal import Terminal


def synth(terminal: Terminal, directory: Path, environment: str | None, output: Path | None) -> None:
    """Without an environment, the stacks of all."""
    app = open_app(directory, environment)
    made = every(app) if environment is None else [*stacks(app, environment), *delivery(app)]
    if output is None:
        terminal.json({stack.stack: _document(stack) for stack in made})
        return
    output.mkdir(parents=True, exist_ok=True)
    for stack in made:
        path = output / f"{stack.stack}.template"
        path.write_text(stack.template, encoding="utf-8")
        terminal.say(f"Wrote {path}.")


def _document(stack: Synthesised) -> object:
    import json

    return json.loads(stack.template)

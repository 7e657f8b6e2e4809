"""Each command shows examples, and each example is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from portside.cli.examples import examples, lines
from portside.cli.main import app


def commands(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands((*path, name), inner)


ROOT = typer.main.get_command(app)
ALL = list(commands(("portside",), ROOT))


def calls(example: str) -> list[list[str]]:
    """What the shell would run of portside in a line."""
    return [shlex.split(each) for each in re.findall(r"portside [^&|)]*", example)]


def parse(words: list[str]) -> tuple[str, ...]:
    """The command that the words name, after it has taken them all."""
    command: Any = ROOT
    parent, path, rest = None, ("portside",), words
    while True:
        context = command.make_context(path[-1], list(rest), parent=parent)
        if not hasattr(command, "commands"):
            return path
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        parent, path = context, (*path, name)


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_a_command_has_examples_of_itself_that_parse(path: tuple[str, ...], command: Any) -> None:
    shown = lines(command.epilog)
    assert shown
    found = [parse(words[1:]) for each in shown for words in calls(each)]
    assert any(each[: len(path)] == path for each in found)
    assert all(len(each) <= 74 for each in shown), "an example is to fit into 80 columns"


def test_an_example_with_an_option_that_is_not_there_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["up", "--nothing"])
    with pytest.raises(Exception, match="No such command"):
        parse(["upp"])


def test_brackets_survive_the_markup_of_help_texts() -> None:
    assert lines(examples("portside init [x]")) == ["portside init [x]"]
    assert lines(None) == []

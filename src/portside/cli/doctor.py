"""portside doctor: what stands in the way of the local cloud on this machine."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from dataclasses import asdict

import typer

from portside.cli.context import place
from portside.cli.exits import NOT_HEALTHY
from portside.cli.terminal import Terminal
from portside.cloud import examination, findings
from portside.cloud import settings as cloud_settings
from portside.cloud.findings import State

INDENT = 6
WORDS = {State.GOOD: "good", State.POOR: "poor", State.BAD: "BAD"}


def doctor(terminal: Terminal, as_json: bool) -> None:
    home = place()
    found = findings.judge(examination.look(home, cloud_settings.read(home, os.environ)))
    bad = any(each.state is State.BAD for each in found)
    if as_json:
        terminal.json({"ready": not bad, "findings": [asdict(each) for each in found]})
    else:
        for each in found:
            lines = [f"{each.what}: {each.said}", *([each.remedy] if each.remedy else [])]
            mark = WORDS[each.state]
            for line in lines:
                terminal.data(_broken(f"{mark:<{INDENT}}{line}"))
                mark = ""
    if bad:
        raise typer.Exit(NOT_HEALTHY)


def _broken(line: str) -> str:
    """At the terminal's width, between words; whole where it goes into a pipe."""
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        line, width, subsequent_indent=" " * INDENT, break_long_words=False, break_on_hyphens=False
    )

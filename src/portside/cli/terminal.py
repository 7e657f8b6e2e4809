"""Everything that is printed: data to standard output, talk to standard error.

In a terminal, work in progress is shown live, one line per resource with its seconds. Elsewhere (a pipe, CI) only
changes are printed, each once.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from portside.cli.exits import Failure

if TYPE_CHECKING:
    from rich.live import Live

WORDS = {
    "CREATE_IN_PROGRESS": "creating",
    "CREATE_COMPLETE": "created",
    "CREATE_FAILED": "not created",
    "UPDATE_IN_PROGRESS": "updating",
    "UPDATE_COMPLETE": "updated",
    "UPDATE_FAILED": "not updated",
    "DELETE_IN_PROGRESS": "deleting",
    "DELETE_COMPLETE": "deleted",
    "DELETE_FAILED": "not deleted",
    "DELETE_SKIPPED": "kept",
    "ROLLBACK_IN_PROGRESS": "rolling back",
    "UPDATE_ROLLBACK_IN_PROGRESS": "rolling back",
}


def words(status: str) -> str:
    """A stack or resource status in words."""
    return WORDS.get(status, status.replace("_", " ").lower())


def kind(resource_type: str) -> str:
    """`AWS::ECS::TaskDefinition` as `ECS task definition`."""
    parts = resource_type.split("::")
    if len(parts) != 3:
        return resource_type
    service = {"ElasticLoadBalancingV2": "ELB", "AutoScaling": "Auto Scaling", "Logs": "CloudWatch Logs"}.get(
        parts[1], parts[1]
    )
    name = "".join(f" {c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(parts[2]))
    return name if name.startswith(service.lower()) else f"{service} {name}"


def _now() -> float:
    return time.monotonic()  # noqa: TID251 - seconds shown to a person


@dataclass(slots=True)
class Line:
    """One line of progress: what, its state in words, and since when."""

    title: str
    detail: str
    state: str
    began: float
    ended: float | None = None
    failed: bool = False
    note: str = ""

    @property
    def seconds(self) -> float:
        return (self.ended if self.ended is not None else _now()) - self.began


def fitted(text: str, width: int) -> str:
    """Long lines broken between words, and further ones indented, so that the terminal need not break words."""
    from textwrap import wrap

    lines: list[str] = []
    for line in text.splitlines() or [""]:
        lead = len(line) - len(line.lstrip())
        label = re.match(r"\s+(Why|Next):\s+", line)
        indent = " " * (label.end() if label else lead)
        if len(line) <= width:
            lines.append(line)
            continue
        lines += wrap(
            line.lstrip(),
            width,
            initial_indent=" " * lead,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


@dataclass
class Terminal:
    """Standard output and error of one command. `live` where somebody watches."""

    live: bool = field(default_factory=lambda: sys.stderr.isatty())
    _board: Board | None = None

    def say(self, text: str) -> None:
        """Talk."""
        self._print(text)

    def data(self, text: str) -> None:
        """What the command was asked for."""
        print(text, flush=True)

    def json(self, value: Any) -> None:
        self.data(json.dumps(value, indent=2, default=str))

    def fail(self, failure: Failure) -> None:
        first = f"Error: {failure.what}"
        self._print(first if first.endswith((".", "!", "?")) or failure.why else f"{first}.")
        if failure.why:
            self._print(f"  Why:  {failure.why}")
        if failure.next:
            self._print(f"  Next: {failure.next}")

    def _print(self, text: str) -> None:
        if self._board is not None:
            self._board.print(text)
        else:
            if self.live:
                from shutil import get_terminal_size

                text = fitted(text, get_terminal_size().columns)
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def board(self) -> Iterator[Board]:
        """Lines of progress for as long as the block lasts."""
        board = Board(self.live)
        self._board = board
        try:
            with board.shown():
                yield board
        finally:
            self._board = None


class Board:
    """Lines of progress, keyed."""

    def __init__(self, live: bool) -> None:
        self._live_wanted = live
        self._live: Live | None = None
        self._lines: dict[str, Line] = {}

    def print(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self._live_wanted:
            yield
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None
                final = self._render()
                live.update(final, refresh=True)
        console.print(final)

    def put(self, key: str, title: str, detail: str, state: str, *, failed: bool = False, note: str = "") -> None:
        """A line's news. It ends when the state says so (`done`)."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(title, detail, "", _now())
        changed = line.state != state or (note and line.note != note)
        if state.endswith("ing") and line.ended is not None:
            line.began, line.ended = _now(), None
        line.detail, line.state, line.failed, line.note = detail, state, failed, note
        if not state.endswith("ing"):
            line.ended = _now()
        if changed and not self._live_wanted:
            self._plain(line)

    def _plain(self, line: Line) -> None:
        took = f" ({line.seconds:.1f} s)" if line.ended is not None else ""
        about = f", {line.detail}" if line.detail else ""
        note = f": {line.note}" if line.note else ""
        print(f"{line.title}{about}: {line.state}{took}{note}", file=sys.stderr, flush=True)

    def _render(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2), expand=True)
        # What is long is cut; state and seconds are what people look for.
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=28)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, min_width=12)
        table.add_column(justify="right", no_wrap=True, min_width=7)
        for line in self._lines.values():
            style = "red" if line.failed else "green" if line.ended is not None else "yellow"
            table.add_row(
                line.title, Text(line.detail, style="dim"), Text(line.state, style=style), f"{line.seconds:.1f} s"
            )
            if line.failed and line.note:
                table.add_row("", Text(line.note, style="red", no_wrap=False), "", "")
        return table

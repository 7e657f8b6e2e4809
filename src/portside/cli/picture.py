"""A pipeline in words: a line for each action, who waits for what, and why something failed.

Pure: a `Picture` and a moment in, text out. `pipeline.py` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import Any

from portside.deploy.explain import Why
from portside.deploy.pipeline import Action, Execution, Picture, Stage
from portside.deploy.preview import Preview

STATUS = {
    "": "not yet",
    "InProgress": "in progress",
    "Succeeded": "succeeded",
    "Failed": "failed",
    "Abandoned": "abandoned",
    "Stopped": "stopped",
    "Stopping": "stopping",
    "Superseded": "replaced by a newer one",
    "Cancelled": "cancelled",
    "Skipped": "skipped",
}
COLOURS = {"Succeeded": "green", "Failed": "red", "InProgress": "yellow", "Abandoned": "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """One action: `state` in words, `commit` that is in its stage, `note` on what it waits for."""

    stage: str
    action: str
    state: str
    seconds: str
    commit: str
    note: str
    colour: str = ""

    @property
    def news(self) -> tuple[str, ...]:
        """What is worth a new line where lines cannot be written over."""
        return (self.stage, self.action, self.state, self.commit, self.note)


def rows(picture: Picture, now: datetime) -> list[Row]:
    found: list[Row] = []
    for stage in picture.stages:
        commit = picture.execution(stage.execution).commit.short if stage.execution else ""
        for index, action in enumerate(stage.actions):
            notes = [_note(action)]
            if index == 0:
                notes += _before(picture, stage)
            found.append(
                Row(
                    stage.name,
                    action.name,
                    _state(stage, action),
                    span((now - action.since).total_seconds()) if action.since and action.status else "",
                    commit,
                    "; ".join(note for note in notes if note),
                    COLOURS.get(action.status, "dim"),
                )
            )
    return found


def _state(stage: Stage, action: Action) -> str:
    if action.waits_for_person:
        return "waits for you"
    if stage.status == "InProgress" and not action.status:
        return "not yet"
    return STATUS.get(action.status, action.status.lower())


def _note(action: Action) -> str:
    if action.waits_for_person:
        return "approve or reject"
    if action.status == "Failed":
        return action.message or action.summary
    return ""


def _before(picture: Picture, stage: Stage) -> list[str]:
    """Who stands before a stage, and what for."""
    found = []
    if not stage.open:
        found.append(f"closed: {stage.closed_why}" if stage.closed_why else "closed")
    for each in stage.waiting:
        commit = picture.execution(each).commit.short or each[:8]
        held = stage.status == "InProgress" and picture.execution(stage.execution).commit.short
        found.append(f"{commit} waits for {held} to leave" if held else f"{commit} waits to get in")
    return found


def heading(picture: Picture, now: datetime) -> list[str]:
    newest = picture.newest
    if newest is None:
        return [f"{picture.name}: no execution yet"]
    lines = [f"{picture.name}  {state(picture, newest)}{_age(newest, now)}"]
    lines.append(f"commit     {newest.commit.short or 'none yet'}  {newest.commit.subject}".rstrip())
    lines.append(f"execution  {newest.id}  by {newest.trigger or 'unknown'}  {picture.mode.lower()}")
    return lines


def state(picture: Picture, execution: Execution) -> str:
    """The state of an execution, in the words of someone who waits for it."""
    if execution.live:
        for stage in picture.stages:
            if stage.execution == execution.id and picture.waits_for_person(stage):
                return f"waits for you at {stage.name}"
            if execution.id in stage.waiting:
                return f"waits before {stage.name}"
    return STATUS.get(execution.status, execution.status.lower())


def _age(execution: Execution, now: datetime) -> str:
    if execution.started is None:
        return ""
    end = now if execution.live or execution.updated is None else execution.updated
    return f"  {span((end - execution.started).total_seconds())}"


def span(seconds: float) -> str:
    """`3 s`, `2 min`, `5 h`, `3 d`."""
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def text(picture: Picture, why: tuple[Why, ...], now: datetime, width: int) -> list[str]:
    """The whole picture. Notes that do not fit are wrapped; reasons and logs stay as they are."""
    found = rows(picture, now)
    columns = [max((len(getattr(row, name)) for row in found), default=0) for name in ("stage", "action", "state")]
    lines = [*(cut(line, width) for line in heading(picture, now)), ""]
    for row in found:
        line = (
            f"{row.stage:<{columns[0]}}  {row.action:<{columns[1]}}  {row.state:<{columns[2]}}  "
            f"{row.seconds:>7}  {row.commit:<8}"
        ).rstrip()
        if row.note and len(line) + len(row.note) + 2 > width:
            indent = " " * (columns[0] + 2)
            lines += [line, *wrap(row.note, width, initial_indent=indent, subsequent_indent=indent)]
        else:
            lines.append(f"{line}  {row.note}".rstrip())
    lines += reasons(why)
    for hint in hints(picture):
        lines += wrap(hint, width, subsequent_indent="      ") or [""]
    return lines


def cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def reasons(why: tuple[Why, ...]) -> list[str]:
    lines: list[str] = []
    for each in why:
        lines += ["", f"{each.stage} failed: {each.reason}"]
        if each.lines:
            lines.append(f"The last lines of {each.source}:")
            # A message of the log may be of several lines itself.
            lines += [f"  | {line}" for message in each.lines for line in message.splitlines() or [""]]
    return lines


def hints(picture: Picture) -> list[str]:
    if any(action.waits_for_person for action in picture.actions):
        return ["", "Next: `portside pipeline approve` shows what would change, and asks; `reject` refuses."]
    if picture.failed and picture.newest is not None and picture.newest.status == "Failed":
        return ["", "Next: commit a correction, or `portside pipeline retry`."]
    return []


def table(picture: Picture, why: tuple[Why, ...], now: datetime) -> Any:
    """The same for a terminal that is written over."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=16)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=14)
    grid.add_column(no_wrap=True, min_width=12)
    grid.add_column(no_wrap=True, justify="right", min_width=6)
    grid.add_column(no_wrap=True, min_width=8)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows(picture, now):
        shown = Text(row.state, style=row.colour)
        grid.add_row(row.stage, row.action, shown, row.seconds, row.commit, Text(row.note, style="dim"))
    below = [Text(line) for line in [*reasons(why), *hints(picture)]]
    return Group(*(Text(line) for line in [*heading(picture, now), ""]), grid, *below)


def preview(found: Preview) -> list[str]:
    """What approving would change in one stack."""
    lines = [f"{found.stack}:"]
    if found.now is None:
        lines.append("  there is no such stack yet: it would be created")
    else:
        lines.append(f"  image     now   {found.now.tag or 'unknown'}  {short_digest(found.now.digest)}".rstrip())
    lines.append(f"  {'image     ' if found.now is None else '          '}then  {found.then.tag}  "
                 f"{short_digest(found.then.digest) or 'not in the registry'}")  # fmt: skip
    if found.same_image:
        lines.append("  the image is the same")
    if found.commits:
        some = "" if found.complete or found.now is None else ", as far as the pipeline's history knows"
        lines.append(f"  commits   {len(found.commits)} since the one that runs there{some}" if found.now
                     else f"  commits   {len(found.commits)}")  # fmt: skip
        lines += [f"    {commit.short}  {commit.subject}".rstrip() for commit in found.commits[:20]]
        if len(found.commits) > 20:
            lines.append(f"    and {len(found.commits) - 20} more")
    if found.template_unknown:
        lines.append(f"  template  unknown: {found.template_unknown}")
    elif not found.template:
        lines.append("  template  no difference")
    elif found.now is None:
        lines.append("  template  all of it is new")
    else:
        lines.append("  template")
        lines += [f"    {line}" for line in found.template.splitlines()]
    return lines


def short_digest(digest: str) -> str:
    return digest[:19]

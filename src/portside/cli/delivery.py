"""What the commands about pipeline and builds do: show, watch, answer, try again, stop.

`picture.py` finds the words, `pipeline.py` and `build.py` know options and help.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import Any

import typer

from portside.cli import picture as words
from portside.cli import worktree
from portside.cli.context import Work
from portside.cli.terminal import Terminal
from portside.deploy import builds, explain, pipeline, preview, story
from portside.deploy.builds import Build
from portside.deploy.errors import DeployError
from portside.deploy.pipeline import Action, Picture
from portside.deploy.preview import Preview

BUILD_OK = ("SUCCEEDED", "IN_PROGRESS")


def _declared(work: Work) -> dict[str, Any]:
    return pipeline.declaration(work.aws, work.app.pipeline_stack)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - "since when", for a person


def _width() -> int:
    """Nothing is cut or wrapped for what reads a pipe."""
    return get_terminal_size().columns if sys.stdout.isatty() else 1_000_000


def status(terminal: Terminal, work: Work, watch: bool, as_json: bool) -> bool:
    """False if the newest execution failed or was stopped."""
    declared = _declared(work)
    if watch and not as_json:
        return _watch(terminal, work, declared)
    found = pipeline.read(work.aws, declared)
    why = explain.failures(work.aws, found)
    if as_json:
        terminal.json(_json(found, why))
    else:
        for line in words.text(found, why, _now(), _width()):
            terminal.data(line)
    return not found.failed


def _json(found: Picture, why: tuple[explain.Why, ...]) -> dict[str, Any]:
    # The token would let whoever reads a log answer for the person.
    stages = [
        {**asdict(stage), "actions": [{k: v for k, v in asdict(a).items() if k != "token"} for a in stage.actions]}
        for stage in found.stages
    ]
    newest = found.newest
    return {
        "name": found.name,
        "mode": found.mode,
        "execution": asdict(newest) if newest else None,
        "stages": stages,
        "executions": [asdict(each) for each in found.executions],
        "waits_for_approval": next((a.stage for a in found.actions if a.waits_for_person), None),
        "failures": [asdict(each) for each in why],
        "failed": found.failed,
        "moving": found.moving,
    }


def _watch(terminal: Terminal, work: Work, declared: dict[str, Any]) -> bool:
    """Shows the picture until nothing moves by itself any more."""
    if not terminal.live:
        return _changes(terminal, work, declared)
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            found = pipeline.read(work.aws, declared)
            why = () if found.moving else explain.failures(work.aws, found)
            shown = words.table(found, why, _now())
            live.update(shown, refresh=True)
            if not found.moving:
                break
            work.aws.clock.sleep(max(work.aws.target.poll, 0.2))
    console.print(shown)
    return not found.failed


def _changes(terminal: Terminal, work: Work, declared: dict[str, Any]) -> bool:
    told: set[tuple[str, ...]] = set()
    execution = ""
    while True:
        found = pipeline.read(work.aws, declared)
        newest = found.newest
        if newest is not None and newest.id != execution:
            execution = newest.id
            terminal.data(f"execution {newest.id} of {newest.commit.short or 'a commit to come'}".rstrip())
        present = {row.news: row for row in words.rows(found, _now()) if row.state != "not yet"}
        for news, row in present.items():
            if news not in told:
                terminal.data(f"{row.stage} {row.action} {row.commit}: {row.state}  {row.note}".rstrip())
        told = set(present)
        if not found.moving:
            for line in [*words.reasons(explain.failures(work.aws, found)), *words.hints(found)]:
                terminal.data(line)
            return not found.failed
        work.aws.clock.sleep(max(work.aws.target.poll, 0.2))


def start(terminal: Terminal, work: Work) -> None:
    terminal.data(pipeline.start(work.aws, _declared(work)["name"]))
    terminal.say("Started. `portside pipeline status -w` shows how it goes.")


def stop(terminal: Terminal, work: Work, abandon: bool, reason: str) -> None:
    stopped = pipeline.stop(work.aws, pipeline.read(work.aws, _declared(work)), abandon=abandon, reason=reason)
    after = "at once" if abandon else "once its running actions have ended"
    terminal.say(f"Execution {stopped.id} of {stopped.commit.short or 'no commit yet'} stops {after}.")


def retry(terminal: Terminal, work: Work, stage: str, everything: bool) -> None:
    found = pipeline.retry(work.aws, pipeline.read(work.aws, _declared(work)), stage, everything=everything)
    actions = "all actions" if everything else "the failed actions"
    terminal.say(f"{found.name} tries {actions} again. `portside pipeline status -w` shows how it goes.")


def approve(terminal: Terminal, work: Work, yes: bool, comment: str, as_json: bool) -> None:
    """Shows first what it would change, and asks. With `as_json`, only shows."""
    found = pipeline.read(work.aws, _declared(work))
    action = pipeline.waiting(found)
    shown = _previews(work, found, action)
    if as_json:
        terminal.json([{**asdict(each), "same_image": each.same_image} for each in shown])
        return
    execution = found.execution(_execution_in(found, action))
    terminal.say(f"{action.stage}: {execution.commit.short}  {execution.commit.subject}".rstrip())
    for each in shown:
        for line in words.preview(each):
            terminal.say(line)
    if not yes and not typer.confirm("Approve?", err=True):
        terminal.say("Nothing was answered; it still waits.")
        raise typer.Exit(1)
    # The answer carries the token of what was shown, so nothing newer slips through.
    pipeline.answer(work.aws, found, action, approved=True, comment=comment or "approved with portside")
    terminal.say("Approved. `portside pipeline status -w` shows how it goes.")


def reject(terminal: Terminal, work: Work, comment: str) -> None:
    found = pipeline.read(work.aws, _declared(work))
    action = pipeline.waiting(found)
    pipeline.answer(work.aws, found, action, approved=False, comment=comment or "rejected with portside")
    commit = found.execution(_execution_in(found, action)).commit
    terminal.say(f"Rejected {commit.short}  {commit.subject}".rstrip() + ".")


def _execution_in(found: Picture, action: Action) -> str:
    stage = found.stage(action.stage)
    return stage.execution if stage else ""


def _previews(work: Work, found: Picture, action: Action) -> list[Preview]:
    tree = worktree.find(work.directory)
    return preview.previews(work.aws, found, action, work.app.repository, tree.log if tree else None)


def history(terminal: Terminal, work: Work, most: int, as_json: bool) -> None:
    found = pipeline.executions(work.aws, _declared(work)["name"], most)
    if as_json:
        terminal.json([asdict(each) for each in found])
        return
    if not found:
        terminal.say("No execution yet.")
    width = _width()
    for each in found:
        began = each.started.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if each.started else ""
        end = each.updated if each.updated and not each.live else _now()
        took = words.span((end - each.started).total_seconds()) if each.started else ""
        state = words.STATUS.get(each.status, each.status.lower())
        line = f"{each.id[:8]}  {began:<20}  {state:<12.12}  {took:>7}  {each.commit.short:<8}  "
        line += f"{each.commit.subject}  ({each.trigger})" if each.trigger else each.commit.subject
        terminal.data(words.cut(line.rstrip(), width))


def logs(terminal: Terminal, work: Work, follow: bool) -> None:
    for told in story.tell(work.aws, _declared(work), follow=follow):
        terminal.data(f"{told.stage:<12} {told.text}")


def _project(work: Work) -> str:
    return work.app.build_stack


def build_list(terminal: Terminal, work: Work, most: int, as_json: bool) -> None:
    found = builds.newest(work.aws, _project(work), most)
    if as_json:
        terminal.json([asdict(each) for each in found])
        return
    if not found:
        terminal.say("No build yet.")
    for each in found:
        began = each.started.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if each.started else ""
        took = words.span(((each.ended or _now()) - each.started).total_seconds()) if each.started else ""
        state = each.status.replace("_", " ").lower()
        terminal.data(f"{each.number:>4}  {state:<11}  {began:<20}  {took:>7}  {each.commit[:8]:<8}  {each.id}")


def build_logs(terminal: Terminal, work: Work, wanted: str, follow: bool) -> bool:
    """False if the build has failed."""
    build = _chosen(work, wanted)
    lines = builds.follow(work.aws, build.id) if follow else iter(builds.everything(work.aws, build.id))
    for line in lines:
        terminal.data(line)
    build = builds.find(work.aws, build.id)
    if build.broken is not None:
        terminal.say(f"{build.broken.name} {build.broken.status.lower()}: {build.broken.context}".rstrip(": "))
    return build.status in BUILD_OK


def _chosen(work: Work, wanted: str) -> Build:
    """The newest; or by number, by id, or by the beginning of its commit."""
    if ":" in wanted:
        return builds.find(work.aws, wanted)
    found = builds.newest(work.aws, _project(work), builds.MOST_AT_ONCE)
    for each in found:
        if not wanted or str(each.number) == wanted or (len(wanted) >= 4 and each.commit.startswith(wanted)):
            return each
    if wanted:
        raise DeployError(f"there is no build {wanted}", "", "`portside build list` names them.")
    raise DeployError(f"{work.app.name} has no build yet", "", "Start one with `portside pipeline start`.")

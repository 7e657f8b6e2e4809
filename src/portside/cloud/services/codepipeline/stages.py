"""What a pipeline does next: who enters which stage, what is begun there, and how a stage ends.

Pure. `decide` looks at everything that is in flight in one pipeline and names one step; `pipeline_loop.py` takes
it and asks again. Nothing here knows what an action does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Execution,
    ExecutionStatus,
    Phase,
    RuleRun,
    RunStatus,
    StageRun,
)
from portside.cloud.services.codepipeline.structure import Check, Mode, Stage, Structure


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`executions`: those in flight, oldest first; the rest by execution. `closed`: pairs of side (`Inbound`,
    `Outbound`) and stage whose transition is disabled."""

    structures: Mapping[int, Structure]
    executions: tuple[Execution, ...]
    stages: Mapping[str, tuple[StageRun, ...]]
    actions: Mapping[str, tuple[ActionRun, ...]] = field(default_factory=dict)
    rules: Mapping[str, tuple[RuleRun, ...]] = field(default_factory=dict)
    closed: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Enter:
    run: StageRun
    phase: Phase


@dataclass(frozen=True, slots=True)
class Begin:
    """Start these actions of the stage, all at once."""

    run: StageRun
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Start to look at the rules of a condition."""

    run: StageRun
    check: Check
    phase: Phase


@dataclass(frozen=True, slots=True)
class Proceed:
    """Entry conditions hold: on to the actions."""

    run: StageRun


@dataclass(frozen=True, slots=True)
class Leave:
    """The stage is done; `following` is the next one, empty after the last."""

    run: StageRun
    phase: Phase
    following: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Fail:
    run: StageRun
    summary: str
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Once, by itself."""

    run: StageRun
    mode: str


@dataclass(frozen=True, slots=True)
class Stop:
    run: StageRun
    phase: Phase


@dataclass(frozen=True, slots=True)
class Supersede:
    run: StageRun
    by: str


Step = Enter | Begin | Look | Proceed | Leave | Fail | Retry | Stop | Supersede


def decide(snapshot: Snapshot) -> Step | None:
    """The next step, or None if all there is to do is wait."""
    for each in snapshot.executions:
        run = current(snapshot, each)
        if run is None:
            continue
        step = (
            _stop(snapshot, each, run) if each.status is ExecutionStatus.STOPPING else _next(snapshot, each, run)
        )
        if step is not None:
            return step
    return _supersede(snapshot)


def current(snapshot: Snapshot, execution: Execution) -> StageRun | None:
    """The stage that an execution is in, or waits in front of: the last one it came to."""
    runs = snapshot.stages.get(execution.id, ())
    return max(runs, key=lambda each: each.seq) if runs else None


def _next(snapshot: Snapshot, execution: Execution, run: StageRun) -> Step | None:
    stage = snapshot.structures[execution.version].stage(run.stage)
    assert stage is not None
    match run.phase:
        case Phase.INBOUND:
            if not _admitted(snapshot, execution, run):
                return None
            return Enter(run, Phase.ENTRY if Check.ENTRY in stage.conditions else Phase.ACTIONS)
        case Phase.ENTRY:
            return _entry(snapshot, execution, stage, run)
        case Phase.ACTIONS:
            return _actions(snapshot, execution, stage, run)
        case Phase.SUCCESS:
            return _success(snapshot, execution, stage, run)
        case Phase.FAILURE:
            return _failure(snapshot, execution, stage, run)
        case _:
            return None


def _admitted(snapshot: Snapshot, execution: Execution, run: StageRun) -> bool:
    structure = snapshot.structures[execution.version]
    names = [each.name for each in structure.stages]
    index = names.index(run.stage)
    if ("Inbound", run.stage) in snapshot.closed or (index and ("Outbound", names[index - 1]) in snapshot.closed):
        return False
    if execution.mode == Mode.PARALLEL:
        return True
    for other in snapshot.executions:
        if other.id == execution.id or other.mode == Mode.PARALLEL:
            continue
        for each in snapshot.stages.get(other.id, ()):
            if each.stage == run.stage and (
                each.phase.holding or (each.phase is Phase.INBOUND and each.seq < run.seq)
            ):
                return False
    return True


def _verdict(snapshot: Snapshot, stage: Stage, run: StageRun, check: Check) -> tuple[bool | None, str]:
    """Whether the rules hold, None while that is open; and which do not."""
    if check in run.overridden:
        return True, ""
    looked = [
        each
        for each in snapshot.rules.get(run.execution, ())
        if (each.stage, each.moment, each.attempt) == (run.stage, check, run.attempt)
    ]
    if any(each.status is RunStatus.IN_PROGRESS for each in looked):
        return None, ""
    failed = [f"{each.rule} ({each.summary})" for each in looked if each.status is not RunStatus.SUCCEEDED]
    return not failed, ", ".join(failed)


def _looked(snapshot: Snapshot, run: StageRun, check: Check) -> bool:
    return check in run.overridden or any(
        (each.stage, each.moment, each.attempt) == (run.stage, check, run.attempt)
        for each in snapshot.rules.get(run.execution, ())
    )


def _entry(snapshot: Snapshot, execution: Execution, stage: Stage, run: StageRun) -> Step | None:
    if not _looked(snapshot, run, Check.ENTRY):
        return Look(run, Check.ENTRY, Phase.ENTRY)
    holds, broken = _verdict(snapshot, stage, run, Check.ENTRY)
    if holds is None:
        return None
    if holds:
        return Proceed(run)
    summary = f"Entry condition of stage {stage.name} not met: {broken}"
    if stage.conditions[Check.ENTRY].result == "SKIP":
        return Leave(run, Phase.SKIPPED, _following(snapshot, execution, stage), summary)
    return Fail(run, summary)


def counted(actions: tuple[ActionRun, ...], run: StageRun) -> dict[str, ActionRun]:
    """The runs of actions that count for the present attempt of a stage."""
    return {each.action: each for each in actions if (each.stage, each.attempt) == (run.stage, run.attempt)}


def _actions(snapshot: Snapshot, execution: Execution, stage: Stage, run: StageRun) -> Step | None:
    begun = counted(snapshot.actions.get(execution.id, ()), run)
    running = [each for each in begun.values() if each.status is RunStatus.IN_PROGRESS]
    failed = [each for each in begun.values() if each.status in (RunStatus.FAILED, RunStatus.ABANDONED)]
    if failed:
        return None if running else _failed(execution, snapshot, stage, run, failed)
    todo = [each for each in stage.actions if each.name not in begun]
    if todo:
        order = min(each.run_order for each in todo)
        orders = {each.name: each.run_order for each in stage.actions}
        if any(orders.get(each.action, 0) < order for each in running):
            return None
        return Begin(run, tuple(each.name for each in todo if each.run_order == order))
    if running:
        return None
    if Check.SUCCESS in stage.conditions:
        return Look(run, Check.SUCCESS, Phase.SUCCESS)
    return Leave(run, Phase.SUCCEEDED, _following(snapshot, execution, stage))


def _success(snapshot: Snapshot, execution: Execution, stage: Stage, run: StageRun) -> Step | None:
    if not _looked(snapshot, run, Check.SUCCESS):
        return Look(run, Check.SUCCESS, Phase.SUCCESS)
    holds, broken = _verdict(snapshot, stage, run, Check.SUCCESS)
    if holds is None:
        return None
    if holds:
        return Leave(run, Phase.SUCCEEDED, _following(snapshot, execution, stage))
    rollback = stage.conditions[Check.SUCCESS].result == "ROLLBACK" and not execution.rollback_target
    return Fail(run, f"Success condition of stage {stage.name} not met: {broken}", rollback)


def _failed(
    execution: Execution, snapshot: Snapshot, stage: Stage, run: StageRun, failed: list[ActionRun]
) -> Step | None:
    if Check.FAILURE in stage.conditions:
        return Look(run, Check.FAILURE, Phase.FAILURE)
    return _ended(snapshot, execution, stage, run, stage.failure, _blame(failed))


def _blame(failed: list[ActionRun]) -> str:
    return "; ".join(f"Action {each.action} failed: {each.message or each.summary}" for each in failed)


def _failure(snapshot: Snapshot, execution: Execution, stage: Stage, run: StageRun) -> Step | None:
    if not _looked(snapshot, run, Check.FAILURE):
        return Look(run, Check.FAILURE, Phase.FAILURE)
    holds, _ = _verdict(snapshot, stage, run, Check.FAILURE)
    if holds is None:
        return None
    begun = counted(snapshot.actions.get(execution.id, ()), run)
    failed = [each for each in begun.values() if each.status is not RunStatus.SUCCEEDED]
    result = stage.failure if holds else stage.conditions[Check.FAILURE].result
    return _ended(snapshot, execution, stage, run, result, _blame(failed))


def _ended(
    snapshot: Snapshot, execution: Execution, stage: Stage, run: StageRun, result: str, summary: str
) -> Step:
    if result == "RETRY" and not run.automatic_retries:
        return Retry(run, stage.retry_mode)
    if result == "SKIP":
        return Leave(run, Phase.SKIPPED, _following(snapshot, execution, stage), summary)
    return Fail(run, summary, rollback=result == "ROLLBACK" and not execution.rollback_target)


def _following(snapshot: Snapshot, execution: Execution, stage: Stage) -> str:
    if execution.rollback_target:
        return ""
    names = [each.name for each in snapshot.structures[execution.version].stages]
    index = names.index(stage.name) + 1
    return names[index] if index < len(names) else ""


def _stop(snapshot: Snapshot, execution: Execution, run: StageRun) -> Step | None:
    if run.phase is Phase.INBOUND:
        return Stop(run, Phase.CANCELLED)
    begun = [each.status for each in snapshot.actions.get(execution.id, ())]
    begun += [each.status for each in snapshot.rules.get(execution.id, ())]
    running = RunStatus.IN_PROGRESS in begun
    if running and not execution.abandon:
        return None
    return Stop(run, Phase.STOPPED)


def _supersede(snapshot: Snapshot) -> Step | None:
    newest: dict[str, StageRun] = {}
    for execution in snapshot.executions:
        run = current(snapshot, execution)
        if run is None or run.phase is not Phase.INBOUND or execution.mode != Mode.SUPERSEDED:
            continue
        other = newest.get(run.stage)
        if other is not None:
            older, newer = sorted((other, run), key=lambda each: each.seq)
            return Supersede(older, newer.execution)
        newest[run.stage] = run
    return None


def waiting(snapshot: Snapshot, stage: str) -> list[Execution]:
    """The executions in front of a stage, in the order of their arrival."""
    found = []
    for execution in snapshot.executions:
        run = current(snapshot, execution)
        if run is not None and run.stage == stage and run.phase is Phase.INBOUND:
            found.append((run.seq, execution))
    return [execution for _, execution in sorted(found, key=lambda each: each[0])]

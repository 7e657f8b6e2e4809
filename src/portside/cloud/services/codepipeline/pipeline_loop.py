"""Moves the executions of a pipeline from stage to stage.

One key per pipeline (`region/name`). A turn reads everything that is in flight, lets `stages.py` decide, writes
the step down and begins anew, until there is nothing to do but wait. It calls nobody: what actions do out in the
world is the business of `action_loop.py`, which wakes this loop when one has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.services.codepipeline import rows, stages
from portside.cloud.services.codepipeline.intents import Intents
from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Execution,
    ExecutionStatus,
    Phase,
    Pipeline,
    RuleRun,
    RunStatus,
    StageRun,
)
from portside.cloud.services.codepipeline.stages import Snapshot, Step
from portside.cloud.services.codepipeline.structure import Structure, parse

# More steps than this in one turn: others get their turn first.
MOST_STEPS = 500


class PipelineLoop:
    """`begin` is told the key of every action or rule that has been begun."""

    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, log: Log, begin: Callable[[str], None]
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._log = log.bind(service="codepipeline")
        self._begin = begin
        self.loop = Loop("codepipeline", self.turn, clock, log)
        self.intents = Intents(ids=ids, clock=clock, wake=self.loop.wake)

    def resume(self) -> None:
        for key in rows.live_pipelines(self._db):
            self.loop.wake(key)

    async def turn(self, key: str) -> TurnResult:
        region, _, name = key.partition("/")
        for _ in range(MOST_STEPS):
            pipeline = rows.pipeline(self._db, region, name)
            if pipeline is None:
                return Done()
            snapshot = read(self._db, pipeline)
            step = stages.decide(snapshot)
            if step is None:
                return Done()
            with self._db.write() as tx:
                self._take(tx, pipeline, snapshot, step)
        return After(0.0)

    def _take(self, tx: Transaction, pipeline: Pipeline, snapshot: Snapshot, step: Step) -> None:
        run = step.run
        execution = next(each for each in snapshot.executions if each.id == run.execution)
        structure = snapshot.structures[execution.version]
        match step:
            case stages.Enter(_, phase):
                rows.save_stage_run(tx, replace(run, phase=phase, entered=rows.next_entry(tx)))
                self._touch(tx, execution)
            case stages.Begin(_, names):
                for name in names:
                    self._start(tx, execution, structure, run, name)
            case stages.Look(_, check, phase):
                rows.save_stage_run(tx, replace(run, phase=phase))
                stage = structure.stage(run.stage)
                assert stage is not None
                now = self._clock.now()
                for rule in stage.conditions[check].rules:
                    made = RuleRun(
                        self._ids.uuid(), execution.id, run.stage, check, rule.name, run.attempt, now, now
                    )
                    rows.save_rule_run(tx, made)
                    tx.after_commit(lambda key=f"rule/{made.id}": self._begin(key))  # type: ignore[misc]
            case stages.Proceed():
                rows.save_stage_run(tx, replace(run, phase=Phase.ACTIONS))
            case stages.Leave(_, phase, following, summary):
                rows.save_stage_run(tx, replace(run, phase=phase, summary=summary))
                if following:
                    rows.save_stage_run(tx, StageRun(execution.id, following))
                    self._touch(tx, execution)
                else:
                    self._end(tx, execution, ExecutionStatus.SUCCEEDED, "")
            case stages.Fail(_, summary, rollback):
                rows.save_stage_run(tx, replace(run, phase=Phase.FAILED, summary=summary))
                self._end(tx, execution, ExecutionStatus.FAILED, summary)
                if rollback:
                    self._roll_back(tx, pipeline, execution, run.stage)
            case stages.Retry(_, mode):
                retry(tx, run, mode, automatic=True)
            case stages.Stop(_, phase):
                self._abandon(tx, execution)
                rows.save_stage_run(tx, replace(run, phase=phase))
                self._end(tx, execution, ExecutionStatus.STOPPED, execution.stop_reason or "")
            case stages.Supersede(_, by):
                rows.save_stage_run(tx, replace(run, phase=Phase.CANCELLED))
                self._end(tx, execution, ExecutionStatus.SUPERSEDED, f"Superseded by execution {by}")
            case _:
                assert_never(step)

    def _start(
        self, tx: Transaction, execution: Execution, structure: Structure, run: StageRun, name: str
    ) -> None:
        stage = structure.stage(run.stage)
        action = None if stage is None else stage.action(name)
        assert action is not None
        now = self._clock.now()
        artifacts = rows.artifacts(tx, execution.id)
        made = ActionRun(
            id=self._ids.uuid(),
            execution=execution.id,
            stage=run.stage,
            action=name,
            attempt=run.attempt,
            started=now,
            updated=now,
            role=action.role,
            inputs=tuple(artifacts[each] for each in action.inputs if each in artifacts),
            token=self._ids.uuid() if action.category == "Approval" else "",
        )
        rows.save_action_run(tx, made)
        self._touch(tx, execution)
        tx.after_commit(lambda: self._begin(made.id))

    def _roll_back(self, tx: Transaction, pipeline: Pipeline, execution: Execution, stage: str) -> None:
        target = self.intents.target_of_rollback(tx, pipeline, stage, execution.id)
        if target is None:
            self._log.info("nothing to roll back to", pipeline=pipeline.name, stage=stage)
            return
        self.intents.roll_back(
            tx, pipeline, stage, target, "AutomatedRollback", f"FailedPipelineExecutionId: {execution.id}"
        )

    def _abandon(self, tx: Transaction, execution: Execution) -> None:
        now = self._clock.now()
        for each in rows.action_runs(tx, execution.id):
            if each.status is RunStatus.IN_PROGRESS:
                rows.save_action_run(tx, replace(each, status=RunStatus.ABANDONED, updated=now))
        for rule in rows.rule_runs(tx, execution.id):
            if rule.status is RunStatus.IN_PROGRESS:
                rows.save_rule_run(tx, replace(rule, status=RunStatus.ABANDONED, updated=now))

    def _touch(self, tx: Transaction, execution: Execution) -> None:
        rows.save_execution(tx, replace(execution, updated=self._clock.now()))

    def _end(self, tx: Transaction, execution: Execution, status: ExecutionStatus, summary: str) -> None:
        rows.save_execution(tx, replace(execution, status=status, summary=summary, updated=self._clock.now()))
        self._log.info(
            "execution ended", pipeline=execution.pipeline, execution=execution.id, status=status, summary=summary
        )


def retry(tx: Transaction, run: StageRun, mode: str, *, automatic: bool, phase: Phase = Phase.ACTIONS) -> None:
    """A further attempt at a stage: the actions that succeeded count for it as well, unless all are to run
    again."""
    attempt = run.attempt + 1
    if mode == "FAILED_ACTIONS":
        for each in rows.action_runs(tx, run.execution):
            if (each.stage, each.attempt, each.status) == (run.stage, run.attempt, RunStatus.SUCCEEDED):
                rows.save_action_run(tx, replace(each, attempt=attempt))
    rows.save_stage_run(
        tx,
        replace(
            run,
            phase=phase,
            attempt=attempt,
            summary="",
            automatic_retries=run.automatic_retries + automatic,
            manual_retries=run.manual_retries + (not automatic),
        ),
    )


def read(reader: rows.Reader, pipeline: Pipeline) -> Snapshot:
    """Everything in flight in one pipeline."""
    executions = tuple(rows.live_executions(reader, pipeline.region, pipeline.name))
    structures: dict[int, Structure] = {}
    for version in {each.version for each in executions}:
        found = rows.declaration(reader, pipeline.region, pipeline.name, version)
        assert found is not None
        structures[version] = parse(found[0])
    return Snapshot(
        structures=structures,
        executions=executions,
        stages={each.id: tuple(rows.stage_runs(reader, each.id)) for each in executions},
        actions={each.id: tuple(rows.action_runs(reader, each.id)) for each in executions},
        rules={each.id: tuple(rows.rule_runs(reader, each.id)) for each in executions},
        closed=frozenset(
            (each.side, each.stage)
            for each in rows.transitions(reader, pipeline.region, pipeline.name)
            if not each.enabled
        ),
    )

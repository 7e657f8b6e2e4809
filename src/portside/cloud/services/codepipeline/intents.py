"""Starting executions: the one way in, for the API, the triggers and rollbacks.

Owns how an execution is written down. Called inside a transaction, so that what started it is durable together
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.codepipeline import rows
from portside.cloud.services.codepipeline.records import (
    Execution,
    ExecutionStatus,
    Override,
    Phase,
    Pipeline,
    StageRun,
)
from portside.cloud.services.codepipeline.structure import Mode, Structure, parse

MOST_WAITING = 50


class Intents:
    """`wake` makes the pipeline loop look at a pipeline."""

    def __init__(self, *, ids: Ids, clock: Clock, wake: Callable[[str], None]) -> None:
        self._ids = ids
        self._clock = clock
        self.wake = wake

    def structure(self, reader: rows.Reader, pipeline: Pipeline, version: int = 0) -> Structure:
        found = rows.declaration(reader, pipeline.region, pipeline.name, version or pipeline.version)
        assert found is not None
        return parse(found[0])

    def start(
        self,
        tx: Transaction,
        pipeline: Pipeline,
        trigger: str,
        detail: str = "",
        *,
        variables: Mapping[str, str] | None = None,
        overrides: Mapping[str, Override] | None = None,
        token: str = "",
    ) -> Execution:
        structure = self.structure(tx, pipeline)
        live = rows.live_executions(tx, pipeline.region, pipeline.name)
        if structure.mode is not Mode.SUPERSEDED and len(live) > MOST_WAITING:
            raise AwsError(
                "ConcurrentPipelineExecutionsLimitExceededException",
                f"Pipeline {pipeline.name} has reached the limit of {MOST_WAITING} concurrent executions.",
            )
        values = {name: default for name, default in structure.variables.items() if default is not None}
        now = self._clock.now()
        made = Execution(
            id=self._ids.uuid(),
            region=pipeline.region,
            pipeline=pipeline.name,
            version=pipeline.version,
            mode=structure.mode,
            started=now,
            updated=now,
            trigger_type=trigger,
            trigger_detail=detail,
            variables=values | dict(variables or {}),
            overrides=dict(overrides or {}),
            token=token,
        )
        rows.save_execution(tx, made)
        rows.save_stage_run(tx, StageRun(made.id, structure.stages[0].name))
        tx.after_commit(lambda: self.wake(pipeline.key))
        return made

    def roll_back(
        self, tx: Transaction, pipeline: Pipeline, stage: str, target: Execution, trigger: str, detail: str = ""
    ) -> Execution:
        """An execution of one stage with what `target` brought there."""
        now = self._clock.now()
        made = replace(
            target,
            id=self._ids.uuid(),
            started=now,
            updated=now,
            trigger_type=trigger,
            trigger_detail=detail,
            rollback_target=target.id,
            stop_reason=None,
            abandon=False,
            token="",
            status=ExecutionStatus.IN_PROGRESS,
            summary="",
            seq=0,
        )
        rows.save_execution(tx, made)
        rows.inherit(tx, made.id, target.id)
        rows.save_stage_run(tx, StageRun(made.id, stage))
        tx.after_commit(lambda: self.wake(pipeline.key))
        return made

    def target_of_rollback(
        self, reader: rows.Reader, pipeline: Pipeline, stage: str, but: str
    ) -> Execution | None:
        """The last execution other than `but` that went through a stage of the present structure."""
        succeeded = {
            each.execution: each.entered
            for each in rows.stage_runs_of_pipeline(reader, pipeline.region, pipeline.name)
            if each.stage == stage and each.phase is Phase.SUCCEEDED and each.execution != but
        }
        for execution_id in sorted(succeeded, key=lambda each: succeeded[each], reverse=True):
            found = rows.execution(reader, execution_id)
            if found is not None and found.version == pipeline.version and not found.rollback_target:
                return found
        return None

"""Starting, stopping, retrying and rolling back executions, and answering approvals.

Each validates, writes the intent in one transaction, and answers; the loops do the rest.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.database import Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.codepipeline import rows
from portside.cloud.services.codepipeline.base import Operations
from portside.cloud.services.codepipeline.pipeline_loop import retry
from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Execution,
    ExecutionStatus,
    Override,
    Phase,
    Pipeline,
    RunStatus,
    StageRun,
)
from portside.cloud.services.codepipeline.structure import Check, Mode, Structure

# Which kind of revision each provider takes.
_KINDS = {
    "CodeStarSourceConnection": ("COMMIT_ID",),
    "GitHub": ("COMMIT_ID",),
    "CodeCommit": ("COMMIT_ID",),
    "S3": ("S3_OBJECT_VERSION_ID", "S3_OBJECT_KEY"),
    "ECR": ("IMAGE_DIGEST",),
}


class ExecutionCalls(Operations):
    @operation("StartPipelineExecution")
    def start_pipeline_execution(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["name"])
        structure = self._structure(pipeline)
        token = params.get("clientRequestToken") or ""
        if token:
            before = rows.execution_of_token(self._db, pipeline.region, pipeline.name, token)
            if before is not None:
                return {"pipelineExecutionId": before.id}
        variables = _variables(structure, params)
        overrides = _overrides(structure, params)
        with self._db.write() as tx:
            made = self._intents.start(
                tx,
                pipeline,
                "StartPipelineExecution",
                caller.arn,
                variables=variables,
                overrides=overrides,
                token=token,
            )
        return {"pipelineExecutionId": made.id}

    @operation("StopPipelineExecution")
    def stop_pipeline_execution(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        found = self._execution_to_stop(pipeline, params["pipelineExecutionId"])
        abandon = bool(params.get("abandon"))
        if found.status is ExecutionStatus.STOPPING and (found.abandon or not abandon):
            raise AwsError(
                "DuplicatedStopRequestException",
                f"Pipeline execution {found.id} is already being stopped in the requested way.",
            )
        stopped = replace(
            found,
            status=ExecutionStatus.STOPPING,
            abandon=abandon,
            stop_reason=params.get("reason") or "",
            updated=self._clock.now(),
        )
        with self._db.write() as tx:
            rows.save_execution(tx, stopped)
            tx.after_commit(lambda: self._intents.wake(pipeline.key))
        return {"pipelineExecutionId": found.id}

    def _execution_to_stop(self, pipeline: Pipeline, execution_id: str) -> Execution:
        """StopPipelineExecution knows no PipelineExecutionNotFoundException."""
        found = rows.execution(self._db, execution_id)
        if found is None or found.pipeline_key != pipeline.key or not found.status.live:
            state = (
                "does not exist" if found is None or found.pipeline_key != pipeline.key else f"is {found.status}"
            )
            raise AwsError(
                "PipelineExecutionNotStoppableException",
                f"Unable to stop pipeline execution {execution_id} of {pipeline.name}: it {state}.",
            )
        return found

    @operation("RetryStageExecution")
    def retry_stage_execution(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        self._stage(pipeline, params["stageName"])
        with self._db.write() as tx:
            execution, run = self._latest(tx, pipeline, params)
            if execution.status.live:
                raise AwsError(
                    "ConflictException",
                    f"Pipeline execution {execution.id} is {execution.status}, not to be retried.",
                )
            if run.phase not in (Phase.FAILED, Phase.STOPPED):
                raise AwsError(
                    "StageNotRetryableException",
                    f"Stage {run.stage} of pipeline {pipeline.name} has neither failed nor been stopped.",
                )
            stage = self._intents.structure(tx, pipeline, execution.version).stage(run.stage)
            begun = any(
                (each.stage, each.attempt) == (run.stage, run.attempt)
                for each in rows.action_runs(tx, execution.id)
            )
            entry = not begun and stage is not None and Check.ENTRY in stage.conditions
            phase = Phase.ENTRY if entry and Check.ENTRY not in run.overridden else Phase.ACTIONS
            retry(tx, run, params["retryMode"], automatic=False, phase=phase)
            self._revive(tx, execution)
            tx.after_commit(lambda: self._intents.wake(pipeline.key))
        return {"pipelineExecutionId": execution.id}

    def _revive(self, tx: Transaction, execution: Execution) -> None:
        rows.save_execution(
            tx,
            replace(
                execution,
                status=ExecutionStatus.IN_PROGRESS,
                summary="",
                stop_reason=None,
                abandon=False,
                updated=self._clock.now(),
            ),
        )

    def _latest(self, tx: Transaction, pipeline: Pipeline, params: Params) -> tuple[Execution, StageRun]:
        """The execution named, if it is the last that entered the stage named."""
        execution = self._execution_or_none(tx, pipeline, params["pipelineExecutionId"])
        entered = [
            each
            for each in rows.stage_runs_of_pipeline(tx, pipeline.region, pipeline.name)
            if each.stage == params["stageName"] and each.entered
        ]
        parallel = execution is not None and execution.mode == Mode.PARALLEL
        own = [each for each in entered if execution is not None and each.execution == execution.id]
        latest = own if parallel else sorted(entered, key=lambda each: each.entered)[-1:]
        if execution is None or not latest or latest[-1].execution != execution.id:
            raise AwsError(
                "NotLatestPipelineExecutionException",
                f"Pipeline execution {params['pipelineExecutionId']} is not the latest in stage "
                f"{params['stageName']} of pipeline {pipeline.name}.",
            )
        return execution, latest[-1]

    def _execution_or_none(self, reader: rows.Reader, pipeline: Pipeline, execution_id: str) -> Execution | None:
        found = rows.execution(reader, execution_id)
        return found if found is not None and found.pipeline_key == pipeline.key else None

    @operation("RollbackStage")
    def rollback_stage(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        stage = self._stage(pipeline, params["stageName"])
        structure = self._structure(pipeline)
        target = self._execution(pipeline, params["targetPipelineExecutionId"])

        def unable(why: str) -> AwsError:
            return AwsError("UnableToRollbackStageException", f"Unable to roll back stage {stage.name}: {why}")

        if structure.kind != "V2":
            raise unable("rollback is for pipelines of type V2.")
        if structure.mode is Mode.PARALLEL:
            raise unable("rollback is not for pipelines in PARALLEL mode.")
        if stage.name == structure.stages[0].name:
            raise unable("it is the source stage.")
        if target.version != pipeline.version:
            raise AwsError(
                "PipelineExecutionOutdatedException",
                f"Pipeline execution {target.id} ran version {target.version} of the pipeline, which has version "
                f"{pipeline.version} now.",
            )
        if target.rollback_target:
            raise unable("the target execution is a rollback itself.")
        runs = rows.stage_runs_of_pipeline(self._db, pipeline.region, pipeline.name)
        of_stage = [each for each in runs if each.stage == stage.name and each.entered]
        if not any(each.execution == target.id and each.phase is Phase.SUCCEEDED for each in of_stage):
            raise unable(f"execution {target.id} did not succeed in it.")
        latest = max(of_stage, key=lambda each: each.entered)
        if latest.phase.holding:
            raise AwsError("ConflictException", f"Stage {stage.name} is in progress.")
        if latest.execution == target.id:
            raise unable(f"execution {target.id} is the one that is there.")
        with self._db.write() as tx:
            made = self._intents.roll_back(tx, pipeline, stage.name, target, "ManualRollback", caller.arn)
        return {"pipelineExecutionId": made.id}

    @operation("OverrideStageCondition")
    def override_stage_condition(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        stage = self._stage(pipeline, params["stageName"])
        check = Check(params["conditionType"])
        with self._db.write() as tx:
            execution, run = self._latest(tx, pipeline, params)
            waiting = (Phase.ENTRY, Phase.ACTIONS) if check is Check.ENTRY else (Phase.SUCCESS, Phase.SUCCESS)
            looked = [
                each
                for each in rows.rule_runs(tx, execution.id)
                if (each.stage, each.moment, each.attempt) == (run.stage, check, run.attempt)
            ]
            failed = run.phase is Phase.FAILED and any(each.status is RunStatus.FAILED for each in looked)
            if check not in stage.conditions or not looked or not (run.phase is waiting[0] or failed):
                raise AwsError(
                    "ConditionNotOverridableException",
                    f"The {check} condition of stage {stage.name} is neither in progress nor failed.",
                )
            for each in looked:
                if each.status is RunStatus.IN_PROGRESS:
                    rows.save_rule_run(tx, replace(each, status=RunStatus.ABANDONED, updated=self._clock.now()))
            rows.save_stage_run(
                tx, replace(run, phase=waiting[1], overridden=(*run.overridden, check), summary="")
            )
            if failed:
                self._revive(tx, execution)
            tx.after_commit(lambda: self._intents.wake(pipeline.key))
        return {}

    @operation("PutApprovalResult")
    def put_approval_result(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        stage = self._stage(pipeline, params["stageName"])
        if stage.action(params["actionName"]) is None:
            raise AwsError(
                "ActionNotFoundException",
                f"Stage '{stage.name}' of pipeline '{pipeline.name}' does not have an action with name "
                f"'{params['actionName']}'",
            )
        result = params["result"]
        now = self._clock.now()
        with self._db.write() as tx:
            run = self._awaiting(tx, pipeline, params)
            summary = str(result.get("summary") or "")
            approved = result["status"] == "Approved"
            rows.save_action_run(
                tx,
                replace(
                    run,
                    status=RunStatus.SUCCEEDED if approved else RunStatus.FAILED,
                    updated=now,
                    updated_by=caller.arn,
                    summary=summary or f"{result['status']} by {caller.arn}",
                    code="" if approved else "JobFailed",
                    message="" if approved else summary or f"Rejected by {caller.arn}",
                ),
            )
            tx.after_commit(lambda: self._intents.wake(pipeline.key))
        return {"approvedAt": now}

    def _awaiting(self, tx: Transaction, pipeline: Pipeline, params: Params) -> ActionRun:
        """The run whose token was given."""
        of_action = [
            each
            for each in rows.action_runs_of_pipeline(tx, pipeline.region, pipeline.name)
            if (each.stage, each.action) == (params["stageName"], params["actionName"])
        ]
        found = next((each for each in of_action if each.token == params["token"]), None)
        if found is None or not found.token:
            raise AwsError(
                "InvalidApprovalTokenException", "The approval token is invalid: no approval waits for it."
            )
        if found.status is not RunStatus.IN_PROGRESS:
            newer = any(each.status is RunStatus.IN_PROGRESS for each in of_action)
            if newer:
                raise AwsError(
                    "InvalidApprovalTokenException",
                    "The approval token is invalid: it belongs to an earlier request for approval.",
                )
            raise AwsError("ApprovalAlreadyCompletedException", "The approval action has already been completed.")
        return found


def _variables(structure: Structure, params: Params) -> dict[str, str]:
    given = {each["name"]: each["value"] for each in params.get("variables") or ()}
    if given and structure.kind != "V2":
        raise AwsError("ValidationException", f"Pipeline {structure.name} of type V1 has no variables.")
    unknown = sorted(given.keys() - structure.variables.keys())
    if unknown:
        raise AwsError(
            "ValidationException",
            f"Pipeline {structure.name} does not declare the variables {', '.join(unknown)}.",
        )
    missing = sorted(
        name for name, default in structure.variables.items() if default is None and name not in given
    )
    if missing:
        raise AwsError(
            "ValidationException",
            f"Variables of pipeline {structure.name} have neither a value nor a default: {', '.join(missing)}.",
        )
    return given


def _overrides(structure: Structure, params: Params) -> dict[str, Override]:
    found: dict[str, Override] = {}
    sources = {each.name: each for each in structure.sources}
    for each in params.get("sourceRevisions") or ():
        action = sources.get(each["actionName"])
        if action is None:
            raise AwsError(
                "ValidationException", f"Pipeline {structure.name} has no source action {each['actionName']}."
            )
        kinds = _KINDS[action.provider]
        if each["revisionType"] not in kinds:
            raise AwsError(
                "ValidationException",
                f"Source action {action.name} of provider {action.provider} takes a revision of type "
                f"{' or '.join(kinds)}, not {each['revisionType']}.",
            )
        found[action.name] = Override(each["revisionType"], each["revisionValue"])
    return found

"""What is only read: the state of a pipeline, its executions, actions and rules.

Everything comes from the tables, so it is the same after a restart. Lists are newest first. How records look in
answers is in `views.py`.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.codepipeline import rows, views
from portside.cloud.services.codepipeline.base import Operations, page
from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Execution,
    ExecutionStatus,
    Phase,
    Pipeline,
    Revision,
    RuleRun,
    StageRun,
    Transition,
)
from portside.cloud.services.codepipeline.structure import Check, Stage, Structure

PAGE = 100


class ReadCalls(Operations):
    @operation("GetPipelineState")
    def get_pipeline_state(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["name"])
        structure = self._structure(pipeline)
        executions = {each.id: each for each in rows.executions(self._db, pipeline.region, pipeline.name)}
        runs = rows.stage_runs_of_pipeline(self._db, pipeline.region, pipeline.name)
        actions = {
            (each.stage, each.action): each
            for each in rows.latest_action_runs(self._db, pipeline.region, pipeline.name)
        }
        transitions = {
            each.stage: each
            for each in rows.transitions(self._db, pipeline.region, pipeline.name)
            if each.side == "Inbound"
        }
        return {
            "pipelineName": pipeline.name,
            "pipelineVersion": pipeline.version,
            "created": pipeline.created,
            "updated": pipeline.updated,
            "stageStates": [
                self._stage_state(
                    each, [run for run in runs if run.stage == each.name], executions, actions,
                    transitions.get(each.name),
                )
                for each in structure.stages
            ],
        }  # fmt: skip

    def _stage_state(
        self,
        stage: Stage,
        runs: list[StageRun],
        executions: dict[str, Execution],
        actions: dict[tuple[str, str], ActionRun],
        transition: Transition | None,
    ) -> Params:
        state: Params = {
            "stageName": stage.name,
            "inboundTransitionState": views.transition(transition),
            "actionStates": [
                views.action_state(each, actions.get((stage.name, each.name))) for each in stage.actions
            ],
        }
        inbound = [
            views.stage_execution(executions[each.execution], each)
            for each in runs
            if each.phase is Phase.INBOUND and executions[each.execution].status.live
        ]
        if inbound:
            state["inboundExecution"] = inbound[-1]
            state["inboundExecutions"] = inbound
        entered = [each for each in runs if each.entered]
        if entered:
            latest = max(entered, key=lambda each: each.entered)
            state["latestExecution"] = views.stage_execution(executions[latest.execution], latest)
            state["retryStageMetadata"] = views.retries(latest)
            rules = [each for each in rows.rule_runs(self._db, latest.execution) if each.stage == stage.name]
            for check, member in (
                (Check.ENTRY, "beforeEntryConditionState"),
                (Check.SUCCESS, "onSuccessConditionState"),
                (Check.FAILURE, "onFailureConditionState"),
            ):
                looked = [each for each in rules if each.moment == check and each.attempt == latest.attempt]
                if looked:
                    state[member] = views.condition(looked, overridden=check in latest.overridden)
        return state

    @operation("GetPipelineExecution")
    def get_pipeline_execution(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        found = self._execution(pipeline, params["pipelineExecutionId"])
        revisions = [
            {
                "name": artifact,
                "revisionId": revision.id,
                "revisionChangeIdentifier": revision.change_id[:100],
                "revisionSummary": revision.summary or None,
                "created": revision.created,
            }
            for _, artifact, revision in self._revisions(pipeline, found)
        ]
        return {"pipelineExecution": views.execution(found) | {"artifactRevisions": revisions}}

    def _revisions(self, pipeline: Pipeline, execution: Execution) -> list[tuple[str, str, Revision]]:
        """Source action, artifact and revision, in the order of the declaration."""
        structure = self._structure(pipeline, execution.version)
        runs = rows.action_runs(self._db, execution.rollback_target or execution.id)
        found: list[tuple[str, str, Revision]] = []
        for action in structure.sources:
            for run in reversed(runs):
                if (
                    run.action == action.name
                    and run.stage == structure.stages[0].name
                    and run.revision is not None
                ):
                    found.append((action.name, action.outputs[0], run.revision))
                    break
        return found

    @operation("ListPipelineExecutions")
    def list_pipeline_executions(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        found = rows.executions(self._db, pipeline.region, pipeline.name)
        wanted = ((params.get("filter") or {}).get("succeededInStage") or {}).get("stageName")
        if wanted:
            succeeded = {
                each.execution
                for each in rows.stage_runs_of_pipeline(self._db, pipeline.region, pipeline.name)
                if each.stage == wanted and each.phase is Phase.SUCCEEDED
            }
            found = [each for each in found if each.id in succeeded]
        shown, token = page(found, params, PAGE)
        return {
            "pipelineExecutionSummaries": [self._execution_summary(pipeline, each) for each in shown],
            "nextToken": token,
        }

    def _execution_summary(self, pipeline: Pipeline, each: Execution) -> Params:
        stopped = each.status in (ExecutionStatus.STOPPED, ExecutionStatus.STOPPING)
        return views.summary(each) | {
            "sourceRevisions": [
                {
                    "actionName": action,
                    "revisionId": revision.id,
                    "revisionSummary": revision.summary or None,
                }
                for action, _, revision in self._revisions(pipeline, each)
            ],
            "stopTrigger": {"reason": each.stop_reason or None} if stopped else None,
        }

    @operation("ListActionExecutions")
    def list_action_executions(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        wanted, latest_only = self._filter(pipeline, params)
        executions = {each.id: each for each in rows.executions(self._db, pipeline.region, pipeline.name)}
        found = (
            rows.action_runs(self._db, wanted)
            if wanted
            else rows.action_runs_of_pipeline(self._db, pipeline.region, pipeline.name)
        )
        if latest_only:
            found = list({(each.stage, each.action): each for each in found}.values())
        found.sort(key=lambda each: each.seq, reverse=True)
        shown, token = page(found, params, PAGE)
        structures: dict[int, Structure] = {}
        details = []
        for each in shown:
            execution = executions[each.execution]
            if execution.version not in structures:
                structures[execution.version] = self._structure(pipeline, execution.version)
            details.append(views.action_detail(each, execution, structures[execution.version]))
        return {"actionExecutionDetails": details, "nextToken": token}

    def _filter(self, pipeline: Pipeline, params: Params) -> tuple[str, bool]:
        """The execution asked for, if one is, and whether only the latest run of each action or rule is wanted."""
        given = params.get("filter") or {}
        latest = given.get("latestInPipelineExecution") or {}
        one = given.get("pipelineExecutionId")
        if one and latest:
            raise AwsError(
                "ValidationException", "Give one of pipelineExecutionId and latestInPipelineExecution, not both."
            )
        wanted = one or latest.get("pipelineExecutionId") or ""
        if wanted:
            self._execution(pipeline, wanted)
        return wanted, latest.get("startTimeRange") == "Latest"

    @operation("ListRuleExecutions")
    def list_rule_executions(self, caller: Caller, params: Params) -> Params:
        pipeline = self._pipeline(caller, params["pipelineName"])
        wanted, latest_only = self._filter(pipeline, params)
        executions = {each.id: each for each in rows.executions(self._db, pipeline.region, pipeline.name)}
        found: list[RuleRun] = (
            rows.rule_runs(self._db, wanted)
            if wanted
            else rows.rule_runs_of_pipeline(self._db, pipeline.region, pipeline.name)
        )
        if latest_only:
            found = list({(each.stage, each.moment, each.rule): each for each in found}.values())
        found.sort(key=lambda each: each.seq, reverse=True)
        shown, token = page(found, params, PAGE)
        details = [
            views.rule_detail(
                each, executions[each.execution], self._structure(pipeline, executions[each.execution].version)
            )
            for each in shown
        ]
        return {"ruleExecutionDetails": details, "nextToken": token}

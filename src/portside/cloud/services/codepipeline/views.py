"""How records look in answers. Pure."""

from __future__ import annotations

from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Artifact,
    Execution,
    ExecutionStatus,
    Phase,
    RuleRun,
    RunStatus,
    StageRun,
    Transition,
)
from portside.cloud.services.codepipeline.structure import Action, Check, Structure

_STAGE_STATUS = {
    Phase.SUCCEEDED: "Succeeded",
    Phase.FAILED: "Failed",
    Phase.STOPPED: "Stopped",
    Phase.SKIPPED: "Skipped",
    Phase.CANCELLED: "Cancelled",
}


def stage_execution(execution: Execution, run: StageRun) -> Params:
    stopping = execution.status is ExecutionStatus.STOPPING
    status = _STAGE_STATUS.get(run.phase) or ("Stopping" if stopping else "InProgress")
    return {"pipelineExecutionId": execution.id, "status": status, "type": execution.type}


def transition(found: Transition | None) -> Params:
    if found is None:
        return {"enabled": True}
    return {
        "enabled": found.enabled,
        "lastChangedBy": found.changed_by,
        "lastChangedAt": found.changed_at,
        "disabledReason": found.reason or None,
    }


def retries(run: StageRun) -> Params | None:
    if not run.automatic_retries and not run.manual_retries:
        return None
    return {
        "autoStageRetryAttempt": run.automatic_retries or None,
        "manualStageRetryAttempt": run.manual_retries or None,
        "latestRetryTrigger": "ManualStageRetry" if run.manual_retries else "AutomatedStageRetry",
    }


def action_state(action: Action, run: ActionRun | None) -> Params:
    state: Params = {"actionName": action.name}
    if run is None:
        return state
    if run.revision is not None:
        state["currentRevision"] = {
            "revisionId": run.revision.id,
            "revisionChangeId": run.revision.change_id[:100],
            "created": run.revision.created,
        }
    state["latestExecution"] = {
        "actionExecutionId": run.id,
        "status": run.status,
        "summary": run.summary or None,
        "lastStatusChange": run.updated,
        "token": run.token if run.token and run.status is RunStatus.IN_PROGRESS else None,
        "lastUpdatedBy": run.updated_by or None,
        "externalExecutionId": run.external_id or None,
        "externalExecutionUrl": run.external_url or None,
        "errorDetails": _error(run),
    }
    return state


def _error(run: ActionRun) -> Params | None:
    return {"code": run.code, "message": run.message} if run.code else None


def execution(found: Execution) -> Params:
    return {
        "pipelineName": found.pipeline,
        "pipelineVersion": found.version,
        "pipelineExecutionId": found.id,
        "status": found.status,
        "statusSummary": found.summary or None,
        "variables": [{"name": name, "resolvedValue": value} for name, value in found.variables.items()] or None,
        **_kind(found),
    }


def _kind(found: Execution) -> Params:
    return {
        "trigger": {"triggerType": found.trigger_type, "triggerDetail": found.trigger_detail[:1024] or None},
        "executionMode": found.mode,
        "executionType": found.type,
        "rollbackMetadata": {"rollbackTargetPipelineExecutionId": found.rollback_target}
        if found.rollback_target
        else None,
    }


def summary(found: Execution) -> Params:
    return {
        "pipelineExecutionId": found.id,
        "status": found.status,
        "statusSummary": found.summary or None,
        "startTime": found.started,
        "lastUpdateTime": found.updated,
        **_kind(found),
    }


def _artifacts(found: tuple[Artifact, ...]) -> list[Params]:
    return [{"name": each.name, "s3location": {"bucket": each.bucket, "key": each.key}} for each in found]


def action_detail(run: ActionRun, found: Execution, structure: Structure) -> Params:
    stage = structure.stage(run.stage)
    action = None if stage is None else stage.action(run.action)
    assert action is not None
    return {
        "pipelineExecutionId": run.execution,
        "actionExecutionId": run.id,
        "pipelineVersion": found.version,
        "stageName": run.stage,
        "actionName": run.action,
        "startTime": run.started,
        "lastUpdateTime": run.updated,
        "updatedBy": run.updated_by or None,
        "status": run.status,
        "input": {
            "actionTypeId": action.type_id,
            "configuration": action.configuration,
            "resolvedConfiguration": run.configuration,
            "roleArn": action.role or None,
            "region": action.region or found.region,
            "inputArtifacts": _artifacts(run.inputs),
            "namespace": action.namespace or None,
        },
        "output": {
            "outputArtifacts": _artifacts(run.outputs),
            "executionResult": {
                "externalExecutionId": run.external_id or None,
                "externalExecutionSummary": run.summary or None,
                "externalExecutionUrl": run.external_url or None,
                "errorDetails": _error(run),
            },
            "outputVariables": run.variables,
        },
    }


_CONDITION_STATUS = {
    RunStatus.IN_PROGRESS: "InProgress",
    RunStatus.FAILED: "Failed",
    RunStatus.ABANDONED: "Abandoned",
    RunStatus.SUCCEEDED: "Succeeded",
}


def condition(looked: list[RuleRun], *, overridden: bool) -> Params:
    """One condition a stage and moment, with its rules."""
    status = "Succeeded"
    for each in (RunStatus.ABANDONED, RunStatus.FAILED, RunStatus.IN_PROGRESS):
        if any(rule.status is each for rule in looked):
            status = _CONDITION_STATUS[each]
    if overridden:
        status = "Overridden"
    summary_text = "; ".join(each.summary for each in looked if each.summary) or None
    return {
        "latestExecution": {"status": status, "summary": summary_text},
        "conditionStates": [
            {
                "latestExecution": {
                    "status": status,
                    "summary": summary_text,
                    "lastStatusChange": max(each.updated for each in looked),
                },
                "ruleStates": [
                    {
                        "ruleName": each.rule,
                        "latestExecution": {
                            "ruleExecutionId": each.id,
                            "status": each.status,
                            "summary": each.summary or None,
                            "lastStatusChange": each.updated,
                            "errorDetails": {"code": each.code, "message": each.summary} if each.code else None,
                        },
                    }
                    for each in looked
                ],
            }
        ],
    }


def rule_detail(run: RuleRun, found: Execution, structure: Structure) -> Params:
    stage = structure.stage(run.stage)
    assert stage is not None
    rule = next(each for each in stage.conditions[Check(run.moment)].rules if each.name == run.rule)
    return {
        "pipelineExecutionId": run.execution,
        "ruleExecutionId": run.id,
        "pipelineVersion": found.version,
        "stageName": run.stage,
        "ruleName": run.rule,
        "startTime": run.started,
        "lastUpdateTime": run.updated,
        "status": run.status,
        "input": {
            "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": rule.provider, "version": "1"},
            "configuration": rule.configuration,
            "resolvedConfiguration": run.configuration or None,
            "roleArn": rule.role or None,
            "region": rule.region or found.region,
            "inputArtifacts": [],
        },
        "output": {
            "executionResult": {
                "externalExecutionSummary": run.summary or None,
                "errorDetails": {"code": run.code, "message": run.summary} if run.code else None,
            }
        },
    }

"""The CodePipeline API: pipelines, their tags and transitions.

Validates, writes and answers. Operations on executions are in `execution_calls.py`, what is only read in
`read_calls.py`, webhooks in `webhook_calls.py`; all are parts of `CodePipelineApi`. Secrets in a declaration are
kept apart from it and never shown.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.calls import Caller, Params, Service, operation, operations_of
from portside.cloud.services.codepipeline import rows, validation
from portside.cloud.services.codepipeline.base import page, shown_tags, tags_of
from portside.cloud.services.codepipeline.execution_calls import ExecutionCalls
from portside.cloud.services.codepipeline.read_calls import ReadCalls
from portside.cloud.services.codepipeline.records import Pipeline, Transition
from portside.cloud.services.codepipeline.structure import complete, part_secrets, without_none
from portside.cloud.services.codepipeline.webhook_calls import WebhookCalls


class CodePipelineApi(ExecutionCalls, ReadCalls, WebhookCalls):
    def service(self) -> Service:
        return Service("codepipeline", operations_of(self), _invalid)

    @operation("CreatePipeline")
    def create_pipeline(self, caller: Caller, params: Params) -> Params:
        declared = without_none(params["pipeline"])
        structure = validation.check(declared, caller.region)
        tags = tags_of(params.get("tags"))
        now = self._clock.now()
        made = Pipeline(
            caller.region, structure.name, caller.account, 1, now, now, endpoint=caller.endpoint, tags=tags
        )
        shown, secrets = part_secrets(complete(declared | {"version": 1}), {})
        with self._db.write() as tx:
            if rows.pipeline(tx, made.region, made.name) is not None:
                raise AwsError(
                    "PipelineNameInUseException", f"A pipeline with the name '{made.name}' already exists."
                )
            rows.save_pipeline(tx, made)
            rows.save_declaration(tx, made, shown, secrets)
            self._intents.start(tx, made, "CreatePipeline", caller.arn)
            tx.after_commit(lambda: self._declared(made.key))
        self._log.info("pipeline created", pipeline=made.name, region=made.region)
        return {"pipeline": shown, "tags": shown_tags(tags)}

    @operation("UpdatePipeline")
    def update_pipeline(self, caller: Caller, params: Params) -> Params:
        declared = without_none(params["pipeline"])
        present = self._pipeline_to_update(caller, declared["name"])
        validation.check(declared, caller.region)
        version = present.version + 1
        with self._db.write() as tx:
            before = rows.declaration(tx, present.region, present.name, present.version)
            assert before is not None
            shown, secrets = part_secrets(complete(declared | {"version": version}), before[1])
            changed = replace(
                present,
                version=version,
                updated=self._clock.now(),
                endpoint=caller.endpoint or present.endpoint,
            )
            rows.save_pipeline(tx, changed)
            rows.save_declaration(tx, changed, shown, secrets)
            tx.after_commit(lambda: self._intents.wake(present.key))
            tx.after_commit(lambda: self._declared(present.key))
        return {"pipeline": shown}

    def _pipeline_to_update(self, caller: Caller, name: str) -> Pipeline:
        """UpdatePipeline knows no PipelineNotFoundException."""
        found = rows.pipeline(self._db, caller.region, name)
        if found is None:
            raise AwsError("InvalidStructureException", f"A pipeline with the name '{name}' does not exist.")
        return found

    @operation("GetPipeline")
    def get_pipeline(self, caller: Caller, params: Params) -> Params:
        found = self._pipeline(caller, params["name"])
        version = params.get("version") or found.version
        declared = rows.declaration(self._db, found.region, found.name, version)
        if declared is None:
            raise AwsError(
                "PipelineVersionNotFoundException", f"Pipeline '{found.name}' does not have version {version}."
            )
        return {
            "pipeline": declared[0],
            "metadata": {"pipelineArn": found.arn, "created": found.created, "updated": found.updated},
        }

    @operation("DeletePipeline")
    def delete_pipeline(self, caller: Caller, params: Params) -> Params:
        """What is in flight ends with its pipeline; what actions have begun elsewhere goes on."""
        with self._db.write() as tx:
            rows.delete_pipeline(tx, caller.region, params["name"])
        return {}

    @operation("ListPipelines")
    def list_pipelines(self, caller: Caller, params: Params) -> Params:
        found, token = page(rows.pipelines(self._db, caller.region), params, 1000)
        return {"pipelines": [self._summary(each) for each in found], "nextToken": token}

    def _summary(self, each: Pipeline) -> Params:
        structure = self._structure(each)
        return {
            "name": each.name,
            "version": each.version,
            "pipelineType": structure.kind,
            "executionMode": structure.mode,
            "created": each.created,
            "updated": each.updated,
        }

    # Transitions

    @operation("EnableStageTransition")
    def enable_stage_transition(self, caller: Caller, params: Params) -> Params:
        self._transit(caller, params, enabled=True, reason="")
        return {}

    @operation("DisableStageTransition")
    def disable_stage_transition(self, caller: Caller, params: Params) -> Params:
        self._transit(caller, params, enabled=False, reason=params["reason"])
        return {}

    def _transit(self, caller: Caller, params: Params, *, enabled: bool, reason: str) -> None:
        found = self._pipeline(caller, params["pipelineName"])
        stage = self._stage(found, params["stageName"])
        changed = Transition(stage.name, params["transitionType"], enabled, reason, caller.arn, self._clock.now())
        with self._db.write() as tx:
            rows.save_transition(tx, found.region, found.name, changed)
            tx.after_commit(lambda: self._intents.wake(found.key))

    # Tags

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._by_arn(caller, params["resourceArn"])
        kept = dict(found.tags) | dict(tags_of(params["tags"]))
        checked = tags_of([{"key": key, "value": value} for key, value in kept.items()])
        with self._db.write() as tx:
            rows.save_pipeline(tx, replace(found, tags=checked))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._by_arn(caller, params["resourceArn"])
        kept = tuple((key, value) for key, value in found.tags if key not in params["tagKeys"])
        with self._db.write() as tx:
            rows.save_pipeline(tx, replace(found, tags=kept))
        return {}

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        found, token = page(list(self._by_arn(caller, params["resourceArn"]).tags), params, 100)
        return {"tags": shown_tags(tuple(found)), "nextToken": token}

    def _by_arn(self, caller: Caller, arn: str) -> Pipeline:
        prefix = f"arn:aws:codepipeline:{caller.region}:{caller.account}:"
        name = arn.removeprefix(prefix)
        if not arn.startswith(prefix) or "/" in name or name.startswith("webhook:"):
            raise AwsError(
                "InvalidArnException", f"{arn} is not the ARN of a pipeline in this account and Region."
            )
        found = rows.pipeline(self._db, caller.region, name)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"There is no resource with ARN {arn}.")
        return found


def _invalid(found: list[Violation]) -> AwsError:
    return AwsError("ValidationException", describe(found))

"""Runs actions, and looks at the rules of conditions.

One key per action run, `rule/ID` per rule run. A turn resolves the action's variables, takes on its role and
lets its provider take one step; what came of it is written down in one transaction that also wakes the
pipeline's loop. So an action goes on where it was when the cloud is killed: its provider finds its work again by
its note or its token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.codepipeline import offered, rows, rules, variables
from portside.cloud.services.codepipeline.actions.job import (
    ActionFailure,
    Job,
    Outcome,
    Provider,
    Running,
    Succeeded,
    passing,
    permitted,
)
from portside.cloud.services.codepipeline.records import (
    ActionRun,
    Execution,
    Pipeline,
    RuleRun,
    RunStatus,
)
from portside.cloud.services.codepipeline.sessions import Sessions
from portside.cloud.services.codepipeline.structure import Action, Check, Stage, Structure, parse

MINUTE = 60.0
RETRY_SECONDS = 1.0
LONGEST_VARIABLES = 122_880


class ActionLoop:
    """`providers` by (category, owner, provider); `ended` is told the key of the pipeline."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        log: Log,
        calls: Calls,
        sessions: Sessions,
        providers: Mapping[tuple[str, str, str], Provider],
        ended: Callable[[str], None],
    ) -> None:
        self._db = database
        self._ids = ids
        self._clock = clock
        self._log = log.bind(service="codepipeline")
        self._calls = calls
        self._sessions = sessions
        self._providers = providers
        self._ended = ended
        self.loop = Loop("codepipeline-actions", self.turn, clock, log, workers=64, turn_limit=600.0)

    def resume(self) -> None:
        for each in rows.running_actions(self._db):
            self.loop.wake(each)
        for each in rows.running_rules(self._db):
            self.loop.wake(f"rule/{each}")

    async def turn(self, key: str) -> TurnResult:
        if key.startswith("rule/"):
            return await self._rule(key.removeprefix("rule/"))
        run = rows.action_run(self._db, key)
        if run is None or run.status is not RunStatus.IN_PROGRESS:
            return Done()
        found = self._place(run.execution, run.stage)
        if found is None:
            return Done()
        pipeline, execution, structure, stage = found
        action = stage.action(run.action)
        assert action is not None
        try:
            if run.configuration is None:
                run = self._resolved(run, pipeline, execution, structure, action)
            outcome = await self._advance(run, pipeline, execution, structure, action)
        except variables.Unresolved as error:
            return self._fail(
                run,
                pipeline,
                "ConfigurationError",
                f"The variable reference {error.reference} in the configuration of action {action.name} in stage "
                f"{run.stage} cannot be resolved.",
            )
        except ActionFailure as failure:
            return self._fail(run, pipeline, failure.code, failure.message)
        except AwsError as error:
            if passing(error) and self._clock.now() < deadline(run, action):
                self._log.warning("action has to wait", action=action.name, code=error.code, error=error.message)
                return After(RETRY_SECONDS)
            code = "JobFailed" if permitted(error) else "PermissionError"
            return self._fail(run, pipeline, code, error.message or error.code)
        match outcome:
            case Running():
                return self._goes_on(run, outcome)
            case Succeeded():
                return self._succeed(run, pipeline, action, outcome)

    def _place(self, execution_id: str, stage: str) -> tuple[Pipeline, Execution, Structure, Stage] | None:
        execution = rows.execution(self._db, execution_id)
        if execution is None:
            return None
        pipeline = rows.pipeline(self._db, execution.region, execution.pipeline)
        assert pipeline is not None
        declared = rows.declaration(self._db, execution.region, execution.pipeline, execution.version)
        assert declared is not None
        structure = parse(declared[0])
        found = structure.stage(stage)
        assert found is not None
        return pipeline, execution, structure, found

    def _values(
        self, pipeline: Pipeline, execution: Execution, structure: Structure
    ) -> dict[str, Mapping[str, str]]:
        values: dict[str, Mapping[str, str]] = dict(rows.variables(self._db, execution.id))
        values["variables"] = execution.variables
        values["codepipeline"] = {
            "PipelineExecutionId": execution.id,
            "PipelineName": pipeline.name,
            "PipelineVersion": str(execution.version),
            "TriggerType": execution.trigger_type,
            "TriggerDetail": execution.trigger_detail,
        }
        return values

    def _resolved(
        self, run: ActionRun, pipeline: Pipeline, execution: Execution, structure: Structure, action: Action
    ) -> ActionRun:
        """What variables stand for is found out once, when the action starts."""
        values = self._values(pipeline, execution, structure)
        resolved = replace(run, configuration=variables.resolve_all(action.configuration, values))
        with self._db.write() as tx:
            rows.save_action_run(tx, resolved)
        return resolved

    async def _advance(
        self, run: ActionRun, pipeline: Pipeline, execution: Execution, structure: Structure, action: Action
    ) -> Outcome:
        job = Job(
            calls=self._calls,
            ids=self._ids,
            caller=await self._caller(pipeline, action.role or structure.role, execution.id),
            account=self._sessions.account(pipeline),
            pipeline=pipeline,
            structure=structure,
            execution=execution,
            action=action,
            run=run,
            configuration=run.configuration or {},
            now=self._clock.now(),
        )
        provider = self._providers[action.category, action.owner, action.provider]
        limit = deadline(run, action)
        if self._clock.now() >= limit:
            await provider.stop(job)
            if action.category == "Approval":
                raise ActionFailure("The approval was not given in time: it expired after 7 days.")
            minutes = int((limit - run.started) / MINUTE)
            raise ActionFailure(f"The action {action.name} timed out after {minutes} minutes.")
        outcome = await provider.advance(job)
        if isinstance(outcome, Running):
            return replace(outcome, seconds=min(outcome.seconds, max(0.0, limit - self._clock.now())))
        return outcome

    async def _caller(self, pipeline: Pipeline, role: str, execution: str) -> Caller:
        try:
            return await self._sessions.caller(pipeline, role, execution)
        except AwsError as error:
            if passing(error):
                raise
            raise ActionFailure(
                f"CodePipeline is not authorized to perform AssumeRole on role {role}: {error.message}",
                "PermissionError",
            ) from error

    # What came of it

    def _present(self, reader: rows.Reader, run: ActionRun) -> ActionRun | None:
        """The run as it is now, if it is still wanted: an approval or a stop may have come meanwhile."""
        found = rows.action_run(reader, run.id)
        return found if found is not None and found.status is RunStatus.IN_PROGRESS else None

    def _goes_on(self, run: ActionRun, outcome: Running) -> TurnResult:
        with self._db.write() as tx:
            present = self._present(tx, run)
            if present is None:
                return Done()
            changed = replace(
                present,
                external_id=present.external_id if outcome.external_id is None else outcome.external_id,
                note=present.note if outcome.note is None else outcome.note,
                summary=present.summary if outcome.summary is None else outcome.summary,
            )
            if changed != present:
                rows.save_action_run(tx, replace(changed, updated=self._clock.now()))
        return After(outcome.seconds)

    def _succeed(self, run: ActionRun, pipeline: Pipeline, action: Action, outcome: Succeeded) -> TurnResult:
        values = dict(outcome.variables)
        if sum(len(key) + len(value.encode()) for key, value in values.items()) > LONGEST_VARIABLES:
            return self._fail(
                run, pipeline, "JobFailed", f"Output variables of {action.name} exceed {LONGEST_VARIABLES} bytes."
            )
        with self._db.write() as tx:
            present = self._present(tx, run)
            if present is None:
                return Done()
            rows.save_action_run(
                tx,
                replace(
                    present,
                    status=RunStatus.SUCCEEDED,
                    updated=self._clock.now(),
                    summary=outcome.summary,
                    variables=values,
                    outputs=outcome.artifacts,
                    revision=outcome.revision,
                    external_id=present.external_id if outcome.external_id is None else outcome.external_id,
                ),
            )
            for artifact in outcome.artifacts:
                rows.save_artifact(tx, run.execution, artifact)
            if action.namespace:
                rows.save_variables(tx, run.execution, action.namespace, values)
            tx.after_commit(lambda: self._ended(pipeline.key))
        return Done()

    def _fail(self, run: ActionRun, pipeline: Pipeline, code: str, message: str) -> TurnResult:
        with self._db.write() as tx:
            present = self._present(tx, run)
            if present is None:
                return Done()
            rows.save_action_run(
                tx,
                replace(
                    present,
                    status=RunStatus.FAILED,
                    updated=self._clock.now(),
                    summary=message[:2048],
                    code=code,
                    message=message[:5000],
                ),
            )
            tx.after_commit(lambda: self._ended(pipeline.key))
        self._log.info("action failed", pipeline=pipeline.name, action=run.action, code=code, reason=message)
        return Done()

    # Rules

    async def _rule(self, run_id: str) -> TurnResult:
        run = rows.rule_run(self._db, run_id)
        if run is None or run.status is not RunStatus.IN_PROGRESS:
            return Done()
        found = self._place(run.execution, run.stage)
        if found is None:
            return Done()
        pipeline, execution, structure, stage = found
        rule = next(each for each in stage.conditions[Check(run.moment)].rules if each.name == run.rule)
        try:
            configuration = variables.resolve_all(rule.configuration, self._values(pipeline, execution, structure))
            caller = await self._caller(pipeline, rule.role or structure.role, execution.id)
            looked = await rules.look(
                rule, configuration, self._calls, caller, since=run.started, now=self._clock.now()
            )
        except variables.Unresolved as error:
            looked = rules.Broken(
                f"The variable reference {error.reference} cannot be resolved.", "ConfigurationError"
            )
            configuration = {}
        except ActionFailure as failure:
            looked = rules.Broken(failure.message, failure.code)
            configuration = {}
        except AwsError as error:
            if passing(error):
                return After(RETRY_SECONDS)
            looked = rules.Broken(error.message, "JobFailed" if permitted(error) else "PermissionError")
            configuration = {}
        if isinstance(looked, rules.NotYet):
            return After(looked.seconds)
        self._rule_ended(run, pipeline, configuration, looked)
        return Done()

    def _rule_ended(
        self, run: RuleRun, pipeline: Pipeline, configuration: dict[str, str], looked: rules.Holds | rules.Broken
    ) -> None:
        holds = isinstance(looked, rules.Holds)
        with self._db.write() as tx:
            present = rows.rule_run(tx, run.id)
            if present is None or present.status is not RunStatus.IN_PROGRESS:
                return
            rows.save_rule_run(
                tx,
                replace(
                    present,
                    status=RunStatus.SUCCEEDED if holds else RunStatus.FAILED,
                    updated=self._clock.now(),
                    summary=looked.summary,
                    code="" if isinstance(looked, rules.Holds) else looked.code,
                    configuration=configuration,
                ),
            )
            tx.after_commit(lambda: self._ended(pipeline.key))


def deadline(run: ActionRun, action: Action) -> float:
    minutes = action.timeout or offered.ACTIONS[action.category, action.owner, action.provider].timeout
    return run.started + minutes * MINUTE

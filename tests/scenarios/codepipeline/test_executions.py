"""Modes, transitions, stop, retry, rollback and conditions, each as a person sees it."""

from __future__ import annotations

import pytest

from worlds.pipelines import World, action, codebuild, github, manual, pipeline, stage


def two_builds(**more):
    """Source, then two stages that end when the test says so."""
    return pipeline(
        stage("Source", github()),
        stage("Build", codebuild()),
        stage("Test", codebuild("Check", inputs=("BuildOutput",), outputs=())),
        pipelineType="V2",
        **more,
    )


async def running_builds(world: World, count: int) -> list[str]:
    await world.patient(lambda: len(world.builds.running()) == count)
    await world.clock.idle()
    return world.builds.running()


async def phases(world: World) -> list[tuple[str, str]]:
    return world.rows("SELECT stage, phase FROM cp_stage ORDER BY seq")


async def test_superseded_only_the_newest_waits_in_front_of_a_locked_stage(world):
    await world.bind()
    await world.create(two_builds())
    (first,) = await running_builds(world, 1)
    ids = [(await world.executions())[0]["pipelineExecutionId"]]
    for _ in range(3):
        ids.append(await world.start())
        await world.clock.advance(1)
    assert await world.statuses() == ["InProgress", "Superseded", "Superseded", "InProgress"]
    executions = await world.executions()
    assert executions[1]["statusSummary"] == f"Superseded by execution {ids[2]}"
    state = await world.state("Build")
    assert state["latestExecution"]["pipelineExecutionId"] == ids[0]
    assert [each["pipelineExecutionId"] for each in state["inboundExecutions"]] == [ids[3]]
    world.builds.succeed(first)
    await running_builds(world, 2)
    assert (await world.state("Build"))["latestExecution"]["pipelineExecutionId"] == ids[3]
    assert (await world.state("Test"))["latestExecution"]["pipelineExecutionId"] == ids[0]


async def test_queued_executions_run_in_order_and_none_is_superseded(world):
    await world.bind()
    await world.create(two_builds(executionMode="QUEUED"))
    await running_builds(world, 1)
    for _ in range(3):
        await world.start()
    for done in range(4):
        builds = await running_builds(world, 1)
        world.builds.succeed(builds[0])
        if done < 3:
            await running_builds(world, 2)
        else:
            await running_builds(world, 1)
        check = next(each for each in world.builds.running() if each != builds[0] and len(each))
        started = world.builds.started
        assert len(started) >= 2 * done + 2
        # The check of this execution, which holds the next stage.
        for each in world.builds.running():
            if not world.builds.builds[each]["params"]["portside:pipeline"]["artifacts"]:
                check = each
        world.builds.succeed(check)
        await world.clock.advance(1)
    assert await world.statuses() == ["Succeeded"] * 4


async def test_queued_executions_have_a_limit(world):
    await world.bind()
    await world.create(two_builds(executionMode="QUEUED"))
    for _ in range(50):
        await world.start()
    error = await world.refused("StartPipelineExecution", name="app")
    assert error.code == "ConcurrentPipelineExecutionsLimitExceededException"


async def test_parallel_executions_do_not_wait_for_one_another(world):
    await world.bind()
    await world.create(two_builds(executionMode="PARALLEL"))
    for _ in range(2):
        await world.start()
    builds = await running_builds(world, 3)
    world.builds.succeed(builds[2])
    await world.patient(lambda: len(world.builds.started) == 4)
    assert await world.statuses() == ["InProgress"] * 3


async def test_a_disabled_transition_holds_executions_and_enabling_admits_the_newest(world):
    await world.bind()
    world.builds.script = lambda commit: {}
    await world.create(two_builds())
    await world.settle("Succeeded")
    await world.call(
        "DisableStageTransition", pipelineName="app", stageName="Build", transitionType="Inbound", reason="Freeze"
    )
    await world.start()
    await world.clock.advance(1)
    await world.start()
    await world.clock.advance(1)
    assert await world.statuses() == ["Succeeded", "Superseded", "InProgress"]
    state = (await world.state("Build"))["inboundTransitionState"]
    assert (state["enabled"], state["disabledReason"]) == (False, "Freeze")
    await world.call("EnableStageTransition", pipelineName="app", stageName="Build", transitionType="Inbound")
    await world.settle("Succeeded", "Superseded", "Succeeded")
    await world.call(
        "DisableStageTransition", pipelineName="app", stageName="Source", transitionType="Outbound", reason="Stay"
    )
    await world.start()
    await world.clock.advance(1)
    assert (await world.statuses())[-1] == "InProgress"


async def test_equal_run_orders_run_together_and_a_failure_lets_the_others_end(world):
    await world.bind()
    declared = pipeline(
        stage("Source", github()),
        stage(
            "Build",
            codebuild("One", outputs=()),
            codebuild("Two", outputs=()),
            codebuild("Later", outputs=(), runOrder=5),
        ),
        stage("End", manual()),
    )
    await world.create(declared)
    one, two = await running_builds(world, 2)
    world.builds.fail(one, "exit status 1")
    await world.clock.advance(2)
    assert await world.statuses() == ["InProgress"]
    world.builds.succeed(two)
    await world.settle("Failed")
    assert len(world.builds.started) == 2
    (execution,) = await world.executions()
    assert "exit status 1" in execution["statusSummary"]
    assert (await world.action("Build", "Two"))["status"] == "Succeeded"


async def test_a_failed_stage_is_retried_from_the_failed_or_from_all_actions(world):
    await world.bind()
    declared = pipeline(
        stage("Source", github()),
        stage("Build", codebuild("One", outputs=()), codebuild("Two", outputs=())),
    )
    await world.create(declared)
    execution = (await world.executions())[0]["pipelineExecutionId"]
    retry = {"pipelineName": "app", "stageName": "Build", "pipelineExecutionId": execution}
    one, two = await running_builds(world, 2)
    assert (
        await world.refused("RetryStageExecution", **retry, retryMode="ALL_ACTIONS")
    ).code == "ConflictException"
    world.builds.succeed(one)
    world.builds.fail(two, "no")
    await world.settle("Failed")
    answer = await world.call("RetryStageExecution", **retry, retryMode="FAILED_ACTIONS")
    assert answer["pipelineExecutionId"] == execution
    (again,) = await running_builds(world, 1)
    assert world.builds.builds[again]["params"]["portside:pipeline"]["sources"] == world.builds.builds[two]["params"]["portside:pipeline"]["sources"]  # fmt: skip
    world.builds.fail(again, "no")
    await world.settle("Failed")
    await world.call("RetryStageExecution", **retry, retryMode="ALL_ACTIONS")
    for each in await running_builds(world, 2):
        world.builds.succeed(each)
    await world.settle("Succeeded")
    state = await world.state("Build")
    assert state["retryStageMetadata"] == {
        "autoStageRetryAttempt": None, "manualStageRetryAttempt": 2, "latestRetryTrigger": "ManualStageRetry",
    }  # fmt: skip
    error = await world.refused("RetryStageExecution", **retry, retryMode="ALL_ACTIONS")
    assert error.code == "StageNotRetryableException"
    found = await world.call(
        "ListActionExecutions",
        pipelineName="app",
        filter={"latestInPipelineExecution": {"pipelineExecutionId": execution, "startTimeRange": "Latest"}},
    )
    assert sorted(each["actionName"] for each in found["actionExecutionDetails"]) == ["Fetch", "One", "Two"]
    found = await world.call("ListActionExecutions", pipelineName="app", filter={"pipelineExecutionId": execution})
    assert len(found["actionExecutionDetails"]) == 6


async def test_a_stage_that_another_execution_has_entered_cannot_be_retried(world):
    await world.bind()
    world.builds.script = lambda commit: "broken"
    await world.create(pipeline())
    await world.settle("Failed")
    first = (await world.executions())[0]["pipelineExecutionId"]
    await world.start()
    await world.settle("Failed", "Failed")
    error = await world.refused(
        "RetryStageExecution",
        pipelineName="app",
        stageName="Build",
        pipelineExecutionId=first,
        retryMode="ALL_ACTIONS",
    )
    assert error.code == "NotLatestPipelineExecutionException"


async def test_stop_and_wait_lets_the_action_end_and_stop_and_abandon_does_not(world):
    await world.bind()
    await world.create(pipeline())
    (build,) = await running_builds(world, 1)
    execution = (await world.executions())[0]["pipelineExecutionId"]
    stop = {"pipelineName": "app", "pipelineExecutionId": execution}
    await world.call("StopPipelineExecution", **stop, reason="wrong commit")
    await world.clock.advance(2)
    assert await world.statuses() == ["Stopping"]
    assert (await world.state("Build"))["latestExecution"]["status"] == "Stopping"
    assert (await world.refused("StopPipelineExecution", **stop)).code == "DuplicatedStopRequestException"
    world.builds.succeed(build)
    await world.settle("Stopped")
    (summary,) = await world.executions()
    assert summary["stopTrigger"] == {"reason": "wrong commit"}
    assert (await world.refused("StopPipelineExecution", **stop)).code == "PipelineExecutionNotStoppableException"

    second = await world.start()
    (build,) = await running_builds(world, 1)
    stop["pipelineExecutionId"] = second
    await world.call("StopPipelineExecution", **stop)
    await world.call("StopPipelineExecution", **stop, abandon=True)
    await world.settle("Stopped", "Stopped")
    assert (await world.action("Build", "Build"))["status"] == "Abandoned"
    assert world.builds.running() == [build]
    await world.call(
        "RetryStageExecution", pipelineName="app", stageName="Build", pipelineExecutionId=second,
        retryMode="FAILED_ACTIONS",
    )  # fmt: skip
    builds = await running_builds(world, 2)
    world.builds.succeed(builds[1])
    await world.settle("Stopped", "Succeeded")


async def test_an_execution_that_waits_can_be_stopped(world):
    await world.bind()
    await world.create(pipeline())
    await running_builds(world, 1)
    second = await world.start()
    await world.clock.advance(1)
    await world.call("StopPipelineExecution", pipelineName="app", pipelineExecutionId=second)
    await world.settle("InProgress", "Stopped")


async def test_variables_tokens_and_revisions_of_a_start(world):
    first = await world.bind()
    world.commit({"app.js": b"2"})
    declared = pipeline(
        stage("Source", github() | {"namespace": "Source"}),
        stage(
            "Build",
            codebuild(
                configuration={
                    "EnvironmentVariables": '[{"name":"WHO","value":"#{variables.who}"},'
                    '{"name":"COMMIT","value":"#{Source.CommitId} of #{codepipeline.PipelineExecutionId}"}]'
                }
            ),
        ),
        pipelineType="V2",
        variables=[{"name": "who", "defaultValue": "nobody"}],
    )
    await world.create(declared)
    await running_builds(world, 1)
    given = {
        "variables": [{"name": "who", "value": "Ada"}],
        "sourceRevisions": [{"actionName": "Fetch", "revisionType": "COMMIT_ID", "revisionValue": first}],
        "clientRequestToken": "once",
    }
    second = await world.start(**given)
    assert await world.start(**given) == second
    world.builds.succeed(world.builds.running()[0])
    await world.patient(lambda: len(world.builds.started) == 2)
    values = [
        {each["name"]: each["value"] for each in build["environmentVariablesOverride"]}
        for build in world.builds.started
    ]
    assert values[0]["WHO"] == "nobody"
    assert values[1] == {"WHO": "Ada", "COMMIT": f"{first} of {second}"}
    found = await world.call("GetPipelineExecution", pipelineName="app", pipelineExecutionId=second)
    assert found["pipelineExecution"]["variables"] == [{"name": "who", "resolvedValue": "Ada"}]
    for wrong in (
        {"variables": [{"name": "what", "value": "x"}]},
        {"sourceRevisions": [{"actionName": "No", "revisionType": "COMMIT_ID", "revisionValue": first}]},
        {"sourceRevisions": [{"actionName": "Fetch", "revisionType": "IMAGE_DIGEST", "revisionValue": first}]},
    ):
        assert (await world.refused("StartPipelineExecution", name="app", **wrong)).code == "ValidationException"


async def test_a_variable_that_no_action_put_out_fails_the_action_by_name(world):
    await world.bind()
    fetch = github() | {"namespace": "Source"}
    build = codebuild(configuration={"EnvironmentVariables": '[{"name":"A","value":"#{Source.Nothing}"}]'})
    await world.create(pipeline(stage("Source", fetch), stage("Build", build)))
    await world.settle("Failed")
    error = (await world.action("Build", "Build"))["errorDetails"]
    assert error["code"] == "ConfigurationError" and "#{Source.Nothing}" in error["message"]


async def test_variables_exported_by_a_build_reach_later_actions(world):
    await world.bind()
    world.builds.script = lambda commit: {}
    world.builds.exported = {"VERSION": "1.2.3"}
    check = codebuild(
        "Check", inputs=("BuildOutput",), outputs=(),
        configuration={"EnvironmentVariables": '[{"name":"V","value":"#{Build.VERSION}"}]'},
    )  # fmt: skip
    await world.create(
        pipeline(stage("Source", github()), stage("Build", codebuild(namespace="Build")), stage("Test", check))
    )
    await world.settle("Succeeded")
    (variable,) = world.builds.started[1]["environmentVariablesOverride"]
    assert variable == {"name": "V", "value": "1.2.3", "type": "PLAINTEXT"}


async def test_a_rollback_runs_one_stage_with_what_a_former_execution_brought(world):
    first_commit = await world.bind()
    world.builds.script = lambda commit: {"commit": commit.encode()}
    await world.create(two_builds())
    await world.settle("Succeeded")
    first = (await world.executions())[0]["pipelineExecutionId"]
    roll = {"pipelineName": "app", "stageName": "Test", "targetPipelineExecutionId": first}
    assert (await world.refused("RollbackStage", **roll)).code == "UnableToRollbackStageException"
    world.commit({"app.js": b"2"})
    await world.settle("Succeeded", "Succeeded")
    made = (await world.call("RollbackStage", **roll))["pipelineExecutionId"]
    await world.settle("Succeeded", "Succeeded", "Succeeded")
    third = (await world.executions())[-1]
    assert (third["pipelineExecutionId"], third["executionType"]) == (made, "ROLLBACK")
    assert third["rollbackMetadata"] == {"rollbackTargetPipelineExecutionId": first}
    assert third["trigger"]["triggerType"] == "ManualRollback"
    assert third["sourceRevisions"][0]["revisionId"] == first_commit
    sources = [each["portside:pipeline"]["sources"] for each in world.builds.started]
    assert len(sources) == 5 and sources[4] == sources[1]
    await world.call("UpdatePipeline", pipeline=two_builds())
    assert (await world.refused("RollbackStage", **roll)).code == "PipelineExecutionOutdatedException"


async def test_a_failed_stage_rolls_back_by_itself_to_the_last_good_execution(world):
    await world.bind()
    bad = world.commit({"bad": b"no"})
    world.repositories.drop("/checkout", "refs/heads/main")
    world.commit({"app.js": b"1"})
    declared = pipeline(
        stage("Source", github()),
        stage("Build", codebuild(), onFailure={"result": "ROLLBACK"}),
        pipelineType="V2",
    )
    world.builds.script = lambda commit: "broken" if commit == bad else {}
    await world.create(declared)
    await world.settle("Succeeded")
    await world.start(sourceRevisions=[{"actionName": "Fetch", "revisionType": "COMMIT_ID", "revisionValue": bad}])
    await world.settle("Succeeded", "Failed", "Succeeded")
    last = (await world.executions())[-1]
    assert (last["executionType"], last["trigger"]["triggerType"]) == ("ROLLBACK", "AutomatedRollback")


@pytest.mark.parametrize("again", [True, False])
async def test_a_failed_stage_is_retried_once_by_itself(world, again):
    await world.bind()
    declared = pipeline(
        stage(
            "Source",
            github(),
        ),
        stage(
            "Build",
            codebuild(),
            onFailure={"result": "RETRY", "retryConfiguration": {"retryMode": "FAILED_ACTIONS"}},
        ),
        pipelineType="V2",
    )
    outcomes = ["broken", {} if again else "broken"]
    world.builds.script = lambda commit: outcomes.pop(0)
    await world.create(declared)
    await world.settle("Succeeded" if again else "Failed")
    state = await world.state("Build")
    assert state["retryStageMetadata"]["latestRetryTrigger"] == "AutomatedStageRetry"
    assert len(world.builds.started) == 2


async def test_a_failure_can_be_skipped(world):
    await world.bind()
    world.builds.script = lambda commit: "broken"
    declared = pipeline(
        stage("Source", github()),
        stage("Build", codebuild(outputs=()), onFailure={"result": "SKIP"}),
        stage("End", manual()),
        pipelineType="V2",
    )
    await world.create(declared)
    await world.running_action("Approve")
    assert (await world.state("Build"))["latestExecution"]["status"] == "Skipped"


def rule(provider, name="Rule", **configuration):
    kind = {"category": "Rule", "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": name, "ruleTypeId": kind, "configuration": configuration}


def conditional(member, result, *rules):
    return pipeline(
        stage("Source", github() | {"namespace": "Source"}),
        stage("Build", codebuild(), **{member: {"conditions": [{"result": result, "rules": list(rules)}]}}),
        stage("End", manual()),
        pipelineType="V2",
    )


async def test_an_entry_condition_fails_the_stage_until_it_is_overridden(world):
    await world.bind()
    world.builds.script = lambda commit: {}
    check = rule("VariableCheck", Variable="#{Source.BranchName}", Operator="EQ", Value="release")
    await world.create(conditional("beforeEntry", "FAIL", check))
    await world.settle("Failed")
    assert world.builds.started == []
    state = await world.state("Build")
    assert state["beforeEntryConditionState"]["latestExecution"]["status"] == "Failed"
    (found,) = (await world.call("ListRuleExecutions", pipelineName="app"))["ruleExecutionDetails"]
    assert (found["ruleName"], found["status"]) == ("Rule", "Failed")
    assert found["input"]["resolvedConfiguration"]["Variable"] == "main"
    execution = (await world.executions())[0]["pipelineExecutionId"]
    override = {"pipelineName": "app", "stageName": "Build", "pipelineExecutionId": execution}
    error = await world.refused("OverrideStageCondition", **override, conditionType="ON_SUCCESS")
    assert error.code == "ConditionNotOverridableException"
    await world.call("OverrideStageCondition", **override, conditionType="BEFORE_ENTRY")
    await world.running_action("Approve")
    state = await world.state("Build")
    assert state["beforeEntryConditionState"]["latestExecution"]["status"] == "Overridden"


async def test_an_entry_condition_can_skip_the_stage(world):
    await world.bind()
    check = rule("VariableCheck", Variable="#{Source.BranchName}", Operator="EQ", Value="release")
    declared = conditional("beforeEntry", "SKIP", check)
    await world.create(declared)
    await world.running_action("Approve")
    assert world.builds.started == []
    assert (await world.state("Build"))["latestExecution"]["status"] == "Skipped"


async def test_a_deployment_window_is_waited_for(world):
    await world.bind()
    world.builds.script = lambda commit: {}
    # The clock starts at 22:13:20 UTC.
    await world.create(conditional("beforeEntry", "FAIL", rule("DeploymentWindow", Cron="* 23 * * ? *")))
    await world.reach("Build", "Entry")
    await world.clock.advance(2)
    assert world.builds.started == []
    world.skip(47 * 60)
    await world.running_action("Approve")


async def test_a_success_condition_looks_at_an_alarm(world):
    await world.bind()
    world.builds.script = lambda commit: {}
    alarms = Alarms()
    world.calls.fakes.insert(0, alarms)
    await world.create(conditional("onSuccess", "FAIL", rule("CloudWatchAlarm", AlarmName="errors", WaitTime="1")))
    await world.reach("Build", "Success")
    await world.clock.advance(30)
    assert await world.statuses() == ["InProgress"]
    alarms.state = "ALARM"
    await world.settle("Failed")
    assert "Alarm errors is in state ALARM" in (await world.executions())[0]["statusSummary"]
    alarms.state = "OK"
    await world.start()
    await world.running_action("Approve")


class Alarms:
    state = "OK"

    def cloudwatch_DescribeAlarms(self, params, caller):
        return {"MetricAlarms": [{"AlarmName": "errors", "StateValue": self.state}]}


async def test_an_execution_keeps_the_structure_it_entered_and_a_deleted_pipeline_ends(world):
    await world.bind()
    await world.create(two_builds())
    (build,) = await running_builds(world, 1)
    await world.call("UpdatePipeline", pipeline=pipeline(stage("Source", github()), stage("Build", codebuild())))
    await world.clock.advance(1)
    assert await world.statuses() == ["InProgress"]
    world.builds.succeed(build)
    (check,) = await running_builds(world, 1)
    found = (await world.call("ListActionExecutions", pipelineName="app"))["actionExecutionDetails"]
    assert (found[0]["stageName"], found[0]["pipelineVersion"]) == ("Test", 1)
    await world.call("DeletePipeline", name="app")
    world.builds.succeed(check)
    await world.clock.advance(2)
    assert (await world.refused("GetPipelineState", name="app")).code == "PipelineNotFoundException"
    await world.create(two_builds())
    await running_builds(world, 1)
    assert await world.statuses() == ["InProgress"]


async def test_an_action_that_takes_longer_than_its_limit_is_stopped(world):
    await world.bind()
    await world.create(
        pipeline(stage("Source", github()), stage("Build", codebuild(timeoutInMinutes=5)), pipelineType="V2")
    )
    (build,) = await running_builds(world, 1)
    world.skip(5 * 60)
    await world.settle("Failed")
    assert world.builds.stopped == [build]
    assert "timed out after 5 minutes" in (await world.action("Build", "Build"))["errorDetails"]["message"]


async def test_approvals_are_answered_once_with_the_right_token(world):
    await world.bind()
    await world.create(pipeline(stage("Source", github()), stage("Approval", manual())))
    await world.running_action("Approve")
    stale = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(Exception, match="InvalidApprovalTokenException"):
        await world.approve(token=stale)
    base = {"pipelineName": "app", "result": {"summary": "", "status": "Approved"}, "token": stale}
    error = await world.refused("PutApprovalResult", **base, stageName="No", actionName="Approve")
    assert error.code == "StageNotFoundException"
    error = await world.refused("PutApprovalResult", **base, stageName="Approval", actionName="No")
    assert error.code == "ActionNotFoundException"
    token = await world.token()
    await world.approve(token=token)
    await world.settle("Succeeded")
    with pytest.raises(Exception, match="ApprovalAlreadyCompletedException"):
        await world.approve(token=token)
    state = await world.action("Approval", "Approve")
    assert (state["status"], state["summary"], state["lastUpdatedBy"]) == (
        "Succeeded", "looks good", "arn:aws:iam::000000000000:root",
    )  # fmt: skip


async def test_triggers_pick_branches_tags_and_files(world):
    await world.bind()
    source = action(
        "Fetch", "Source", "CodeStarSourceConnection",
        {"ConnectionArn": "arn", "FullRepositoryId": "Acme/App", "BranchName": "main", "DetectChanges": "false"},
        outputs=("App",),
    )  # fmt: skip
    made = await world.call("CreateConnection", "codeconnections", ConnectionName="c", ProviderType="GitHub")
    source["configuration"]["ConnectionArn"] = made["ConnectionArn"]
    push = [
        {"branches": {"includes": ["release/**"]}, "filePaths": {"includes": ["src/**"], "excludes": ["**/*.md"]}},
        {"tags": {"includes": ["v*"], "excludes": ["v0*"]}},
    ]
    triggers = [
        {
            "providerType": "CodeStarSourceConnection",
            "gitConfiguration": {"sourceActionName": "Fetch", "push": push},
        }
    ]
    world.builds.script = lambda commit: {}
    await world.create(
        pipeline(stage("Source", source), stage("Build", codebuild()), pipelineType="V2", triggers=triggers)
    )
    await world.settle("Succeeded")
    world.commit({"src/a": b"1"})  # not a branch that is meant
    await world.clock.advance(1)
    world.commit({"src/a": b"1"}, branch="release/1")  # new: what changed cannot be told
    await world.settle("Succeeded", "Succeeded")
    world.commit({"src/read.md": b"1", "docs/a": b"1"}, branch="release/1")
    await world.clock.advance(1)
    meant = world.commit({"src/read.md": b"2", "src/b": b"1"}, branch="release/1")
    await world.settle("Succeeded", "Succeeded", "Succeeded")
    world.repositories.tag("/checkout", "v0.9", meant)
    await world.clock.advance(1)
    world.repositories.tag("/checkout", "v1.0", meant)
    await world.settle("Succeeded", "Succeeded", "Succeeded", "Succeeded")
    await world.clock.advance(2)
    executions = await world.executions()
    assert len(executions) == 4
    assert [each["sourceRevisions"][0]["revisionId"] for each in executions[2:]] == [meant, meant]
    assert executions[-1]["trigger"]["triggerType"] == "WebhookV2"

"""A commit reaches production: the walk through all loops, with builds and buckets faked and time virtual."""

from __future__ import annotations

import json

from worlds.pipelines import DEPLOY_ROLE, ROLE, World, delivery, deploy, github, manual, pipeline, stage, template


def built(commit: str) -> dict[str, bytes]:
    return {"build.json": json.dumps({"tag": commit}).encode()}


async def deployed(world: World, stack: str) -> str:
    found = (await world.call("DescribeStacks", "cloudformation", StackName=stack))["Stacks"][0]
    return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}["Tag"]


async def test_a_commit_is_built_once_runs_in_staging_waits_and_runs_in_production(world):
    world.builds.script = built
    await world.bind()
    first = world.commit({"service.template": template()})
    await world.create(delivery())
    await world.running_action("Approve")
    assert await deployed(world, "staging") == first
    assert world.calls.asked("cloudformation", "CreateStack")[0]["RoleARN"] == DEPLOY_ROLE
    await world.approve()
    await world.settle("Succeeded")
    assert await deployed(world, "production") == first
    assert len(world.builds.started) == 1

    second = world.commit({"app.js": b"2"}, message="Greet more politely")
    await world.until("SELECT COUNT(*) FROM cp_execution", (2,))
    await world.running_action("Approve")
    assert await deployed(world, "staging") == second
    assert await deployed(world, "production") == first
    execution = (await world.executions())[-1]
    assert execution["trigger"]["triggerType"] == "PollForSourceChanges"
    assert execution["sourceRevisions"] == [
        {"actionName": "Fetch", "revisionId": second, "revisionSummary": "Greet more politely"}
    ]
    found = await world.call(
        "GetPipelineExecution", pipelineName="app", pipelineExecutionId=execution["pipelineExecutionId"]
    )
    (revision,) = found["pipelineExecution"]["artifactRevisions"]
    assert (revision["name"], revision["revisionId"], revision["revisionSummary"]) == (
        "App", second, "Greet more politely",
    )  # fmt: skip
    await world.approve("Rejected", summary="not today")
    await world.settle("Succeeded", "Failed")
    assert await deployed(world, "production") == first
    state = await world.action("Approval", "Approve")
    assert (state["status"], state["summary"], state["errorDetails"]["message"]) == (
        "Failed",
        "not today",
        "not today",
    )
    assert len(world.builds.started) == 2


async def test_every_call_of_an_action_is_made_as_the_pipelines_role(world):
    world.builds.script = built
    await world.bind()
    world.commit({"service.template": template()})
    await world.create(delivery())
    await world.running_action("Approve")
    execution = (await world.executions())[0]["pipelineExecutionId"]
    assert set(world.roles.assumed) == {(ROLE, execution, "codepipeline.amazonaws.com")}
    ours = {"PutObject", "StartBuild", "BatchGetBuilds", "CreateStack"}
    callers = {c.role for _, o, p, c in world.calls.made if o in ours}
    assert callers == {ROLE}


async def test_the_build_id_is_in_the_state_while_the_build_runs(world):
    """As build specifications of 2018 look for the execution that they build."""
    commit = await world.bind()
    await world.create(delivery())
    await world.patient(lambda: bool(world.builds.running()))
    await world.clock.idle()
    (build,) = world.builds.running()
    state = await world.call("GetPipelineState", name="app")
    (execution,) = [
        each["latestExecution"]["pipelineExecutionId"]
        for each in state["stageStates"]
        for one in each["actionStates"]
        if (one.get("latestExecution") or {}).get("externalExecutionId") == build
    ]
    found = await world.call("GetPipelineExecution", pipelineName="app", pipelineExecutionId=execution)
    assert found["pipelineExecution"]["artifactRevisions"][0]["revisionId"] == commit


async def test_an_execution_in_flight_goes_on_after_a_restart_and_nothing_is_started_twice(tmp_path):
    world = World(tmp_path / "state.db")
    async with world.running():
        await world.bind()
        commit = world.commit({"service.template": template()})
        await world.create(delivery())
        await world.patient(lambda: bool(world.builds.running()))
    async with world.running():
        await world.clock.advance(5)
        assert len(world.builds.started) == 1
        world.builds.succeed(world.builds.running()[0], built(commit))
        await world.running_action("Approve")
        token = await world.token()
    async with world.running():
        await world.clock.advance(5)
        assert await world.token() == token
        await world.approve(token=token)
        await world.settle("Succeeded")
        assert await deployed(world, "production") == commit
        assert len(world.calls.asked("cloudformation", "CreateStack")) == 2
        history = (await world.call("ListActionExecutions", pipelineName="app"))["actionExecutionDetails"]
        assert [each["actionName"] for each in history] == ["Deploy", "Approve", "Deploy", "Build", "Fetch"]


async def test_a_start_that_the_crash_hid_is_found_again_by_its_token(tmp_path):
    world = World(tmp_path / "state.db")
    async with world.running():
        await world.bind()
        await world.create(pipeline())
        await world.patient(lambda: bool(world.builds.running()))
        with world.database.write() as tx:  # as if the answer of StartBuild had never arrived
            tx.execute("UPDATE cp_action SET body = json_set(body, '$.external_id', '') WHERE action = 'Build'")
    async with world.running():
        await world.clock.advance(2)
        assert len(world.builds.started) == 1
        assert (await world.action("Build", "Build"))["externalExecutionId"] == world.builds.running()[0]


async def test_commits_made_while_the_cloud_is_down_start_one_execution(tmp_path):
    world = World(tmp_path / "state.db")
    world.builds.script = built
    async with world.running():
        await world.bind()
        await world.create(pipeline())
        await world.settle("Succeeded")
        await world.clock.advance(2)
    world.commit({"app.js": b"2"})
    head = world.commit({"app.js": b"3"})
    async with world.running():
        await world.settle("Succeeded", "Succeeded")
        assert (await world.executions())[-1]["sourceRevisions"][0]["revisionId"] == head
        await world.clock.advance(5)
        assert len(await world.executions()) == 2


async def test_two_quick_commits_supersede_in_front_of_the_approval_and_the_newest_waits(world):
    world.builds.script = built
    await world.bind()
    world.commit({"service.template": template()})
    await world.create(delivery())
    await world.running_action("Approve")
    world.commit({"app.js": b"2"})
    await world.until(
        "SELECT phase FROM cp_stage WHERE stage = 'Approval' ORDER BY seq", ("Actions",), ("Inbound",)
    )
    third = world.commit({"app.js": b"3"})
    await world.settle("InProgress", "Superseded", "InProgress")
    state = await world.state("Approval")
    executions = await world.executions()
    assert state["latestExecution"]["pipelineExecutionId"] == executions[0]["pipelineExecutionId"]
    assert state["inboundExecution"]["pipelineExecutionId"] == executions[2]["pipelineExecutionId"]
    stale = await world.token()
    await world.approve()
    await world.settle("Succeeded", "Superseded", "InProgress")
    await world.running_action("Approve")
    error = await world.refused(
        "PutApprovalResult",
        pipelineName="app",
        stageName="Approval",
        actionName="Approve",
        result={"summary": "", "status": "Approved"},
        token=stale,
    )
    assert error.code == "InvalidApprovalTokenException"
    await world.approve()
    await world.settle("Succeeded", "Superseded", "Succeeded")
    assert await deployed(world, "production") == third


async def test_overhead_between_commit_and_staging_is_under_a_second_of_waiting(world):
    """Builds and stacks take no time here: what passes is what the pipeline itself waits."""
    world.builds.script = built
    await world.bind()
    world.commit({"service.template": template()})
    await world.create(pipeline(stage("Source", github()), stage("Build", *delivery()["stages"][1]["actions"]),
                                stage("Staging", deploy())))  # fmt: skip
    await world.settle("Succeeded")
    await world.clock.advance(3)
    began = world.clock.now()
    world.commit({"app.js": b"2"})
    await world.settle("Succeeded", "Succeeded")
    assert world.clock.now() - began <= 1.0


async def test_an_approval_tells_its_topic_and_expires_after_seven_days(world):
    await world.bind()
    topic = "arn:aws:sns:us-east-1:000000000000:approvals"
    world.calls.fakes.insert(0, Topics())
    await world.create(
        pipeline(
            stage("Source", github()),
            stage("Approval", manual(NotificationArn=topic, CustomData="Look at #{codepipeline.PipelineExecutionId}",
                                     ExternalEntityLink="https://example.com")),
        )
    )  # fmt: skip
    await world.running_action("Approve")
    await world.patient(lambda: bool(world.calls.asked("sns", "Publish")))
    (told,) = world.calls.asked("sns", "Publish")
    message = json.loads(told["Message"])
    assert (told["TopicArn"], message["region"]) == (topic, "us-east-1")
    approval = message["approval"]
    assert approval["token"] == await world.token()
    execution = (await world.executions())[0]["pipelineExecutionId"]
    assert approval["customData"] == f"Look at {execution}"
    assert (approval["pipelineName"], approval["stageName"], approval["actionName"]) == (
        "app",
        "Approval",
        "Approve",
    )
    assert approval["expires"] == "2023-11-21T22:13Z"
    assert approval["externalEntityLink"] == "https://example.com"
    world.skip(7 * 24 * 3600.0 - 60.0)
    await world.clock.advance(1)
    assert (await world.action("Approval", "Approve"))["status"] == "InProgress"
    world.skip(60.0)
    await world.settle("Failed")
    state = await world.action("Approval", "Approve")
    assert "expired after 7 days" in state["errorDetails"]["message"]
    assert len(world.calls.asked("sns", "Publish")) == 1


class Topics:
    def sns_Publish(self, params, caller):
        return {"MessageId": "1"}

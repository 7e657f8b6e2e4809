"""Deploy actions: CloudFormation in every mode, ECS and S3; and sources that are stored already."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from portside.cloud.protocol.errors import AwsError
from worlds.pipelines import (
    BUCKET,
    ROLE,
    World,
    action,
    archive,
    codebuild,
    deploy,
    github,
    pipeline,
    stage,
    template,
)


async def failure(world: World, stage_name: str, action_name: str) -> dict:
    return (await world.action(stage_name, action_name))["errorDetails"]


def built(commit: str) -> dict[str, bytes]:
    return {"build.json": json.dumps({"tag": commit}).encode()}


def with_deploy(**configuration):
    return pipeline(
        stage("Source", github()), stage("Build", codebuild()), stage("Staging", deploy(**configuration))
    )


def breaking(number: str) -> bytes:
    """A stack whose resource fails if the parameter has that value; `Tag` is unused."""
    return json.dumps(
        {
            "Parameters": {"Tag": {"Type": "String"}},
            "Resources": {
                "Value": {
                    "Type": "AWS::SSM::Parameter",
                    "Properties": {"Name": "/value", "Type": "String", "Value": number},
                }
            },
            "Outputs": {"Tag": {"Value": {"Ref": "Tag"}}},
        }
    ).encode()


def break_on(world: World, value: str) -> None:
    def check(params):
        if params["Value"] == value:
            raise AwsError("InvalidParameters", f"{value} is no good")

    world.calls.broken["ssm", "PutParameter"] = check


async def stack(world: World, name: str = "staging") -> dict:
    return (await world.call("DescribeStacks", "cloudformation", StackName=name))["Stacks"][0]


@pytest.fixture
async def ready(world):
    world.builds.script = built
    await world.bind()
    return world


async def test_br_67_a_good_commit_deploys_after_a_bad_one_was_rolled_back(ready):
    world = ready
    world.commit({"service.template": breaking("one")})
    await world.create(with_deploy())
    await world.settle("Succeeded")
    break_on(world, "bad")
    world.commit({"service.template": breaking("bad")})
    await world.settle("Succeeded", "Failed")
    assert (await stack(world))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    error = await failure(world, "Staging", "Deploy")
    assert error["code"] == "JobFailed"
    assert error["message"] == (
        "Stack staging is in UPDATE_ROLLBACK_COMPLETE state. Value (AWS::SSM::Parameter): "
        + error["message"].partition("(AWS::SSM::Parameter): ")[2]
    )
    assert "bad is no good" in error["message"]
    world.commit({"service.template": breaking("two")})
    await world.settle("Succeeded", "Failed", "Succeeded")
    assert (await stack(world))["StackStatus"] == "UPDATE_COMPLETE"


async def test_br_68_a_first_deployment_that_failed_is_refused_and_replaced_on_failure(ready):
    world = ready
    break_on(world, "bad")
    world.commit({"service.template": breaking("bad")})
    await world.create(with_deploy())
    await world.settle("Failed")
    assert (await stack(world))["StackStatus"] == "ROLLBACK_COMPLETE"
    stack_id = (await stack(world))["StackId"]
    world.commit({"service.template": breaking("good")})
    await world.settle("Failed", "Failed")
    error = await failure(world, "Staging", "Deploy")
    assert error["message"] == f"Stack:{stack_id} is in ROLLBACK_COMPLETE state and can not be updated."
    await world.call("UpdatePipeline", pipeline=with_deploy(ActionMode="REPLACE_ON_FAILURE"))
    await world.start()
    await world.settle("Failed", "Failed", "Succeeded")
    found = await stack(world)
    assert found["StackStatus"] == "CREATE_COMPLETE" and found["StackId"] != stack_id


async def test_br_72_delete_only_deletes_the_stack_and_succeeds_where_there_is_none(ready):
    world = ready
    await world.call("CreateStack", "cloudformation", StackName="staging", TemplateBody=template().decode())
    await world.until("SELECT status FROM cfn_stack", ("CREATE_COMPLETE",))
    await world.create(with_deploy(ActionMode="DELETE_ONLY", TemplatePath="", ParameterOverrides=""))
    await world.settle("Succeeded")
    assert world.rows("SELECT status FROM cfn_stack") == [("DELETE_COMPLETE",)]
    await world.start()
    await world.settle("Succeeded", "Succeeded")
    assert "nothing to delete" in (await world.action("Staging", "Deploy"))["summary"]


async def test_br_72_rolled_back_updates_take_a_change_set_stacks_that_are_stuck_do_not(ready):
    world = ready
    world.commit({"service.template": breaking("good")})
    await world.create(with_deploy())
    await world.settle("Succeeded")
    propose = with_deploy(ActionMode="CHANGE_SET_REPLACE", ChangeSetName="next")
    await world.call("UpdatePipeline", pipeline=propose)
    for number, (status, taken) in enumerate(
        [
            ("UPDATE_ROLLBACK_COMPLETE", True),
            ("ROLLBACK_COMPLETE", False),
            ("UPDATE_ROLLBACK_FAILED", False),
            ("DELETE_FAILED", False),
        ],
        start=2,
    ):
        with world.database.write() as tx:
            tx.execute("UPDATE cfn_stack SET record = json_set(record, '$.status', ?)", (status,))
        world.commit({"service.template": breaking(f"good{number}")})
        await world.until("SELECT COUNT(*) FROM cp_execution", (number,))
        wanted = "Succeeded" if taken else "Failed"
        await world.until("SELECT status FROM cp_execution ORDER BY seq DESC LIMIT 1", (wanted,))
        if not taken:
            message = (await failure(world, "Staging", "Deploy"))["message"]
            assert f"is in {status} state and can not be updated." in message


async def test_a_change_set_is_replaced_and_executed_and_outputs_are_variables_and_a_file(ready):
    world = ready
    commit = world.commit({"service.template": template()})
    names = {"ChangeSetName": "next", "StackName": "staging"}
    run = action(
        "Execute", "Deploy", "CloudFormation",
        names | {"ActionMode": "CHANGE_SET_EXECUTE", "OutputFileName": "outputs.json"},
        outputs=("Outputs",), namespace="Stack",
    )  # fmt: skip
    check = codebuild(
        "Check", inputs=("Outputs",), outputs=(),
        configuration={"EnvironmentVariables": '[{"name":"TAG","value":"#{Stack.Tag}"}]'},
    )  # fmt: skip
    await world.create(
        pipeline(
            stage("Source", github()),
            stage("Build", codebuild()),
            stage("Propose", deploy("Propose", ActionMode="CHANGE_SET_REPLACE", ChangeSetName="next")),
            stage("Execute", run),
            stage("Check", check),
        )
    )
    await world.settle("Succeeded")
    assert (await stack(world))["StackStatus"] == "CREATE_COMPLETE"
    last = world.builds.started[-1]
    assert last["environmentVariablesOverride"][0]["value"] == commit
    (source,) = last["portside:pipeline"]["sources"]
    data = world.buckets.objects[source["bucket"], source["key"]][-1]
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert json.loads(opened.read("outputs.json")) == {"Tag": commit}
    # Nothing changes: an empty change set is accepted, and executing it too.
    await world.start()
    await world.settle("Succeeded", "Succeeded")
    assert "didn't contain changes" in (await world.action("Execute", "Execute"))["summary"]


async def test_no_updates_count_as_success(ready):
    world = ready
    world.commit({"service.template": breaking("one")})
    await world.create(with_deploy())
    await world.settle("Succeeded")
    await world.start()
    await world.settle("Succeeded", "Succeeded")
    assert (await world.action("Staging", "Deploy"))["summary"] == "No updates are to be performed."
    assert (await world.action("Staging", "Deploy"))["externalExecutionId"] == (await stack(world))["StackId"]


async def test_parameters_come_from_the_configuration_file_under_the_overrides_and_from_artifacts(ready):
    world = ready
    settings = {"Parameters": {"Tag": "from the file", "Size": "7"}, "Tags": {"team": "web"}}
    world.commit(
        {
            "service.template": template(Size={"Type": "Number"}, Bucket={"Type": "String"}),
            "staging.json": json.dumps(settings).encode(),
        }
    )
    overrides = json.dumps(
        {
            "Tag": {"Fn::GetParam": ["BuildOutput", "build.json", "tag"]},
            "Bucket": {"Fn::GetArtifactAtt": ["App", "BucketName"]},
        }
    )
    await world.create(
        with_deploy(TemplateConfiguration="App::staging.json", ParameterOverrides=overrides,
                    Capabilities="CAPABILITY_IAM,CAPABILITY_AUTO_EXPAND")
    )  # fmt: skip
    await world.settle("Succeeded")
    (made,) = world.calls.asked("cloudformation", "CreateStack")
    assert {each["ParameterKey"]: each["ParameterValue"] for each in made["Parameters"]} == {
        "Tag": (await world.executions())[0]["sourceRevisions"][0]["revisionId"],
        "Size": "7",
        "Bucket": BUCKET,
    }
    assert made["Tags"] == [{"Key": "team", "Value": "web"}]
    assert made["Capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]


@pytest.mark.parametrize(
    ("files", "more", "names"),
    [
        ({}, {}, ["service.template", "artifact App", "action Deploy in stage Staging"]),
        (
            {"service.template": template(), "other.json": b"{}"},
            {"ParameterOverrides": '{"Tag": {"Fn::GetParam": ["App", "other.json", "tag"]}}'},
            ["other.json", "artifact App", "no key tag", "parameter Tag"],
        ),
        (
            {"service.template": template(), "other.json": b"not json"},
            {"ParameterOverrides": '{"Tag": {"Fn::GetParam": ["App", "other.json", "tag"]}}'},
            ["other.json", "not a JSON object"],
        ),
        (
            {"service.template": template()},
            {"TemplateConfiguration": "App::nowhere.json"},
            ["nowhere.json", "artifact App"],
        ),
        (
            {"service.template": template()},
            {"ParameterOverrides": '{"Nope": "1"}'},
            ["Nope"],
        ),
        (
            {"service.template": template(), "s.json": b'{"StackPolicy": {"Statement": []}}'},
            {"TemplateConfiguration": "App::s.json"},
            ["Error validating stack policy: Invalid stack policy"],
        ),
        ({"service.template": b"{"}, {}, ["Template format error"]),
    ],
    ids=["template", "key", "json", "configuration", "parameter", "policy", "malformed"],
)
async def test_what_is_wrong_with_a_deployment_is_named(ready, files, more, names):
    world = ready
    world.commit(files)
    await world.create(with_deploy(**more))
    await world.settle("Failed")
    message = (await failure(world, "Staging", "Deploy"))["message"]
    for each in names:
        assert each in message, message


async def test_a_role_without_the_permission_fails_the_action_with_awss_text(ready):
    world = ready
    world.commit({"service.template": template()})
    world.calls.denied = {(ROLE, "codebuild", "StartBuild")}
    await world.create(with_deploy())
    await world.settle("Failed")
    error = await failure(world, "Build", "Build")
    assert error["code"] == "PermissionError"
    assert error["message"].startswith(
        "Error calling startBuild: User: arn:aws:sts::000000000000:assumed-role/pipeline/"
    )
    world.calls.denied = {(ROLE, "s3", "PutObject")}
    await world.start()
    await world.settle("Failed", "Failed")
    error = await failure(world, "Source", "Fetch")
    assert error["code"] == "PermissionError"
    assert (
        "doesn't have the permissions required to access the Amazon S3 bucket named artifacts" in error["message"]
    )
    world.calls.denied = set()
    world.roles.missing = {ROLE}
    await world.clock.advance(1)
    await world.start()
    await world.settle("Failed", "Failed", "Failed")
    error = await failure(world, "Source", "Fetch")
    assert error["code"] == "PermissionError" and "AssumeRole" in error["message"]


async def test_a_call_that_fails_in_passing_is_made_again(ready):
    world = ready
    world.commit({"service.template": template()})
    failures = [1, 2]

    def sometimes(params):
        if failures:
            failures.pop()
            raise AwsError("ServiceUnavailable", "busy", 503)

    world.calls.broken["cloudformation", "CreateStack"] = sometimes
    await world.create(with_deploy())
    await world.settle("Succeeded")


async def test_a_project_that_does_not_exist_fails_the_build(ready):
    world = ready
    await world.create(
        pipeline(stage("Source", github()), stage("Build", codebuild(configuration={"ProjectName": "missing"})))
    )
    await world.settle("Failed")
    error = await failure(world, "Build", "Build")
    assert error["code"] == "ConfigurationError" and "Project cannot be found" in error["message"]


async def test_an_artifact_that_the_build_did_not_write_is_named_by_the_action_that_needs_it(world):
    await world.bind()
    world.commit({"service.template": template()})
    await world.create(with_deploy())
    await world.patient(lambda: bool(world.builds.running()))
    world.builds.succeed(world.builds.running()[0], writes=False)
    await world.settle("Failed")
    assert (await world.action("Build", "Build"))["status"] == "Succeeded"
    message = (await failure(world, "Staging", "Deploy"))["message"]
    assert "Input artifact BuildOutput of action Deploy in stage Staging does not exist" in message


# ECS


class FakeEcs:
    """One service whose deployments end as the test says."""

    def __init__(self) -> None:
        self.containers = [
            {"name": "simple-app", "image": "old", "cpu": 1},
            {"name": "sidecar", "image": "old-sidecar", "cpu": 2},
        ]
        self.registered: list[dict] = []
        self.service = {
            "status": "ACTIVE",
            "taskDefinition": "web:1",
            "deployments": [{"id": "ecs-svc/1", "taskDefinition": "web:1", "rolloutState": "COMPLETED"}],
            "events": [{"message": "(service web) is unable to place a task."}],
        }

    def ecs_DescribeServices(self, params, caller):
        assert params["cluster"] == "shop"
        return {"services": [self.service] if params["services"] == ["web"] else []}

    def ecs_DescribeTaskDefinition(self, params, caller):
        return {
            "taskDefinition": {
                "taskDefinitionArn": params["taskDefinition"],
                "family": "web",
                "revision": 1,
                "status": "ACTIVE",
                "networkMode": "bridge",
                "containerDefinitions": self.containers,
            },
            "tags": [{"key": "a", "value": "b"}],
        }

    def ecs_RegisterTaskDefinition(self, params, caller):
        self.registered.append(params)
        return {"taskDefinition": {"taskDefinitionArn": f"web:{len(self.registered) + 1}"}}

    def ecs_UpdateService(self, params, caller):
        self.service["taskDefinition"] = params["taskDefinition"]
        made = {"id": f"ecs-svc/{len(self.registered) + 1}", "taskDefinition": params["taskDefinition"]}
        self.service["deployments"] = [made | {"rolloutState": "IN_PROGRESS"}]
        return {"service": self.service}

    def end(self, state: str, reason: str = "") -> None:
        self.service["deployments"][0] |= {"rolloutState": state, "rolloutStateReason": reason}


def to_ecs(service="web", **more):
    configuration = {"ClusterName": "shop", "ServiceName": service} | more
    return pipeline(
        stage("Source", github()),
        stage("Deploy", action("Deploy", "Deploy", "ECS", configuration, inputs=("App",))),
    )


@pytest.fixture
async def ecs(ready):
    fake = FakeEcs()
    ready.calls.fakes.insert(0, fake)
    return fake


async def test_br_69_an_image_definitions_file_of_any_name_changes_only_the_containers_it_names(ready, ecs):
    world = ready
    world.commit({"images.json": b'[{"name":"simple-app","imageUri":"repo:new"}]'})
    await world.create(to_ecs(FileName="images.json"))
    await world.patient(lambda: len(ecs.registered) == 1)
    await world.clock.advance(2)
    assert ecs.registered[0]["containerDefinitions"] == [
        {"name": "simple-app", "image": "repo:new", "cpu": 1},
        {"name": "sidecar", "image": "old-sidecar", "cpu": 2},
    ]
    assert "revision" not in ecs.registered[0] and ecs.registered[0]["tags"] == [{"key": "a", "value": "b"}]
    assert await world.statuses() == ["InProgress"]
    assert (await world.action("Deploy", "Deploy"))["externalExecutionId"] == "ecs-svc/2"
    ecs.end("COMPLETED")
    await world.settle("Succeeded")


async def test_br_69_an_unknown_container_and_a_missing_file_are_named(ready, ecs):
    world = ready
    world.commit({"imagedefinitions.json": b'[{"name":"nobody","imageUri":"x"}]'})
    await world.create(to_ecs())
    await world.settle("Failed")
    assert "nobody" in (await failure(world, "Deploy", "Deploy"))["message"]
    await world.call("UpdatePipeline", pipeline=to_ecs(FileName="images.json"))
    await world.start()
    await world.settle("Failed", "Failed")
    message = (await failure(world, "Deploy", "Deploy"))["message"]
    assert "images.json" in message and "artifact App" in message
    assert ecs.registered == []


async def test_a_deployment_that_fails_is_replaced_or_takes_too_long_fails_the_action(ready, ecs):
    world = ready
    world.commit({"imagedefinitions.json": b'[{"name":"simple-app","imageUri":"x"}]'})
    await world.create(to_ecs(DeploymentTimeout="2"))
    await world.patient(lambda: len(ecs.registered) == 1)
    await world.clock.advance(1)
    ecs.end("FAILED", "ECS deployment circuit breaker: tasks failed to start.")
    await world.settle("Failed")
    assert "circuit breaker" in (await failure(world, "Deploy", "Deploy"))["message"]
    await world.start()
    await world.patient(lambda: len(ecs.registered) == 2)
    await world.clock.advance(1)
    ecs.service["deployments"] = [
        {"id": "ecs-svc/other", "taskDefinition": "web:9", "rolloutState": "IN_PROGRESS"}
    ]
    await world.settle("Failed", "Failed")
    assert "replaced by another one" in (await failure(world, "Deploy", "Deploy"))["message"]
    await world.start()
    await world.settle("Failed", "Failed", "Failed", limit=200)
    message = (await failure(world, "Deploy", "Deploy"))["message"]
    assert "timed out after 2 minutes" in message and "unable to place a task" in message


class FakeCodeDeploy:
    def codedeploy_GetDeploymentGroup(self, params, caller):
        if params["deploymentGroupName"] != "blue":
            raise AwsError("DeploymentGroupDoesNotExistException", "No Deployment Group found")
        return {"deploymentGroupInfo": params}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("blue", "portside's local cloud does not carry out CodeDeploy's deployments, here of shop to blue"),
        ("red", "No Deployment Group found"),
    ],
)
async def test_deployments_of_codedeploy_are_refused_when_their_turn_comes(ready, group, message):
    world = ready
    world.calls.fakes.insert(0, FakeCodeDeploy())
    world.commit({"appspec.yml": b"version: 0.0"})
    configuration = {"ApplicationName": "shop", "DeploymentGroupName": group}
    deploy = action("Deploy", "Deploy", "CodeDeploy", configuration, inputs=("App",))
    await world.create(pipeline(stage("Source", github()), stage("Deploy", deploy)))
    await world.settle("Failed")
    assert message in (await failure(world, "Deploy", "Deploy"))["message"]


async def test_an_ecs_deployment_goes_on_after_a_restart_without_a_second_revision(tmp_path):
    world = World(tmp_path / "state.db")
    fake = FakeEcs()
    world.calls.fakes.insert(0, fake)
    async with world.running():
        await world.bind()
        world.commit({"imagedefinitions.json": b'[{"name":"simple-app","imageUri":"x"}]'})
        await world.create(to_ecs())
        await world.patient(lambda: fake.service["taskDefinition"] == "web:2")
        await world.clock.idle()
        with world.database.write() as tx:  # as if the update's answer had never arrived
            tx.execute(
                "UPDATE cp_action SET body = json_remove(body, '$.note.deployment') WHERE action = 'Deploy'"
            )
    async with world.running():
        await world.clock.advance(1)
        fake.end("COMPLETED")
        await world.settle("Succeeded")
        assert len(fake.registered) == len(world.calls.asked("ecs", "UpdateService")) == 1


# S3 and ECR


def from_bucket(**more):
    return action(
        "Fetch", "Source", "S3", {"S3Bucket": "source", "S3ObjectKey": "app.zip"} | more, outputs=("App",)
    )  # fmt: skip


async def test_an_object_is_copied_as_it_is_unpacked_and_a_new_version_starts_the_pipeline(world):
    data = archive({"index.html": b"hello", "../escape": b"no", "a/b.css": b"x"})
    world.buckets.put("source", "app.zip", data)
    site = action(
        "Site", "Deploy", "S3",
        {"BucketName": "site", "Extract": "true", "ObjectKey": "v1", "CannedACL": "private", "CacheControl": "no-cache"},
        inputs=("App",),
    )  # fmt: skip
    whole = action("Whole", "Deploy", "S3", {"BucketName": "site", "Extract": "false", "ObjectKey": "app.zip"}, inputs=("App",))  # fmt: skip
    await world.create(pipeline(stage("Source", from_bucket()), stage("Deploy", site, whole)))
    await world.settle("Succeeded")
    stored = {key: versions[-1] for (bucket, key), versions in world.buckets.objects.items() if bucket == "site"}
    assert stored == {"v1/index.html": b"hello", "v1/a/b.css": b"x", "app.zip": data}
    put = next(p for p in world.calls.asked("s3", "PutObject") if p["Key"] == "v1/index.html")
    assert (put["ContentType"], put["ACL"], put["CacheControl"]) == ("text/html", "private", "no-cache")
    await world.clock.advance(2)
    world.buckets.put("source", "app.zip", data + b"")
    await world.settle("Succeeded", "Succeeded")
    second = (await world.executions())[-1]
    assert second["trigger"]["triggerType"] == "PollForSourceChanges"
    assert second["sourceRevisions"][0]["revisionId"] == "2"
    # An earlier version, asked for by name.
    await world.start(
        sourceRevisions=[{"actionName": "Fetch", "revisionType": "S3_OBJECT_VERSION_ID", "revisionValue": "1"}]
    )
    await world.settle(*["Succeeded"] * 3)
    assert (await world.executions())[-1]["sourceRevisions"][0]["revisionId"] == "1"


async def test_a_bucket_without_versions_and_an_object_that_is_not_there_are_named(world):
    await world.create(pipeline(stage("Source", from_bucket()), stage("Build", codebuild())))
    await world.settle("Failed")
    assert "app.zip" in (await failure(world, "Source", "Fetch"))["message"]
    world.buckets.versioned.discard("source")
    await world.start()
    await world.settle("Failed", "Failed")
    assert (
        "Versioning of the Amazon S3 bucket named source" in (await failure(world, "Source", "Fetch"))["message"]
    )


class Images:
    digest = "sha256:" + "1" * 64

    def ecr_DescribeImages(self, params, caller):
        return {
            "imageDetails": [
                {"registryId": caller.account, "imageDigest": self.digest, "imageTags": ["latest"],
                 "imageSizeInBytes": 7, "imagePushedAt": 1_700_000_000.0}
            ]
        }  # fmt: skip


class Rules:
    pattern = json.dumps(
        {
            "source": ["aws.ecr"],
            "detail": {"repository-name": ["web"], "image-tag": ["latest"], "result": ["SUCCESS"]},
        }
    )

    def events_ListRuleNamesByTarget(self, params, caller):
        assert params["TargetArn"] == "arn:aws:codepipeline:us-east-1:000000000000:app"
        return {"RuleNames": ["pushes"]}

    def events_DescribeRule(self, params, caller):
        return {"Name": "pushes", "State": "ENABLED", "EventPattern": self.pattern, "Arn": "arn:rule"}


async def test_an_image_is_described_and_a_push_starts_the_pipeline_by_its_rule(world):
    images = Images()
    world.calls.fakes = [images, Rules(), *world.calls.fakes]
    fetch = action("Image", "Source", "ECR", {"RepositoryName": "web"}, outputs=("App",))
    world.builds.script = lambda commit: {}
    await world.create(pipeline(stage("Source", fetch), stage("Build", codebuild())))
    await world.settle("Succeeded")
    (source,) = world.builds.started[0]["portside:pipeline"]["sources"]
    with zipfile.ZipFile(io.BytesIO(world.buckets.objects[source["bucket"], source["key"]][-1])) as opened:
        detail = json.loads(opened.read("imageDetail.json"))
    assert detail["ImageURI"] == f"000000000000.dkr.ecr.us-east-1.amazonaws.com/web@{images.digest}"
    await world.clock.advance(3)
    images.digest = "sha256:" + "2" * 64
    await world.settle("Succeeded", "Succeeded")
    second = (await world.executions())[-1]
    assert second["trigger"] == {"triggerType": "CloudWatchEvent", "triggerDetail": "arn:rule"}
    assert second["sourceRevisions"][0]["revisionId"] == images.digest


async def test_a_clone_reference_stands_for_the_source_of_a_build(ready):
    world = ready
    world.builds.script = lambda commit: {}
    commit = world.commit({"a": b"1"})
    fetch = action(
        "Fetch", "Source", "CodeCommit",
        {"RepositoryName": "shop", "BranchName": "main", "OutputArtifactFormat": "CODEBUILD_CLONE_REF"},
        outputs=("App",),
    )  # fmt: skip
    await world.bindings.bind("shop", "/checkout")
    await world.create(pipeline(stage("Source", fetch), stage("Build", codebuild())))
    await world.settle("Succeeded")
    (source,) = world.builds.started[0]["portside:pipeline"]["sources"]
    with zipfile.ZipFile(io.BytesIO(world.buckets.objects[source["bucket"], source["key"]][-1])) as opened:
        assert opened.namelist() == ["codebuild-clone-ref.json"]
        assert json.loads(opened.read("codebuild-clone-ref.json")) == {
            "repository": "shop", "commit": commit, "branch": "main",
        }  # fmt: skip

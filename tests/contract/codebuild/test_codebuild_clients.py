"""An unmodified boto3 against the projects, builds and report groups of the API, and the resource types over it."""

import asyncio
from dataclasses import dataclass

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.cloudformation.resources.codebuild import Project, ReportGroup
from portside.cloud.services.cloudformation.resources.handler import Failure, Work
from portside.testing.server import ACCOUNT, REGION, serve
from worlds.codebuild import CALLER, IMAGE, ROLE, World

SPEC = "version: 0.2\nphases: {build: {commands: [a]}}"
PROJECT = {
    "source": {"type": "NO_SOURCE", "buildspec": SPEC},
    "artifacts": {"type": "NO_ARTIFACTS"},
    "environment": {"type": "LINUX_CONTAINER", "image": IMAGE, "computeType": "BUILD_GENERAL1_SMALL"},
    "serviceRole": ROLE,
}


@pytest.fixture
async def codebuild(tmp_path):
    async with World(tmp_path).running() as world, serve([world.codebuild.service()]) as url:
        made = boto3.client(
            "codebuild",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

        async def call(operation: str, **params):
            return await asyncio.to_thread(getattr(made, operation), **params)

        yield call


async def test_projects(codebuild):
    made = (await codebuild("create_project", name="app", **PROJECT))["project"]
    assert made["arn"] == f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/app"
    with pytest.raises(ClientError, match=r"ResourceAlreadyExistsException.*Project already exists"):
        await codebuild("create_project", name="app", **PROJECT)
    with pytest.raises(ClientError, match="InvalidInputException"):
        await codebuild("create_project", name="-x", **PROJECT)
    changed = (await codebuild("update_project", name="app", timeoutInMinutes=7, concurrentBuildLimit=2))[
        "project"
    ]
    assert (changed["timeoutInMinutes"], changed["concurrentBuildLimit"]) == (7, 2)
    found = await codebuild("batch_get_projects", names=["app", "none"])
    assert ([p["name"] for p in found["projects"]], found["projectsNotFound"]) == (["app"], ["none"])
    assert (await codebuild("list_projects"))["projects"] == ["app"]
    with pytest.raises(ClientError, match="does not offer webhooks"):
        await codebuild("create_webhook", projectName="app")
    await codebuild("delete_project", name="app")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await codebuild("start_build", projectName="app")


async def test_a_role_may_be_given_by_its_bare_name(codebuild):
    # `ServiceRole: !Ref Role` of many templates.
    made = (await codebuild("create_project", name="app", **PROJECT | {"serviceRole": "build"}))["project"]
    assert made["serviceRole"] == "arn:aws:iam::000000000000:role/build"
    changed = (await codebuild("update_project", name="app", serviceRole="other+role"))["project"]
    assert changed["serviceRole"] == "arn:aws:iam::000000000000:role/other+role"
    with pytest.raises(ClientError, match="Invalid service role: not/a/role"):
        await codebuild("update_project", name="app", serviceRole="not/a/role")


async def test_builds(codebuild):
    await codebuild("create_project", name="app", **PROJECT)
    started = (await codebuild("start_build", projectName="app", idempotencyToken="t"))["build"]
    again = (await codebuild("start_build", projectName="app", idempotencyToken="t"))["build"]
    assert started["id"] == again["id"]
    assert started["buildNumber"] == 1
    with pytest.raises(ClientError, match="other parameters"):
        await codebuild("start_build", projectName="app", idempotencyToken="t", timeoutInMinutesOverride=9)
    with pytest.raises(ClientError, match="reserved"):
        wrong = [{"name": "CODEBUILD_X", "value": ""}]
        await codebuild("start_build", projectName="app", environmentVariablesOverride=wrong)
    assert (await codebuild("list_builds_for_project", projectName="app"))["ids"] == [started["id"]]
    found = await codebuild("batch_get_builds", ids=[started["arn"], "app:none"])
    assert found["buildsNotFound"] == ["app:none"]
    pipeline = PROJECT | {"source": {"type": "CODEPIPELINE"}, "artifacts": {"type": "CODEPIPELINE"}}
    await codebuild("create_project", name="piped", **pipeline)
    with pytest.raises(ClientError, match="outside of a pipeline needs sourceTypeOverride"):
        await codebuild("start_build", projectName="piped")
    with pytest.raises(ClientError, match="does not offer batch builds"):
        await codebuild("start_build_batch", projectName="app")


@dataclass
class Operations:
    """`Calls` over one service."""

    world: World

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        return self.world.operations[operation](caller, params)  # type: ignore[return-value]


async def test_resource_types(tmp_path):
    async with World(tmp_path).running() as world:
        properties = {
            "Name": "app",
            "Source": {"Type": "NO_SOURCE", "BuildSpec": SPEC},
            "Artifacts": {"Type": "NO_ARTIFACTS"},
            "Environment": {
                "Type": "LINUX_CONTAINER",
                "Image": IMAGE,
                "ComputeType": "BUILD_GENERAL1_SMALL",
                "EnvironmentVariables": [{"Name": "A", "Value": 1}],
                "PrivilegedMode": "true",
            },
            "ServiceRole": ROLE,
            "TimeoutInMinutes": 9,
        }

        def work(given, **more):
            return Work(Operations(world), CALLER, "stack", "id", "Logical", given, {"k": "v"}, name="app", **more)

        handler = Project()
        assert await handler.find(work(properties)) is None
        assert (await handler.create(work(properties)))[0] == "app"
        assert (await handler.read(work(properties, physical_id="app")))["Arn"].endswith(":project/app")
        (found,) = world.call("BatchGetProjects", names=["app"])["projects"]
        assert found["environment"]["environmentVariables"] == [{"type": "PLAINTEXT", "name": "A", "value": "1"}]
        assert found["environment"]["privilegedMode"] is True
        assert (found["tags"], found["timeoutInMinutes"]) == ([{"key": "k", "value": "v"}], 9)
        less = {key: value for key, value in properties.items() if key != "TimeoutInMinutes"}
        await handler.update(work(less, physical_id="app"))
        (found,) = world.call("BatchGetProjects", names=["app"])["projects"]
        assert found["timeoutInMinutes"] == 60
        with pytest.raises(Failure, match="does not offer webhooks"):
            handler.refuse(less | {"Triggers": {"Webhook": True}})
        await handler.delete(work(less, physical_id="app"))
        assert await handler.find(work(less)) is None

        group = ReportGroup()
        arn, _ = await group.create(work({"Type": "TEST", "ExportConfig": {"ExportConfigType": "NO_EXPORT"}}))
        assert arn == await group.find(work({}))
        await group.delete(work({"DeleteReports": True}, physical_id=arn))
        assert await group.find(work({})) is None

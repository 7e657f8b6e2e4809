"""Unmodified boto3 clients, waiters and paginators against ECS with a fake engine, in real time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.cloud.kernel.clock import Pace, SystemClock
from portside.testing.engine import EXITS, RUNS, FakeEngine
from portside.testing.server import serve
from worlds.ecs import World

Ask = Callable[..., Awaitable[Any]]
FAST = {"Delay": 0.1, "MaxAttempts": 100}
CONTAINER = {"name": "app", "image": "app", "memory": 128, "portMappings": [{"containerPort": 3000}]}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SystemClock()
    engine = FakeEngine(clock, {"app": RUNS, "broken": EXITS})
    made = World(tmp_path / "state.db", clock, engine, Pace(0.01, 0.02))
    made.ec2.launch(1)
    await made.call("CreateCluster")
    async with made.ecs:
        made.ecs.capacity.wake()
        while not made.database.read("SELECT 1 FROM ecs_instance WHERE connected = 1"):
            await asyncio.sleep(0.01)
        yield made
    await engine.close()
    made.database.close()


@pytest.fixture
async def endpoint(world: World) -> AsyncIterator[str]:
    async with serve([world.ecs.service(), world.logs.service()], ancillary=world.calls) as url:
        yield url


@pytest.fixture
def ecs(endpoint: str) -> Any:
    client = boto3.client(
        "ecs",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield client
    client.close()


def ask(call: Callable[..., Any], **params: Any) -> Awaitable[Any]:
    return asyncio.to_thread(call, **params)


async def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        await ask(call, **params)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


async def test_the_waiters_of_boto3_work(ecs: Any) -> None:
    await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    await ask(ecs.create_service, serviceName="web", taskDefinition="web", desiredCount=2)
    await ask(ecs.get_waiter("services_stable").wait, services=["web"], WaiterConfig=FAST)
    service = (await ask(ecs.describe_services, services=["web"]))["services"][0]
    assert (service["runningCount"], service["pendingCount"]) == (2, 0)
    assert [d["status"] for d in service["deployments"]] == ["PRIMARY"]
    arns = (await ask(ecs.list_tasks, serviceName="web"))["taskArns"]
    await ask(ecs.get_waiter("tasks_running").wait, tasks=arns, WaiterConfig=FAST)
    await ask(ecs.update_service, service="web", desiredCount=0)
    await ask(ecs.get_waiter("tasks_stopped").wait, tasks=arns, WaiterConfig=FAST)
    await ask(ecs.delete_service, service="web")
    await ask(ecs.get_waiter("services_inactive").wait, services=["web"], WaiterConfig=FAST)


async def test_br_16_a_family_alone_means_the_newest_active_revision(ecs: Any) -> None:
    for _ in range(2):
        await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    await ask(ecs.create_service, serviceName="web", taskDefinition="web:1", desiredCount=0)
    service = (await ask(ecs.update_service, service="web", taskDefinition="web"))["service"]
    assert service["taskDefinition"] == "arn:aws:ecs:us-east-1:000000000000:task-definition/web:2"
    service = (await ask(ecs.update_service, service="web", taskDefinition="web:1"))["service"]
    assert service["taskDefinition"].endswith(":task-definition/web:1")
    await ask(ecs.deregister_task_definition, taskDefinition="web:2")
    service = (await ask(ecs.update_service, service="web", taskDefinition="web"))["service"]
    assert service["taskDefinition"].endswith(":task-definition/web:1")
    code, message = await refused(ecs.update_service, service="web", taskDefinition="web:2")
    assert (code, message) == ("ClientException", "TaskDefinition is inactive")


async def test_br_50_lists_and_descriptions_agree(ecs: Any, world: World) -> None:
    await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    created = (await ask(ecs.create_service, serviceName="web", taskDefinition="web", desiredCount=1))["service"]
    assert created["deployments"][0]["id"].startswith("ecs-svc/")
    await ask(ecs.get_waiter("services_stable").wait, services=["web"], WaiterConfig=FAST)
    assert (await ask(ecs.list_services))["serviceArns"] == [created["serviceArn"]]
    arns = (await ask(ecs.list_tasks))["taskArns"]
    task = (await ask(ecs.describe_tasks, tasks=arns))["tasks"][0]
    assert task["lastStatus"] == "RUNNING"
    assert task["group"] == "service:web"
    assert task["startedBy"] == created["deployments"][0]["id"]
    definition = (await ask(ecs.describe_task_definition, taskDefinition="web"))["taskDefinition"]
    assert definition["containerDefinitions"][0]["name"] == "app"
    assert definition["containerDefinitions"][0]["portMappings"] == [
        {"containerPort": 3000, "hostPort": 0, "protocol": "tcp"}
    ]
    assert isinstance(world.engine, FakeEngine)
    assert task["containers"][0]["runtimeId"] in {state.id for state in world.engine.running}
    cluster = (await ask(ecs.describe_clusters))["clusters"][0]
    counts = ("runningTasksCount", "pendingTasksCount", "activeServicesCount", "registeredContainerInstancesCount")
    assert [cluster[name] for name in counts] == [1, 0, 1, 1]


async def test_container_instances_show_what_is_free(ecs: Any) -> None:
    await ask(
        ecs.register_task_definition,
        family="web",
        containerDefinitions=[{**CONTAINER, "cpu": 256, "portMappings": [{"containerPort": 80, "hostPort": 80}]}],
    )
    arns = (await ask(ecs.list_container_instances))["containerInstanceArns"]
    answer = await ask(ecs.run_task, taskDefinition="web")
    assert answer["tasks"][0]["containerInstanceArn"] == arns[0]
    shown = (await ask(ecs.describe_container_instances, containerInstances=arns))["containerInstances"][0]
    registered = {each["name"]: each for each in shown["registeredResources"]}
    remaining = {each["name"]: each for each in shown["remainingResources"]}
    assert registered["CPU"]["integerValue"] == 2048
    assert registered["MEMORY"]["integerValue"] == 1945, "a t3.small has 2048, some of which is the system's"
    assert remaining["CPU"]["integerValue"] == 2048 - 256
    assert remaining["MEMORY"]["integerValue"] == 1945 - 128
    assert registered["PORTS"]["stringSetValue"] == ["22", "2375", "2376", "51678", "51679", "51680"]
    assert "80" in remaining["PORTS"]["stringSetValue"]
    attributes = {each["name"]: each.get("value") for each in shown["attributes"]}
    assert attributes["ecs.instance-type"] == "t3.small"
    assert shown["agentConnected"] is True
    code, message = await refused(ecs.deregister_container_instance, containerInstance=arns[0])
    assert (code, message) == ("InvalidParameterException", "Found running tasks on the instance.")


async def test_missing_things_are_failures_or_errors_as_on_aws(ecs: Any) -> None:
    assert (await ask(ecs.describe_clusters, clusters=["none"]))["failures"][0]["reason"] == "MISSING"
    assert (await ask(ecs.describe_services, services=["none"]))["failures"][0]["reason"] == "MISSING"
    assert (await ask(ecs.describe_tasks, tasks=["0" * 32]))["failures"][0]["reason"] == "MISSING"
    unknown = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/" + "0" * 32
    found = await ask(ecs.describe_container_instances, containerInstances=[unknown])
    assert found["failures"] == [{"arn": unknown, "reason": "MISSING"}]
    assert await refused(ecs.list_services, cluster="none") == ("ClusterNotFoundException", "Cluster not found.")
    assert await refused(ecs.update_service, service="none") == ("ServiceNotFoundException", "Service not found.")
    assert await refused(ecs.describe_task_definition, taskDefinition="none") == (
        "ClientException",
        "Unable to describe task definition.",
    )
    assert await refused(ecs.run_task, taskDefinition="none") == ("ClientException", "TaskDefinition not found.")


async def test_clusters_come_and_go(ecs: Any) -> None:
    first = (await ask(ecs.create_cluster, clusterName="prod", tags=[{"key": "a", "value": "b"}]))["cluster"]
    again = (await ask(ecs.create_cluster, clusterName="prod"))["cluster"]
    assert first["clusterArn"] == again["clusterArn"]
    assert (await ask(ecs.list_tags_for_resource, resourceArn=first["clusterArn"]))["tags"] == [
        {"key": "a", "value": "b"}
    ]
    assert (await ask(ecs.delete_cluster, cluster="prod"))["cluster"]["status"] == "INACTIVE"
    assert first["clusterArn"] not in (await ask(ecs.list_clusters))["clusterArns"]
    assert (await refused(ecs.delete_cluster, cluster="prod"))[0] == "ClusterNotFoundException"
    # BR-40: an INACTIVE cluster does not block the name.
    assert (await ask(ecs.create_cluster, clusterName="prod"))["cluster"]["status"] == "ACTIVE"
    assert (await refused(ecs.delete_cluster, cluster="default"))[
        0
    ] == "ClusterContainsContainerInstancesException"


async def test_paginators(ecs: Any) -> None:
    for number in range(5):
        await ask(ecs.register_task_definition, family=f"f{number}", containerDefinitions=[CONTAINER])
        await ask(ecs.create_service, serviceName=f"s{number}", taskDefinition=f"f{number}", desiredCount=0)

    def pages(name: str, key: str) -> list[str]:
        paginator = ecs.get_paginator(name)
        return [item for page in paginator.paginate(PaginationConfig={"PageSize": 2}) for item in page[key]]

    assert len(await asyncio.to_thread(pages, "list_services", "serviceArns")) == 5
    assert len(await asyncio.to_thread(pages, "list_task_definitions", "taskDefinitionArns")) == 5
    assert await asyncio.to_thread(pages, "list_task_definition_families", "families") == [
        f"f{n}" for n in range(5)
    ]
    assert (await refused(ecs.list_services, nextToken="???"))[0] == "InvalidParameterException"


async def test_what_a_definition_must_hold(ecs: Any) -> None:
    async def message(*containers: dict[str, Any], **more: Any) -> str:
        code, text = await refused(
            ecs.register_task_definition, family="web", containerDefinitions=list(containers), **more
        )
        assert code == "ClientException"
        return text

    assert await message({"name": "app", "image": "app"}) == (
        "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified."
    )
    assert "must be unique" in await message(CONTAINER, CONTAINER)
    assert "essential" in await message({**CONTAINER, "essential": False})
    assert "memoryReservation" in await message({**CONTAINER, "memory": 64, "memoryReservation": 128})
    assert "image" in await message({"name": "app", "memory": 128})
    assert "circle" in await message(
        {**CONTAINER, "dependsOn": [{"containerName": "b", "condition": "START"}]},
        {**CONTAINER, "name": "b", "dependsOn": [{"containerName": "app", "condition": "START"}]},
    )
    assert "No Fargate configuration exists for given values" in await message(
        CONTAINER, requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="8192"
    )
    assert "awslogs-group" in await message({**CONTAINER, "logConfiguration": {"logDriver": "awslogs"}})


async def test_revisions_are_never_given_out_twice(ecs: Any) -> None:
    await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    await ask(ecs.deregister_task_definition, taskDefinition="web:1")
    deleted = await ask(ecs.delete_task_definitions, taskDefinitions=["web:1"])
    assert deleted["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
    answer = await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    assert answer["taskDefinition"]["revision"] == 2
    assert (await ask(ecs.list_task_definitions, familyPrefix="web"))["taskDefinitionArns"] == [
        answer["taskDefinition"]["taskDefinitionArn"]
    ]


async def test_sizes_are_normalised(ecs: Any) -> None:
    answer = await ask(
        ecs.register_task_definition,
        family="web",
        cpu="1 vCPU",
        memory="2GB",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        containerDefinitions=[{"name": "app", "image": "app"}],
    )
    assert (answer["taskDefinition"]["cpu"], answer["taskDefinition"]["memory"]) == ("1024", "2048")
    code, message = await refused(ecs.run_task, taskDefinition="web", launchType="FARGATE")
    assert code == "InvalidParameterException"
    assert "Network Configuration must be provided" in message


async def test_tags_reach_the_tasks(ecs: Any) -> None:
    await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    await ask(
        ecs.create_service,
        serviceName="web",
        taskDefinition="web",
        desiredCount=1,
        propagateTags="SERVICE",
        tags=[{"key": "team", "value": "blue"}],
    )
    await ask(ecs.get_waiter("services_stable").wait, services=["web"], WaiterConfig=FAST)
    arns = (await ask(ecs.list_tasks))["taskArns"]
    task = (await ask(ecs.describe_tasks, tasks=arns, include=["TAGS"]))["tasks"][0]
    assert task["tags"] == [{"key": "team", "value": "blue"}]
    await ask(ecs.untag_resource, resourceArn=arns[0], tagKeys=["team"])
    assert (await ask(ecs.list_tags_for_resource, resourceArn=arns[0]))["tags"] == []


async def test_names_are_taken_once(ecs: Any) -> None:
    await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    await ask(ecs.create_service, serviceName="web", taskDefinition="web", desiredCount=0)
    assert await refused(ecs.create_service, serviceName="web", taskDefinition="web", desiredCount=0) == (
        "InvalidParameterException",
        "Creation of service was not idempotent.",
    )
    await ask(ecs.delete_service, service="web")
    await ask(ecs.get_waiter("services_inactive").wait, services=["web"], WaiterConfig=FAST)
    assert await refused(ecs.update_service, service="web", desiredCount=1) == (
        "ServiceNotActiveException",
        "Service was not ACTIVE.",
    )


async def test_custom_attributes_take_part_in_placement(ecs: Any) -> None:
    await ask(ecs.register_task_definition, family="web", containerDefinitions=[CONTAINER])
    arn = (await ask(ecs.list_container_instances))["containerInstanceArns"][0]
    where = [{"type": "memberOf", "expression": "attribute:stack == prod"}]
    answer = await ask(ecs.run_task, taskDefinition="web", placementConstraints=where)
    assert answer["failures"] == [{"arn": arn, "reason": "MemberOf placement constraint unsatisfied."}]
    await ask(ecs.put_attributes, attributes=[{"name": "stack", "value": "prod", "targetId": arn}])
    listed = await ask(ecs.list_attributes, targetType="container-instance", attributeName="stack")
    assert [each["value"] for each in listed["attributes"]] == ["prod"]
    assert len((await ask(ecs.run_task, taskDefinition="web", placementConstraints=where))["tasks"]) == 1
    broken = [{"type": "memberOf", "expression": "attribute:stack =="}]
    assert (await refused(ecs.run_task, taskDefinition="web", placementConstraints=broken))[
        0
    ] == "InvalidParameterException"


async def test_the_command_line_of_aws(endpoint: str, world: World) -> None:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_PAGER": "",
    }  # fmt: skip
    aws = Path(sys.executable).parent / "aws"

    async def run(*words: str) -> Any:
        def call() -> str:
            done = subprocess.run([str(aws), *words], env=environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return done.stdout

        text = await asyncio.to_thread(call)
        return json.loads(text) if text.strip() else None

    await run(
        "ecs", "register-task-definition", "--family", "web", "--container-definitions", json.dumps([CONTAINER])
    )
    await run("ecs", "create-service", "--service-name", "web", "--task-definition", "web", "--desired-count", "1")
    while not world.steady():
        await asyncio.sleep(0.05)
    await run("ecs", "wait", "services-stable", "--services", "web")
    answer = await run("ecs", "describe-services", "--services", "web")
    assert answer["services"][0]["runningCount"] == 1
    assert answer["services"][0]["events"][0]["message"] == "(service web) has reached a steady state."


async def raw(endpoint: str, operation: str, document: Any) -> tuple[int, Any]:
    """What a client sends that does not look at its parameters first."""
    request = urllib.request.Request(
        endpoint,
        data=json.dumps(document).encode(),
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"AmazonEC2ContainerServiceV20141113.{operation}",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ecs/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )

    def send() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(send)


async def test_br_52_nulls_and_read_only_keys_of_an_exported_definition_are_dropped(endpoint: str) -> None:
    exported = {
        "family": "web",
        "revision": 7,
        "status": "ACTIVE",
        "taskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/web:7",
        "requiresAttributes": [{"name": "com.amazonaws.ecs.capability.logging-driver.awslogs", "value": None}],
        "compatibilities": ["EC2"],
        "memory": None,
        "cpu": None,
        "taskRoleArn": None,
        "volumes": None,
        "containerDefinitions": [
            {**CONTAINER, "entryPoint": None, "command": None, "healthCheck": None, "logConfiguration": None}
        ],
    }
    status, answer = await raw(endpoint, "RegisterTaskDefinition", exported)
    assert status == 200, answer
    made = answer["taskDefinition"]
    assert made["revision"] == 1
    assert "memory" not in made
    assert "entryPoint" not in made["containerDefinitions"][0]


async def test_br_53_a_wrapped_definition_is_refused_by_what_is_missing(endpoint: str) -> None:
    wrapped = {"taskDefinition": {"family": "web", "containerDefinitions": [CONTAINER]}}
    status, answer = await raw(endpoint, "RegisterTaskDefinition", wrapped)
    assert status == 400
    assert "family" in answer["message"]
    assert "containerDefinitions" in answer["message"]

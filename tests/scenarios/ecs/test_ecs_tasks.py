"""Standalone tasks: start, order of containers, logs, health, stop."""

from pathlib import Path
from typing import Any

import pytest

from portside.cloud.machine.engine import Health
from portside.cloud.protocol.errors import AwsError
from portside.testing.clock import VirtualClock
from portside.testing.engine import EXITS, RUNS, FakeEngine, Program
from worlds.ecs import VirtualWorld, virtual_world

LOGS = {
    "logDriver": "awslogs",
    "options": {"awslogs-group": "web", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs"},
}
DONE = Program(output=("done",), seconds=5.0, code=0)


async def define(world: VirtualWorld, *containers: dict[str, Any]) -> None:
    made = [{"image": "app", "memory": 128, **each} for each in containers]
    await world.call("RegisterTaskDefinition", {"family": "job", "containerDefinitions": made})


async def run(world: VirtualWorld, **more: Any) -> str:
    answer = await world.call("RunTask", {"taskDefinition": "job", **more})
    assert answer["failures"] == []
    arn: str = answer["tasks"][0]["taskArn"]
    return arn


def task(world: VirtualWorld, arn: str) -> dict[str, Any]:
    return next(each for each in world.tasks() + world.tasks("STOPPED") if each["taskArn"] == arn)


def container(world: VirtualWorld, arn: str, name: str) -> dict[str, Any]:
    return next(each for each in task(world, arn)["containers"] if each["name"] == name)


async def until_stopped(world: VirtualWorld, arn: str) -> dict[str, Any]:
    await world.until(lambda: task(world, arn)["lastStatus"] == "STOPPED")
    return task(world, arn)


async def messages(world: VirtualWorld, group: str = "web") -> list[str]:
    answer = await world.call("FilterLogEvents", {"logGroupName": group}, service="logs")
    return [event["message"] for event in answer["events"]]


async def test_a_task_runs_to_its_end(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, job=DONE) as world:
        await define(world, {"name": "job", "image": "job"})
        arn = await run(world, startedBy="me")
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        ended = await until_stopped(world, arn)
        assert ended["containers"][0]["exitCode"] == 0
        assert ended["stopCode"] == "EssentialContainerExited"
        assert (ended["group"], ended["startedBy"]) == ("family:job", "me")
        times = [
            "createdAt",
            "pullStartedAt",
            "pullStoppedAt",
            "startedAt",
            "stoppingAt",
            "executionStoppedAt",
            "stoppedAt",
        ]
        assert [ended[name] for name in times] == sorted(ended[name] for name in times)
        assert world.engine.states == []


async def test_stopping_by_a_user(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, {"name": "app"})
        arn = await run(world)
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        answer = await world.call("StopTask", {"task": arn, "reason": "enough"})
        assert answer["task"]["desiredStatus"] == "STOPPED"
        ended = await until_stopped(world, arn)
        assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "enough")
        with pytest.raises(AwsError, match="The referenced task was not found"):
            await world.call("StopTask", {"task": "0" * 32})


async def test_a_program_that_ignores_sigterm_gets_its_stop_timeout(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, deaf=Program(stop_code=None)) as world:
        await define(world, {"name": "app", "image": "deaf", "stopTimeout": 7})
        arn = await run(world)
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        start = world.clock.now()
        await world.call("StopTask", {"task": arn})
        ended = await until_stopped(world, arn)
        assert ended["containers"][0]["exitCode"] == 137
        assert world.clock.now() - start == 7


async def test_containers_start_in_the_order_of_their_dependencies(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, job=DONE, db=Program(healthy_after=8.0)) as world:
        check = {"command": ["CMD-SHELL", "true"]}
        await define(
            world,
            {
                "name": "app",
                "dependsOn": [
                    {"containerName": "db", "condition": "HEALTHY"},
                    {"containerName": "init", "condition": "SUCCESS"},
                ],
            },
            {"name": "init", "image": "job", "essential": False},
            {"name": "db", "image": "db", "healthCheck": check},
        )
        arn = await run(world)
        await world.clock.advance(6)
        assert container(world, arn, "app")["lastStatus"] == "PENDING"
        assert task(world, arn)["lastStatus"] == "PENDING"
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        assert world.clock.now() - task(world, arn)["createdAt"] >= 8
        assert container(world, arn, "init")["exitCode"] == 0
        assert task(world, arn)["healthStatus"] == "HEALTHY"


async def test_a_dependency_that_fails_stops_the_task(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, bad=EXITS) as world:
        await define(
            world,
            {"name": "app", "dependsOn": [{"containerName": "init", "condition": "SUCCESS"}]},
            {"name": "init", "image": "bad", "essential": False},
        )
        ended = await until_stopped(world, await run(world))
        assert ended["stopCode"] == "TaskFailedToStart"
        assert "exit code was 1" in ended["stoppedReason"]
        assert all(each["lastStatus"] == "STOPPED" for each in ended["containers"])


async def test_br_56_a_missing_log_group_stops_the_task_and_is_named(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, job=DONE) as world:
        await define(world, {"name": "app", "image": "job", "logConfiguration": LOGS})
        ended = await until_stopped(world, await run(world))
        assert ended["stopCode"] == "TaskFailedToStart"
        assert ended["stoppedReason"].startswith("ResourceInitializationError: ")
        assert ended["stoppedReason"].endswith("The specified log group does not exist: web")
        assert world.engine.created == []


async def test_br_56_with_create_group_the_output_is_there(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, job=DONE) as world:
        options = {**LOGS["options"], "awslogs-create-group": "true"}  # type: ignore[dict-item]
        await define(world, {"name": "app", "image": "job", "logConfiguration": {**LOGS, "options": options}})
        arn = await run(world)
        await until_stopped(world, arn)
        assert await messages(world) == ["done"]
        streams = await world.call("DescribeLogStreams", {"logGroupName": "web"}, service="logs")
        task_id = arn.rpartition("/")[2]
        assert [each["logStreamName"] for each in streams["logStreams"]] == [f"ecs/app/{task_id}"]


async def test_without_a_prefix_the_stream_is_named_after_the_container(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, job=DONE) as world:
        options = {"awslogs-group": "web", "awslogs-region": "us-east-1"}
        logs = {"logDriver": "awslogs", "options": options}
        await define(world, {"name": "app", "image": "job", "logConfiguration": logs})
        assert (await until_stopped(world, await run(world)))["stoppedReason"].endswith("does not exist: web")
        assert world.engine.states == []
        await world.call("CreateLogGroup", {"logGroupName": "web"}, service="logs")
        await until_stopped(world, await run(world))
        streams = await world.call("DescribeLogStreams", {"logGroupName": "web"}, service="logs")
        assert [len(each["logStreamName"]) for each in streams["logStreams"]] == [64]
        assert await messages(world) == ["done"]


async def test_output_arrives_while_the_container_runs(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.call("CreateLogGroup", {"logGroupName": "web"}, service="logs")
        await define(world, {"name": "app", "logConfiguration": LOGS})
        arn = await run(world)
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        for number in range(3):
            world.engine.print(world.engine.running[0].id, f"line {number}")
            await world.clock.advance(0.01)
            assert (await messages(world))[-1] == f"line {number}"


async def test_output_is_neither_doubled_nor_lost_over_a_restart(tmp_path: Path) -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock, {"app": RUNS})
    printed: list[str] = []

    def output(*texts: str) -> None:
        printed.extend(texts)
        engine.print(engine.running[0].id, *texts)

    async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
        await world.call("CreateLogGroup", {"logGroupName": "web"}, service="logs")
        await define(world, {"name": "app", "logConfiguration": LOGS})
        arn = await run(world)
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        output(*(f"before {number}" for number in range(5)))
        await clock.idle()
        output(*(f"away {number}" for number in range(5)))  # at the same time, and nobody reads them any more
    for life in range(3):
        async with virtual_world(tmp_path, engine=engine, clock=clock) as world:
            await clock.advance(1)
            assert await messages(world) == printed
            for number in range(3):
                output(f"life {life} line {number}")
                await clock.advance(0.1)
            assert await messages(world) == printed
            assert task(world, arn)["lastStatus"] == "RUNNING", "adopted, not restarted"
    await engine.close()


async def test_out_of_memory_is_told(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, fat=Program(seconds=3, code=137, out_of_memory=True)) as world:
        await define(world, {"name": "app", "image": "fat"})
        ended = await until_stopped(world, await run(world))
        assert ended["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
        assert ended["containers"][0]["exitCode"] == 137


async def test_health_of_a_standalone_task_is_shown_and_not_acted_on(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, {"name": "app", "healthCheck": {"command": ["CMD-SHELL", "true"]}})
        arn = await run(world)
        await world.until(lambda: task(world, arn)["healthStatus"] == "HEALTHY")
        world.engine.set_health(world.engine.running[0].id, Health.UNHEALTHY)
        await world.until(lambda: task(world, arn)["healthStatus"] == "UNHEALTHY")
        await world.clock.advance(100)
        assert task(world, arn)["lastStatus"] == "RUNNING"


async def test_secrets_reach_the_container_and_nothing_else(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.calls.answers["ssm", "GetParameters"] = lambda params: {
            "Parameters": [{"Name": params["Names"][0], "Value": "hidden"}]
        }
        world.calls.answers["secretsmanager", "GetSecretValue"] = lambda _: {"SecretString": '{"user": "bob"}'}
        secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf:user::"
        await define(
            world,
            {
                "name": "app",
                "environment": [{"name": "PLAIN", "value": "x"}],
                "secrets": [{"name": "WORD", "valueFrom": "/db/word"}, {"name": "USER", "valueFrom": secret}],
            },
        )
        arn = await run(world)
        await world.until(lambda: task(world, arn)["lastStatus"] == "RUNNING")
        environment = world.engine.created[0].environment
        assert {key: environment[key] for key in ("PLAIN", "WORD", "USER")} == {
            "PLAIN": "x",
            "WORD": "hidden",
            "USER": "bob",
        }
        dump = "\n".join(world.database._connection.iterdump())
        assert "hidden" not in dump


async def test_a_missing_secret_stops_the_task(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.calls.answers["ssm", "GetParameters"] = lambda _: {
            "Parameters": [],
            "InvalidParameters": ["/db/word"],
        }
        await define(world, {"name": "app", "secrets": [{"name": "WORD", "valueFrom": "/db/word"}]})
        ended = await until_stopped(world, await run(world))
        assert ended["stoppedReason"] == (
            "ResourceInitializationError: unable to pull secrets or registry auth: "
            "unable to retrieve secrets from ssm: invalid parameters: /db/word"
        )


async def test_overrides_change_this_task_only(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, {"name": "app", "command": ["serve"], "environment": [{"name": "A", "value": "1"}]})
        override = {"name": "app", "command": ["migrate"], "environment": [{"name": "B", "value": "2"}]}
        await run(world, overrides={"containerOverrides": [override]})
        await world.until(lambda: len(world.running()) == 1)
        spec = world.engine.created[0]
        assert spec.command == ("migrate",)
        assert {key: spec.environment.get(key) for key in ("A", "B")} == {"A": "1", "B": "2"}


async def test_run_task_says_why_there_is_no_room(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, {"name": "app", "memory": 1000})
        answer = await world.call("RunTask", {"taskDefinition": "job", "count": 2})
        arn = (await world.call("ListContainerInstances"))["containerInstanceArns"][0]
        assert len(answer["tasks"]) == 1
        assert answer["failures"] == [{"arn": arn, "reason": "RESOURCE:MEMORY"}]


async def test_run_task_without_instances(tmp_path: Path) -> None:
    async with virtual_world(tmp_path, instances=0) as world:
        await world.call("CreateCluster")
        await define(world, {"name": "app"})
        with pytest.raises(AwsError, match=r"No Container Instances were found in your cluster\."):
            await run(world)


async def test_a_client_token_makes_a_task_once(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await define(world, {"name": "app"})
        first = await run(world, clientToken="abc")
        assert await run(world, clientToken="abc") == first
        with pytest.raises(AwsError) as error:
            await run(world, clientToken="abc", count=2)
        assert error.value.code == "ConflictException"
        assert error.value.extra["resourceIds"] == [first]


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        ({"pidMode": "host"}, "pidMode"),
        ({"volumes": [{"name": "data", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]}, "efsVolume"),
    ],
)
async def test_what_is_not_offered_can_be_registered_but_not_run(
    tmp_path: Path, feature: dict[str, Any], name: str
) -> None:
    async with virtual_world(tmp_path) as world:
        made = {"name": "app", "image": "app", "memory": 128}
        await world.call("RegisterTaskDefinition", {"family": "job", "containerDefinitions": [made], **feature})
        with pytest.raises(AwsError, match=name) as error:
            await run(world)
        assert error.value.code == "ClientException"
        with pytest.raises(AwsError, match=name):
            await world.create_service(definition="job")


async def test_roles_of_a_definition_may_be_given_by_their_names(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        made = await world.call(
            "RegisterTaskDefinition",
            {
                "family": "named",
                "taskRoleArn": "app",
                "executionRoleArn": "arn:aws:iam::000000000000:role/path/agent",
                "containerDefinitions": [{"name": "app", "image": "app", "memory": 128}],
            },
        )
        shown = made["taskDefinition"]
        assert shown["taskRoleArn"].endswith(":role/app") and shown["taskRoleArn"].startswith("arn:aws:iam::")
        assert shown["executionRoleArn"] == "arn:aws:iam::000000000000:role/path/agent"

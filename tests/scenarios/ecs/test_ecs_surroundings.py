"""What a container is told and given: roles, metadata, environment files, volumes, settings of the kernel."""

from pathlib import Path
from typing import Any

from worlds.ecs import VirtualWorld, virtual_world

TASK_ROLE = "arn:aws:iam::000000000000:role/task"
EXECUTION_ROLE = "arn:aws:iam::000000000000:role/execution"


async def started(world: VirtualWorld, *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = [{"name": "app", "image": "app", "memory": 128, **each} for each in containers or [{}]]
    await world.call("RegisterTaskDefinition", {"family": "job", "containerDefinitions": made, **more})
    answer = await world.call("RunTask", {"taskDefinition": "job"})
    arn = answer["tasks"][0]["taskArn"]

    def shown() -> dict[str, Any]:
        return next(t for s in ("RUNNING", "STOPPED") for t in world.tasks(s) if t["taskArn"] == arn)

    await world.until(lambda: shown()["lastStatus"] in ("RUNNING", "STOPPED"))
    return shown()


async def test_a_container_is_told_where_it_is(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await started(world, {"environment": [{"name": "AWS_REGION", "value": "eu-west-1"}]})
        told = world.engine.created[0].environment
        assert told["AWS_ENDPOINT_URL"] == "http://172.17.0.1:4566"
        assert told["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
        assert told["AWS_REGION"] == "eu-west-1"  # the user's word counts
        assert told["ECS_CONTAINER_METADATA_URI_V4"].startswith("http://172.17.0.1:4566/_portside/metadata/")
        assert not any("CREDENTIALS" in name for name in told)
        assert world.engine.created[0].dns == ("172.17.0.1",)


async def test_a_task_role_is_fetched_under_an_id_that_ends_with_the_task(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        task = await started(world, taskRoleArn=TASK_ROLE)
        spec = world.engine.created[0]
        path = spec.environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
        assert spec.also == ("link-local",)
        identifier = path.rpartition("/")[2]
        found = await world.ecs.identities.credentials(identifier)
        assert found is not None
        assert (found["RoleArn"], found["AccessKeyId"][:4]) == (TASK_ROLE, "ASIA")
        assert await world.ecs.identities.credentials("guessed") is None
        # The same session until shortly before its end.
        assert (await world.ecs.identities.credentials(identifier) or {})["AccessKeyId"] == found["AccessKeyId"]
        await world.clock.until(lambda: world.clock.now() >= found["Expiration"] - 60, 7 * 3600)
        assert (await world.ecs.identities.credentials(identifier) or {})["AccessKeyId"] != found["AccessKeyId"]
        await world.call("StopTask", {"task": task["taskArn"]})
        await world.until(lambda: not world.engine.states)
        assert await world.ecs.identities.credentials(identifier) is None


async def test_another_port_is_told_in_full(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.outside.relative = False
        await started(world, taskRoleArn=TASK_ROLE)
        told = world.engine.created[0].environment
        assert told["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith(
            "http://169.254.170.2:4566/_portside/credentials/"
        )


async def test_a_role_that_is_missing_stops_the_task_and_is_named(tmp_path: Path) -> None:
    for key in ("taskRoleArn", "executionRoleArn"):
        async with virtual_world(tmp_path / key if (tmp_path / key).mkdir() is None else tmp_path) as world:
            world.roles.missing.add(TASK_ROLE)
            task = await started(world, **{key: TASK_ROLE})
            assert task["stopCode"] == "TaskFailedToStart"
            assert f"ECS was unable to assume the role '{TASK_ROLE}'" in task["stoppedReason"]


async def test_secrets_are_fetched_by_the_execution_role(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.calls.answers["ssm", "GetParameters"] = lambda params: {
            "Parameters": [{"Name": params["Names"][0], "Value": "hidden"}]
        }
        await started(
            world, {"secrets": [{"name": "WORD", "valueFrom": "/word"}]}, executionRoleArn=EXECUTION_ROLE
        )
        assert (EXECUTION_ROLE, "ecs-tasks.amazonaws.com") in world.roles.assumed
        assert world.engine.created[0].environment["WORD"] == "hidden"


async def test_environment_files_come_before_values(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        world.files["config", "app.env"] = b"# a comment\nA=file\nB=with = sign\n\n"
        await started(
            world,
            {
                "environment": [{"name": "A", "value": "definition"}],
                "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::config/app.env"}],
            },
            executionRoleArn=EXECUTION_ROLE,
        )
        told = world.engine.created[0].environment
        assert (told["A"], told["B"]) == ("definition", "with = sign")


async def test_a_missing_environment_file_is_named(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        task = await started(
            world, {"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::config/none.env"}]}
        )
        assert "failed to download env files: NoSuchKey" in task["stoppedReason"]
        assert "arn:aws:s3:::config/none.env" in task["stoppedReason"]


async def test_a_volume_lives_as_long_as_its_task_a_path_as_long_as_its_instance(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        mounts = [
            {"sourceVolume": "scratch", "containerPath": "/tmp/work"},
            {"sourceVolume": "cache", "containerPath": "/cache", "readOnly": True},
        ]
        task = await started(
            world,
            {"mountPoints": mounts},
            {"name": "side", "volumesFrom": [{"sourceContainer": "app", "readOnly": True}]},
            volumes=[{"name": "scratch"}, {"name": "cache", "host": {"sourcePath": "/var/cache/app"}}],
        )
        app, side = world.engine.created
        assert len(await world.engine.volumes({})) == 2
        assert [bind.split(":", 1)[1] for bind in app.binds] == ["/tmp/work", "/cache:ro,nocopy"]
        assert side.volumes_from == (f"{app.name}:ro",)
        await world.call("StopTask", {"task": task["taskArn"]})
        await world.until(lambda: not world.engine.states)
        (kept,) = await world.engine.volumes({})
        assert app.binds[1].startswith(f"{kept}:")
        world.ec2.instances.clear()
        world.ecs.capacity.wake()
        await world.until(lambda: not world.engine._volumes)


async def test_the_settings_of_a_container_reach_the_engine(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await started(
            world,
            {"name": "db"},
            {
                "name": "app",
                "links": ["db:database"],
                "user": "1000",
                "readonlyRootFilesystem": True,
                "dnsServers": ["10.0.0.2"],
                "dnsSearchDomains": ["internal"],
                "systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}],
                "ulimits": [{"name": "nofile", "softLimit": 512, "hardLimit": 512}],
                "linuxParameters": {
                    "sharedMemorySize": 64,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
                    "tmpfs": [{"containerPath": "/run", "size": 16, "mountOptions": ["noexec"]}],
                },
            },
        )
        db, app = world.engine.created
        assert app.links == (f"{db.name}:database",)
        assert (app.user, app.read_only, app.dns, app.dns_search) == ("1000", True, ("10.0.0.2",), ("internal",))
        assert app.sysctls == {"net.core.somaxconn": "1024"}
        assert (app.shared_memory, app.tmpfs) == (64, {"/run": "noexec,size=16m"})
        assert (app.capabilities_dropped, app.capabilities_added) == (("ALL",), ("NET_ADMIN",))


async def test_a_container_without_network_is_told_nothing(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await started(world, networkMode="none", taskRoleArn=TASK_ROLE)
        spec = world.engine.created[0]
        assert (spec.network, spec.also, dict(spec.environment)) == ("none", (), {})

"""ECS on a real engine: ports, replacement, logs, limits, restart, and an engine that is not there."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from portside.cloud.kernel.clock import FAST_PACE, SystemClock
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.docker import DockerEngine
from portside.cloud.machine.engine import Unavailable
from portside.cloud.services.ecs.images import CannotPull, EngineImages
from portside.testing.server import ACCOUNT, quiet_log, serve
from worlds.ecs import World

pytestmark = pytest.mark.docker

SERVER = "echo Server running; echo hello > /www/index.html; exec httpd -f -p 3000 -h /www"
LOGS = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "web",
        "awslogs-region": "us-east-1",
        "awslogs-stream-prefix": "ecs",
        "awslogs-create-group": "true",
    },
}
WEB: dict[str, Any] = {
    "command": ["sh", "-c", SERVER],
    "portMappings": [{"containerPort": 3000}],
    "cpu": 256,
    "logConfiguration": LOGS,
    "stopTimeout": 1,
}


@asynccontextmanager
async def life(path: Path, engine: DockerEngine, cloud: str, instances: int = 1) -> AsyncIterator[World]:
    """One life of the process; give the same path again for the next one."""
    made = World(path / "state.db", SystemClock(), engine, FAST_PACE, cloud)
    for number in range(1, instances + 1):
        made.ec2.launch(number)
    await made.call("CreateCluster")
    async with made.ecs:
        made.ecs.capacity.wake()
        yield made
    made.database.close()


@pytest.fixture
async def world(tmp_path: Path, docker: DockerEngine, cloud_id: str) -> AsyncIterator[World]:
    async with life(tmp_path, docker, cloud_id) as made:
        await until(lambda: made.database.read("SELECT 1 FROM ecs_instance WHERE connected = 1"))
        yield made


async def until(reached: Callable[[], Any], limit: float = 30.0) -> None:
    async with asyncio.timeout(limit):
        while not reached():
            await asyncio.sleep(0.05)


async def get(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


async def messages(world: World) -> list[str]:
    found: list[str] = []
    token: dict[str, Any] = {}
    while True:
        answer = await world.call("FilterLogEvents", {"logGroupName": "web", **token}, service="logs")
        found += [event["message"] for event in answer["events"]]
        if not answer.get("nextToken"):
            return found
        token = {"nextToken": answer["nextToken"]}


async def test_a_real_container_behind_a_dynamic_port(world: World, busybox: str, cloud_id: str) -> None:
    await world.register(image=busybox, **WEB)
    await world.create_service(count=2)
    await until(lambda: len(world.running()) == 2)
    address = Addresses(world.database, cloud_id, many=True).of(next(iter(world.ec2.instances)))
    ports = [task["containers"][0]["networkBindings"][0]["hostPort"] for task in world.running()]
    assert len(set(ports)) == 2
    for port in ports:
        assert "hello" in await get(address, port)
    await until(world.steady)

    async with serve([world.logs.service(), world.ecs.service()]) as endpoint:

        def read() -> list[str]:
            client = boto3.client(
                "logs",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            found = client.filter_log_events(logGroupName="web")["events"]
            client.close()
            return [event["message"] for event in found]

        assert await asyncio.to_thread(read) == ["Server running"] * 2

    # One is killed behind our back: replaced within moments.
    victim = world.running()[0]
    await world.engine.stop(victim["containers"][0]["runtimeId"], 0)
    await until(lambda: victim["taskArn"] not in [t["taskArn"] for t in world.tasks()], 3)
    await until(lambda: len(world.running()) == 2)
    await world.call("DeleteService", {"service": "web", "force": True})
    await until(lambda: world.service()["status"] == "INACTIVE")
    assert await world.engine.containers({"portside.cloud": cloud_id}) == []


async def test_the_next_life_adopts_what_runs(
    tmp_path: Path, docker: DockerEngine, cloud_id: str, busybox: str
) -> None:
    async with life(tmp_path, docker, cloud_id) as world:
        loop = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done"
        await world.register(image=busybox, **{**WEB, "command": ["sh", "-c", loop]})
        await world.create_service()
        await until(world.steady)
        before = world.running()[0]
    await asyncio.sleep(0.5)  # lines that nobody reads
    async with life(tmp_path, docker, cloud_id) as world:
        await asyncio.sleep(1)
        after = world.running()[0]
        assert after["taskArn"] == before["taskArn"]
        assert after["containers"][0]["runtimeId"] == before["containers"][0]["runtimeId"]
        assert len(await docker.containers({"portside.cloud": cloud_id})) == 1
        read = await messages(world)
        assert read == [f"line {number}" for number in range(1, len(read) + 1)], "no line lost or doubled"
        assert len(read) > 50
    # A container that ended while nobody looked is replaced at the next start.
    await docker.stop(before["containers"][0]["runtimeId"], 0)
    async with life(tmp_path, docker, cloud_id) as world:
        await until(lambda: [t["taskArn"] for t in world.running()] not in ([], [before["taskArn"]]))
        await world.ecs.__aexit__(None, None, None)
        await world.ecs.remove_all()
        assert await docker.containers({"portside.cloud": cloud_id}) == []
        assert world.tasks() == []


async def test_much_output_arrives_whole(world: World, busybox: str) -> None:
    await world.register(image=busybox, **{**WEB, "command": ["sh", "-c", "seq 1 50000"], "portMappings": []})
    await world.call("RunTask", {"taskDefinition": "web"})
    await until(lambda: [t["lastStatus"] for t in world.tasks("STOPPED")] == ["STOPPED"], 60)
    assert await messages(world) == [str(number) for number in range(1, 50001)]


async def test_br_14_a_port_that_something_else_has(world: World, busybox: str, cloud_id: str) -> None:
    address = Addresses(world.database, cloud_id, many=True).of(next(iter(world.ec2.instances)))
    blocker = await asyncio.start_server(lambda r, w: None, address, 0)
    port = blocker.sockets[0].getsockname()[1]
    await world.register(image=busybox, **{**WEB, "portMappings": [{"containerPort": 3000, "hostPort": port}]})
    await world.call("RunTask", {"taskDefinition": "web"})
    await until(lambda: [t["lastStatus"] for t in world.tasks("STOPPED")] == ["STOPPED"])
    task = world.tasks("STOPPED")[0]
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotStartContainerError: Error response from daemon: ")
    assert str(port) in task["stoppedReason"]
    blocker.close()
    await blocker.wait_closed()


async def test_a_container_over_its_memory_limit_is_killed_and_says_so(world: World, busybox: str) -> None:
    eat = "x=a; while :; do x=$x$x; done"
    await world.register(image=busybox, **{**WEB, "command": ["sh", "-c", eat], "memory": 16, "portMappings": []})
    await world.call("RunTask", {"taskDefinition": "web"})
    await until(lambda: [t["lastStatus"] for t in world.tasks("STOPPED")] == ["STOPPED"])
    container = world.tasks("STOPPED")[0]["containers"][0]
    assert container["exitCode"] in (137, 2)
    if container["exitCode"] == 137:
        assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"


async def test_health_and_dependencies_on_a_real_engine(world: World, busybox: str) -> None:
    slow = "sleep 2; touch /tmp/ready; exec sleep 1000"
    check = {"command": ["CMD-SHELL", "cat /tmp/ready"], "interval": 5, "retries": 3}
    common = {"image": busybox, "memory": 64, "stopTimeout": 0}
    await world.call(
        "RegisterTaskDefinition",
        {
            "family": "two",
            "containerDefinitions": [
                {
                    **common,
                    "name": "app",
                    "command": ["sleep", "1000"],
                    "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}],
                },
                {**common, "name": "db", "command": ["sh", "-c", slow], "healthCheck": check},
            ],
        },
    )
    await world.call("RunTask", {"taskDefinition": "two"})
    await until(lambda: [t["healthStatus"] for t in world.running()] == ["HEALTHY"])


async def test_user_environment_and_labels_reach_the_container(world: World, busybox: str) -> None:
    show = 'echo "$COLOUR $(id -u) $(hostname)"'
    await world.register(
        image=busybox,
        **{
            **WEB,
            "command": ["-c", show],
            "entryPoint": ["sh"],
            "environment": [{"name": "COLOUR", "value": "red"}],
            "user": "1234",
            "hostname": "harbour",
            "readonlyRootFilesystem": True,
            "linuxParameters": {"initProcessEnabled": True},
            "extraHosts": [{"hostname": "db", "ipAddress": "10.0.0.9"}],
            "portMappings": [],
        },
    )
    await world.call("RunTask", {"taskDefinition": "web"})
    await until(lambda: [t["lastStatus"] for t in world.tasks("STOPPED")] == ["STOPPED"])
    assert world.tasks("STOPPED")[0]["containers"][0]["exitCode"] == 0
    assert await messages(world) == ["red 1234 harbour"]


async def test_a_program_that_does_not_exist(world: World, busybox: str) -> None:
    await world.register(image=busybox, **{**WEB, "command": ["nowhere"]})
    await world.call("RunTask", {"taskDefinition": "web"})
    await until(lambda: [t["lastStatus"] for t in world.tasks("STOPPED")] == ["STOPPED"])
    task = world.tasks("STOPPED")[0]
    assert task["stoppedReason"].startswith("CannotStartContainerError: Error response from daemon: ")
    assert "nowhere" in task["stoppedReason"]
    assert task["containers"][0].get("exitCode") is None


async def test_where_no_engine_listens(tmp_path: Path, cloud_id: str) -> None:
    engine = DockerEngine(f"unix://{tmp_path}/none.sock", quiet_log())
    with pytest.raises(Unavailable):
        await engine.info()
    async with life(tmp_path, engine, cloud_id) as world:
        await world.register(image="app", **WEB)
        await world.create_service()
        await until(lambda: any('encountered error "AGENT"' in event for event in world.events()))
        assert world.tasks() == []
    await engine.close()


async def test_an_engine_that_hangs_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portside.cloud.machine.docker.QUICK", 0.3)

    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_unix_server(silent, tmp_path / "hangs.sock")
    engine = DockerEngine(f"unix://{tmp_path}/hangs.sock", quiet_log())
    with pytest.raises(Unavailable):
        await engine.inspect("x")
    await engine.close()
    await ended.wait()
    server.close()
    await server.wait_closed()


class Cable:
    """A socket in front of the engine's own that can be unplugged: open connections break, new ones are refused."""

    def __init__(self, path: Path, host: str) -> None:
        self.path = path
        self._target = host.removeprefix("unix://")
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def plug(self) -> None:
        self._server = await asyncio.start_unix_server(self._connect, self.path)

    async def unplug(self) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._target)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, inner_writer))
                group.create_task(pump(inner_reader, writer))
        except* (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, inner_writer):
                each.close()
                await asyncio.gather(each.wait_closed(), return_exceptions=True)


async def test_an_engine_that_comes_back_finds_everything_in_place(
    host: str, docker: DockerEngine, tmp_path: Path, cloud_id: str, busybox: str
) -> None:
    cable = Cable(tmp_path / "cable.sock", host)
    await cable.plug()
    engine = DockerEngine(f"unix://{cable.path}", quiet_log())
    async with life(tmp_path, engine, cloud_id) as world:
        loop = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done"
        await world.register(image=busybox, **{**WEB, "command": ["sh", "-c", loop]})
        await world.create_service(count=2)
        await until(world.steady)
        kept, killed = (task["taskArn"] for task in world.running())
        await cable.unplug()
        victim = next(t for t in world.running() if t["taskArn"] == killed)["containers"][0]["runtimeId"]
        await docker.stop(victim, 0)  # while the cloud cannot see it
        await until(lambda: not world.database.read("SELECT 1 FROM ecs_instance WHERE connected = 1"))
        assert [task["taskArn"] for task in world.running()] == [kept, killed], "what is not seen does not change"
        await cable.plug()
        await until(lambda: killed not in [t["taskArn"] for t in world.tasks()])
        await until(lambda: len(world.running()) == 2)
        assert kept in [task["taskArn"] for task in world.running()]
        await asyncio.sleep(2.5)
        streams = (await world.call("DescribeLogStreams", {"logGroupName": "web"}, service="logs"))["logStreams"]
        assert len(streams) == 3
        for stream in streams:
            where = {"logGroupName": "web", "logStreamName": stream["logStreamName"], "startFromHead": True}
            events = (await world.call("GetLogEvents", where, service="logs"))["events"]
            assert [e["message"] for e in events] == [f"line {n}" for n in range(1, len(events) + 1)]
        await world.ecs.__aexit__(None, None, None)
        await world.ecs.remove_all()
    await engine.close()
    await cable.unplug()


@dataclass(frozen=True)
class Stored:
    digest: str
    config_digest: str
    content: bytes


class OneImage:
    """A registry with one image, saved from the engine."""

    def __init__(self, image: Stored) -> None:
        self.image = image
        self.loads = 0

    def resolve(self, reference: str, region: str) -> Stored | None:
        return self.image if reference.endswith("/web:1") else None

    async def archive(self, image: Stored) -> AsyncIterator[bytes]:
        self.loads += 1
        for start in range(0, len(image.content), 65536):
            yield image.content[start : start + 65536]


async def test_an_image_of_the_registry_is_loaded_once_without_the_network(
    docker: DockerEngine, busybox: str, tmp_path: Path
) -> None:
    """The archive is made by hand: one layer, one configuration of its own."""
    import hashlib

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        info = tarfile.TarInfo("hello")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"hi"))
    diff = hashlib.sha256(layer.getvalue()).hexdigest()
    marker = tmp_path.name
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"portside-test": marker}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
            "created": SystemClock().now() and "2026-01-01T00:00:00Z",
            "history": [{"comment": str(SystemClock().now())}],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        manifest = [{"Config": f"{name}.json", "RepoTags": None, "Layers": ["layer.tar"]}]
        for path, content in (
            ("manifest.json", json.dumps(manifest).encode()),
            (f"{name}.json", config),
            ("layer.tar", layer.getvalue()),
        ):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    registry = OneImage(Stored("sha256:" + "a" * 64, f"sha256:{name}", buffer.getvalue()))
    images = EngineImages(docker, registry, ACCOUNT)
    reference = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/web:1"
    try:
        found = await asyncio.gather(*(images.ensure(reference, "us-east-1") for _ in range(5)))
        assert {(each.engine_id, each.digest) for each in found} == {(f"sha256:{name}", "sha256:" + "a" * 64)}
        assert registry.loads == 1
        with pytest.raises(CannotPull, match="manifest unknown: Requested image not found"):
            await images.ensure(reference.replace(":1", ":2"), "us-east-1")
    finally:
        await docker.remove_image(f"sha256:{name}")

"""From a cluster and an instance to a real container behind a dynamic port, and its output in the logs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.clock import FAST_PACE, SystemClock
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.docker import DockerEngine
from portside.testing.server import serve
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


@pytest.fixture
async def world(tmp_path: Path, docker: DockerEngine, cloud_id: str) -> AsyncIterator[World]:
    made = World(tmp_path / "state.db", SystemClock(), docker, FAST_PACE, cloud_id)
    made.ec2.launch(1)
    await made.call("CreateCluster")
    async with made.ecs:
        made.ecs.capacity.wake()
        yield made
    made.database.close()


async def until(reached: Callable[[], Any], limit: float = 30.0) -> None:
    async with asyncio.timeout(limit):
        while not reached():
            await asyncio.sleep(0.1)


def why(world: World) -> str:
    return "\n".join([*world.events(), *(t.get("stoppedReason") or "" for t in world.tasks("STOPPED"))])


async def get(host: str, port: int) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


async def test_a_real_container_behind_a_dynamic_port(world: World, busybox: str, cloud_id: str) -> None:
    await world.register(
        image=busybox,
        command=["sh", "-c", SERVER],
        portMappings=[{"containerPort": 3000}],
        cpu=256,
        logConfiguration=LOGS,
        stopTimeout=2,
    )
    await world.create_service(count=2)
    try:
        await until(lambda: len(world.running()) == 2, 8)
    except TimeoutError:
        print(why(world))
        raise
    address = Addresses(world.database, cloud_id, many=True).of(next(iter(world.ec2.instances)))
    ports = [task["containers"][0]["networkBindings"][0]["hostPort"] for task in world.running()]
    assert len(set(ports)) == 2
    for port in ports:
        assert "hello" in await get(address, port)
    await until(world.steady)

    async with serve([world.logs.service(), world.ecs.service()]) as endpoint:

        def read() -> list[str]:
            import boto3

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

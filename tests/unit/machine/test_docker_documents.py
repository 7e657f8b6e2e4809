"""The engine's documents: what is asked for, what is seen, and how it says no."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from portside.cloud.machine import docker
from portside.cloud.machine import docker_documents as documents
from portside.cloud.machine.engine import (
    Conflict,
    ContainerSpec,
    Health,
    HealthCheck,
    LogLine,
    Missing,
    Phase,
    PortBinding,
    Rejected,
    Ulimit,
    Unavailable,
)
from portside.testing.server import quiet_log

LABELS = {"portside.cloud": "c"}


def test_a_plain_container() -> None:
    document = documents.create_document(ContainerSpec("n", "image", LABELS))
    assert document["Healthcheck"] == {"Test": ["NONE"]}, "the image's own check is switched off, as on ECS"
    assert "Ulimits" not in document["HostConfig"], "some machines deny raising them"
    assert "Cmd" not in document and "Entrypoint" not in document
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert "Memory" not in document["HostConfig"]


def test_everything_that_can_be_asked_for() -> None:
    document = documents.create_document(
        ContainerSpec(
            "n", "image", LABELS, command=("a",), entrypoint=("b",), environment={"K": "v=w"},
            ports=(PortBinding(80, "127.1.0.1"), PortBinding(53, "127.1.0.1", 5353, "udp")), cpu_shares=256,
            memory=64, memory_reservation=32, hostname="h", user="u", working_directory="/w", init=True,
            read_only=True, extra_hosts={"db": "10.0.0.1"}, health_check=HealthCheck(("CMD", "true"), 5, 2, 1, 9),
            ulimits=(Ulimit("nofile", 10, 20),), network="none",
        )
    )  # fmt: skip
    host = document["HostConfig"]
    assert document["Env"] == ["K=v=w"]
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.1.0.1", "HostPort": ""}],
        "53/udp": [{"HostIp": "127.1.0.1", "HostPort": "5353"}],
    }
    assert (host["Memory"], host["MemoryReservation"], host["CpuShares"]) == (64 << 20, 32 << 20, 256)
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert (host["Init"], host["ReadonlyRootfs"], host["ExtraHosts"]) == (True, True, ["db:10.0.0.1"])
    assert document["Healthcheck"]["StartPeriod"] == 9_000_000_000


def inspected(**state: Any) -> dict[str, Any]:
    return {"Id": "i", "Name": "/n", "Config": {"Labels": LABELS}, "State": state, "NetworkSettings": {}}


ZERO = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("state", "phase", "code"),
    [
        ({"Status": "created", "StartedAt": ZERO, "FinishedAt": ZERO, "ExitCode": 0}, Phase.CREATED, None),
        ({"Running": True, "StartedAt": "2026-01-01T00:00:00.5Z", "FinishedAt": ZERO}, Phase.RUNNING, None),
        (
            {
                "Status": "exited",
                "StartedAt": "2026-01-01T00:00:00Z",
                "FinishedAt": "2026-01-01T00:00:01Z",
                "ExitCode": 3,
            },
            Phase.EXITED,
            3,
        ),
        (
            {"Status": "created", "StartedAt": ZERO, "FinishedAt": ZERO, "ExitCode": 127, "Error": "no such file"},
            Phase.CREATED,
            None,
        ),
    ],
)
def test_phases(state: dict[str, Any], phase: Phase, code: int | None) -> None:
    seen = documents.state_of(inspected(**state))
    assert (seen.phase, seen.exit_code, seen.name) == (phase, code, "n")


def test_times_ports_and_health() -> None:
    document = inspected(
        Running=True,
        StartedAt="2026-01-01T00:00:00.123456789+01:00",
        FinishedAt=ZERO,
        Health={"Status": "unhealthy"},
    )
    document["NetworkSettings"] = {
        "Ports": {"80/tcp": [{"HostIp": "127.1.0.1", "HostPort": "4000"}], "81/tcp": None}
    }
    seen = documents.state_of(document)
    assert seen.started_at == pytest.approx(1767222000.123456789, abs=1e-6)
    assert seen.ports == (PortBinding(80, "127.1.0.1", 4000),)
    assert seen.health is Health.UNHEALTHY


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "No such container: x", Missing),
        (409, "Conflict. The container name is already in use", Conflict),
        (
            500,
            "driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated",
            Conflict,
        ),
        (500, "listen tcp4 127.0.0.1:80: bind: address already in use", Conflict),
        (400, "invalid reference format", Rejected),
        (900, "Cannot connect", Unavailable),
        (503, "busy", Unavailable),
    ],
)
def test_the_four_ways_of_saying_no(status: int, reason: str, kind: type[Exception]) -> None:
    assert type(documents.translate(status, reason)) is kind


@pytest.mark.parametrize(
    ("document", "action"),
    [
        ({"Action": "start", "Actor": {"ID": "i", "Attributes": LABELS}}, "start"),
        ({"Action": "died", "Actor": {"ID": "i", "Attributes": LABELS}}, "die"),
        ({"Action": "remove", "Actor": {"ID": "i", "Attributes": LABELS}}, "destroy"),
        ({"Action": "health_status: healthy", "Actor": {"ID": "i", "Attributes": LABELS}}, "health"),
        ({"Action": "exec_start: true", "Actor": {"ID": "i", "Attributes": LABELS}}, None),
    ],
)
def test_events(document: dict[str, Any], action: str | None) -> None:
    event = documents.event_of(document)
    assert (event.action if event else None) == action


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize("size", [1, 3, 7, 64, 4096])
async def test_output_is_put_together_however_it_is_cut(size: int) -> None:
    stamp = b"2026-01-01T00:00:00.000000001Z "
    raw = (
        frame(1, stamp + b"one\n")
        + frame(2, stamp + b"two\r\n" + stamp + b"three\n")
        + frame(1, stamp + b"a long ")
        + frame(2, stamp + b"\n")
        + frame(1, b"line \xc3\xa9\n")
        + frame(1, stamp + b"unfinished")
    )

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), size):
            yield raw[start : start + size]

    lines = [line async for line in documents.demultiplex(chunks())]
    assert [(line.text, line.stream) for line in lines] == [
        ("one", "stdout"),
        ("two", "stderr"),
        ("three", "stderr"),
        ("", "stderr"),
        ("a long line é", "stdout"),
        ("unfinished", "stdout"),
    ]
    assert {line.at for line in lines} == {LogLine(1767225600.000000001, "").at}


async def test_limits_that_the_machine_cannot_set_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = docker.DockerEngine("unix:///none", quiet_log())
    asked: list[dict[str, Any]] = []

    async def create(name: str, document: dict[str, Any]) -> str:
        asked.append({**document["HostConfig"]})
        if "Memory" in document["HostConfig"]:
            raise Rejected("crun: the requested cgroup controller `memory` is not available")
        return "made"

    monkeypatch.setattr(engine, "_create", create)
    assert await engine.create(ContainerSpec("n", "image", LABELS, memory=64, cpu_shares=10)) == "made"
    assert ["Memory" in host for host in asked] == [True, False]

    async def refuse(name: str, document: dict[str, Any]) -> str:
        raise Rejected("invalid reference format")

    monkeypatch.setattr(engine, "_create", refuse)
    with pytest.raises(Rejected):
        await engine.create(ContainerSpec("n", "image", LABELS, memory=64))


def test_an_idle_cloud_stays_small() -> None:
    """Neither the orchestrator nor the adapter loads an HTTP client before it is needed."""
    script = (
        "import sys, portside.cloud.services.ecs.orchestrator, portside.cloud.services.logs.api, "
        "portside.cloud.machine.docker, portside.engines; "
        "print([m for m in ('aiohttp', 'aiodocker', 'boto3', 'moto', 'starlette') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"}
    )
    assert done.stdout.strip() == "[]"

"""The real prober against real servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backends import Backend, backend, free_port, reply
from portside.cloud.machine.http_prober import HttpProber
from portside.cloud.machine.prober import Answered, Refused, TimedOut
from tls import Authority


async def probe(target: Backend | int, timeout: float = 5.0) -> object:
    port = target if isinstance(target, int) else target.port
    return await HttpProber().probe("127.0.0.1", port, "/health?deep=1", timeout, f"10.0.0.1:{port}")


async def test_it_asks_as_elastic_load_balancing_does() -> None:
    async with backend() as app:
        assert await probe(app) == Answered(200)
        line, headers = app.heads[0]
        assert line == "GET /health?deep=1 HTTP/1.1"
        assert headers["host"] == f"10.0.0.1:{app.port}"
        assert headers["user-agent"] == "ELB-HealthChecker/2.0"
        assert headers["connection"] == "close"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (reply("", "302 Found", "location: /elsewhere\r\n"), Answered(302)),
        (reply("no", "503 Service Unavailable"), Answered(503)),
        (b"HTTP/1.0 200\r\n\r\n", Answered(200)),
        (b"SSH-2.0-server\r\n\r\n", Refused("the answer is not HTTP")),
        (b"HTTP/1.1 200 OK\r\nx: y", Refused("the connection ended before the answer did")),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20000 + b"\r\n", Refused("the answer's headers are too long")),
    ],
)
async def test_answers(said: bytes, expected: object) -> None:
    async def say(line: str, headers: dict[str, str], reader: object, writer: asyncio.StreamWriter) -> bool:
        writer.write(said)
        return False

    async with backend(answer=say) as app:
        assert await probe(app) == expected


async def test_over_tls_whoever_vouches_for_the_target(tmp_path: Path) -> None:
    async def ask(port: int) -> object:
        return await HttpProber().probe("127.0.0.1", port, "/health", 5.0, "10.0.0.1", secure=True)

    async with backend(context=Authority().context(tmp_path, "target.internal")) as app:
        assert await ask(app.port) == Answered(200)
        assert isinstance(await probe(app), Refused)
    assert isinstance(await ask(free_port()), Refused)


async def test_nobody_there_and_nobody_answering() -> None:
    assert isinstance(await probe(free_port()), Refused)

    async def wait(line: str, headers: dict[str, str], reader: asyncio.StreamReader, writer: object) -> bool:
        await reader.read()
        return False

    async with backend(answer=wait) as app:
        assert await probe(app, timeout=0.1) == TimedOut()

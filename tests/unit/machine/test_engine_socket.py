"""The socket for docker clients, in front of an engine that is a few lines of Python."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from portside.cloud.machine.engine_socket import EngineSocket
from portside.cloud.machine.guard import Refused
from portside.cloud.machine.http_tunnel import Exchange, Head
from portside.testing.server import quiet_log

LIMIT = 10
Behaviour = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def sockets(directory: Path, behave: Behaviour) -> AsyncIterator[Path]:
    """The path of the guarded socket. `behave` is the engine after a request's head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behave(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        writer.close()

    async def refuse(exchange: Exchange, name: str) -> bool:
        if name == "foreign":
            return False
        if name == "late":

            async def lines() -> AsyncIterator[bytes]:
                yield b'{"status":"begun"}'
                raise Refused(500, "no more")

            await exchange.lines(lines())
            return True
        raise Refused(404, f"no {name} in {(await exchange.whole_body(100)).decode()}")

    engine = await asyncio.start_unix_server(serve, directory / "engine.sock")
    made = EngineSocket(
        directory / "portside.sock",
        lambda: f"unix://{directory}/engine.sock",
        lambda: {"POST /own/(.+)": refuse},
        quiet_log(),
    )
    await made.start()
    try:
        async with asyncio.timeout(LIMIT):
            yield directory / "portside.sock"
    finally:
        await made.stop()
        engine.close()


async def ask(path: Path, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_request_goes_to_the_engine_as_it_is(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def engine(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend([head, await reader.readexactly(12)])
        writer.write(b"HTTP/1.1 200 OK\r\nX-Engine: yes\r\n\r\nbody")

    async with sockets(tmp_path, engine) as path:
        request = b"PUT /v1.41/any%2Fthing?a=%20b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n"
        answer = await ask(path, request + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\nX-Engine: yes\r\n\r\nbody"
    expected = b"PUT /v1.41/any%2Fthing?a=%20b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    assert seen == [expected + b"Connection: close\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n"]


async def test_a_terminal_keeps_both_directions_and_the_end_of_its_input(tmp_path: Path) -> None:
    async def engine(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Connection: Upgrade\r\nUpgrade: tcp\r\n" in head
        assert b"close" not in head
        writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        while piece := await reader.read(100):
            writer.write(piece.upper())
        writer.write(b"after the end")

    async with sockets(tmp_path, engine) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"POST /exec/1/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"typed")
        assert await reader.readexactly(5) == b"TYPED"
        writer.write_eof()
        assert await reader.read() == b"after the end"
        writer.close()


async def test_the_engine_learns_that_a_client_has_gone(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def engine(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst line")
        assert await reader.read(1) == b""
        gone.set()

    async with sockets(tmp_path, engine) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /containers/1/logs?follow=1 HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"first line")
        writer.close()
        await gone.wait()


async def nobody(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise AssertionError("the engine was asked")


async def test_a_refusal_has_the_engines_form(tmp_path: Path) -> None:
    async with sockets(tmp_path, nobody) as path:
        answer = await ask(path, b"POST /v1.41/own/one HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
        late = await ask(path, b"POST /own/late HTTP/1.1\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found")
    assert json.loads(body) == {"message": "no one in body"}
    assert late.startswith(b"HTTP/1.1 200 OK")
    assert b'{"status":"begun"}' in late and b'"error": "no more"' in late
    assert late.endswith(b"0\r\n\r\n")


async def test_what_an_operation_does_not_want_goes_to_the_engine(tmp_path: Path) -> None:
    async def engine(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"body"
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with sockets(tmp_path, engine) as path:
        answer = await ask(path, b"POST /own/foreign HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
    assert answer.startswith(b"HTTP/1.1 204")


async def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with sockets(tmp_path, nobody) as path:
        (tmp_path / "engine.sock").unlink()
        answer = await ask(path, b"GET /info HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503")
    assert f"the container engine at unix://{tmp_path}/engine.sock does not answer".encode() in answer


async def test_nobody_else_may_use_the_socket_and_nothing_of_it_stays(tmp_path: Path) -> None:
    async with sockets(tmp_path, nobody) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await ask(path, b"not http\r\n\r\n") == b""
    assert not path.exists()


def test_heads_keep_what_they_say() -> None:
    head = Head.parse(
        b"POST /a?b=c&d= HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"
    )
    assert head.parameters == [("b", "c"), ("d", "")]
    assert head.header("content-length") == "3"
    assert head.to("/e", [("f", "g h")]).sent("chunked") == (
        b"POST /e?f=g+h HTTP/1.1\r\nHost: x\r\nX-Twice: 1\r\nX-Twice: 2\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )

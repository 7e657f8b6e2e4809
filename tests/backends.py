"""Small HTTP servers on loopback, to stand for targets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[str, dict[str, str], asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]


@dataclass
class Backend:
    """Answers with its name, and remembers the heads of the requests. `connections` counts them."""

    name: str
    port: int = 0
    connections: int = 0
    heads: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def reply(body: str, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nserver: app\r\ncontent-length: {len(body)}\r\n{more}\r\n{body}".encode()


@asynccontextmanager
async def backend(
    name: str = "app", answer: Answer | None = None, port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[Backend]:
    """With a context it speaks TLS. `answer` gets the request line, the headers and the streams; False closes the connection."""
    made = Backend(name)
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *rest = head.rstrip("\r\n").split("\r\n")
                headers = {k.lower(): v for k, _, v in (each.partition(": ") for each in rest)}
                made.heads.append((line, headers))
                if answer is None:
                    await reader.readexactly(int(headers.get("content-length", "0")))
                    writer.write(reply(name))
                    await writer.drain()
                elif not await answer(line, headers, reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
        await server.wait_closed()
        await asyncio.sleep(0)


def free_port() -> int:
    (port,) = free_ports(1)
    return port


def free_ports(number: int) -> list[int]:
    """So many different ones."""
    import socket

    with contextlib.ExitStack() as probes:
        made = [probes.enter_context(socket.socket()) for _ in range(number)]
        for probe in made:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in made]

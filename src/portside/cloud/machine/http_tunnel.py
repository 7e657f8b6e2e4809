"""HTTP/1.1 on a byte stream, as far as a tunnel needs it: a request's head and body, answers, and passing on.

Owns nothing about engines. One connection carries one request: whoever wants another opens another, so that after
the head both directions are bytes, whether they are a body, a log that never ends or a terminal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

# Go's own limit for heads, which the engine and its clients have.
LARGEST_HEAD = 1024 * 1024
PIECE = 256 * 1024
CONNECT_SECONDS = 20.0
_REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}


class Malformed(Exception):
    """What came in is no HTTP request."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a request, in their order."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]

    @staticmethod
    def parse(raw: bytes) -> Head:
        first, *rest = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Malformed(first[:100])
        path, _, query = words[1].partition("?")
        headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in rest))
        return Head(words[0], path, query, headers)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def parameters(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)

    def parameter(self, name: str) -> str:
        return next((value for key, value in self.parameters if key == name), "")

    @property
    def is_upgrade(self) -> bool:
        return "upgrade" in self.header("Connection").lower()

    def to(self, path: str | None = None, parameters: list[tuple[str, str]] | None = None) -> Head:
        """The same request of something else."""
        query = self.query if parameters is None else urlencode(parameters)
        return replace(self, path=self.path if path is None else path, query=query)

    def sent(self, length: str | None = None) -> bytes:
        """As bytes, for a connection that ends with the answer. `length`: of another body, or `chunked`."""
        dropped = set() if self.is_upgrade else {"connection", "keep-alive"}
        if length is not None:
            dropped |= {"content-length", "transfer-encoding", "expect"}
        lines = [f"{self.method} {self.path}{'?' + self.query if self.query else ''} HTTP/1.1"]
        lines += [f"{key}: {value}" for key, value in self.headers if key.lower() not in dropped]
        if not self.is_upgrade:
            lines.append("Connection: close")
        if length is not None:
            lines.append("Transfer-Encoding: chunked" if length == "chunked" else f"Content-Length: {length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Exchange:
    """A client's request and the way back to it."""

    def __init__(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.reader = reader
        self.writer = writer
        self.answered = False

    async def body(self) -> AsyncIterator[bytes]:
        if self.head.header("Expect").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in self.head.header("Transfer-Encoding").lower():
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                async for piece in self._exactly(size):
                    yield piece
                await self.reader.readexactly(2)
            while (await self.reader.readline()).strip():
                pass  # trailers
        else:
            async for piece in self._exactly(int(self.head.header("Content-Length") or 0)):
                yield piece

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            piece = await self.reader.read(min(size, PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            yield piece

    async def whole_body(self, limit: int) -> bytes:
        pieces = b""
        async for piece in self.body():
            pieces += piece
            if len(pieces) > limit:
                raise Malformed(f"the body has more than {limit} bytes")
        return pieces

    async def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self._begin(status, f"Content-Length: {len(body)}")
        self.writer.write(body)
        await self.writer.drain()

    async def lines(self, lines: AsyncIterator[bytes]) -> None:
        """A stream of JSON documents, passed on as they come."""
        async with self.attended():
            first = await anext(lines, None)  # a refusal before it has a status of its own
            self._begin(200, "Transfer-Encoding: chunked")
            if first is not None:
                await self._chunk(first + b"\r\n")
                async for line in lines:
                    await self._chunk(line + b"\r\n")
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()

    async def failed(self, message: str) -> None:
        """Say in a stream that has begun that it came to nothing."""
        error = {"errorDetail": {"message": message}, "error": message}
        await self._chunk(json.dumps(error).encode() + b"\r\n")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def _begin(self, status: int, length: str) -> None:
        self.answered = True
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", "Content-Type: application/json",
            "Connection: close", length, "", "",
        ]  # fmt: skip
        self.writer.write("\r\n".join(lines).encode())

    async def _chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """What is done for a client ends when the client goes."""
        task = asyncio.current_task()
        assert task is not None

        async def watch() -> None:
            if not await self.reader.read(1):
                task.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


async def open_connection(host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To an engine, whose address has the form of DOCKER_HOST. Raises OSError, also where it takes too long."""
    async with asyncio.timeout(CONNECT_SECONDS):
        if host.startswith("unix://"):
            return await asyncio.open_unix_connection(host.removeprefix("unix://"), limit=PIECE)
        name, _, port = host.split("://", 1)[-1].rstrip("/").rpartition(":")
        return await asyncio.open_connection(name, int(port), limit=PIECE)


async def tunnel(
    exchange: Exchange, host: str, head: Head | None = None, body: bytes | AsyncIterator[bytes] | None = None
) -> None:
    """Pass a request on to the engine at `host`, and its answer back. `head` and `body` stand in the place of the
    client's own."""
    reader, writer = await open_connection(host)
    try:
        head = head or exchange.head
        # An engine that does not want all of it may have answered nevertheless.
        with suppress(ConnectionError):
            await _send(writer, head, body)
        exchange.answered = True
        inwards = asyncio.create_task(_pass_on(exchange.reader, writer, half_close=True))
        try:
            await _pass_on(reader, exchange.writer, half_close=False)
        finally:
            inwards.cancel()
            await asyncio.gather(inwards, return_exceptions=True)
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, head: Head, body: bytes | AsyncIterator[bytes] | None) -> None:
    if body is None:
        writer.write(head.sent())
    elif isinstance(body, bytes):
        writer.write(head.sent(str(len(body))) + body)
    else:
        writer.write(head.sent("chunked"))
        async for piece in body:
            if piece:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, half_close: bool) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        # To an engine this is both the end of a terminal's input and a client that has gone.
        if half_close and writer.can_write_eof():
            writer.write_eof()

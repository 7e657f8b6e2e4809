"""A small load generator: keep-alive connections that send one prepared request after another.

Runs in a process of its own. Usage: python bench/load.py HOST PORT CONNECTIONS SECONDS REQUEST_FILE; prints
`<requests per second> <answers that were not 200>`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any


class Connection(asyncio.Protocol):
    def __init__(self, place: tuple[str, int], request: bytes, until: float, done: asyncio.Future[None]) -> None:
        self.request, self.until, self.done = request, until, done
        self.count = self.bad = 0
        self.buffer = b""
        self.transport: Any = None
        self.place = place
        self.again: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, *self.place)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self.buffer[:head].lower()
        at = lower.find(b"content-length: ")
        length = int(lower[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < head + 4 + length:
            return
        if b" 200" not in self.buffer[:16]:
            self.bad += 1
        self.buffer = b""
        self.count += 1
        if time.perf_counter() > self.until:
            if not self.done.done():
                self.done.set_result(None)
            self.transport.close()
        elif b"connection: close" not in lower and not lower.startswith(b"http/1.0"):
            self.transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is not None or self.buffer:
            self.done.set_exception(error or ConnectionError("the server closed the connection in an answer"))
        else:  # a server without keep-alive: what it costs to connect again is its own
            self.again = asyncio.ensure_future(self.connect())


async def run(host: str, port: int, connections: int, seconds: float, request: bytes) -> tuple[float, int]:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    until = began + seconds
    made = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        protocol = Connection((host, port), request, until, done)
        await protocol.connect()
        made.append((protocol, done))
    async with asyncio.timeout(seconds + 10):
        await asyncio.gather(*(done for _, done in made))
    took = time.perf_counter() - began
    return sum(p.count for p, _ in made) / took, sum(p.bad for p, _ in made)


def main() -> None:
    import uvloop

    host, port, connections, seconds, file = sys.argv[1:6]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate, bad = runner.run(run(host, int(port), int(connections), float(seconds), Path(file).read_bytes()))
    print(f"{rate:.1f} {bad}")


if __name__ == "__main__":
    main()

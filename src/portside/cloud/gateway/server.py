"""Listens: one ASGI application on several addresses, by uvicorn.

Owns sockets and their life. Loopback at once; the container bridge as soon as its address is known, which
may be long after start (`listen_also`).
"""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Clients keep connections open between calls; longer than the 60 s of AWS's own load balancers.
KEEP_ALIVE_SECONDS = 75
# What waits for the end of a round of the event loop, so that head and body of an answer go out in one write.
HELD_BYTES = 64 * 1024


class Gathering:
    """A transport that writes once for all that is written in one round of the event loop.

    uvicorn writes the head of an answer and then its body: two system calls, of which the first wakes a client for
    the head alone.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._soon = asyncio.get_running_loop().call_soon
        self._held: list[bytes] = []
        self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._soon(self._flush)
        self._held.append(data)
        self._bytes += len(data)
        if self._bytes > HELD_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held, self._bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))


class Connection(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        gathering: Any = Gathering(transport)
        super().connection_made(gathering)


class Server:
    """Use: `async with Server(app, "127.0.0.1", 4566) as server`; `server.port` is the real one."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._config = uvicorn.Config(
            app,
            http=Connection,
            ws=_websocket,  # type: ignore[arg-type]
            lifespan="off",
            access_log=False,
            proxy_headers=False,
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
            backlog=512,
        )
        self._host = host
        self._port = port
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._state: Any = None
        self._uvicorn: uvicorn.Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1])

    async def __aenter__(self) -> Server:
        self._config.load()
        server = self._uvicorn = uvicorn.Server(self._config)
        server.lifespan = self._config.lifespan_class(self._config)
        self._state = server.server_state
        await self.listen_also(self._host, self._port)
        # Keeps the Date header current; uvicorn's own main loop is not run.
        self._ticker = asyncio.create_task(self._tick(server), name="server:tick")
        return self

    async def _tick(self, server: uvicorn.Server) -> None:
        counter = 0
        while True:
            await server.on_tick(counter)
            counter = (counter + 1) % 864000
            await _pause(0.1)

    async def listen_also(self, host: str, port: int) -> None:
        """Listen on one more address. Raises OSError when it is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        config, state = self._config, self._state

        def connection() -> asyncio.Protocol:
            return Connection(config=config, server_state=state, app_state={})

        server = await asyncio.get_running_loop().create_server(connection, sock=listener, backlog=config.backlog)
        self._sockets.append(listener)
        self._servers.append(server)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)


def _websocket(**options: Any) -> asyncio.Protocol:
    """Imported when the first one comes, so that an idle cloud stays small."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    made: asyncio.Protocol = WebSocketsSansIOProtocol(**options)
    return made


async def _pause(seconds: float) -> None:
    """Real time, and only for the server's own clock tick: no decision depends on it."""
    event = asyncio.Event()
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

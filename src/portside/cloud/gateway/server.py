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

# Clients keep connections open between calls; longer than the 60 s of AWS's own load balancers.
KEEP_ALIVE_SECONDS = 75


class Server:
    """Use: `async with Server(app, "127.0.0.1", 4566) as server`; `server.port` is the real one."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._config = uvicorn.Config(
            app,
            http="httptools",
            ws=_websocket,  # type: ignore[arg-type]
            lifespan="off",
            access_log=False,
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
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=state, app_state={}
            )
            return made

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

"""A process started in a running container: its input, its output and its end, over the engine's connection.

Owns the few calls of an exec session. aiodocker has the hijacked connection; the rest goes by `docker.py`'s own
calls, so that refusals come in the usual four kinds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from portside.cloud.machine.engine import Unavailable

Json = Callable[..., Awaitable[Any]]


class DockerTerminal:
    """Implements `Terminal`. Use: `await DockerTerminal.open(json_call, client, exec_id)`."""

    def __init__(self, ask: Json, stream: Any, identifier: str) -> None:
        self._ask = ask
        self._stream = stream
        self._id = identifier

    @classmethod
    async def open(cls, ask: Json, client: Any, identifier: str) -> DockerTerminal:
        import aiohttp
        from aiodocker.exceptions import DockerError
        from aiodocker.execs import Exec

        from portside.cloud.machine.docker_documents import translate

        stream = Exec(client, identifier).start()
        try:
            await stream.__aenter__()
        except DockerError as error:
            raise translate(error.status, str(error.message)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the container engine does not answer: {error}") from None
        return cls(ask, stream, identifier)

    async def send(self, data: bytes) -> None:
        if self._stream._closed or self._stream._resp.connection is None:
            return  # the process has ended
        await self._stream.write_in(data)

    async def end_input(self) -> None:
        connection = self._stream._resp.connection
        transport = None if connection is None else connection.transport
        if transport is not None and transport.can_write_eof():
            transport.write_eof()

    async def receive(self) -> bytes | None:
        message = await self._stream.read_out()
        return None if message is None else bytes(message.data)

    async def resize(self, columns: int, rows: int) -> None:
        await self._ask(f"exec/{self._id}/resize", "POST", params={"w": str(columns), "h": str(rows)})

    async def exit_code(self) -> int:
        found = await self._ask(f"exec/{self._id}/json")
        return int(found.get("ExitCode") or 0)

    async def close(self) -> None:
        if self._stream._resp is not None and self._stream._resp.connection is None:
            self._stream._closed = True  # the engine has hung up already
            self._stream._resp.close()
        await self._stream.close()

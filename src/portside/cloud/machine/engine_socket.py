"""A socket for the user's own docker client: the machine's engine, with the account's registry names in it.

Owns the socket and what becomes of each connection. Nearly everything is passed on to the engine as it is, bytes
in both directions; what names the account's registry is carried out by `engine_registry.py`. The socket gives the
user who started the cloud what the engine's own gives, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from portside.cloud.kernel.log import Log
from portside.cloud.machine.guard import Refused, listen
from portside.cloud.machine.http_tunnel import LARGEST_HEAD, Exchange, Head, Malformed, tunnel
from portside.engines import LONGEST_SOCKET_PATH

MODE = 0o600
_VERSION = re.compile(r"/v\d+\.\d+(?=/)")

# Carries a request out: the exchange, and what the operation's pattern found in the path. False: it is none of
# ours, and no byte of its body has been read.
Operation = Callable[[Exchange, str], Awaitable[bool]]


class EngineSocket:
    """Use: `await socket.start()`, and `await socket.stop()`, which also cuts what is under way.

    `operations` maps `METHOD pattern` to what is done instead of passing on; patterns are of the path without the
    API's version; they are made at the first request, for most clouds never see one. `engine` tells where the
    engine is.
    """

    def __init__(
        self, path: Path, engine: Callable[[], str], operations: Callable[[], Mapping[str, Operation]], log: Log
    ) -> None:
        self._path = path
        self._engine = engine
        self._log = log.bind(part="engine socket")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._make = operations
        self._operations: list[tuple[str, re.Pattern[str], Operation]] = []

    async def start(self) -> None:
        if len(str(self._path)) > LONGEST_SOCKET_PATH:
            self._log.warning("no socket for docker: its path is too long for one", path=str(self._path))
            return
        listener = listen(self._path, MODE)
        listener.listen(128)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LARGEST_HEAD)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
            await self._answer(Exchange(Head.parse(raw), reader, writer))
        except (
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            Malformed,
            ConnectionError,
            ValueError,
        ) as error:
            self._log.debug("connection ended", reason=repr(error))
        except asyncio.CancelledError:
            return  # the client has gone, or the cloud stops; nobody waits for this task
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, exchange: Exchange) -> None:
        import aiohttp

        try:
            if not await self._carried_out(exchange):
                await tunnel(exchange, self._engine())
        except Refused as refused:
            if exchange.answered:
                await exchange.failed(refused.message)
            else:
                await exchange.answer(refused.status, {"message": refused.message})
        except (aiohttp.ClientError, OSError) as error:
            if exchange.answered:
                raise ConnectionError(str(error)) from None
            reason = f"the container engine at {self._engine()} does not answer: {error}"
            self._log.warning(reason)
            await exchange.answer(503, {"message": reason})

    async def _carried_out(self, exchange: Exchange) -> bool:
        head = exchange.head
        path = _VERSION.sub("", head.path, count=1)
        if not self._operations:
            found = ((key.partition(" "), each) for key, each in self._make().items())
            self._operations = [(method, re.compile(pattern), each) for (method, _, pattern), each in found]
        for method, pattern, operation in self._operations:
            match = pattern.fullmatch(path)
            if method == head.method and match is not None:
                return await operation(exchange, match[1] if pattern.groups else "")
        return False

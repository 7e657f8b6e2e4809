"""A guarded engine socket: speaks the Docker Engine API, and lets through only what a build of images needs.

Owns the HTTP of it: one unix socket, what may be asked, and how everything else is refused. What is let through is
carried out in `guard_images.py`; `build_guards.py` keeps one guard per build. A guard for another kind of client
is another table of operations.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portside.cloud.kernel.log import Log
from portside.engines import LONGEST_SOCKET_PATH

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

CONNECT_SECONDS = 20.0
CLOSE_SECONDS = 5.0
_PATH = re.compile(r"(?P<version>/v\d+\.\d+)?(?P<rest>/.*)")

Operation = Callable[["Asked"], Awaitable["web.StreamResponse"]]


class Refused(Exception):
    """An answer that says no, in the engine's form."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Asked:
    """One request: the client's, the part of the path that the operation's pattern found, and the API's
    version."""

    def __init__(self, request: web.Request, version: str, name: str) -> None:
        self.request = request
        self.version = version
        self.name = name

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query


def connect(host: str) -> aiohttp.ClientSession:
    """A session with the engine; paths begin at `http://engine`."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    if host.startswith("unix://"):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=host.removeprefix("unix://"), limit=0)
        return aiohttp.ClientSession("http://engine", connector=connector, timeout=timeout)
    base = host.replace("tcp://", "http://", 1)
    return aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


class Guard:
    """Use: `await guard.start()`, and `await guard.stop()`, which also ends what is under way.

    `operations` maps `METHOD pattern` to what is done; the pattern's group is the operation's name.
    """

    def __init__(self, path: Path, operations: Mapping[str, Operation], what: str, log: Log) -> None:
        self._path = path
        self._what = what
        self._log = log
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._operations = [
            (method, re.compile(pattern), operation)
            for (method, _, pattern), operation in ((key.partition(" "), each) for key, each in operations.items())
        ]

    async def start(self) -> None:
        from aiohttp import web

        application = web.Application(client_max_size=1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_SECONDS
        )
        await runner.setup()
        # A build's command may run as another user than root.
        await web.SockSite(runner, listen(self._path, 0o666)).start()
        self._runner = runner

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._path.unlink(missing_ok=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        import aiohttp

        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await self._route(request)
        except Refused as refused:
            return document({"message": refused.message}, refused.status)
        except (aiohttp.ClientError, OSError) as error:
            if request.transport is None or request.transport.is_closing():
                raise
            self._log.warning("the engine did not answer a build", error=repr(error))
            return document({"message": f"the container engine does not answer: {error}"}, 500)
        finally:
            self._tasks.discard(task)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        found = _PATH.fullmatch(request.path)
        if found is not None:
            method = "GET" if request.method == "HEAD" and found["rest"] == "/_ping" else request.method
            for wanted, pattern, operation in self._operations:
                match = pattern.fullmatch(found["rest"])
                if wanted == method and match is not None:
                    name = match[1] if pattern.groups else ""
                    return await operation(Asked(request, found["version"] or "", name))
        raise Refused(403, f"{self._what}: {request.method} {request.path} is not allowed here")


def document(content: Any, status: int = 200) -> web.Response:
    """A JSON answer. Clients take it for JSON only if its type says that and nothing more."""
    from aiohttp import web

    return web.Response(
        body=json.dumps(content).encode(), status=status, headers={"Content-Type": "application/json"}
    )


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path`, which may be longer than the system's limit for it."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if len(str(path)) <= LONGEST_SOCKET_PATH:
            made.bind(str(path))
        else:
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                made.bind(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.close(directory)
        path.chmod(mode)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made

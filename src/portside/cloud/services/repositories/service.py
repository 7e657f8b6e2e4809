"""Bindings of repositories to checkouts on this machine, and their page under `/_portside/repositories`.

Binding reads the references once, so that only what comes later counts as a push. The page is for the command
line: a request that a web page could have caused is refused, for no web page may say which folders are read
here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.machine.repositories import RepositoryError, Watched
from portside.cloud.protocol.asgi import Receive, Send, read_body
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.repositories import records
from portside.cloud.services.repositories.records import Binding
from portside.cloud.services.repositories.watch_loop import EVERY, WatchLoop

PREFIX = "/_portside/repositories"
LARGEST_BODY = 64 * 1024


class Refused(Exception):
    """The page's answer to a request that cannot be granted."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Bindings:
    """Use: `async with Bindings(...) as bindings`. `bindings.path` is the `Bound` of the services."""

    def __init__(
        self, *, database: Database, clock: Clock, log: Log, repositories: Watched, every: float = EVERY
    ) -> None:
        database.migrate("repositories", records.MIGRATIONS)
        self._db = database
        self._clock = clock
        self._log = log.bind(service="repositories")
        self._repositories = repositories
        self.watch = WatchLoop(database=database, clock=clock, log=log, repositories=repositories, every=every)

    async def __aenter__(self) -> Bindings:
        await self.watch.loop.__aenter__()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self.watch.loop.__aexit__(None, None, None)

    def path(self, name: str) -> str | None:
        """The checkout that stands for a repository."""
        found = records.binding(self._db, name)
        return None if found is None else found.path

    @property
    def any(self) -> bool:
        return bool(records.bindings(self._db))

    async def bind(self, name: str, path: str) -> Binding:
        if not records.is_name(name):
            raise Refused(
                f"{name!r} is no name of a repository: OWNER/REPO, or the name of a CodeCommit repository."
            )
        folder = Path(path)
        if not folder.is_absolute():
            raise Refused(f"The path of a checkout must be absolute: {path}")
        resolved = str(await asyncio.to_thread(folder.resolve))
        try:
            refs = await self._repositories.refs(resolved)
        except RepositoryError as error:
            raise Refused(f"{path} cannot stand for {name}: {error.reason}.") from error
        before = records.binding(self._db, name)
        same = before is not None and before.path == resolved
        made = Binding(name, resolved, self._clock.now(), refs)
        if before is not None and same:
            made = replace(before, name=name)
        with self._db.write() as tx:
            records.save(tx, made)
            tx.after_commit(self.watch.wake)
        self._log.info("repository bound", name=name, path=resolved)
        return replace(made, refs=refs)

    def unbind(self, name: str) -> None:
        if records.binding(self._db, name) is None:
            raise Refused(f"No checkout is bound to {name}.", 404)
        with self._db.write() as tx:
            records.delete(tx, name)

    # The page

    async def page(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            _refuse_strangers(connection)
            status, answer = await self._answer(connection, receive)
        except Refused as refused:
            status, answer = refused.status, {"message": refused.message}
        except AwsError as error:
            status, answer = error.status, {"message": error.message}
        body = json.dumps(answer).encode() if answer is not None else b""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, connection: dict[str, Any], receive: Receive) -> tuple[int, dict[str, Any]]:
        name = unquote(connection["path"].removeprefix(PREFIX)).strip("/")
        match connection["method"], name:
            case "GET", "":
                return 200, {"repositories": [_shown(each) for each in records.bindings(self._db)]}
            case "GET", _:
                found = records.binding(self._db, name)
                if found is None:
                    raise Refused(f"No checkout is bound to {name}.", 404)
                return 200, _shown(found)
            case "PUT", _ if name:
                bound = await self.bind(name, await _path(receive))
                branches = {
                    ref.removeprefix("refs/heads/"): commit
                    for ref, commit in bound.refs.items()
                    if ref.startswith("refs/heads/")
                }
                return 200, _shown(bound) | {"branches": branches}
            case "DELETE", _ if name:
                self.unbind(name)
                return 200, {}
            case method, _:
                raise Refused(f"{method} is not for this page.", 405)


def _shown(each: Binding) -> dict[str, Any]:
    return {"name": each.name, "path": each.path}


async def _path(receive: Receive) -> str:
    try:
        given = json.loads(await read_body(receive, LARGEST_BODY))
    except ValueError:
        given = None
    path = given.get("path") if isinstance(given, dict) else None
    if not isinstance(path, str) or not path:
        raise Refused('The body must be {"path": "/absolute/path/of/the/checkout"}.')
    return path


def _refuse_strangers(connection: dict[str, Any]) -> None:
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in connection["headers"]}
    if "origin" in headers or "sec-fetch-site" in headers:
        raise Refused("This page is not for browsers.", 403)
    host = headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name != "localhost" and not _is_loopback(name):
        raise Refused(f"This page is there on loopback addresses only, not as {host}.", 403)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

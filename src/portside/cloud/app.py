"""The cloud as a whole: what it stands on, its front (gateway, server, docker's socket), its beginning and end.

The front is there at once; `composition.py` makes the services behind it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from portside import __version__
from portside.cloud.composition import Ground, Services
from portside.cloud.gateway.pipeline import Gateway
from portside.cloud.gateway.server import Server
from portside.cloud.kernel.clock import AWS_PACE, FAST_PACE, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import configure
from portside.cloud.kernel.loop import After, Loop, TurnResult
from portside.cloud.kernel.tidying import Tidying
from portside.cloud.machine import bridge
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.git import GitRepositories
from portside.cloud.machine.parts import LocalMachine, Machine
from portside.cloud.process import Running
from portside.cloud.protocol.asgi import Receive, Send
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.iam.access import Access
from portside.cloud.services.iam.roles import RoleReader
from portside.cloud.services.iam.sessions import Sessions
from portside.cloud.settings import CloudSettings, Home

MIGRATIONS = (
    "CREATE TABLE cloud (id TEXT NOT NULL);",
    "CREATE TABLE service_in_use (name TEXT PRIMARY KEY);",
)
BRIDGE_SECONDS = 10.0


class Cloud:
    """Use: `async with Cloud(home, settings) as cloud`. Raises OSError where the port is taken."""

    def __init__(self, home: Home, settings: CloudSettings, machine: Machine | None = None) -> None:
        self.home = home
        self.settings = settings
        self.clock = SystemClock()
        self.ids = Ids()
        self.log = configure(sys.stderr)
        self.pace = AWS_PACE if settings.pace == "aws" else FAST_PACE
        self.machine = machine or LocalMachine(
            engine_host=settings.engine, state=home.state, clock=self.clock, log=self.log
        )
        self.database = Database(home.state / "state.db")
        self.database.migrate("cloud", MIGRATIONS)
        self.id = self._identify()
        self.addresses = Addresses(self.database, self.id, many=sys.platform == "linux")
        self.ancillary = Ancillary(
            directory=home.state, account=settings.account, endpoint=settings.ancillary_endpoint, log=self.log
        )
        sessions = Sessions(database=self.database, ids=self.ids, clock=self.clock)
        reader = RoleReader(self.ancillary, settings.account)
        self.ancillary.subscribe("iam", reader.forget)
        self.access = Access(reader=reader, sessions=sessions, clock=self.clock, account=settings.account)
        ground = Ground(
            home=home,
            settings=settings,
            clock=self.clock,
            ids=self.ids,
            log=self.log,
            pace=self.pace,
            machine=self.machine,
            database=self.database,
            id=self.id,
            addresses=self.addresses,
            ancillary=self.ancillary,
            access=self.access,
            checkouts=GitRepositories(),
        )
        self.services = Services(ground, lambda: self.server)
        self.dispatcher = self.services.dispatcher
        self.gateway = Gateway(
            self.dispatcher,
            self.ancillary,
            self._registry,
            {
                "/_portside/health": self._health,
                "/_portside/repositories": self._repositories,
                "/_portside/credentials": self._credentials,
                "/_portside/metadata": self._metadata,
                "/_portside/exec": self._execute,
                "/_portside/waitcondition": self._stack_page,
                "/_portside/customresource": self._stack_page,
            },
            account=settings.account,
            region=settings.region,
            ids=self.ids,
            log=self.log,
            session=sessions.caller,
        )
        self.server = Server(self.gateway, settings.address, settings.port)
        self._started_at = self.clock.now()
        self._bridge = ""
        self._parts = AsyncExitStack()
        self._resuming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Cloud:
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(self.ancillary)
            await parts.enter_async_context(self.server)
            bridging = await parts.enter_async_context(
                Loop("bridge", self._listen_on_bridge, self.clock, self.log)
            )
            bridging.wake("bridge")
            tidying = Tidying(database=self.database, clock=self.clock, log=self.log)
            await parts.enter_async_context(tidying.loop)
            tidying.resume()
            await self._serve_docker(parts)
            # The first to be left: what it uses is there until its last loop has ended.
            await parts.enter_async_context(self.services)
            self._parts = parts.pop_all()
        self._resuming = asyncio.create_task(self._resume(), name="resume")
        return self

    async def _serve_docker(self, parts: AsyncExitStack) -> None:
        """The user's docker client finds the account's registry by its name through this socket."""
        from portside.cloud.machine.engine_socket import EngineSocket, Operation

        def operations() -> dict[str, Operation]:
            from portside.cloud.machine.engine_names import RegistryNames
            from portside.cloud.machine.engine_registry import EngineRegistry

            names = RegistryNames(self.settings.account, f"{self.settings.address}:{self.server.port}")
            contexts = self.home.state / "contexts"
            shutil.rmtree(contexts, ignore_errors=True)  # of a cloud that was killed
            contexts.mkdir()
            return EngineRegistry(lambda: self.machine.engine_host, names, contexts).operations()

        served = EngineSocket(self.home.docker_socket, lambda: self.machine.engine_host, operations, self.log)
        await served.start()
        parts.push_async_callback(served.stop)

    async def __aexit__(self, *_: object) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            await asyncio.gather(self._resuming, return_exceptions=True)
        await self._parts.aclose()
        self.database.close()

    async def stop(self) -> None:
        """A wanted stop: leave no container and no process of ours behind."""
        if self._resuming is not None:
            await asyncio.gather(self._resuming, return_exceptions=True)
        await self._parts.aclose()
        await self.services.remove_all()

    def write_record(self) -> None:
        """Say where the cloud is, for the command line."""
        record = Running(
            os.getpid(),
            self.id,
            self.settings.address,
            self.server.port,
            self.settings.region,
            self.settings.account,
            self._started_at,
        )
        temporary = self.home.running.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(self.home.running)

    async def _resume(self) -> None:
        """Make the services that were in use when the cloud ended, once the first call finds what it needs."""
        models = await asyncio.to_thread(importlib.import_module, "portside.cloud.protocol.models")
        await asyncio.to_thread(models.model, "sts")
        await self.services.resume()

    def _identify(self) -> str:
        row = self.database.one("SELECT id FROM cloud")
        if row is not None:
            return str(row["id"])
        made = self.ids.hex(8)
        with self.database.write() as tx:
            tx.execute("INSERT INTO cloud VALUES (?)", (made,))
        return made

    async def _listen_on_bridge(self, key: str) -> TurnResult:
        found = bridge.address()
        if found and found != self._bridge:
            try:
                await self.server.listen_also(found, self.server.port)
            except OSError as error:
                self.log.warning("bridge", address=found, error=str(error))
            self._bridge = found
            await self.services.bridge_found(found)
        return After(BRIDGE_SECONDS)

    async def _registry(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("ecr")
        assert self.services.ecr is not None
        await self.services.ecr.registry(connection, receive, send)

    async def _repositories(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await (await self.services.bound()).page(connection, receive, send)

    async def _credentials(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("ecs")
        assert self.services.task_pages is not None
        await self.services.task_pages.credentials(connection, receive, send)

    async def _stack_page(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("cloudformation")
        assert self.services.stacks is not None
        await self.services.stacks.page(connection, receive, send)

    async def _metadata(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.dispatcher.service("ecs")
        assert self.services.task_pages is not None
        await self.services.task_pages.metadata(connection, receive, send)

    async def _execute(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        if connection["type"] != "websocket":
            await send({"type": "http.response.start", "status": 426, "headers": [(b"upgrade", b"websocket")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.dispatcher.service("ecs")
        assert self.services.ecs is not None
        await self.services.ecs.execute.stream(connection, receive, send)

    async def _health(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        body = json.dumps({"status": "ok", "id": self.id, "version": __version__}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

"""The composition root: every part of the cloud is made, started and stopped here, top to bottom.

The only place that picks the real engine and the real proxy, and the only one that knows all services.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from portside import __version__
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.gateway.pipeline import Gateway, Receive, Send
from portside.cloud.gateway.server import Server
from portside.cloud.kernel.clock import AWS_PACE, FAST_PACE, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import configure
from portside.cloud.kernel.loop import After, Loop, TurnResult
from portside.cloud.machine import bridge
from portside.cloud.machine.addresses import Addresses
from portside.cloud.process import Running
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.sts.api import StsApi
from portside.cloud.settings import CloudSettings, Home

MIGRATIONS = ("CREATE TABLE cloud (id TEXT NOT NULL);",)
BRIDGE_SECONDS = 10.0


class Cloud:
    """Use: `async with Cloud(home, settings) as cloud`. Raises OSError where the port is taken."""

    def __init__(self, home: Home, settings: CloudSettings) -> None:
        self.home = home
        self.settings = settings
        self.clock = SystemClock()
        self.ids = Ids()
        self.log = configure(sys.stderr)
        self.pace = AWS_PACE if settings.pace == "aws" else FAST_PACE
        self.database = Database(home.state / "state.db")
        self.database.migrate("cloud", MIGRATIONS)
        self.id = self._identify()
        self.addresses = Addresses(self.database, self.id, many=sys.platform == "linux")
        self.ancillary = Ancillary(
            directory=home.state, account=settings.account, endpoint=settings.ancillary_endpoint, log=self.log
        )
        self.dispatcher = Dispatcher([StsApi().service()], self.ancillary)
        self.gateway = Gateway(
            self.dispatcher,
            self.ancillary,
            _no_registry,
            {"/_portside/health": self._health},
            account=settings.account,
            region=settings.region,
            ids=self.ids,
            log=self.log,
        )
        self.server = Server(self.gateway, settings.address, settings.port)
        self._started_at = self.clock.now()
        self._bridge = ""
        self._parts = AsyncExitStack()

    async def __aenter__(self) -> Cloud:
        async with AsyncExitStack() as parts:
            await parts.enter_async_context(self.ancillary)
            await parts.enter_async_context(self.server)
            bridging = await parts.enter_async_context(
                Loop("bridge", self._listen_on_bridge, self.clock, self.log)
            )
            bridging.wake("bridge")
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()
        self.database.close()

    async def clear(self) -> None:
        """Before a wanted stop: leave no container and no process of ours behind."""

    def write_record(self) -> None:
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
        return After(BRIDGE_SECONDS)

    async def _health(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        body = json.dumps({"status": "ok", "id": self.id, "version": __version__}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _no_registry(connection: dict[str, Any], receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})

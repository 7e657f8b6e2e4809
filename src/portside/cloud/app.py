"""The composition root: every part of the cloud is made, started and stopped here, top to bottom.

The only place that picks the real engine and the real proxy, and the only one that knows all services.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from portside import __version__, engines
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
from portside.cloud.machine.docker import DockerEngine
from portside.cloud.machine.engine import EngineError
from portside.cloud.process import Running
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.cloud.services.ecr.api import EcrApi
from portside.cloud.services.ecr.blobs import Blobs
from portside.cloud.services.ecr.images import ImageNotFound, Images, RegistryImage
from portside.cloud.services.ecr.registry import Registry
from portside.cloud.services.ecr.sweep_loop import SweepLoop
from portside.cloud.services.ecs.images import EngineImages
from portside.cloud.services.ecs.orchestrator import Ecs
from portside.cloud.services.logs.api import LogsApi
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
        shared: Any = {"database": self.database, "ids": self.ids, "clock": self.clock, "log": self.log}
        self.dispatcher = Dispatcher(self.ancillary)
        calls = self.dispatcher
        ecr = self.ecr = EcrApi(blobs=Blobs(home.state / "blobs"), **shared)
        self.registry = Registry(
            ecr.catalogue, account=settings.account, region=settings.region, clock=self.clock, log=self.log
        )
        self.logs = LogsApi(**shared)
        self.engine = DockerEngine(_engine(settings), self.log)
        images = Images(ecr.catalogue, account=settings.account, region=settings.region)
        self.ecs = Ecs(
            calls=calls,
            pace=self.pace,
            engine=self.engine,
            images=EngineImages(self.engine, _RegistryForEcs(images), settings.account),
            addresses=self.addresses,
            cloud=self.id,
            account=settings.account,
            region=settings.region,
            **shared,
        )
        self.cloudformation = CloudFormationApi(calls=calls, **shared)
        for service in (
            StsApi().service(),
            ecr.service(),
            self.logs.service(),
            self.ecs.service(),
            self.cloudformation.service(),
        ):
            self.dispatcher.add(service)
        for ancillary in ("autoscaling", "ec2"):
            self.ancillary.subscribe(ancillary, self.ecs.capacity.wake)
        self.gateway = Gateway(
            self.dispatcher,
            self.ancillary,
            self.registry,
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
            parts.push_async_callback(self.engine.close)
            await parts.enter_async_context(self.ancillary)
            await parts.enter_async_context(self.server)
            await parts.enter_async_context(SweepLoop(self.ecr.catalogue, clock=self.clock, log=self.log))
            await parts.enter_async_context(self.logs.retention.loop)
            await parts.enter_async_context(self.ecs)
            await parts.enter_async_context(self.cloudformation.loop)
            bridging = await parts.enter_async_context(
                Loop("bridge", self._listen_on_bridge, self.clock, self.log)
            )
            bridging.wake("bridge")
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()
        self.database.close()

    async def stop(self) -> None:
        """A wanted stop: leave no container and no process of ours behind."""
        await self._parts.aclose()
        try:
            await self.ecs.remove_all()
        except EngineError as error:
            self.log.error("containers could not be removed", error=error.reason)
        await self.engine.close()

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


def _engine(settings: CloudSettings) -> str:
    """The socket to use. With none that answers, the usual one: an engine may be started later."""
    if settings.engine:
        return settings.engine
    found = engines.find(os.environ, Path.home())
    return found or engines.candidates(os.environ, Path.home())[0]


@dataclass(frozen=True, slots=True)
class _FoundImage:
    """An image of the registry, in the words of ECS."""

    image: RegistryImage

    @property
    def digest(self) -> str:
        return self.image.manifest_digest

    @property
    def config_digest(self) -> str:
        return self.image.image_id


class _RegistryForEcs:
    """What ECS asks of the registry: services do not know each other, so the two meet here."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def resolve(self, reference: str, region: str) -> _FoundImage | None:
        try:
            found = self._images.resolve(reference, region)
        except ImageNotFound:
            return None
        return None if found is None else _FoundImage(found)

    def archive(self, image: _FoundImage) -> AsyncIterator[bytes]:
        return self._images.archive(image.image)

"""The gateway with some services behind it, on a free port, inside a test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.gateway.pipeline import Forwarder, Gateway
from portside.cloud.gateway.server import Server
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log, configure
from portside.cloud.protocol.asgi import AsgiApp
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Calls, Service
from portside.testing.calls import ScriptedCalls

ACCOUNT = "000000000000"
REGION = "us-east-1"


def quiet_log() -> Log:
    """Goes to standard error, which pytest shows only when a test fails."""
    return configure(sys.stderr)


class _NoForwarder:
    async def forward(
        self, service: str, region: str, connection: Any, receive: Any, send: Any, body: bytes | None
    ) -> None:
        raise AwsError("NotImplemented", f"the test has no {service}", 501)


async def _no_registry(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serve(
    services: Iterable[Service],
    *,
    ancillary: Calls | None = None,
    forwarder: Forwarder | None = None,
    registry: AsgiApp | None = None,
    pages: Mapping[str, AsgiApp] | None = None,
) -> AsyncIterator[str]:
    """Yields the endpoint's URL, `http://127.0.0.1:PORT`. Call blocking clients by `asyncio.to_thread`."""
    gateway = Gateway(
        Dispatcher(ancillary or ScriptedCalls(), services),
        forwarder or _NoForwarder(),
        registry or _no_registry,
        pages or {},
        account=ACCOUNT,
        region=REGION,
        ids=Ids(),
        log=quiet_log(),
    )
    async with Server(gateway, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.port}"

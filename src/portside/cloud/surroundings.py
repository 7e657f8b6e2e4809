"""What tasks have around them on this machine: the bridge, the network for credentials, and the cloud's name
server.

Implements `Outside` of services/ecs/outside.py. It stands beside composition.py because it joins what knows
nothing of each other: the server's addresses, the engine's networks, load balancers and Cloud Map.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from portside.cloud.gateway.server import Server
from portside.cloud.kernel.log import Log
from portside.cloud.machine import bridge
from portside.cloud.machine.engine import Conflict, Engine, EngineError
from portside.cloud.machine.resolver import Address, NameServer
from portside.cloud.services.ecs.outside import Credentials, Endpoint

# All clouds of a machine share the network, for its addresses exist once.
NETWORK = "portside-link-local"
LABELS = {"portside.network": "link-local"}
SUBNET = "169.254.170.0/23"
GATEWAY = "169.254.170.2"
USUAL_PORT = 80

Names = Callable[[str], Awaitable[Sequence[Address] | None]]


class Surroundings:
    """`serves_bridge`: this cloud is the one that the bridge's fixed ports belong to."""

    def __init__(
        self, *, server: Server, engine: Callable[[], Engine], serves_bridge: Callable[[], bool], log: Log
    ) -> None:
        self._server = server
        self._engine = engine
        self._serves_bridge = serves_bridge
        self._log = log
        self._names: list[Names] = []
        self._name_server: NameServer | None = None
        self._listens = ""
        self._why = "no task has been started yet"
        self._credentials: Credentials | None = None
        self._lock = asyncio.Lock()

    def bridge(self) -> str:
        return bridge.address()

    async def endpoint(self) -> Endpoint:
        """By the bridge, or by the name that engines in a machine of their own give to this one."""
        found = bridge.address()
        if found:
            return Endpoint(f"http://{found}:{self._server.port}")
        name = "host.docker.internal"
        return Endpoint(f"http://{name}:{self._server.port}", {name: "host-gateway"})

    async def endpoint_of_builds(self) -> tuple[str, dict[str, str]]:
        found = await self.endpoint()
        return found.url, dict(found.hosts)

    # Credentials

    async def credentials(self) -> Credentials:
        async with self._lock:
            if self._credentials is None:
                self._credentials = await self._link_local()
        return self._credentials

    async def _link_local(self) -> Credentials:
        engine = self._engine()
        if NETWORK not in await engine.networks(LABELS):
            try:
                await engine.create_network(NETWORK, LABELS, subnet=SUBNET, gateway=GATEWAY, internal=True)
            except Conflict:
                if NETWORK not in await engine.networks(LABELS):
                    raise
        relative = await self._listen(USUAL_PORT)
        if not relative and not await self._listen(self._server.port):
            self._log.warning("credentials of tasks cannot be served", address=f"{GATEWAY}:{self._server.port}")
        return Credentials(NETWORK, f"http://{GATEWAY}:{self._server.port}", relative)

    async def _listen(self, port: int) -> bool:
        try:
            await self._server.listen_also(GATEWAY, port)
        except OSError as error:
            self._log.info("not listening", address=f"{GATEWAY}:{port}", reason=str(error))
            return False
        return True

    # Names

    def add_names(self, lookup: Names) -> None:
        self._names.append(lookup)

    async def serve_names(self) -> None:
        """Start the name server, if this cloud may and has not yet."""
        if self._name_server is not None:
            return
        address = bridge.address()
        if not address:
            self._why = "the container engine's bridge is not on this machine"
        elif not self._serves_bridge():
            self._why = "another cloud of this machine has the name server, at the container bridge"
        if not address or not self._serves_bridge():
            return
        server = NameServer(self._lookup, self._log)
        try:
            await server.listen(address)
        except OSError as error:
            await server.close()
            self._why = (
                f"its name server cannot listen on port 53 of {address} ({error.strerror or error}); give it "
                "the right to, for instance with sysctl net.ipv4.ip_unprivileged_port_start=53"
            )
            self._log.warning("no name server for containers", reason=self._why)
            return
        self._name_server, self._listens, self._why = server, address, ""

    async def _lookup(self, name: str) -> Sequence[Address] | None:
        for names in self._names:
            found = await names(name)
            if found is not None:
                return found
        return None

    def name_server(self) -> str:
        return self._listens

    def why_no_names(self) -> str:
        return self._why

    async def remove_network(self) -> None:
        """At a wanted stop, unless another cloud has containers in it."""
        if self._credentials is not None:
            with contextlib.suppress(EngineError):
                await self._engine().remove_network(NETWORK)

    async def close(self) -> None:
        if self._name_server is not None:
            await self._name_server.close()
            self._name_server = None

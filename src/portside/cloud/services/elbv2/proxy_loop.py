"""The loop that keeps the proxy at what the records say. One key: there is one proxy.

Owns the knowledge of what is served at the moment. What should be served is worked out in `routing.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.machine.proxy import Endpoint, Proxy, ProxyError, ServerCertificate, Snapshot
from portside.cloud.services.elbv2 import records
from portside.cloud.services.elbv2.routing import Resolve, World, cluster_name, snapshot

KEY = "proxy"
AGAIN = 2.0


class ProxyLoop:
    """Use: `async with ProxyLoop(...) as loop`, then `loop.resume()`. `shared` are the addresses on which all load
    balancers listen; more of them may become known later (`listen_also`)."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        proxy: Proxy,
        resolve: Resolve,
        own_address: Callable[[str], str],
        shared: Sequence[str] = ("127.0.0.1",),
        certificates: Callable[[str], ServerCertificate | None] = lambda arn: None,
        log: Log,
    ) -> None:
        self._database = database
        self._proxy = proxy
        self._resolve = resolve
        self._own_address = own_address
        self._shared = list(shared)
        self._certificates = certificates
        self._log = log.bind(service="elbv2")
        self._loop = Loop("elb-proxy", self.turn, clock, log, workers=1)
        # Between what surely gets requests and what might still get some lies the time in which a change happens.
        self._sure: dict[str, frozenset[Endpoint]] = {}
        self._possible: dict[str, frozenset[Endpoint]] = {}
        self._applied: Snapshot | None = None
        self._unknown = True
        self._listening: frozenset[tuple[str, int]] = frozenset()
        self._fault = ""
        # How often something was to be taken up, and who waits for which of these times.
        self._asked = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._running = False
        # Told whenever the proxy has taken up something new: what is shown of targets may be another thing now.
        self.applied: list[Callable[[], None]] = []

    def wake(self) -> None:
        self._asked += 1
        self._loop.wake(KEY)

    def resume(self) -> None:
        self.wake()

    async def taken_up(self) -> None:
        """Wait until the proxy has been brought to what is written by now, or has refused it."""
        if not self._running:
            return
        self.wake()
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._asked, ended))
        await ended

    def silence(self, load_balancer: str, port: int) -> str | None:
        """Why a load balancer does not listen on `port`; None when it does."""
        addresses = dict.fromkeys([*self._shared, self._own_address(load_balancer)])
        if not self._running or all((address, port) in self._listening for address in addresses):
            return None
        return self._fault or "no certificate of its can be served"

    @property
    def served(self) -> Snapshot:
        """What the proxy took last; nothing while that is not known."""
        return self._applied or Snapshot()

    def address_of(self, load_balancer: str) -> str:
        """The address that a load balancer has for itself; empty where all share one."""
        own = self._own_address(load_balancer)
        return "" if own in self._shared else own

    def listen_also(self, address: str) -> None:
        """One more shared address: the one at which containers reach this machine."""
        if address and address not in self._shared:
            self._shared.append(address)
            self.wake()

    async def obstacle(self, load_balancer: str, port: int) -> str | None:
        """Why a load balancer could not listen on `port`; None when it can."""
        for address in dict.fromkeys([*self._shared, self._own_address(load_balancer)]):
            found = await self._proxy.obstacle(address, port)
            if found is not None:
                return found
        return None

    def is_served(self, group: str, endpoint: Endpoint) -> bool:
        """Whether the proxy sends requests of this target group to `endpoint`."""
        return endpoint in self._sure.get(cluster_name(group), frozenset())

    def may_be_served(self, group: str, endpoint: Endpoint) -> bool:
        """Whether the proxy may still do so. One that an earlier process has left running may until it is told."""
        return self._unknown or endpoint in self._possible.get(cluster_name(group), frozenset())

    async def is_busy(self, group: str, endpoint: Endpoint) -> bool:
        """Whether requests of this target group are under way to `endpoint`. True where nobody can tell."""
        try:
            return await self._proxy.busy(cluster_name(group), endpoint)
        except ProxyError:
            return True

    async def __aenter__(self) -> ProxyLoop:
        await self._loop.__aenter__()
        self._running = True
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._running = False
        await self._loop.__aexit__(None, None, None)
        self._release(self._asked)

    async def turn(self, key: str) -> TurnResult:
        asked = self._asked
        try:
            return await self._take_up()
        finally:
            self._release(asked)

    def _release(self, asked: int) -> None:
        for number, ended in self._waiting:
            if number <= asked and not ended.done():
                ended.set_result(None)
        self._waiting = [each for each in self._waiting if not each[1].done()]

    async def _take_up(self) -> TurnResult:
        wanted = snapshot(self._world(), self._shared, self._own_address, self._resolve)
        if wanted == self._applied:
            return Done()
        sockets = frozenset((each.address, each.port) for each in wanted.listeners)
        coming = {cluster.name: frozenset(cluster.endpoints) for cluster in wanted.clusters}
        nothing: frozenset[Endpoint] = frozenset()
        self._sure = {name: found & coming.get(name, nothing) for name, found in self._sure.items()}
        self._possible = {
            name: self._possible.get(name, nothing) | coming.get(name, nothing)
            for name in self._possible.keys() | coming.keys()
        }
        try:
            await self._proxy.apply(wanted)
        except ProxyError as error:
            if error.reason != self._fault:
                self._log.warning("the proxy does not serve everything", reason=error.reason)
            self._fault = error.reason
            self._applied = None
            if error.missing:
                self._unknown = False
                self._sure = self._possible = coming
                self._listening = sockets - error.missing
            return After(AGAIN)
        self._fault = ""
        self._applied = wanted
        self._unknown = False
        self._listening = sockets
        self._sure = self._possible = coming
        for tell in self.applied:
            tell()
        return Done()

    def _world(self) -> World:
        database = self._database
        listeners = records.listeners(database)
        used = {arn for each in listeners for arn in (each.certificate, *each.certificates) if arn}
        found = {arn: self._certificates(arn) for arn in sorted(used)}
        missing = [arn for arn, certificate in found.items() if certificate is None]
        if missing:
            self._log.warning("certificates cannot be served", certificates=missing)
        return World(
            load_balancers=records.load_balancers(database),
            listeners=listeners,
            rules=records.rules(database),
            groups=records.groups(database),
            targets=records.targets(database),
            certificates={arn: certificate for arn, certificate in found.items() if certificate is not None},
        )

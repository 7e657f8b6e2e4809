"""ELBv2 as a whole: the API and its two loops, put together, started and stopped.

Owns nothing but the wiring, for the composition root and for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.prober import Prober
from portside.cloud.machine.proxy import Proxy
from portside.cloud.services.calls import Calls, Service
from portside.cloud.services.elbv2 import records
from portside.cloud.services.elbv2.access_log_loop import AccessLogLoop
from portside.cloud.services.elbv2.access_logs import Grants
from portside.cloud.services.elbv2.api import ElbApi
from portside.cloud.services.elbv2.certificate_operations import Certificates
from portside.cloud.services.elbv2.metrics_loop import MetricsLoop
from portside.cloud.services.elbv2.proxy_loop import ProxyLoop
from portside.cloud.services.elbv2.routing import Resolve
from portside.cloud.services.elbv2.target_loop import TargetLoop


class Elb:
    """Use: `async with Elb(...) as elb`, with `elb.service()` in the gateway. Entering it starts the loops and
    goes on with whatever was in flight; leaving it stops them, but not the proxy, which is the caller's.

    `certificates` finds what is served for a certificate's ARN; `resolve` tells where a target, by its id and
    port, listens on this machine; `own_address` which loopback address a load balancer has for itself, by its ARN;
    `shared` are the addresses where all of them listen; `grants` weighs the policies of buckets for access logs.
    """

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        proxy: Proxy,
        prober: Prober,
        resolve: Resolve,
        own_address: Callable[[str], str],
        shared: Sequence[str] = ("127.0.0.1",),
        certificates: Certificates = lambda arn: None,
        grants: Grants = lambda policy, principals, action, resource, context: True,
        log: Log,
    ) -> None:
        self._database = database
        self.proxy_loop = ProxyLoop(
            database=database,
            clock=clock,
            proxy=proxy,
            resolve=resolve,
            own_address=own_address,
            shared=shared,
            certificates=certificates,
            log=log,
        )
        self.target_loop = TargetLoop(
            database=database,
            clock=clock,
            pace=pace,
            prober=prober,
            resolve=resolve,
            rotation_changed=self.proxy_loop.wake,
            may_be_served=self.proxy_loop.may_be_served,
            is_busy=self.proxy_loop.is_busy,
            log=log,
        )
        self.metrics = MetricsLoop(
            database=database,
            clock=clock,
            pace=pace,
            calls=calls,
            proxy=proxy,
            served=lambda: self.proxy_loop.served,
            own_address=own_address,
            log=log,
        )
        self.access_logs = AccessLogLoop(
            database=database,
            clock=clock,
            pace=pace,
            calls=calls,
            proxy=proxy,
            resolve=resolve,
            own_address=own_address,
            log=log,
        )
        self.api = ElbApi(
            database=database,
            ids=ids,
            clock=clock,
            calls=calls,
            resolve=resolve,
            target_loop=self.target_loop,
            proxy_loop=self.proxy_loop,
            certificates=certificates,
            grants=grants,
            log=log,
        )
        self._running = AsyncExitStack()

    def tell(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever another state of some target may be shown."""
        self.proxy_loop.applied.append(changed)
        self.target_loop.drained.append(changed)

    def knows(self, name: str) -> bool:
        """Whether a load balancer has this DNS name."""
        return any(each.dns_name.lower() == name for each in records.load_balancers(self._database))

    def users_of(self, certificate: str) -> list[str]:
        """The load balancers that a certificate is used by."""
        return sorted(
            {
                each.load_balancer
                for each in records.listeners(self._database)
                if certificate in (each.certificate, *each.certificates)
            }
        )

    def service(self) -> Service:
        return self.api.service()

    async def __aenter__(self) -> Elb:
        await self._running.enter_async_context(self.proxy_loop)
        await self._running.enter_async_context(self.target_loop)
        await self._running.enter_async_context(self.metrics.loop)
        await self._running.enter_async_context(self.access_logs.loop)
        self.proxy_loop.resume()
        self.target_loop.resume()
        self.metrics.resume()
        self.access_logs.resume()
        return self

    async def __aexit__(self, *reason: object) -> None:
        await self._running.aclose()

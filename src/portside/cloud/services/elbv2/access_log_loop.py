"""Delivers the access logs of load balancers to their buckets every five minutes. One key: there is one proxy.

Owns no state: what is not delivered yet lies with the proxy, in parts. A part is forgotten when all of it has been
delivered, or when nobody can take it. Its objects always have the same keys, so that a delivery that was cut off
makes the same ones again.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Callable, Mapping
from io import BytesIO

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Loop, TurnResult
from portside.cloud.machine.proxy import Endpoint, LogPart, Proxy, ProxyError, Served
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.elbv2 import access_logs, records
from portside.cloud.services.elbv2.access_logs import Label, Place
from portside.cloud.services.elbv2.routing import Resolve, cluster_name

KEY = "access-logs"
PERIOD = 300.0
AT_ONCE = 200
OLDEST = 24 * 3600.0  # after so long, a part that no bucket takes is given up


class AccessLogLoop:
    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        proxy: Proxy,
        resolve: Resolve,
        own_address: Callable[[str], str],
        log: Log,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._proxy = proxy
        self._resolve = resolve
        self._own_address = own_address
        self._log = log.bind(service="elbv2")
        self.loop = Loop("elb-access-logs", self.turn, clock, log)

    def resume(self) -> None:
        self.loop.wake(KEY, after=self._until_next())

    def _until_next(self) -> float:
        length, now = self._pace.wait(PERIOD), self._clock.now()
        return (math.floor(now / length) + 1) * length - now

    async def turn(self, key: str) -> TurnResult:
        try:
            parts = await self._proxy.log()
        except ProxyError as error:
            self._log.warning("no access logs", reason=error.reason)
            return After(self._until_next())
        if not parts:
            return After(self._until_next())
        places = {each.arn: access_logs.place(each) for each in records.load_balancers(self._database)}
        wanted = {arn: place for arn, place in places.items() if place is not None}
        groups = {cluster_name(each.arn): each.arn for each in records.groups(self._database)}
        targets = self._targets()
        for part in parts:
            found = await self._packed(part, wanted, groups, targets)
            delivered = [await self._deliver(part, arn, wanted[arn], body) for arn, body in found.items()]
            if all(delivered) or self._clock.now() - part.closed_at > OLDEST:
                part.forget()
        return After(self._until_next())

    def _targets(self) -> dict[Endpoint, str]:
        """What a target is called, by where it listens on this machine."""
        found = {}
        for target in records.targets(self._database):
            endpoint = self._resolve(target.id, target.port)
            if endpoint is not None:
                found[endpoint] = f"{target.id}:{target.port}"
        return found

    async def _packed(
        self,
        part: LogPart,
        wanted: Mapping[str, Place],
        groups: Mapping[str, str],
        targets: Mapping[Endpoint, str],
    ) -> dict[str, bytes]:
        """A compressed log for each load balancer that wants one, by its ARN; others have turns in between."""
        bodies: dict[str, BytesIO] = {}
        files: dict[str, gzip.GzipFile] = {}
        for number, served in enumerate(part.served()):
            if number % AT_ONCE == 0:
                await self._clock.sleep_until(self._clock.now())
            label = Label.read(served.route)
            if label is None or label.balancer not in wanted:
                continue
            if label.balancer not in files:
                bodies[label.balancer] = BytesIO()
                # Without a time in it, a part becomes the same bytes each time.
                files[label.balancer] = gzip.GzipFile(fileobj=bodies[label.balancer], mode="wb", mtime=0)
            line = access_logs.entry(served, label, groups.get(served.cluster, ""), _target(served, targets))
            files[label.balancer].write(line.encode())
        for file in files.values():
            file.close()
        return {arn: body.getvalue() for arn, body in bodies.items()}

    async def _deliver(self, part: LogPart, balancer: str, place: Place, body: bytes) -> bool:
        """False if it is worth another try."""
        _, _, _, region, account, _ = balancer.split(":", 5)
        caller = Caller.root(account, region)
        mark = hashlib.sha256(f"{part.name} {balancer}".encode()).hexdigest()[:8]
        key = access_logs.object_key(place, balancer, self._own_address(balancer), part.closed_at, mark)
        try:
            await self._calls("s3", "PutObject", {"Bucket": place.bucket, "Key": key, "Body": body}, caller)
        except AwsError as error:
            self._log.warning(
                "access log not delivered", bucket=place.bucket, reason=f"{error.code}: {error.message}"
            )
            return error.status < 500
        return True


def _target(served: Served, targets: Mapping[Endpoint, str]) -> str:
    if served.endpoint is None:
        return ""
    return targets.get(served.endpoint) or f"{served.endpoint.address}:{served.endpoint.port}"

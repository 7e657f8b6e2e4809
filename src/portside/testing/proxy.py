"""A proxy without sockets: remembers the snapshots that it was given, and fails when told to."""

from __future__ import annotations

from collections.abc import Sequence

from portside.cloud.machine.proxy import (
    Cluster,
    ClusterCounts,
    Endpoint,
    LogPart,
    ProxyError,
    Snapshot,
    SocketCounts,
    Statistics,
)


class FakeProxy:
    """`taken` are addresses that some other program listens on; `broken` refuses everything with that reason;
    `occupied` are endpoints that requests are under way to."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.taken: set[tuple[str, int]] = set()
        self.broken: str | None = None
        self.occupied: set[Endpoint] = set()
        self.stopped = False
        self.run = 1
        self.counts: dict[str, ClusterCounts] = {}
        self.sockets: dict[tuple[str, int], SocketCounts] = {}
        self.log_parts: list[LogPart] = []
        self._served = Snapshot()

    @property
    def served(self) -> Snapshot:
        """What requests would meet now."""
        return self._served

    def endpoints(self, group_name: str) -> tuple[Endpoint, ...]:
        """Where the requests for a target group go; its name is the middle part of the cluster's."""
        found: list[Cluster] = [c for c in self._served.clusters if f"-{group_name}-" in c.name]
        return tuple(endpoint for cluster in found for endpoint in cluster.endpoints)

    async def apply(self, snapshot: Snapshot) -> None:
        if self.broken is not None:
            raise ProxyError(self.broken)
        kept = tuple(li for li in snapshot.listeners if (li.address, li.port) not in self.taken)
        left = [li for li in snapshot.listeners if li not in kept]
        self._served = Snapshot(kept, snapshot.clusters)
        self.snapshots.append(snapshot)
        if left:
            missing = [(li.address, li.port) for li in left]
            raise ProxyError("; ".join(_cannot_listen(*each) for each in missing), missing=missing)

    async def obstacle(self, address: str, port: int) -> str | None:
        return _cannot_listen(address, port) if (address, port) in self.taken else None

    def restart(self) -> None:
        """As if it had died and come back: all counts begin again."""
        self.run += 1
        self.counts.clear()
        self.sockets.clear()

    async def busy(self, cluster: str, endpoint: Endpoint) -> bool:
        if self.broken is not None:
            raise ProxyError(self.broken)
        return endpoint in self.occupied

    async def statistics(self) -> Statistics:
        if self.broken is not None:
            raise ProxyError(self.broken)
        if not self.snapshots:
            return Statistics()
        return Statistics(str(self.run), dict(self.counts), dict(self.sockets))

    async def log(self) -> Sequence[LogPart]:
        if self.broken is not None:
            raise ProxyError(self.broken)
        return list(self.log_parts)

    async def stop(self) -> None:
        self.stopped = True
        self._served = Snapshot()


def _cannot_listen(address: str, port: int) -> str:
    return f"cannot listen on {address}:{port}: Address already in use"

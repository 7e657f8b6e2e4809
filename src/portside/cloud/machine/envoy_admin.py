"""Questions to a running Envoy, over its admin socket.

Owns the few lines of HTTP that it takes, and the reading of the answers.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portside.cloud.machine.proxy import ClusterCounts, Endpoint, SocketCounts

LIMIT = 5.0


class AdminUnavailable(Exception):
    """Envoy does not answer: it is not up yet, or not any more."""


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin interface at `socket`."""

    socket: Path

    async def get(self, target: str, method: str = "GET") -> str:
        try:
            async with asyncio.timeout(LIMIT):
                reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=2**24)
                try:
                    request = f"{method} {target} HTTP/1.1\r\nhost: portside\r\nconnection: close\r\n\r\n"
                    writer.write(request.encode())
                    answer = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise AdminUnavailable(str(error)) from None
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AdminUnavailable(head.split(b"\r\n", 1)[0].decode("latin-1") or "no answer")
        if b"transfer-encoding: chunked" in head.lower():
            body = _joined(body)
        return body.decode()

    async def reopen_log(self) -> None:
        await self.get("/reopen_logs", "POST")

    async def ready(self) -> bool:
        try:
            return (await self.get("/ready")).startswith("LIVE")
        except AdminUnavailable:
            return False

    async def versions(self) -> dict[str, str]:
        """The version that Envoy serves of each file, by the name of its statistic; and, under the names that end
        in `update_rejected`, how often it refused one."""
        text = await self.get("/stats?filter=(version_text|update_rejected)$")
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value.strip('"') for name, _, value in pairs}

    async def listening(self) -> set[tuple[str, int]]:
        """The addresses that Envoy listens on."""
        document = json.loads(await self.get("/listeners?format=json"))
        found: set[tuple[str, int]] = set()
        for status in document.get("listener_statuses", []):
            address = status.get("local_address", {}).get("socket_address", {})
            if "port_value" in address:
                found.add((address["address"], address["port_value"]))
        return found

    async def counts(self) -> tuple[dict[str, ClusterCounts], dict[tuple[str, int], SocketCounts]]:
        """What has come to pass, by cluster and by socket."""
        plain = json.loads(await self.get(f"/stats?format=json&usedonly&filter={_COUNTED}"))
        asked = f"/stats?format=json&usedonly&histogram_buckets=disjoint&filter={_TIMED}"
        timed = json.loads(await self.get(asked))
        return _counts(plain.get("stats") or [], timed.get("stats") or [])

    async def busy(self, cluster: str, endpoint: Endpoint) -> bool:
        """Whether requests are under way to an endpoint. One that waits for its connection is counted with the
        cluster alone: it may be this endpoint's as long as that has any connection."""
        document = json.loads(await self.get("/clusters?format=json"))
        for status in document.get("cluster_statuses", []):
            if status.get("name") != cluster:
                continue
            for host in status.get("host_statuses", []):
                address = host.get("address", {}).get("socket_address", {})
                if (address.get("address"), address.get("port_value")) != (endpoint.address, endpoint.port):
                    continue
                counts = {each["name"]: int(each.get("value", 0)) for each in host.get("stats", [])}
                if counts.get("rq_active"):
                    return True
                return bool(counts.get("cx_active")) and await self._waiting(cluster)
        return False

    async def _waiting(self, cluster: str) -> bool:
        text = await self.get(f"/stats?filter=^cluster\\.{cluster}\\.upstream_rq_pending_active$")
        return any(int(line.rpartition(": ")[2]) for line in text.splitlines())

    async def refusals(self) -> dict[str, str]:
        """What Envoy has against each listener that it did not take, by the listener's name."""
        document = json.loads(await self.get("/config_dump"))
        found: dict[str, str] = {}
        for part in document.get("configs", []):
            for listener in part.get("dynamic_listeners", []):
                state: dict[str, Any] | None = listener.get("error_state")
                if state:
                    found[listener["name"]] = str(state.get("details", "refused"))
        return found


_COUNTED = (
    r"^(cluster\.[^.]*\.(upstream_rq_completed|upstream_rq_[2-5]xx|upstream_rq_503|upstream_cx_none_healthy"
    r"|upstream_rq_pending_failure_eject|upstream_cx_destroy_remote_with_active_rq)"
    r"|listener\.[0-9.]*_[0-9]*\.(downstream_cx_(total|active)|ssl\.connection_error))$"
)
_TIMED = r"^cluster\.[^.]*\.upstream_rq_time$"
_CLUSTER = re.compile(r"cluster\.([^.]+)\.(\w+)")
_SOCKET = re.compile(r"listener\.([0-9.]+)_(\d+)\.(?:downstream_cx_|ssl\.)(total|active|connection_error)")


def _counts(
    plain: list[dict[str, Any]], timed: list[dict[str, Any]]
) -> tuple[dict[str, ClusterCounts], dict[tuple[str, int], SocketCounts]]:
    by_cluster: dict[str, dict[str, int]] = {}
    by_socket: dict[tuple[str, int], dict[str, int]] = {}
    for each in plain:
        name, value = str(each.get("name") or ""), each.get("value")
        found = _CLUSTER.fullmatch(name)
        if found:
            by_cluster.setdefault(found[1], {})[found[2]] = int(value or 0)
        found = _SOCKET.fullmatch(name)
        if found:
            by_socket.setdefault((found[1], int(found[2])), {})[found[3]] = int(value or 0)
    times: dict[str, tuple[tuple[float, int], ...]] = {}
    for part in timed:
        for each in part.get("histograms") or []:
            if not isinstance(each, dict):
                continue
            found = _CLUSTER.fullmatch(str(each.get("name") or ""))
            if found:
                buckets = ((float(b["upper_bound"]) / 1000, int(b["cumulative"])) for b in each["buckets"])
                times[found[1]] = tuple(pair for pair in buckets if pair[1])
    clusters = {name: _cluster(values, times.get(name, ())) for name, values in by_cluster.items()}
    sockets = {
        key: SocketCounts(values.get("active", 0), values.get("total", 0), values.get("connection_error", 0))
        for key, values in by_socket.items()
    }
    return clusters, sockets


def _cluster(values: dict[str, int], times: tuple[tuple[float, int], ...]) -> ClusterCounts:
    """Envoy counts its own answers among those of the endpoints, under 503; here they are told apart."""
    none = values.get("upstream_cx_none_healthy", 0)
    own = values.get("upstream_rq_503", 0) - none
    broken = values.get("upstream_rq_pending_failure_eject", 0)
    broken += values.get("upstream_cx_destroy_remote_with_active_rq", 0)
    failed = max(0, min(own, broken))
    codes = {digit: values.get(f"upstream_rq_{digit}xx", 0) for digit in (2, 3, 4, 5)}
    codes[5] = max(0, codes[5] - none - failed)
    return ClusterCounts(
        requests=max(0, values.get("upstream_rq_completed", 0) - none),
        codes=tuple((digit, number) for digit, number in codes.items() if number),
        without_endpoint=none,
        failed=failed,
        times=times,
    )


def _joined(chunked: bytes) -> bytes:
    out = []
    rest = chunked
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        out.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(out)

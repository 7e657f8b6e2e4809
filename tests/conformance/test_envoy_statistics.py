"""What Envoy counts, told apart: answers of targets and answers of its own."""

import asyncio
from pathlib import Path

from test_proxy_conformance import free_port

from portside.cloud.kernel.clock import SystemClock
from portside.cloud.machine.envoy import EnvoyProxy
from portside.cloud.machine.proxy import Cluster, Endpoint, Forward, Listener, Match, Route, Snapshot, VirtualHost
from portside.testing.server import quiet_log


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
    if path != b"/close":
        status = {b"/500": b"500 X", b"/503": b"503 X", b"/404": b"404 X"}.get(path, b"200 OK")
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _get(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


def _route(cluster: str, *paths: str) -> Route:
    return Route(Match(paths=paths), Forward(((cluster, 1),)))


async def test_answers_of_targets_and_its_own_are_told_apart(tmp_path: Path) -> None:
    proxy = EnvoyProxy(tmp_path, clock=SystemClock(), log=quiet_log())
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    target, port = int(server.sockets[0].getsockname()[1]), free_port()
    routes = (_route("dead", "/dead"), _route("none", "/none"), _route("web"))
    clusters = (
        Cluster("web", (Endpoint("127.0.0.1", target),)),
        Cluster("dead", (Endpoint("127.0.0.1", free_port()),)),
        Cluster("none", ()),
    )
    try:
        await proxy.apply(Snapshot((Listener("127.0.0.1", port, (VirtualHost("v", ("*",), routes),)),), clusters))
        paths = ("/", "/", "/404", "/500", "/503", "/close", "/dead", "/none")
        answered = [await _get(port, path) for path in paths]
        assert answered == [200, 200, 404, 500, 503, 502, 502, 503]
        found = await proxy.statistics()
        web = found.clusters["web"]
        assert (web.requests, dict(web.codes), web.failed, web.without_endpoint) == (6, {2: 2, 4: 1, 5: 2}, 1, 0)
        dead, none = found.clusters["dead"], found.clusters["none"]
        assert (dead.requests, dead.codes, dead.failed, dead.without_endpoint) == (1, (), 1, 0)
        assert (none.requests, none.codes, none.failed, none.without_endpoint) == (0, (), 0, 1)
        assert found.sockets["127.0.0.1", port].made == len(paths)
        # Times are summed up every five seconds.
        async with asyncio.timeout(20):
            while not (times := (await proxy.statistics()).clusters["web"].times):
                await asyncio.sleep(0.3)
        assert sum(number for _, number in times) == 5
        assert all(seconds <= 1 for seconds, _ in times)
    finally:
        await proxy.stop()
        server.close()
        await server.wait_closed()

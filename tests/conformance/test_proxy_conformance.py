"""What both the fake proxy and Envoy must do."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends import free_port
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.machine.envoy import EnvoyProxy
from portside.cloud.machine.proxy import FixedResponse, Listener, Match, ProxyError, Route, Snapshot, VirtualHost
from portside.testing.proxy import FakeProxy
from portside.testing.server import quiet_log


@pytest.fixture(params=["fake", "envoy"])
async def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeProxy | EnvoyProxy]:
    made = FakeProxy() if request.param == "fake" else EnvoyProxy(tmp_path, clock=SystemClock(), log=quiet_log())
    yield made
    await made.stop()


def listener(port: int) -> Listener:
    return Listener("127.0.0.1", port, (VirtualHost("v", ("*",), (Route(Match(), FixedResponse(200)),)),))


def serves(proxy: FakeProxy | EnvoyProxy, port: int) -> bool:
    if isinstance(proxy, FakeProxy):
        return port in {li.port for li in proxy.served.listeners}
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", port)):
            return False
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200")


async def test_it_serves_what_it_took_and_no_longer(proxy: FakeProxy | EnvoyProxy) -> None:
    one, two = free_port(), free_port()
    await proxy.apply(Snapshot())
    await proxy.apply(Snapshot((listener(one),)))
    await proxy.apply(Snapshot((listener(one),)))
    assert serves(proxy, one)
    await proxy.apply(Snapshot((listener(one), listener(two))))
    assert serves(proxy, one) and serves(proxy, two)
    await proxy.apply(Snapshot((listener(two),)))
    assert serves(proxy, two) and not serves(proxy, one)
    await proxy.stop()
    assert not serves(proxy, two)


async def test_a_taken_port_is_named_and_the_rest_is_served(proxy: FakeProxy | EnvoyProxy) -> None:
    free = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = int(other.getsockname()[1])
        if isinstance(proxy, FakeProxy):
            proxy.taken.add(("127.0.0.1", taken))
        expected = f"cannot listen on 127.0.0.1:{taken}: Address already in use"
        assert await proxy.obstacle("127.0.0.1", taken) == expected
        assert await proxy.obstacle("127.0.0.1", free) is None
        with pytest.raises(ProxyError) as refused:
            await proxy.apply(Snapshot((listener(taken), listener(free))))
        assert refused.value.reason == expected
        assert refused.value.missing == {("127.0.0.1", taken)}
        assert serves(proxy, free)
    if isinstance(proxy, FakeProxy):
        proxy.taken.clear()
    await proxy.apply(Snapshot((listener(taken), listener(free))))
    assert serves(proxy, taken) and serves(proxy, free)
    assert await proxy.obstacle("127.0.0.1", taken) is None


async def test_nothing_has_come_to_pass_before_it_runs(proxy: FakeProxy | EnvoyProxy) -> None:
    found = await proxy.statistics()
    assert (found.run, dict(found.clusters), dict(found.sockets)) == ("", {}, {})
    await proxy.apply(Snapshot((listener(free_port()),)))
    assert (await proxy.statistics()).run

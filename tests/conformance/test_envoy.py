"""Envoy with real traffic behaves as an Application Load Balancer does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest

from backends import Backend, backend, free_port, reply
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.machine.envoy import EnvoyProxy
from portside.cloud.machine.proxy import (
    Balancing,
    Cluster,
    Endpoint,
    FixedResponse,
    Forward,
    ForwardedFor,
    Listener,
    Match,
    Redirect,
    Route,
    Served,
    Snapshot,
    VirtualHost,
)
from portside.testing.server import quiet_log


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[EnvoyProxy]:
    proxy = EnvoyProxy(tmp_path / "envoy", clock=SystemClock(), log=quiet_log())
    yield proxy
    await proxy.stop()


def cluster(*backends: Backend, name: str = "web", **more: object) -> Cluster:
    return Cluster(name, tuple(Endpoint("127.0.0.1", b.port) for b in backends), **more)  # type: ignore[arg-type]


FORWARD = Route(Match(), Forward((("web", 1),)))


def listener(port: int, *routes: Route, **more: object) -> Listener:
    host = VirtualHost("main", ("*",), routes or (FORWARD,), **more)  # type: ignore[arg-type]
    return Listener("127.0.0.1", port, (host,))


def snapshot(port: int, *routes: Route, clusters: tuple[Cluster, ...] = (), **more: object) -> Snapshot:
    return Snapshot((listener(port, *routes, **more),), clusters)


async def get(port: int, path: str = "/", **more: object) -> tuple[int, str, dict[str, str]]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.request(
            str(more.pop("method", "GET")), f"http://127.0.0.1:{port}{path}", allow_redirects=False, **more
        ) as answer,  # type: ignore[arg-type]
    ):
        return answer.status, await answer.text(), {k.lower(): v for k, v in answer.headers.items()}


async def test_forwards_with_the_headers_of_an_alb(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),)))
        status, body, headers = await get(port, "/a?b=c", headers={"Host": "shop.example.com"})
        assert (status, body) == (200, "app")
        assert headers["server"] == "app"
        assert not [name for name in headers if name.startswith("x-envoy")]
        line, seen = app.heads[0]
        assert line == "GET /a?b=c HTTP/1.1"
        assert seen["host"] == "shop.example.com"
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-proto"] == "http"
        assert seen["x-forwarded-port"] == str(port)
        assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", seen["x-amzn-trace-id"])
        assert not [name for name in seen if name.startswith(("x-envoy", "x-portside", "x-request-id"))]
        await get(
            port,
            headers={
                "X-Forwarded-For": "203.0.113.9",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Port": "1",
                "X-Amzn-Trace-Id": "Root=1-00000001-000000000000000000000001;app=1",
            },
        )
        seen = app.heads[1][1]
        assert seen["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
        assert seen["x-forwarded-proto"] == "http"
        assert seen["x-forwarded-port"] == str(port)
        assert re.fullmatch(
            r"Self=1-[0-9a-f]{8}-[0-9a-f]{24};Root=1-00000001-0{23}1;app=1", seen["x-amzn-trace-id"]
        )


@pytest.mark.parametrize(("mode", "seen"), [(ForwardedFor.PRESERVE, "203.0.113.9"), (ForwardedFor.REMOVE, None)])
async def test_forwarded_for_is_treated_as_set(envoy: EnvoyProxy, mode: ForwardedFor, seen: str | None) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),), forwarded_for=mode))
        await get(port, headers={"X-Forwarded-For": "203.0.113.9"})
        assert app.heads[0][1].get("x-forwarded-for") == seen


async def test_br_25_every_replica_gets_requests_over_kept_connections(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend("a") as a, backend("b") as b, backend("c") as c:
        await envoy.apply(snapshot(port, clusters=(cluster(a, b, c),)))
        bodies = [(await get(port))[1] for _ in range(30)]
        assert set(bodies) == {"a", "b", "c"}
        assert max(bodies.count(name) for name in "abc") <= 15
        assert a.connections <= 2


async def test_what_is_under_way_to_an_endpoint_that_leaves_goes_on(envoy: EnvoyProxy) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def late(
        line: str, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        asked.set()
        await answered.wait()
        writer.write(reply("late"))
        await writer.drain()
        return True

    port = free_port()
    async with backend(answer=late) as leaves, backend("stays") as stays:
        there = Endpoint("127.0.0.1", leaves.port)
        sticky = Route(Match(), Forward((("web", 1),), sticky_targets=(("web", 60.0),)))
        await envoy.apply(snapshot(port, sticky, clusters=(cluster(leaves),)))
        assert not await envoy.busy("web", there)
        under_way = asyncio.create_task(get(port))
        await asked.wait()
        assert await envoy.busy("web", there)
        await envoy.apply(snapshot(port, sticky, clusters=(cluster(stays, leaving=(there,)),)))
        assert {(await get(port))[1] for _ in range(10)} == {"stays"}
        assert await envoy.busy("web", there)
        assert not await envoy.busy("web", Endpoint("127.0.0.1", stays.port))
        answered.set()
        status, body, headers = await under_way
        assert (status, body) == (200, "late")
        assert not await envoy.busy("web", there), "its connection is kept, but nothing is under way"
        cookie = headers["set-cookie"].split(";")[0]
        assert (await get(port, headers={"Cookie": cookie}))[1] == "stays"
        await envoy.apply(snapshot(port, sticky, clusters=(cluster(stays),)))
        assert not await envoy.busy("web", there)


async def test_a_request_that_waits_for_its_connection_is_under_way(envoy: EnvoyProxy) -> None:
    port = free_port()
    with socket.socket() as full, contextlib.ExitStack() as clients:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        there = Endpoint("127.0.0.1", full.getsockname()[1])
        for _ in range(2):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((there.address, there.port))
        await envoy.apply(snapshot(port, clusters=(Cluster("web", (there,)),)))
        request = asyncio.create_task(get(port))
        async with asyncio.timeout(5):
            while not await envoy.busy("web", there):
                await asyncio.sleep(0.01)
        await envoy.apply(snapshot(port, clusters=(Cluster("web", (), leaving=(there,)),)))
        assert await envoy.busy("web", there)
        request.cancel()


async def test_generated_errors(envoy: EnvoyProxy) -> None:
    async def hang_up(line: str, headers: dict[str, str], reader: object, writer: object) -> bool:
        return False

    async def silence(
        line: str, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        await reader.read()
        return False

    port, nobody = free_port(), free_port()
    async with backend(answer=hang_up) as rude, backend(answer=silence) as mute:
        routes = (
            Route(Match(paths=("/none",)), Forward((("empty", 1),))),
            Route(Match(paths=("/zero",)), Forward((("rude", 0),))),
            Route(Match(paths=("/rude",)), Forward((("rude", 1),))),
            Route(Match(paths=("/mute",)), Forward((("mute", 1),))),
            Route(Match(), Forward((("refused", 1),))),
        )
        clusters = (
            cluster(name="empty"),
            cluster(rude, name="rude"),
            cluster(mute, name="mute"),
            Cluster("refused", (Endpoint("127.0.0.1", nobody),)),
        )
        await envoy.apply(snapshot(port, *routes, clusters=clusters, idle_timeout=1.0))
        expected = (
            ("/none", 503, "503 Service Temporarily Unavailable"),
            ("/zero", 503, "503 Service Temporarily Unavailable"),
            ("/rude", 502, "502 Bad Gateway"),
            ("/other", 502, "502 Bad Gateway"),
            ("/mute", 504, "504 Gateway Time-out"),
        )
        for path, code, title in expected:
            status, body, headers = await get(port, path)
            assert status == code, path
            assert f"<title>{title}</title>" in body
            assert headers["server"] == "awselb/2.0"
            assert headers["content-type"] == "text/html"
        # What reached a target is never sent again.
        assert len(rude.heads) == 1


async def test_an_error_of_the_target_passes_unchanged(envoy: EnvoyProxy) -> None:
    async def fail(line: str, headers: dict[str, str], reader: object, writer: asyncio.StreamWriter) -> bool:
        writer.write(reply("my own 503", "503 Service Unavailable"))
        return True

    port = free_port()
    async with backend(answer=fail) as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),)))
        status, body, headers = await get(port)
        assert (status, body, headers["server"]) == (503, "my own 503", "app")


async def test_fixed_responses_and_redirects(envoy: EnvoyProxy) -> None:
    port = free_port()
    routes = (
        Route(Match(paths=("/fixed",)), FixedResponse(503, "application/json", '{"100%": 1}')),
        Route(Match(paths=("/bare",)), FixedResponse(404)),
        Route(Match(paths=("/https/*",)), Redirect(301, protocol="HTTPS", port=443)),
        Route(Match(paths=("/host/*",)), Redirect(302, host="new.example.com")),
        Route(Match(paths=("/under/*",)), Redirect(302, path="/v2/#{path}/end")),
        Route(Match(paths=("/query/*",)), Redirect(302, path="/x", query="a=b")),
        Route(Match(paths=("/only-query",)), Redirect(302, host="h.example.com", query="a=b")),
        Route(Match(paths=("/strip",)), Redirect(302, path="/y", query="")),
    )
    await envoy.apply(snapshot(port, *routes))
    status, body, headers = await get(port, "/fixed")
    assert (status, body) == (503, '{"100%": 1}')
    assert (headers["server"], headers["content-type"]) == ("awselb/2.0", "application/json")
    assert (await get(port, "/bare"))[0] == 404
    here = f"http://127.0.0.1:{port}"
    for path, status, location in (
        ("/https/a?q=1", 301, "https://127.0.0.1:443/https/a?q=1"),
        ("/host/a?q=1", 302, f"http://new.example.com:{port}/host/a?q=1"),
        ("/under/a?q=1", 302, f"{here}/v2/under/a/end?q=1"),
        ("/query/a?q=1", 302, f"{here}/x?a=b"),
        ("/only-query?q=1", 302, f"http://h.example.com:{port}/only-query?a=b"),
        ("/strip?q=1", 302, f"{here}/y"),
    ):
        found, _, headers = await get(port, path)
        assert (found, headers["location"]) == (status, location), path
        assert headers["server"] == "awselb/2.0"


async def test_conditions_in_their_order(envoy: EnvoyProxy) -> None:
    port = free_port()

    def says(text: str, **match: object) -> Route:
        return Route(Match(**match), FixedResponse(200, body=text))  # type: ignore[arg-type]

    routes = (
        says("host", hosts=("*.example.com", "one.test")),
        says("dots", paths=("/a.b+c/$?",)),
        says("img", paths=("/img/*", "/pic-?.png")),
        says("post", methods=("POST",), paths=("/form",)),
        says("put-or-patch", methods=("PUT", "PATCH")),
        says("header", headers=(("X-Color", ("blue*", "red")),)),
        says("query", queries=((("ver", "v?"), (None, "beta*")),)),
        says("far", sources=("10.0.0.0/8",), paths=("/source",)),
        says("near", sources=("192.168.0.0/16", "127.0.0.0/30"), paths=("/source",)),
        says("default"),
    )
    await envoy.apply(snapshot(port, *routes))
    cases: tuple[tuple[str, dict[str, str], str, str], ...] = (
        ("/", {"Host": "A.Example.COM"}, "GET", "host"),
        ("/", {"Host": f"one.test:{port}"}, "GET", "host"),
        ("/", {"Host": "example.com"}, "GET", "default"),
        ("/a.b+c/$x", {}, "GET", "dots"),
        ("/aXb+c/$x", {}, "GET", "default"),
        ("/img/x/y?z=1", {}, "GET", "img"),
        ("/IMG/x", {}, "GET", "default"),
        ("/pic-1.png", {}, "GET", "img"),
        ("/pic-12.png", {}, "GET", "default"),
        ("/form", {}, "POST", "post"),
        ("/form", {}, "GET", "default"),
        ("/", {}, "PATCH", "put-or-patch"),
        ("/", {"x-color": "BLUEish"}, "GET", "header"),
        ("/", {"x-color": "darkblue"}, "GET", "default"),
        ("/?a=1&VER=V2", {}, "GET", "query"),
        ("/?ver=v22", {}, "GET", "default"),
        ("/?any=beta7&x=1", {}, "GET", "query"),
        ("/?beta", {}, "GET", "query"),
        ("/beta", {}, "GET", "default"),
        ("/source", {"x-portside-source": "10.1.2.3"}, "GET", "near"),
    )
    for path, headers, method, expected in cases:
        assert (await get(port, path, headers=headers, method=method))[1] == expected, (path, headers, method)


async def test_weights(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend("blue") as blue, backend("green") as green:
        action = Forward((("blue", 3), ("green", 1), ("none", 0)))
        clusters = (cluster(blue, name="blue"), cluster(green, name="green"), cluster(name="none"))
        await envoy.apply(snapshot(port, Route(Match(), action), clusters=clusters))
        bodies = [(await get(port))[1] for _ in range(120)]
        assert set(bodies) == {"blue", "green"}
        assert bodies.count("blue") > bodies.count("green")


async def test_several_load_balancers_on_one_port(envoy: EnvoyProxy) -> None:
    port = free_port()
    hosts = tuple(
        VirtualHost(name, (f"{name}.us-east-1.elb.localhost",), (Route(Match(), FixedResponse(200, body=name)),))
        for name in ("one-1", "two-2")
    )
    own = VirtualHost("one-own", ("*",), (Route(Match(), FixedResponse(200, body="one-1")),))
    await envoy.apply(Snapshot((Listener("127.0.0.1", port, hosts), Listener("127.77.3.1", port, (own,)))))
    for name in ("one-1", "two-2"):
        host = f"{name}.us-east-1.elb.localhost:{port}"
        assert (await get(port, headers={"Host": host}))[:2] == (200, name)
    status, body, _ = await get(port)
    assert status == 404
    assert f"http://two-2.us-east-1.elb.localhost:{port}/" in body
    async with aiohttp.ClientSession() as http, http.get(f"http://127.77.3.1:{port}/") as answer:
        assert await answer.text() == "one-1"


async def test_websockets_pass(envoy: EnvoyProxy) -> None:
    from aiohttp import web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    port = free_port()
    app = web.Application()
    app.router.add_get("/ws", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    target = int(str(site.name).rsplit(":", 1)[1])
    try:
        await envoy.apply(snapshot(port, clusters=(Cluster("web", (Endpoint("127.0.0.1", target),)),)))
        async with aiohttp.ClientSession() as http, http.ws_connect(f"http://127.0.0.1:{port}/ws") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "HELLO"
    finally:
        await runner.cleanup()


async def test_no_request_is_lost_while_targets_change(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend("a") as a, backend("b") as b:
        await envoy.apply(snapshot(port, clusters=(cluster(a),)))
        going = True
        statuses: list[int] = []

        async def clients() -> None:
            async with aiohttp.ClientSession() as http:
                while going:
                    async with http.get(f"http://127.0.0.1:{port}/") as answer:
                        statuses.append(answer.status)
                        await answer.read()

        running = [asyncio.create_task(clients()) for _ in range(4)]
        for _ in range(5):
            for chosen in ((a, b), (b,), (a,)):
                await envoy.apply(snapshot(port, clusters=(cluster(*chosen),)))
                await get(port)
            other = (Route(Match(paths=("/new",)), FixedResponse(204)), FORWARD)
            await envoy.apply(snapshot(port, *other, clusters=(cluster(a), cluster(b, name="more"))))
        going = False
        await asyncio.gather(*running)
        assert set(statuses) == {200}


async def test_a_removed_target_gets_no_new_request(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend("a") as a, backend("b") as b:
        await envoy.apply(snapshot(port, clusters=(cluster(a, b),)))
        await envoy.apply(snapshot(port, clusters=(cluster(b),)))
        before = len(a.heads)
        for _ in range(20):
            assert (await get(port))[1] == "b"
        assert len(a.heads) == before


async def test_envoy_is_found_again_after_a_crash_of_the_cloud(tmp_path: Path) -> None:
    port = free_port()
    state = tmp_path / "envoy"
    async with backend() as app:
        first = EnvoyProxy(state, clock=SystemClock(), log=quiet_log())
        await first.apply(snapshot(port, clusters=(cluster(app),)))
        pid = int((state / "pid").read_text())
        abandoned = first._watcher
        assert abandoned is not None
        abandoned.cancel()
        second = EnvoyProxy(state, clock=SystemClock(), log=quiet_log())
        await second.apply(snapshot(port, Route(Match(), FixedResponse(202)), clusters=(cluster(app),)))
        assert int((state / "pid").read_text()) == pid
        assert (await get(port))[0] == 202
        await second.stop()
        await first.stop()


async def test_envoy_that_dies_is_started_again(envoy: EnvoyProxy, tmp_path: Path) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),)))
        pid = int((tmp_path / "envoy" / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while int((tmp_path / "envoy" / "pid").read_text()) == pid or not await envoy._admin.ready():
                await asyncio.sleep(0.05)
        assert (await get(port))[0] == 200


STICKY = Forward((("web", 1),), sticky_targets=(("web", 3600.0),))


async def test_a_client_with_a_cookie_stays_with_its_target(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend("a") as a, backend("b") as b, backend("c") as c:
        await envoy.apply(snapshot(port, Route(Match(), STICKY), clusters=(cluster(a, b, c),)))
        jars = []
        for _ in range(6):
            _, body, headers = await get(port)
            cookie = SimpleCookie(headers["set-cookie"])["AWSALB"]
            assert (cookie["path"], cookie["max-age"]) == ("/", "3600")
            jars.append((body, f"AWSALB={cookie.coded_value}"))
        assert {body for body, _ in jars} == {"a", "b", "c"}, "who has no cookie is sent on as before"
        for body, jar in jars:
            for _ in range(3):
                assert (await get(port, headers={"Cookie": jar}))[1] == body
        # Whose target has gone is given another one, and its cookie.
        stays = {"a": a, "b": b, "c": c}
        gone = stays.pop(jars[0][0])
        await envoy.apply(snapshot(port, Route(Match(), STICKY), clusters=(cluster(*stays.values()),)))
        status, body, headers = await get(port, headers={"Cookie": jars[0][1]})
        assert status == 200 and body != gone.name
        assert "AWSALB" in headers["set-cookie"]


async def test_without_stickiness_no_cookie_is_set(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),)))
        assert "set-cookie" not in (await get(port))[2]


async def test_a_client_with_a_cookie_stays_with_its_target_group(envoy: EnvoyProxy) -> None:
    port = free_port()
    forward = Forward((("blue", 1), ("green", 1)), sticky=60.0, sticky_targets=(("green", 30.0),))
    async with backend("a") as a, backend("b") as b, backend("c") as c:
        clusters = (cluster(a, name="blue"), cluster(b, c, name="green"))
        await envoy.apply(snapshot(port, Route(Match(), forward), clusters=clusters))
        seen = set()
        for _ in range(40):
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
                bodies, names = set(), set()
                for _ in range(4):
                    async with http.get(f"http://127.0.0.1:{port}/") as answer:
                        bodies.add(await answer.text())
                        names |= set(answer.cookies)
                assert len(bodies) == 1
                assert names == ({"AWSALBTG"} if bodies == {"a"} else {"AWSALBTG", "AWSALB"})
                seen |= bodies
            if seen == {"a", "b", "c"}:
                break
        assert seen == {"a", "b", "c"}


async def test_the_port_of_the_client_is_told_on_request(envoy: EnvoyProxy) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),), client_port=True))
        await get(port)
        await get(port, headers={"X-Forwarded-For": "203.0.113.9"})
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+", app.heads[0][1]["x-forwarded-for"])
        assert re.fullmatch(r"203\.0\.113\.9, 127\.0\.0\.1:[0-9]+", app.heads[1][1]["x-forwarded-for"])


@pytest.mark.parametrize("plain", [False, True])
async def test_headers_of_unusual_names_are_dropped_on_request(envoy: EnvoyProxy, plain: bool) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),), plain_headers=plain))
        assert (await get(port, headers={"X-Fine": "1", "X_Odd": "2", "X.Odd": "3"}))[0] == 200
        seen = app.heads[0][1]
        assert {"host", "x-fine", "x-forwarded-for"} <= set(seen)
        assert ({"x_odd", "x.odd"} & set(seen) == set()) is plain


async def test_every_answer_has_the_headers_of_the_listener(envoy: EnvoyProxy) -> None:
    port = free_port()
    routes = (Route(Match(paths=("/fixed",)), FixedResponse(200)), FORWARD)
    async with backend() as app:
        given = (("x-frame-options", "DENY"), ("server-timing", "100%"))
        clusters = (cluster(app),)
        await envoy.apply(snapshot(port, *routes, clusters=clusters, response_headers=given))
        for path, server in (("/", "app"), ("/fixed", "awselb/2.0")):
            headers = (await get(port, path))[2]
            assert (headers["x-frame-options"], headers["server-timing"], headers["server"]) == (
                "DENY",
                "100%",
                server,
            )
        await envoy.apply(snapshot(port, *routes, clusters=clusters, name_server=False))
        for path in ("/", "/fixed"):
            assert "server" not in (await get(port, path))[2]


@pytest.mark.parametrize("balancing", [Balancing.RANDOM, Balancing.LEAST_REQUEST])
async def test_other_algorithms_use_every_target_too(envoy: EnvoyProxy, balancing: Balancing) -> None:
    port = free_port()
    async with backend("a") as a, backend("b") as b:
        await envoy.apply(snapshot(port, clusters=(cluster(a, b, balancing=balancing),)))
        assert {(await get(port))[1] for _ in range(40)} == {"a", "b"}


async def logged(envoy: EnvoyProxy, number: int) -> list[Served]:
    """So many requests of its log, which is written a little later."""
    found: list[Served] = []
    async with asyncio.timeout(20):
        while len(found) < number:
            for part in await envoy.log():
                found += part.served()
                part.forget()
                part.forget()
    return found


async def test_requests_are_logged(envoy: EnvoyProxy) -> None:
    port = free_port()
    forward = Route(Match(), Forward((("web", 1),)), "rule-1")
    fixed = Route(Match(paths=("/fixed",)), FixedResponse(404), "rule-2")
    async with backend() as app:
        await envoy.apply(snapshot(port, fixed, forward, clusters=(cluster(app),), logged=True))
        assert list(await envoy.log()) == []
        await get(port, "/a?b=%20c", headers={"User-Agent": 'a "b"', "Host": "shop.example.com:80"})
        await get(port, "/fixed")
        one, two = await logged(envoy, 2)
        assert (one.route, one.cluster, one.endpoint) == ("rule-1", "web", Endpoint("127.0.0.1", app.port))
        assert (one.status, one.target_status) == (200, 200)
        assert (one.method, one.host, one.path) == ("GET", "shop.example.com:80", "/a?b=%20c")
        assert (one.protocol, one.agent) == ("HTTP/1.1", 'a "b"')
        assert one.client.startswith("127.0.0.1:")
        assert one.request is not None and one.target is not None and one.response is not None
        assert 0 < one.request + one.target + one.response <= one.whole + 0.001
        assert min(one.sent, one.received) > 80
        assert one.trace == app.heads[0][1]["x-amzn-trace-id"]
        assert (two.route, two.endpoint, two.status, two.target_status) == ("rule-2", None, 404, None)
        assert (two.target, two.response) == (None, None)


async def test_parts_of_the_log_stay_until_they_are_forgotten(envoy: EnvoyProxy, tmp_path: Path) -> None:
    port = free_port()
    async with backend() as app:
        await envoy.apply(snapshot(port, clusters=(cluster(app),), logged=True))
        await get(port, "/first")
        async with asyncio.timeout(20):
            while not (parts := await envoy.log()):
                await get(port, "/later")
        (first,) = parts
        assert next(each.path for each in first.served()) == "/first"
        await envoy.stop()
        again = EnvoyProxy(tmp_path / "envoy", clock=SystemClock(), log=quiet_log())
        (first, *_) = await again.log()
        assert next(each.path for each in first.served()) == "/first"

"""Envoy speaks TLS as an Application Load Balancer does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from backends import backend, free_port, free_ports, reply
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.machine.envoy import EnvoyProxy
from portside.cloud.machine.envoy_tls import KNOWN_CIPHERS
from portside.cloud.machine.proxy import (
    Cluster,
    Endpoint,
    FixedResponse,
    Forward,
    Listener,
    Match,
    ProxyError,
    Redirect,
    Route,
    ServerCertificate,
    Snapshot,
    Tls,
    VirtualHost,
)
from portside.cloud.services.certificates import authority
from portside.cloud.services.elbv2.ssl_policies import POLICIES
from portside.testing.server import quiet_log
from tls import Authority, curl, shake

HELLO = Route(Match(), FixedResponse(200, body="hello"))
HOME = "127.0.0.1"


@pytest.fixture(scope="module")
def trusted() -> Authority:
    return Authority()


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[EnvoyProxy]:
    proxy = EnvoyProxy(tmp_path / "envoy", clock=SystemClock(), log=quiet_log())
    yield proxy
    await proxy.stop()


def secured(port: int, tls: Tls, *routes: Route, **more: object) -> Listener:
    host = VirtualHost("main", ("*",), routes or (HELLO,), **more)  # type: ignore[arg-type]
    return Listener(HOME, port, (host,), tls)


def policy(name: str, *certificates: ServerCertificate) -> Tls:
    found = POLICIES[f"ELBSecurityPolicy-{name}"]
    older = tuple(each for each in found.ciphers if not each.startswith("TLS_"))
    return Tls(certificates, found.versions[-1], found.versions[0], older, hybrid=found.hybrid)


async def test_a_certificate_is_chosen_by_the_host_that_a_client_names(
    envoy: EnvoyProxy, trusted: Authority
) -> None:
    port = free_port()
    certificates = (
        trusted.certificate("default.example.com", algorithm="RSA_2048"),
        trusted.certificate("www.example.org", "example.org"),
        trusted.certificate("*.example.net"),
    )
    await envoy.apply(Snapshot((secured(port, Tls(certificates)),)))
    for name, shown in (
        ("default.example.com", "default.example.com"),
        ("www.example.org", "www.example.org"),
        ("example.org", "www.example.org"),
        ("a.example.net", "*.example.net"),
        # One label for the star, and the default where nothing fits or nothing is named.
        ("a.b.example.net", "default.example.com"),
        ("other.example.com", "default.example.com"),
        (None, "default.example.com"),
    ):
        assert (await shake(HOME, port, name)).names[0] == shown, name
    await shake(HOME, port, "www.example.org", trusted=trusted.pair.chain)


async def test_requests_over_http_2_with_the_headers_of_an_alb(
    envoy: EnvoyProxy, trusted: Authority, tmp_path: Path
) -> None:
    port = free_port()
    tls = Tls((trusted.certificate("shop.example.com"),))
    host = VirtualHost(
        "main",
        ("*",),
        (Route(Match(), Forward((("web", 1),))),),
        tls_headers=("x-amzn-tls-version", "x-amzn-tls-cipher-suite"),
    )
    async with backend() as app:
        snapshot = Snapshot((Listener(HOME, port, (host,), tls),), (Cluster("web", (Endpoint(HOME, app.port),)),))
        await envoy.apply(snapshot)
        where = ("--cacert", str(trusted.write(tmp_path)), "--resolve", f"shop.example.com:{port}:{HOME}")
        url = f"https://shop.example.com:{port}/a"
        assert await curl(*where, "-w", " %{http_version}", url) == "app 2"
        assert await curl(*where, "--http1.1", "-w", " %{http_version}", url) == "app 1.1"
        for line, seen in app.heads:
            assert line == "GET /a HTTP/1.1"
            assert seen["x-forwarded-proto"] == "https"
            assert seen["x-forwarded-port"] == str(port)
            assert seen["x-forwarded-for"] == HOME
            assert seen["host"].startswith("shop.example.com")
            assert seen["x-amzn-tls-version"] == "TLSv1.3"
            assert seen["x-amzn-tls-cipher-suite"].startswith("TLS_")
        # The attribute routing.http2.enabled takes HTTP/2 away.
        await envoy.apply(replace(snapshot, listeners=(Listener(HOME, port, (host,), replace(tls, http2=False)),)))
        assert (await shake(HOME, port, "shop.example.com")).alpn == "http/1.1"


async def test_every_security_policy_is_served_by_its_versions(envoy: EnvoyProxy, trusted: Authority) -> None:
    certificate = trusted.certificate("a.example.com", algorithm="RSA_2048")
    versions = {
        "TLSv1": ssl.TLSVersion.TLSv1,
        "TLSv1.1": ssl.TLSVersion.TLSv1_1,
        "TLSv1.2": ssl.TLSVersion.TLSv1_2,
        "TLSv1.3": ssl.TLSVersion.TLSv1_3,
    }
    ports = dict(zip(POLICIES, free_ports(len(POLICIES)), strict=True))
    short = {name: name.removeprefix("ELBSecurityPolicy-") for name in POLICIES}
    await envoy.apply(
        Snapshot(tuple(secured(port, policy(short[name], certificate)) for name, port in ports.items()))
    )
    for name, port in ports.items():
        served = set(POLICIES[name].versions)
        # The oldest and the newest version of each, and the ones just outside.
        order = list(versions)
        lowest, highest = order.index(POLICIES[name].versions[-1]), order.index(POLICIES[name].versions[0])
        for version in {order[i] for i in (lowest - 1, lowest, highest, highest + 1) if 0 <= i < len(order)}:
            try:
                shown = await shake(HOME, port, "a.example.com", only=versions[version])
            except (ssl.SSLError, ConnectionError):
                assert version not in served, (name, version)
                continue
            assert version in served, (name, version)
            assert shown.version == version
            if version != "TLSv1.3":
                assert shown.cipher in KNOWN_CIPHERS & set(POLICIES[name].ciphers), name


@pytest.mark.parametrize("algorithm", ["RSA_3072", "RSA_4096", "EC_secp384r1", "EC_secp521r1"])
async def test_keys_that_users_bring(envoy: EnvoyProxy, trusted: Authority, algorithm: str) -> None:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(authority.SIZES, "RSA_3072", 3072)
        patch.setitem(authority.SIZES, "RSA_4096", 4096)
        patch.setitem(authority.CURVES, "EC_secp521r1", "SECP521R1")
        certificate = trusted.certificate("a.example.com", algorithm=algorithm)
    await envoy.apply(Snapshot((secured(port, policy("2016-08", certificate)),)))
    await shake(HOME, port, "a.example.com", trusted=trusted.pair.chain)


async def test_headers_that_a_listener_puts_into_every_answer(envoy: EnvoyProxy, trusted: Authority) -> None:
    port = free_port()
    host = VirtualHost(
        "main",
        ("*",),
        (Route(Match(paths=("/fixed",)), FixedResponse(200)), Route(Match(), Forward((("web", 1),)))),
        response_headers=(("strict-transport-security", "max-age=60"), ("x-frame-options", "100%")),
        name_server=False,
    )
    tls = Tls((trusted.certificate("a.example.com"),))
    async with backend() as app:
        clusters = (Cluster("web", (Endpoint(HOME, app.port),)),)
        await envoy.apply(Snapshot((Listener(HOME, port, (host,), tls),), clusters))
        for path in ("fixed", ""):
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"https://{HOME}:{port}/{path}", ssl=False) as got,
            ):
                assert got.headers["strict-transport-security"] == "max-age=60"
                assert got.headers["x-frame-options"] == "100%"
                assert "server" not in got.headers


async def test_targets_that_speak_https_whoever_vouches_for_them(
    envoy: EnvoyProxy, tmp_path: Path, trusted: Authority
) -> None:
    port = free_port()
    host = VirtualHost("main", ("*",), (Route(Match(), Forward((("web", 1),))),))
    async with backend(context=trusted.context(tmp_path, "target.internal")) as app:
        clusters = (Cluster("web", (Endpoint(HOME, app.port),), tls=True),)
        await envoy.apply(Snapshot((Listener(HOME, port, (host,)),), clusters))
        async with aiohttp.ClientSession() as http, http.get(f"http://{HOME}:{port}/a") as answer:
            assert (answer.status, await answer.text()) == (200, "app")
        assert app.heads[0][1]["x-forwarded-proto"] == "http"
    # A target that does not speak TLS.
    server = await asyncio.start_server(lambda reader, writer: writer.close(), HOME, app.port)
    async with server, aiohttp.ClientSession() as http, http.get(f"http://{HOME}:{port}/a") as answer:
        assert answer.status == 502


async def test_a_request_without_tls_is_told_so(envoy: EnvoyProxy, trusted: Authority) -> None:
    port = free_port()
    tls = Tls((trusted.certificate("a.example.com"),))
    await envoy.apply(Snapshot((secured(port, tls),)))
    async with aiohttp.ClientSession() as http, http.get(f"http://{HOME}:{port}/") as answer:
        assert answer.status == 400
        assert "The plain HTTP request was sent to HTTPS port" in await answer.text()
        assert answer.headers["server"] == "awselb/2.0"


async def test_one_socket_for_https_and_http(envoy: EnvoyProxy, trusted: Authority) -> None:
    port = free_port()
    tls = Tls((trusted.certificate("a.example.com"),))
    plain = VirtualHost("plain", ("*",), (Route(Match(), FixedResponse(200, body="plain")),))
    await envoy.apply(Snapshot((secured(port, tls), Listener(HOME, port, (plain,)))))
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://{HOME}:{port}/") as answer:
            assert await answer.text() == "plain"
        async with http.get(f"https://{HOME}:{port}/", ssl=False) as answer:
            assert await answer.text() == "hello"


async def test_redirects_keep_or_change_the_protocol(envoy: EnvoyProxy, trusted: Authority) -> None:
    plain, port = free_port(), free_port()
    tls = Tls((trusted.certificate("a.example.com"),))
    onward = VirtualHost("main", ("*",), (Route(Match(), Redirect(301, protocol="HTTPS", port=port)),))
    routes = (
        Route(Match(paths=("/kept",)), Redirect(302, path="/new")),
        Route(Match(paths=("/query",)), Redirect(302, query="a=b")),
        HELLO,
    )
    await envoy.apply(Snapshot((Listener(HOME, plain, (onward,)), secured(port, tls, *routes))))

    async def location(url: str) -> str:
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, ssl=False, allow_redirects=False, headers={"Host": "a.example.com"}) as answer,
        ):
            return answer.headers["location"]

    assert await location(f"http://{HOME}:{plain}/x?y=z") == f"https://a.example.com:{port}/x?y=z"
    assert await location(f"https://{HOME}:{port}/kept") == f"https://a.example.com:{port}/new"
    assert (await location(f"https://{HOME}:{port}/query")).startswith("https://a.example.com")


async def test_another_certificate_takes_over_without_a_failed_request(
    envoy: EnvoyProxy, trusted: Authority, tmp_path: Path
) -> None:
    port, changed = free_port(), asyncio.Event()
    first, second = (
        trusted.certificate("a.example.com", serial=71),
        trusted.certificate("a.example.com", serial=72),
    )

    async def slow(
        line: str, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if "slow" in line:
            await changed.wait()
        writer.write(reply("app"))
        return True

    async with backend(answer=slow) as app:
        clusters = (Cluster("web", (Endpoint(HOME, app.port),)),)
        forward = Route(Match(), Forward((("web", 1),)))
        await envoy.apply(Snapshot((secured(port, Tls((first,)), forward),), clusters))
        assert (await shake(HOME, port, "a.example.com")).serial == 71
        done = asyncio.Event()
        statuses: list[int] = []

        async def ask() -> None:
            async with aiohttp.ClientSession() as http:
                while not done.is_set():
                    async with http.get(f"https://{HOME}:{port}/", ssl=False) as answer:
                        statuses.append(answer.status)

        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as running:
            slowly = running.create_task(_status(http, f"https://{HOME}:{port}/slow"))
            for _ in range(3):
                running.create_task(ask())
            while len(statuses) < 20:
                await asyncio.sleep(0.01)
            await envoy.apply(Snapshot((secured(port, Tls((second,)), forward),), clusters))
            assert (await shake(HOME, port, "a.example.com")).serial == 72
            # A request that was under way is still answered.
            changed.set()
            statuses.append(await slowly)
            done.set()
        assert set(statuses) == {200}
    keys = list((tmp_path / "envoy").glob("secret-*"))
    assert keys
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    # What is not served any more leaves no key behind.
    await envoy.apply(Snapshot())
    assert not list((tmp_path / "envoy").glob("secret-*"))


async def _status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url, ssl=False) as answer:
        return answer.status


async def test_a_certificate_that_envoy_refuses_leaves_the_other_listeners_alone(
    envoy: EnvoyProxy, trusted: Authority
) -> None:
    good, bad = free_port(), free_port()
    certificate, other = trusted.certificate("a.example.com"), trusted.certificate("a.example.com")
    mixed = ServerCertificate(certificate.names, certificate.chain, other.key)
    with pytest.raises(ProxyError, match=str(bad)) as refused:
        await envoy.apply(Snapshot((secured(good, Tls((certificate,))), secured(bad, Tls((mixed,))))))
    assert refused.value.missing == {("127.0.0.1", bad)}
    assert (await shake(HOME, good, "a.example.com")).names == ("a.example.com",)


async def test_failed_handshakes_are_counted(envoy: EnvoyProxy, trusted: Authority) -> None:
    port = free_port()
    await envoy.apply(Snapshot((secured(port, Tls((trusted.certificate("a.example.com"),))),)))
    with pytest.raises(ssl.SSLCertVerificationError):
        # The client goes away, for it trusts somebody else.
        await shake(HOME, port, "a.example.com", trusted=Authority().pair.chain)
    async with asyncio.timeout(10):
        while (await envoy.statistics()).sockets[HOME, port].not_agreed != 1:
            await asyncio.sleep(0.05)

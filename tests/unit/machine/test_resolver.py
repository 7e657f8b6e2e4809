"""The cloud's name server: its own names, and everything else from upstream."""

import asyncio
from collections.abc import Sequence

import dns.asyncquery
import dns.message
import dns.rcode
import dns.rdatatype

from portside.cloud.machine.resolver import Address, NameServer, system_servers
from portside.testing.server import quiet_log

OWN = {
    "web.internal.test": [Address("172.17.0.2", 8080), Address("172.17.0.3", 8080)],
    "gone.internal.test": [],
}


async def lookup(name: str) -> Sequence[Address] | None:
    if name == "broken.internal.test":
        raise RuntimeError("the ancillary services are away")
    return OWN.get(name)


async def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    how = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await how(query, "127.0.0.1", port=port, timeout=5)


async def test_its_own_names_are_answered_over_udp_and_tcp() -> None:
    server = NameServer(lookup, quiet_log(), upstream=[], port=0)
    server._port = 0
    await server.listen("127.0.0.1")
    try:
        answer = await ask(server.port, "WEB.internal.test")
        assert sorted(each.address for each in answer.answer[0]) == ["172.17.0.2", "172.17.0.3"]
        ports = await ask(server.port, "web.internal.test", "SRV")
        assert {(each.port, str(each.target)) for each in ports.answer[0]} == {
            (8080, "ip-172-17-0-2.web.internal.test."),
            (8080, "ip-172-17-0-3.web.internal.test."),
        }
        # A name of ours without an address of that family: no answer, but no "no such name" either.
        assert (await ask(server.port, "web.internal.test", "AAAA")).rcode() == dns.rcode.NOERROR
        assert (await ask(server.port, "gone.internal.test")).rcode() == dns.rcode.NXDOMAIN
        assert (await ask(server.port, "broken.internal.test")).rcode() == dns.rcode.SERVFAIL
    finally:
        await server.close()


async def test_other_names_are_passed_on_and_a_silent_upstream_is_a_failure() -> None:
    async def everything(name: str) -> Sequence[Address]:
        return [Address("10.1.2.3")]

    answer = await NameServer(everything, quiet_log(), upstream=[], port=0).answer(
        dns.message.make_query("example.com", "A").to_wire(), over_tcp=False
    )
    assert dns.message.from_wire(answer).answer[0][0].address == "10.1.2.3"
    nobody = NameServer(lookup, quiet_log(), upstream=["127.0.0.1"], port=0)
    wire = dns.message.make_query("example.com", "A").to_wire()
    async with asyncio.timeout(10):
        failed = dns.message.from_wire(await nobody.answer(wire, over_tcp=True))
    assert failed.rcode() == dns.rcode.SERVFAIL


async def test_what_is_no_query_gets_no_answer() -> None:
    assert await NameServer(lookup, quiet_log(), upstream=[]).answer(b"nonsense", over_tcp=False) == b""


def test_the_servers_of_this_machine(tmp_path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# a comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:1\n"
    )
    assert system_servers(path) == ["192.0.2.1", "192.0.2.2"]
    assert system_servers(tmp_path / "none") == []

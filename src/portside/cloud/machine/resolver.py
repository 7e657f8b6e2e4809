"""The name server that containers ask: it answers for the cloud's own names and passes everything else on.

Owns the sockets (UDP and TCP, one address) and the DNS wire format, which dnspython reads and writes. Which names
are the cloud's own is asked of `lookup`. An upstream that does not answer is reported as a failure, never as "no
such name".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portside.cloud.kernel.log import Log

PORT = 53
UPSTREAM_LIMIT = 3.0
TIME_TO_LIVE = 5
RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a name leads to. `port` 0: not said."""

    ip: str
    port: int = 0


# The addresses of one of the cloud's own names, in any order; None for a name that is not its own.
Lookup = Callable[[str], Awaitable[Sequence[Address] | None]]


class NameServer:
    """Use: `await NameServer(lookup, log).listen("172.17.0.1")`, then `close()`."""

    def __init__(self, lookup: Lookup, log: Log, upstream: Sequence[str] | None = None, port: int = PORT) -> None:
        self._lookup = lookup
        self._log = log.bind(part="names")
        self._upstream = list(upstream) if upstream is not None else system_servers()
        self._port = port
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, address: str) -> None:
        """Raises OSError when the port is taken or not allowed."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._datagram), local_addr=(address, self._port)
        )
        try:
            self._tcp = await asyncio.start_server(self._stream, address, self._port)
        except OSError:
            self._udp.close()
            raise

    @property
    def port(self) -> int:
        assert self._udp is not None
        return int(self._udp.get_extra_info("sockname")[1])

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _datagram(self, wire: bytes, peer: Any) -> None:
        task = asyncio.create_task(self._reply(wire, peer), name="names:answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, wire: bytes, peer: Any) -> None:
        answer = await self.answer(wire, over_tcp=False)
        if answer and self._udp is not None and not self._udp.is_closing():
            self._udp.sendto(answer, peer)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(10):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    wire = await reader.readexactly(size)
                answer = await self.answer(wire, over_tcp=True)
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            return
        finally:
            writer.close()

    async def answer(self, wire: bytes, *, over_tcp: bool) -> bytes:
        """The answer to one query; empty for what is no query."""
        import dns.exception
        import dns.message
        import dns.rcode

        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return b""
        name = question.name.to_text(omit_final_dot=True).lower()
        try:
            found = await self._lookup(name)
        except Exception as error:
            self._log.error("name not looked up", name=name, error=repr(error), exc_info=error)
            failed = dns.message.make_response(query)
            failed.set_rcode(dns.rcode.SERVFAIL)
            return bytes(failed.to_wire())
        if found is not None:
            return bytes(_own(query, question, found).to_wire())
        return await self._forward(query, over_tcp)

    async def _forward(self, query: Any, over_tcp: bool) -> bytes:
        import dns.asyncquery
        import dns.exception
        import dns.message
        import dns.rcode

        for server in self._upstream:
            try:
                ask = dns.asyncquery.tcp if over_tcp else dns.asyncquery.udp
                return bytes((await ask(query, server, timeout=UPSTREAM_LIMIT)).to_wire())
            except (dns.exception.DNSException, OSError) as error:
                self._log.info("upstream name server does not answer", server=server, error=repr(error))
        failed = dns.message.make_response(query)
        failed.set_rcode(dns.rcode.SERVFAIL)
        return bytes(failed.to_wire())


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Any], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)


def _own(query: Any, question: Any, found: Sequence[Address]) -> Any:
    """For a name of ours: its addresses, or the ports there, or that there is none."""
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rdatatype
    import dns.rrset

    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA | dns.flags.RA
    if not found:
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
    texts: list[str] = []
    if question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
        texts = sorted({each.ip for each in found})
        kind = "A"
    elif question.rdtype == dns.rdatatype.SRV:
        # The target of a record has to be a name; the address is in it, and is answered for as well.
        texts = [f"1 1 {each.port} {_host(each.ip, question.name.to_text())}" for each in found if each.port]
        kind = "SRV"
        for each in found:
            host = _host(each.ip, question.name.to_text())
            answer.additional.append(dns.rrset.from_text(host, TIME_TO_LIVE, "IN", "A", each.ip))
    if texts:
        answer.answer.append(dns.rrset.from_text(question.name, TIME_TO_LIVE, "IN", kind, *texts))
    return answer


def _host(ip: str, name: str) -> str:
    return f"ip-{ip.replace('.', '-')}.{name}"


def system_servers(path: Path = RESOLV_CONF) -> list[str]:
    """This machine's own name servers."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    words = (line.split() for line in lines)
    return [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]

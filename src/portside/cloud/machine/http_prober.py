"""Health checks over real connections: HTTP/1.1 on asyncio streams, plain or over TLS.

Owns the one request and the reading of its answer's head; implements `Prober`. What a result means is decided in
services/elbv2/health.py.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from functools import cache

from portside.cloud.machine.prober import Answered, ProbeResult, Refused, TimedOut

LARGEST_HEAD = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r|$)")


class HttpProber:
    """Checks a target the way Elastic Load Balancing does: one connection for one request."""

    async def probe(
        self, address: str, port: int, path: str, timeout: float, host: str, *, secure: bool = False
    ) -> ProbeResult:
        try:
            async with asyncio.timeout(timeout):
                return await _ask(address, port, path, host, secure)
        except TimeoutError:
            return TimedOut()
        except OSError as error:
            return Refused(error.strerror or str(error))


@cache
def _trusting() -> ssl.SSLContext:
    """Load balancers take any certificate of a target."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


async def _ask(address: str, port: int, path: str, host: str, secure: bool) -> ProbeResult:
    context = _trusting() if secure else None
    reader, writer = await asyncio.open_connection(address, port, limit=LARGEST_HEAD, ssl=context)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
        writer.write((head + "Accept-Encoding: gzip, compressed\r\n\r\n").encode())
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return Refused("the connection ended before the answer did")
        except asyncio.LimitOverrunError:
            return Refused("the answer's headers are too long")
        found = _STATUS.match(answer)
        return Refused("the answer is not HTTP") if found is None else Answered(int(found[1]))
    finally:
        writer.transport.abort()

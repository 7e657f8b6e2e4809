"""One health check of one target: a real HTTP request, and what came back.

Owns the I/O only; what a result means is decided in services/elbv2/health.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answered:
    """The target answered with this status code."""

    status: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No complete answer within the time-out."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Connection refused or reset, or an answer that is not HTTP."""

    reason: str


ProbeResult = Answered | TimedOut | Refused


class Prober(Protocol):
    async def probe(
        self, address: str, port: int, path: str, timeout: float, host: str, *, secure: bool = False
    ) -> ProbeResult:
        """GET `path` with HTTP/1.1 and `Connection: close`; `host` is the Host header. `secure`: over TLS,
        whatever certificate the target shows. Never raises."""
        ...

"""A prober without a network: answers as it was told to, and remembers what it was asked."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from portside.cloud.kernel.clock import Clock
from portside.cloud.machine.prober import Answered, ProbeResult, Refused


@dataclass(frozen=True, slots=True)
class Probe:
    """One question, and when it came."""

    at: float
    address: str
    port: int
    path: str
    host: str
    secure: bool = False


class FakeProber:
    """`answers` holds what each (address, port) says; `script` what it says next, before that."""

    def __init__(self, clock: Clock, default: ProbeResult | None = None) -> None:
        self._clock = clock
        self._default = default or Refused("nothing listens there")
        self.answers: dict[tuple[str, int], ProbeResult] = {}
        self._scripts: dict[tuple[str, int], deque[ProbeResult]] = {}
        self.probes: list[Probe] = []

    def says(self, address: str, port: int, result: ProbeResult | int) -> None:
        """From now on; a number is a status code."""
        self.answers[address, port] = Answered(result) if isinstance(result, int) else result

    def script(self, address: str, port: int, *results: ProbeResult | int) -> None:
        """One result after the other, then what it says always."""
        queue = self._scripts.setdefault((address, port), deque())
        queue.extend(Answered(each) if isinstance(each, int) else each for each in results)

    async def probe(
        self, address: str, port: int, path: str, timeout: float, host: str, *, secure: bool = False
    ) -> ProbeResult:
        self.probes.append(Probe(self._clock.now(), address, port, path, host, secure))
        queue = self._scripts.get((address, port))
        if queue:
            return queue.popleft()
        return self.answers.get((address, port), self._default)

"""A machine without containers and sockets, for a whole cloud in one process.

Every image that is asked for is there and runs for ever, and every target answers its health check with 200, so
that what a template comes to depends on the template alone.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.machine.prober import Answered
from portside.testing.engine import RUNS, FakeEngine, Program
from portside.testing.prober import FakeProber
from portside.testing.proxy import FakeProxy


class EveryImage(dict[str, Program]):
    """A registry in which any name is an image that runs."""

    def get(self, key: str, default: object = None) -> Program:
        return super().get(key, RUNS)


class FakeMachine:
    """Implements `Machine`."""

    engine_host = "unix:///nowhere.sock"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._engine = FakeEngine(clock)
        self._engine.remote = EveryImage()

    def engine(self) -> FakeEngine:
        return self._engine

    def proxy(self) -> FakeProxy:
        return FakeProxy()

    def prober(self) -> FakeProber:
        return FakeProber(self._clock, Answered(200))

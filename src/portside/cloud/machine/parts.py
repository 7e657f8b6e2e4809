"""The parts of this machine that a cloud runs on: container engine, proxy, prober.

Owns which ones a cloud uses. All are made when they are first asked for, so that an idle cloud stays small.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from portside import engines
from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.log import Log

if TYPE_CHECKING:
    from portside.cloud.machine.engine import Engine
    from portside.cloud.machine.prober import Prober
    from portside.cloud.machine.proxy import Proxy


class Machine(Protocol):
    """What the front needs of a machine; the tests have one without containers and sockets."""

    @property
    def engine_host(self) -> str:
        """As DOCKER_HOST has it. With none that answers, the usual one: an engine may be started later."""
        ...

    def engine(self) -> Engine:
        """The engine, which all services share."""
        ...

    def proxy(self) -> Proxy: ...

    def prober(self) -> Prober: ...


class LocalMachine:
    """Docker, Envoy and HTTP. `engine_host` is empty where the machine is to be searched for an engine."""

    def __init__(self, *, engine_host: str, state: Path, clock: Clock, log: Log) -> None:
        self._given = engine_host
        self._state = state
        self._clock = clock
        self._log = log
        self._engine: Engine | None = None

    @property
    def engine_host(self) -> str:
        if not self._given:
            self._given = engines.find(os.environ, Path.home()) or ""
        return self._given or engines.candidates(os.environ, Path.home())[0]

    def engine(self) -> Engine:
        if self._engine is None:
            from portside.cloud.machine.docker import DockerEngine

            self._engine = DockerEngine(self.engine_host, self._log)
        return self._engine

    def proxy(self) -> Proxy:
        from portside.cloud.machine.envoy import EnvoyProxy

        return EnvoyProxy(self._state / "envoy", clock=self._clock, log=self._log)

    def prober(self) -> Prober:
        from portside.cloud.machine.http_prober import HttpProber

        return HttpProber()

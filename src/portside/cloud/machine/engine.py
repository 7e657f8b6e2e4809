"""The container engine, as the services see it.

Owns the vocabulary: what is asked for (`ContainerSpec`, a plain value that tests compare), what is observed
(`ContainerState`), and the four ways an engine says no. `docker.py` speaks to a real engine;
`portside.testing.engine` is the fake, and tests/conformance holds both to the same behaviour.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class EngineError(Exception):
    """What an engine answered when it could not do what was asked. `reason` is its own sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Missing(EngineError):
    """The container, image or network does not exist."""


class Conflict(EngineError):
    """The name or the port is taken, or the state does not allow it."""


class Unavailable(EngineError):
    """The engine did not answer, or not in time. Worth trying again."""


class Rejected(EngineError):
    """The engine refused the request itself. Trying again will not help."""


@dataclass(frozen=True, slots=True)
class PortBinding:
    """Publish `container_port` on `host_ip:host_port` (0: the engine picks a free one)."""

    container_port: int
    host_ip: str
    host_port: int = 0
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The engine runs `test` (`("CMD", ...)` or `("CMD-SHELL", "...")`) in the container. In seconds."""

    test: tuple[str, ...]
    interval: int = 30
    timeout: int = 5
    retries: int = 3
    start_period: int = 0


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit of the container's processes, only ever set when a user asks for it."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to create. Memory in MiB, CPU in the 1024-per-core units of ECS. None: not limited.

    Without `health_check` the one that the image may bring is switched off, as on ECS. `network` may be another
    container's (`container:<id>`); `also` are further networks. `binds` have the form `volume:/path[:options]`.
    """

    name: str
    image: str
    labels: Mapping[str, str]
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    # May hold secrets, so it is never printed.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[PortBinding, ...] = ()
    cpu_shares: int | None = None
    memory: int | None = None
    memory_reservation: int | None = None
    network: str | None = None
    hostname: str | None = None
    user: str | None = None
    working_directory: str | None = None
    stop_signal: str | None = None
    init: bool = False
    read_only: bool = False
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[str, ...] = ()
    health_check: HealthCheck | None = None
    ulimits: tuple[Ulimit, ...] = ()
    also: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    volumes_from: tuple[str, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    shared_memory: int | None = None
    swap: int | None = None
    swappiness: int | None = None
    capabilities_added: tuple[str, ...] = ()
    capabilities_dropped: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    interactive: bool = False
    terminal: bool = False
    process_namespace: str = ""
    ipc_namespace: str = ""


class Health(StrEnum):
    """What the container's own health check says; NONE when it has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Phase(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container as the engine sees it. `started_at`/`finished_at` in epoch seconds, 0 when not yet."""

    id: str
    name: str
    labels: Mapping[str, str]
    phase: Phase
    image: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    error: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    ports: tuple[PortBinding, ...] = ()
    address: str = ""
    health: Health = Health.NONE


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """What a container has used: seconds of one core since it started, and bytes of memory at `at`, without what
    the system only caches for it. `memory_limit` is 0 where there is none; `cores` is how many it may use.
    `document` is the whole answer, in the shape of Docker's `GET /containers/{id}/stats`."""

    cpu: float
    memory: int
    memory_limit: int
    cores: int
    at: float
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container's output. `at` is the engine's time stamp in epoch seconds.

    Lines come in the order in which the engine took them, in which the two streams' time stamps may cross.
    """

    at: float
    text: str
    stream: str = "stdout"


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something happened to a container that carries one of our labels (`start`, `die`, `oom`, `destroy`,
    `health`)."""

    action: str
    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine is. `bridge` is the address at which containers reach the host, empty if unknown;
    `architecture` is the kernel's word (`x86_64`, `aarch64`)."""

    name: str
    version: str
    cpus: int
    memory: int
    bridge: str
    local: bool
    architecture: str = "x86_64"


class Terminal(Protocol):
    """A process that was started in a running container besides its own."""

    async def send(self, data: bytes) -> None:
        """Its input."""
        ...

    async def end_input(self) -> None: ...

    async def receive(self) -> bytes | None:
        """The next of its output; None when it has ended."""
        ...

    async def resize(self, columns: int, rows: int) -> None: ...

    async def exit_code(self) -> int:
        """Once it has ended."""
        ...

    async def close(self) -> None:
        """Hang up. A process with a terminal is told so."""
        ...


class Engine(Protocol):
    """A Docker Engine API. Every call has a time limit and raises only EngineError."""

    async def info(self) -> EngineInfo: ...

    async def image_id(self, reference: str) -> str | None:
        """The id of a local image, None when it is not there."""
        ...

    async def image_digests(self, reference: str) -> tuple[str, ...]:
        """The manifest digests (`sha256:...`) that registries know a local image by; empty if none."""
        ...

    async def pull(self, reference: str, username: str = "", password: str = "") -> None: ...

    async def load(self, archive: AsyncIterator[bytes]) -> None:
        """Load images from a docker-archive tar stream."""
        ...

    async def remove_image(self, reference: str) -> None: ...

    async def create(self, spec: ContainerSpec) -> str:
        """Create, not start; returns the container's id."""
        ...

    async def start(self, container: str) -> None: ...

    async def stop(self, container: str, grace: int) -> None:
        """SIGTERM (or the stop signal), then SIGKILL after `grace` seconds; returns when it has exited."""
        ...

    async def remove(self, container: str) -> None:
        """Remove by force. A missing container counts as removed."""
        ...

    async def inspect(self, container: str) -> ContainerState: ...

    async def containers(self, labels: Mapping[str, str]) -> list[ContainerState]:
        """Every container, running or not, that carries all these labels."""
        ...

    async def stats(self, container: str) -> ContainerStats:
        """What a running container uses. Conflict when it does not run."""
        ...

    def logs(self, container: str, since: float, follow: bool) -> AsyncIterator[LogLine]:
        """The output from `since` on (inclusive). `follow` goes on until the container has exited."""
        ...

    async def put_archive(self, container: str, path: str, archive: AsyncIterator[bytes]) -> None:
        """Unpack a tar stream into the directory `path` of a container, running or not."""
        ...

    def get_archive(self, container: str, path: str) -> AsyncIterator[bytes]:
        """A file or directory of a container, running or not, as a tar stream; names begin with its last part.
        Missing if there is none."""
        ...

    def events(self, labels: Mapping[str, str]) -> AsyncIterator[ContainerEvent]:
        """Events from now on; ends or raises Unavailable when the engine goes away."""
        ...

    async def execute(self, container: str, command: tuple[str, ...], *, terminal: bool) -> Terminal:
        """Run `command` in a running container. Conflict when it does not run."""
        ...

    async def create_network(
        self, name: str, labels: Mapping[str, str], *, subnet: str = "", gateway: str = "", internal: bool = False
    ) -> None:
        """`internal`: without a way out. Conflict if the name exists, or the addresses are taken."""
        ...

    async def remove_network(self, name: str) -> None: ...

    async def networks(self, labels: Mapping[str, str]) -> list[str]: ...

    async def create_volume(
        self, name: str, labels: Mapping[str, str], driver: str = "", options: Mapping[str, str] | None = None
    ) -> None:
        """One that exists already stays as it is."""
        ...

    async def remove_volume(self, name: str) -> None:
        """A missing volume counts as removed. Conflict while a container has it."""
        ...

    async def volumes(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """The volumes that carry these labels: all labels by name."""
        ...

    async def close(self) -> None: ...

"""A container engine in memory, for tests: scripted programs instead of images.

Keeps to the behaviour that tests/conformance/test_engine.py demands of Docker as well. A program is what the
process in a container does: print lines, run for a while or for ever, end with a code.
"""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from portside.cloud.kernel.clock import Clock
from portside.cloud.machine.engine import (
    Conflict,
    ContainerEvent,
    ContainerSpec,
    ContainerState,
    ContainerStats,
    EngineInfo,
    Health,
    LogLine,
    Missing,
    Phase,
    PortBinding,
    Rejected,
    Unavailable,
)

FIRST_PORT = 32768
KILLED = 137


@dataclass(frozen=True, slots=True)
class Program:
    """Prints `output` when started, then runs `seconds` (None: for ever) and ends with `code`.

    `stop_code` is how it ends at SIGTERM, None if it ignores it. `healthy_after` is for containers with a
    health check: seconds until it passes, None if it never does. `start_error` makes the start fail. It keeps
    `cores` busy while it runs, and holds `memory` bytes.
    """

    output: tuple[str, ...] = ()
    seconds: float | None = None
    code: int = 0
    stop_code: int | None = 0
    healthy_after: float | None = 0.0
    start_error: str = ""
    out_of_memory: bool = False
    cores: float = 0.0
    memory: int = 2**20


class FakeTerminal:
    """A process of a fake container: it gives back what it is sent, `exit` ends it."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.command = command
        self.size = (0, 0)
        self.closed = False
        self._output: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._code = 0
        if command[:1] == ("echo",):
            self._output.put_nowait((" ".join(command[1:]) + "\n").encode())
            self._output.put_nowait(None)

    async def send(self, data: bytes) -> None:
        word, _, code = data.decode().strip().partition(" ")
        if word == "exit":
            self._code = int(code or 0)
            self._output.put_nowait(None)
        else:
            self._output.put_nowait(data)

    async def end_input(self) -> None:
        self._output.put_nowait(None)

    async def receive(self) -> bytes | None:
        return await self._output.get()

    async def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)

    async def exit_code(self) -> int:
        return self._code

    async def close(self) -> None:
        self.closed = True
        self._output.put_nowait(None)


RUNS = Program()
EXITS = Program(seconds=0.0, code=1)


class FakeEngine:
    """Implements `Engine`. `programs` maps image references to programs; other images do not exist.

    `available = False` makes every call raise Unavailable until it is True again.
    """

    def __init__(self, clock: Clock, programs: Mapping[str, Program] | None = None) -> None:
        self.clock = clock
        self.programs: dict[str, Program] = dict(programs or {})
        self.remote: dict[str, Program] = {}
        self._identities: dict[str, str] = {}  # of the images that were loaded, by name
        self.available = True
        self.taken_ports: set[tuple[str, int]] = set()
        self.created: list[ContainerSpec] = []
        self.pulled: list[str] = []
        self._number = 0
        self._specs: dict[str, ContainerSpec] = {}
        self._states: dict[str, ContainerState] = {}
        self._lines: dict[str, list[LogLine]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._files: dict[str, dict[str, bytes]] = {}
        self._networks: dict[str, tuple[dict[str, str], str]] = {}
        self._volumes: dict[str, dict[str, str]] = {}
        self.terminals: list[FakeTerminal] = []
        self._loads: dict[str, tuple[float, float, int]] = {}  # seconds used, cores busy now, bytes held
        self._loaded_at: dict[str, float] = {}
        self._listeners: list[asyncio.Queue[ContainerEvent | None]] = []
        self._changed = asyncio.Event()

    # Scripting

    def print(self, container: str, *texts: str) -> None:
        """Output of a running container."""
        self._lines[container] += [LogLine(self.clock.now(), text) for text in texts]
        self._signal()

    def set_load(self, container: str, *, cores: float | None = None, memory: int | None = None) -> None:
        """From now on a running container keeps so many cores busy, and holds so many bytes."""
        used, before, held = self._used(container)
        self._loads[container] = (
            used,
            before if cores is None else cores,
            held if memory is None else memory,
        )
        self._loaded_at[container] = self.clock.now()

    def kill(self, container: str, code: int = KILLED) -> None:
        """As if the process had been killed from outside."""
        self._exit(container, code)

    def set_health(self, container: str, health: Health) -> None:
        self._states[container] = replace(self._states[container], health=health)
        self._emit("health", container)

    def go_away(self) -> None:
        """Stop answering and break every open stream."""
        self.available = False
        for queue in self._listeners:
            queue.put_nowait(None)
        self._signal()

    @property
    def states(self) -> list[ContainerState]:
        return list(self._states.values())

    @property
    def running(self) -> list[ContainerState]:
        return [state for state in self._states.values() if state.phase is Phase.RUNNING]

    def spec(self, container: str) -> ContainerSpec:
        return self._specs[container]

    def files(self, container: str) -> dict[str, bytes]:
        """Files of a container by absolute path. Tests may add what its program would have written."""
        return self._files.setdefault(container, {})

    # Engine

    async def info(self) -> EngineInfo:
        self._answer()
        return EngineInfo("fake", "0", 2, 8192, "172.17.0.1", True)

    async def image_id(self, reference: str) -> str | None:
        self._answer()
        return f"sha256:id-{_known(reference)}" if self._program(reference) is not None else None

    async def image_digests(self, reference: str) -> tuple[str, ...]:
        self._answer()
        return (f"sha256:digest-{_known(reference)}",) if self._program(reference) is not None else ()

    async def pull(self, reference: str, username: str = "", password: str = "") -> None:
        self._answer()
        self.pulled.append(reference)
        name = reference.partition("@")[0]
        program = self.remote.get(reference) or self.remote.get(name)
        if program is None:
            raise Missing(f"manifest for {reference} not found: manifest unknown")
        self.programs[reference] = program

    async def load(self, archive: AsyncIterator[bytes]) -> None:
        self._answer()
        content = b"".join([chunk async for chunk in archive])
        # Tests may hand over a bare name instead of an archive.
        named = _images(content) if content[257:262] == b"ustar" else [(content.decode(), "")]
        for name, identity in named:
            self.programs[name] = self.remote.get(name, RUNS)
            if identity:
                self.programs[identity] = self.programs[name]
                self._identities[name] = identity

    async def remove_image(self, reference: str) -> None:
        self._answer()
        self.programs.pop(reference, None)
        self.programs.pop(self._identities.pop(reference, ""), None)

    async def create(self, spec: ContainerSpec) -> str:
        self._answer()
        if self._program(spec.image) is None:
            raise Missing(f"No such image: {spec.image}")
        if any(state.name == spec.name for state in self._states.values()):
            raise Conflict(f'Conflict. The container name "/{spec.name}" is already in use')
        if spec.memory is not None and spec.memory < 4:
            raise Rejected("Minimum memory limit allowed is 6MB")
        self._number += 1
        container = f"{self._number:064x}"
        self.created.append(spec)
        self._specs[container] = spec
        self._lines[container] = []
        health = Health.NONE if spec.health_check is None else Health.STARTING
        self._states[container] = ContainerState(
            container, spec.name, dict(spec.labels), Phase.CREATED, image=spec.image, health=health
        )
        return container

    async def start(self, container: str) -> None:
        self._answer()
        state, spec = self._state(container), self._specs[self._state(container).id]
        if state.phase is Phase.RUNNING:
            return
        program = self._program(spec.image) or RUNS
        if program.start_error:
            raise Rejected(program.start_error)
        for network in spec.also:
            if network not in self._networks:
                raise Missing(f"network {network} not found")
        ports = tuple(self._publish(port) for port in spec.ports)
        now = self.clock.now()
        self._states[state.id] = replace(
            state, phase=Phase.RUNNING, started_at=now, ports=ports, address=self._address(spec)
        )
        self._loads[state.id] = (0.0, program.cores, program.memory)
        self._loaded_at[state.id] = now
        self._emit("start", state.id)
        self.print(state.id, *program.output)
        self._running[state.id] = asyncio.create_task(self._run(state.id, program), name=f"program:{spec.name}")

    def _address(self, spec: ContainerSpec) -> str:
        if spec.network not in (None, "bridge"):
            return ""
        used = {state.address for state in self.running}
        return next(each for n in range(2, 65000) if (each := f"172.17.{n // 256}.{n % 256}") not in used)

    def _publish(self, port: PortBinding) -> PortBinding:
        used = {(p.host_ip, p.host_port) for s in self.running for p in s.ports} | self.taken_ports
        number = port.host_port
        if number == 0:
            number = next(n for n in range(FIRST_PORT, 61000) if (port.host_ip, n) not in used)
        elif (port.host_ip, number) in used:
            raise Conflict(f"Bind for {port.host_ip}:{number} failed: port is already allocated")
        return replace(port, host_port=number)

    async def _run(self, container: str, program: Program) -> None:
        start = self.clock.now()
        if self._specs[container].health_check is not None and program.healthy_after is not None:
            await self.clock.sleep_until(start + program.healthy_after)
            if self._states[container].phase is Phase.RUNNING:
                self.set_health(container, Health.HEALTHY)
        if program.seconds is not None:
            await self.clock.sleep_until(start + program.seconds)
            self._exit(container, program.code, program.out_of_memory)

    async def stop(self, container: str, grace: int) -> None:
        self._answer()
        state = self._state(container)
        if state.phase is not Phase.RUNNING:
            return
        program = self._program(self._specs[state.id].image) or RUNS
        if program.stop_code is None:
            await self.clock.sleep_until(self.clock.now() + grace)
            self._exit(state.id, KILLED)
        else:
            self._exit(state.id, program.stop_code)

    async def remove(self, container: str) -> None:
        self._answer()
        found = self._find(container)
        if found is None:
            return
        self._exit(found.id, KILLED)
        self._emit("destroy", found.id)
        del self._states[found.id]
        self._signal()

    async def inspect(self, container: str) -> ContainerState:
        self._answer()
        return self._state(container)

    async def containers(self, labels: Mapping[str, str]) -> list[ContainerState]:
        self._answer()
        return [state for state in self._states.values() if _carries(state.labels, labels)]

    async def stats(self, container: str) -> ContainerStats:
        self._answer()
        state = self._state(container)
        if state.phase is not Phase.RUNNING:
            raise Conflict(f"Container {container} is not running")
        used, _, held = self._used(state.id)
        limit = (self._specs[state.id].memory or 0) * 2**20
        document = {
            "id": state.id,
            "cpu_stats": {"cpu_usage": {"total_usage": int(used * 1e9)}, "online_cpus": 2},
            "memory_stats": {"usage": held, "limit": limit},
        }
        return ContainerStats(used, held, limit, 2, self.clock.now(), document)

    def _used(self, container: str) -> tuple[float, float, int]:
        """Up to now: seconds of a core, cores busy, bytes held."""
        used, cores, held = self._loads[container]
        return used + cores * (self.clock.now() - self._loaded_at[container]), cores, held

    async def logs(self, container: str, since: float, follow: bool) -> AsyncIterator[LogLine]:
        self._answer()
        state = self._state(container)
        lines = self._lines[state.id]
        position = 0
        while True:
            while position < len(lines):
                if lines[position].at >= since:
                    yield lines[position]
                position += 1
            present = self._states.get(state.id)
            if not follow or present is None or present.phase is not Phase.RUNNING:
                return
            await self._changed.wait()
            self._answer()

    async def put_archive(self, container: str, path: str, archive: AsyncIterator[bytes]) -> None:
        self._answer()
        state = self._state(container)
        content = io.BytesIO(b"".join([chunk async for chunk in archive]))
        with tarfile.open(fileobj=content) as tar:
            for member in tar:
                found = tar.extractfile(member) if member.isfile() else None
                if found is not None:
                    self.files(state.id)[str(PurePosixPath(path, member.name))] = found.read()

    async def get_archive(self, container: str, path: str) -> AsyncIterator[bytes]:
        self._answer()
        files = self.files(self._state(container).id)
        root = PurePosixPath(path)
        inside = {name: data for name, data in files.items() if PurePosixPath(name).is_relative_to(root)}
        if not inside:
            raise Missing(f"Could not find the file {path} in container {container}")
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            for name, data in inside.items():
                member = tarfile.TarInfo(str(PurePosixPath(root.name, PurePosixPath(name).relative_to(root))))
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        yield content.getvalue()

    async def events(self, labels: Mapping[str, str]) -> AsyncIterator[ContainerEvent]:
        self._answer()
        queue: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while (event := await queue.get()) is not None:
                if _carries(event.labels, labels):
                    yield event
            raise Unavailable("the engine went away")
        finally:
            self._listeners.remove(queue)

    async def execute(self, container: str, command: tuple[str, ...], *, terminal: bool) -> FakeTerminal:
        self._answer()
        if self._state(container).phase is not Phase.RUNNING:
            raise Conflict(f"Container {container} is not running")
        made = FakeTerminal(command)
        self.terminals.append(made)
        return made

    async def create_network(
        self, name: str, labels: Mapping[str, str], *, subnet: str = "", gateway: str = "", internal: bool = False
    ) -> None:
        self._answer()
        if name in self._networks:
            raise Conflict(f"network with name {name} already exists")
        if subnet and any(subnet == taken for _, taken in self._networks.values()):
            raise Conflict("Pool overlaps with other one on this address space")
        self._networks[name] = (dict(labels), subnet)

    async def remove_network(self, name: str) -> None:
        self._answer()
        self._networks.pop(name, None)

    async def networks(self, labels: Mapping[str, str]) -> list[str]:
        self._answer()
        return [name for name, (carried, _) in self._networks.items() if _carries(carried, labels)]

    async def create_volume(
        self, name: str, labels: Mapping[str, str], driver: str = "", options: Mapping[str, str] | None = None
    ) -> None:
        self._answer()
        self._volumes.setdefault(name, dict(labels))

    async def remove_volume(self, name: str) -> None:
        self._answer()
        if any(name == bind.partition(":")[0] for each in self._states for bind in self._specs[each].binds):
            raise Conflict(f"volume {name} is in use")
        self._volumes.pop(name, None)

    async def volumes(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        self._answer()
        return {name: carried for name, carried in self._volumes.items() if _carries(carried, labels)}

    async def close(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inside

    def _answer(self) -> None:
        if not self.available:
            raise Unavailable("the container engine does not answer")

    def _program(self, image: str) -> Program | None:
        known = _known(image)
        return None if known is None else self.programs.get(image) or self.programs.get(known)

    def _find(self, container: str) -> ContainerState | None:
        for state in self._states.values():
            if container in (state.id, state.name):
                return state
        return None

    def _state(self, container: str) -> ContainerState:
        found = self._find(container)
        if found is None:
            raise Missing(f"No such container: {container}")
        return found

    def _exit(self, container: str, code: int, out_of_memory: bool = False) -> None:
        state = self._states.get(container)
        if state is None or state.phase is not Phase.RUNNING:
            return
        self._states[container] = replace(
            state,
            phase=Phase.EXITED,
            exit_code=code,
            finished_at=self.clock.now(),
            ports=(),
            out_of_memory=out_of_memory,
        )
        task = self._running.pop(container, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._emit("die", container)
        self._signal()

    def _emit(self, action: str, container: str) -> None:
        event = ContainerEvent(action, container, self._states[container].labels)
        for queue in self._listeners:
            queue.put_nowait(event)

    def _signal(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _known(image: str) -> str | None:
    """The name under which an image is known: that of its tag, also when it is asked for by id or digest."""
    name, _, digest = image.removeprefix("sha256:id-").partition("@")
    tagged = digest.removeprefix("sha256:digest-")
    if digest and name not in (tagged, tagged.rpartition(":")[0]):
        return None
    return tagged or name


def _images(archive: bytes) -> list[tuple[str, str]]:
    """The names of the images in a docker-archive, each with its id, by which its configuration is named."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        return [
            (tag, "sha256:" + image["Config"].removesuffix(".json"))
            for image in json.load(manifest)
            for tag in image["RepoTags"]
        ]


def _carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())

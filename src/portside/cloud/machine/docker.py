"""The engine over a Docker Engine API socket: Docker, Podman, Colima.

Owns the calls and the time limit of each; the documents that they carry are translated in `docker_documents.py`.
Decides nothing. aiodocker is imported at the first call, so that an idle cloud stays small.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from portside.cloud.kernel.log import Log
from portside.cloud.machine.docker_documents import (
    MIB,
    create_document,
    demultiplex,
    event_of,
    state_of,
    stats_of,
    translate,
)
from portside.cloud.machine.engine import (
    Conflict,
    ContainerEvent,
    ContainerSpec,
    ContainerState,
    ContainerStats,
    EngineInfo,
    LogLine,
    Missing,
    Rejected,
    Terminal,
    Unavailable,
)

QUICK = 20.0  # everything that an engine answers from memory
CREATE = 60.0  # may have to set up a snapshot
START = 60.0
STOP_MARGIN = 30.0  # on top of the grace that the container gets
LOAD = 600.0
ARCHIVE = 900.0
PULL = 1800.0
# How far before its newest line the output of a container that has exited is read a second time.
AGAIN = 1.0


# What a cgroup set-up may be unable to do, and the words that engines then answer with.
_RESOURCES = ("Memory", "MemoryReservation", "CpuShares")
_RESOURCE_WORDS = ("cgroup", "memory limit", "memory reservation", "cpu shares", "controller", "kernel does not")


class DockerEngine:
    """Implements `Engine`. `host` is what DOCKER_HOST would hold, e.g. `unix:///var/run/docker.sock`."""

    def __init__(self, host: str, log: Log) -> None:
        self._host = host
        self._log = log.bind(engine=host)
        self._client: Any = None
        self._opening = asyncio.Lock()

    # Information

    async def info(self) -> EngineInfo:
        found = await self._json("info")
        bridge = ""
        try:
            network = await self._json("networks/bridge")
            for entry in (network.get("IPAM") or {}).get("Config") or []:
                bridge = entry.get("Gateway") or bridge
        except Missing:
            pass  # Podman has no network of that name
        return EngineInfo(
            name=found.get("Name") or "",
            version=found.get("ServerVersion") or "",
            cpus=int(found.get("NCPU") or 1),
            memory=int(found.get("MemTotal") or 0) // MIB,
            bridge=bridge,
            architecture=str(found.get("Architecture") or "x86_64"),
            local=self._host.startswith("unix://") and "desktop" not in str(found.get("OperatingSystem")).lower(),
        )

    # Images

    async def image_id(self, reference: str) -> str | None:
        found = await self._image(reference)
        return None if found is None else str(found["Id"])

    async def image_digests(self, reference: str) -> tuple[str, ...]:
        found = await self._image(reference) or {}
        return tuple(name.rpartition("@")[2] for name in found.get("RepoDigests") or [])

    async def _image(self, reference: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._json(f"images/{reference}/json")
            return found
        except Missing:
            return None

    async def pull(self, reference: str, username: str = "", password: str = "") -> None:
        headers = {}
        if username:
            import base64

            document = json.dumps({"username": username, "password": password}).encode()
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(document).decode()
        name, _, tag = reference.rpartition(":")
        if "@" in reference or not name or "/" in tag:
            params = {"fromImage": reference} if "@" in reference else {"fromImage": reference, "tag": "latest"}
        else:
            params = {"fromImage": name, "tag": tag}
        async with (
            self._limited(PULL, "pull an image"),
            self._call("images/create", "POST", params=params, headers=headers) as answer,
        ):
            await _drain(answer)

    async def load(self, archive: AsyncIterator[bytes]) -> None:
        headers = {"content-type": "application/x-tar"}
        async with (
            self._limited(LOAD, "load an image"),
            self._call("images/load", "POST", params={"quiet": "1"}, data=archive, headers=headers) as answer,
        ):
            await _drain(answer)

    async def remove_image(self, reference: str) -> None:
        try:
            await self._json(f"images/{reference}", "DELETE", limit=CREATE)
        except Missing:
            return

    # Containers

    async def create(self, spec: ContainerSpec) -> str:
        container = await self._create_limited(spec)
        try:
            for network in spec.also:
                body = json.dumps({"Container": container}).encode()
                await self._json(f"networks/{network}/connect", "POST", data=body, limit=CREATE)
        except BaseException:
            await self.remove(container)
            raise
        return container

    async def _create_limited(self, spec: ContainerSpec) -> str:
        document = create_document(spec)
        try:
            return await self._create(spec.name, document)
        except Rejected as error:
            host = document["HostConfig"]
            present = [key for key in _RESOURCES if host.get(key)]
            if not present or not any(word in error.reason.lower() for word in _RESOURCE_WORDS):
                raise
            self._log.warning("limits not applied", container=spec.name, limits=present, reason=error.reason)
            for key in present:
                del host[key]
            return await self._create(spec.name, document)

    async def _create(self, name: str, document: dict[str, Any]) -> str:
        answer = await self._json(
            "containers/create", "POST", params={"name": name}, data=json.dumps(document).encode(), limit=CREATE
        )
        return str(answer["Id"])

    async def start(self, container: str) -> None:
        async with (
            self._limited(START, "start a container"),
            self._call(f"containers/{container}/start", "POST", headers={"content-type": "application/json"}),
        ):
            pass

    async def stop(self, container: str, grace: int) -> None:
        async with (
            self._limited(grace + STOP_MARGIN, "stop a container"),
            self._call(f"containers/{container}/stop", "POST", params={"t": str(grace)}),
        ):
            pass

    async def remove(self, container: str) -> None:
        try:
            async with (
                self._limited(CREATE, "remove a container"),
                self._call(f"containers/{container}", "DELETE", params={"force": "1", "v": "1"}),
            ):
                pass
        except Missing:
            return
        except Conflict as error:
            if "already in progress" not in error.reason:
                raise

    async def inspect(self, container: str) -> ContainerState:
        return state_of(await self._json(f"containers/{container}/json"))

    async def containers(self, labels: Mapping[str, str]) -> list[ContainerState]:
        listed = await self._json("containers/json", params={"all": "1", "filters": _filters(labels)})
        found = []
        for entry in listed:
            try:
                found.append(await self.inspect(entry["Id"]))
            except Missing:
                continue  # removed between the two calls
        return found

    async def stats(self, container: str) -> ContainerStats:
        # Without `one-shot` the engine waits a second for another sample; engines that do not know it ignore it.
        params = {"stream": "false", "one-shot": "true"}
        found = stats_of(await self._json(f"containers/{container}/stats", params=params))
        if found is None:
            raise Conflict(f"Container {container} is not running")
        return found

    async def logs(self, container: str, since: float, follow: bool) -> AsyncIterator[LogLine]:
        if not follow:
            async for line in self._output(container, since, False):
                yield line
            return
        recent: deque[LogLine] = deque()
        newest = since
        async for line in self._output(container, since, True):
            newest = max(newest, line.at)
            while recent and recent[0].at < newest - AGAIN:
                recent.popleft()
            recent.append(line)
            yield line
        # Docker 20.10 ends a stream that follows, more often than not, before a last line without a line feed.
        seen = Counter(recent)
        try:
            async for line in self._output(container, max(since, newest - AGAIN), False):
                if seen[line]:
                    seen[line] -= 1
                else:
                    yield line
        except Missing:
            return  # removed meanwhile

    async def _output(self, container: str, since: float, follow: bool) -> AsyncIterator[LogLine]:
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
        if since > 0:
            # A float holds some hundred nanoseconds: ask from a little before, and drop what is too old here.
            params["since"] = f"{since - 0.00001:.9f}"
        async with self._call(f"containers/{container}/logs", "GET", params=params) as answer:
            async for line in demultiplex(answer.content.iter_any()):
                if line.at >= since:
                    yield line

    async def put_archive(self, container: str, path: str, archive: AsyncIterator[bytes]) -> None:
        headers = {"content-type": "application/x-tar"}
        async with (
            self._limited(ARCHIVE, "unpack an archive"),
            self._call(
                f"containers/{container}/archive", "PUT", params={"path": path}, data=archive, headers=headers
            ),
        ):
            pass

    async def get_archive(self, container: str, path: str) -> AsyncIterator[bytes]:
        async with (
            self._limited(ARCHIVE, "pack an archive"),
            self._call(f"containers/{container}/archive", "GET", params={"path": path}) as answer,
        ):
            async for chunk in answer.content.iter_any():
                yield chunk

    async def events(self, labels: Mapping[str, str]) -> AsyncIterator[ContainerEvent]:
        filters = json.dumps({"type": ["container"], "label": [f"{k}={v}" for k, v in labels.items()]})
        async with self._call("events", "GET", params={"filters": filters}) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = event_of(json.loads(line)) if line.strip() else None
                    if event is not None:
                        yield event

    async def execute(self, container: str, command: tuple[str, ...], *, terminal: bool) -> Terminal:
        from portside.cloud.machine.docker_terminal import DockerTerminal

        asked = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": terminal,
            "Cmd": list(command),
        }
        body = json.dumps(asked).encode()
        made = await self._json(f"containers/{container}/exec", "POST", data=body, limit=CREATE)
        return await DockerTerminal.open(self._json, await self._open(), str(made["Id"]))

    # Networks and volumes

    async def create_network(
        self, name: str, labels: Mapping[str, str], *, subnet: str = "", gateway: str = "", internal: bool = False
    ) -> None:
        document: dict[str, Any] = {
            "Name": name,
            "Labels": dict(labels),
            "CheckDuplicate": True,
            "Internal": internal,
        }
        if subnet:
            document["IPAM"] = {"Config": [{"Subnet": subnet, "Gateway": gateway}]}
        try:
            await self._json("networks/create", "POST", data=json.dumps(document).encode())
        except Rejected as error:
            if "overlap" in error.reason.lower():
                raise Conflict(error.reason) from None
            raise

    async def remove_network(self, name: str) -> None:
        try:
            async with self._limited(QUICK, "remove a network"), self._call(f"networks/{name}", "DELETE"):
                pass
        except Missing:
            return

    async def networks(self, labels: Mapping[str, str]) -> list[str]:
        found = await self._json("networks", params={"filters": _filters(labels)})
        return [entry["Name"] for entry in found]

    async def create_volume(
        self, name: str, labels: Mapping[str, str], driver: str = "", options: Mapping[str, str] | None = None
    ) -> None:
        document = {
            "Name": name,
            "Labels": dict(labels),
            "Driver": driver or "local",
            "DriverOpts": dict(options or {}),
        }
        await self._json("volumes/create", "POST", data=json.dumps(document).encode(), limit=CREATE)

    async def remove_volume(self, name: str) -> None:
        try:
            async with self._limited(CREATE, "remove a volume"), self._call(f"volumes/{name}", "DELETE"):
                pass
        except Missing:
            return

    async def volumes(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        found = await self._json("volumes", params={"filters": _filters(labels)})
        return {entry["Name"]: entry.get("Labels") or {} for entry in found.get("Volumes") or []}

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    # The connection

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                import aiodocker
                import aiohttp

                # Limits are per call (`_limited`): streams have none, only the connection's set-up does.
                timeout = aiohttp.ClientTimeout(total=None, sock_connect=QUICK)
                try:
                    self._client = aiodocker.Docker(url=self._host, timeout=timeout)
                except (ValueError, OSError) as error:
                    raise Unavailable(f"the container engine at {self._host} cannot be used: {error}") from None
            return self._client

    @asynccontextmanager
    async def _limited(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise Unavailable(f"the container engine did not {what} within {seconds:g} seconds") from None

    @asynccontextmanager
    async def _call(self, path: str, method: str, **options: Any) -> AsyncIterator[Any]:
        import aiohttp
        from aiodocker.exceptions import DockerError

        try:
            client = await self._open()
            # The limit is on the engine's first sign of life; how long a whole call may take is `_limited`'s.
            opening = QUICK if method in ("GET", "DELETE", "HEAD") else PULL
            async with asyncio.timeout(opening):
                query = client._query(path, method=method, timeout=aiohttp.ClientTimeout(), **options)
                answer = await query.__aenter__()
            try:
                yield answer
            finally:
                if answer.content.at_eof():
                    answer.release()
                else:
                    answer.close()
        except DockerError as error:
            raise translate(error.status, str(error.message)) from None
        except TimeoutError:
            raise Unavailable(f"the container engine at {self._host} does not answer in time") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"the container engine at {self._host} does not answer: {reason}") from None

    async def _json(self, path: str, method: str = "GET", *, limit: float = QUICK, **options: Any) -> Any:
        if "data" in options:
            options["headers"] = {"content-type": "application/json"}
        async with self._limited(limit, "answer"), self._call(path, method, **options) as answer:
            body = await answer.read()
            return json.loads(body) if body.strip() else {}


def _filters(labels: Mapping[str, str]) -> str:
    return json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})


async def _drain(answer: Any) -> None:
    """Read a progress stream to its end; the engine reports failures inside it, under status 200."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _raise_reported(line)
    _raise_reported(rest)


def _raise_reported(line: bytes) -> None:
    if b'"error' not in line:
        return
    document = json.loads(line)
    reason = str((document.get("errorDetail") or {}).get("message") or document.get("error") or "")
    if not reason:
        return
    missing = ("not found", "manifest unknown", "does not exist", "no such")
    raise Missing(reason) if any(word in reason.lower() for word in missing) else Rejected(reason)

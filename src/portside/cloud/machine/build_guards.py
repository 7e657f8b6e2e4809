"""The guarded sockets of all builds of a cloud, and what their images leave behind.

Owns one guard per build. When a build ends, its images lose their names; those of the newest build stay for the
project's next build, which then finds the layers that have not changed. `services/codebuild/outside.py` says how
it is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.log import Log
from portside.cloud.machine.guard import Guard, Refused, connect
from portside.cloud.machine.guard_images import GuardedImages
from portside.cloud.machine.guard_names import DOMAIN, Names

if TYPE_CHECKING:
    import aiohttp

WHAT = "a build can build, tag, push and pull images, and nothing else"
CLEAN_SECONDS = 120.0
_PROJECT_FILE = "project"


@dataclass
class _Open:
    guard: Guard
    engine: aiohttp.ClientSession


class BuildGuards:
    """`engine` is the engine's address, `registry` the host of the account's registry, `local` tells the address
    at which the engine finds the cloud's own one. `cloud` keeps the names of several clouds apart."""

    def __init__(
        self,
        *,
        engine: str,
        directory: Path,
        registry: str,
        local: Callable[[], str],
        cloud: str,
        clock: Clock,
        log: Log,
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._registry = registry
        self._local = local
        self._cloud = cloud
        self._clock = clock
        self._log = log.bind(part="guard")
        self._open: dict[str, _Open] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self, build: str, project: str) -> Path:
        directory = self._place(build)
        sockets = directory / "sockets"
        if build in self._open:
            return sockets
        await asyncio.to_thread(_prepare, directory, sockets, project)
        engine = connect(self._engine)
        images = GuardedImages(engine, self._names(build), directory, self._lock)
        guard = Guard(sockets / "docker.sock", images.operations(), WHAT, self._log)
        self._open[build] = _Open(guard, engine)
        await guard.start()
        return sockets

    def _place(self, build: str) -> Path:
        return self._directory / build[:8]

    def _names(self, build: str) -> Names:
        return Names(f"{self._cloud}-{build[:8]}", self._registry, self._local())

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def shutdown(self) -> None:
        for each in list(self._open.values()):
            await each.guard.stop()
            await each.engine.close()
        self._open.clear()

    async def close(self, build: str) -> None:
        present = self._open.pop(build, None)
        directory = self._place(build)
        project = await asyncio.to_thread(_project, directory)
        if present is not None:
            await present.guard.stop()
            await present.engine.close()
        if project is None:
            return
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(connect(self._engine))
            images = GuardedImages(engine, self._names(build), directory, self._lock)
            try:
                async with asyncio.timeout(CLEAN_SECONDS):
                    await self._keep(images, engine, build, project)
            except (Refused, TimeoutError, OSError) as error:
                self._log.warning("images of a build stay behind", build=build, error=str(error))
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def forget(self, project: str) -> None:
        """Take away the cache of a project. What a container still uses stays."""
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(connect(self._engine))
            try:
                async with asyncio.timeout(CLEAN_SECONDS):
                    for name in await _tags(engine, f"{self._space(project)}/*"):
                        await _remove(engine, name)
            except (Refused, TimeoutError, OSError) as error:
                self._log.warning("the cache of a project stays behind", project=project, error=str(error))

    def _space(self, project: str) -> str:
        return f"{DOMAIN}/{self._cloud}-cache/{hashlib.sha256(project.encode()).hexdigest()[:12]}"

    async def _keep(self, images: GuardedImages, engine: aiohttp.ClientSession, build: str, project: str) -> None:
        """Every image of the build gets the name of the project's cache; older ones and the build's own names
        go."""
        held = await images.held()
        space = self._space(project)
        stamp = f"t{int(self._clock.now() * 1000)}"
        for name in held:
            repository = f"{space}/{name.rpartition('/')[2].partition(':')[0]}"
            await _ask(engine, "POST", f"/images/{name}/tag", repo=repository, tag=stamp)
        for old in await _tags(engine, f"{space}/*") if held else []:
            if not old.endswith(f":{stamp}"):
                await _remove(engine, old)
        for name in held:
            await _remove(engine, name)


def _prepare(directory: Path, sockets: Path, project: str) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sockets.mkdir(parents=True, exist_ok=True)
    sockets.chmod(0o755)
    (directory / _PROJECT_FILE).write_text(project)


def _project(directory: Path) -> str | None:
    try:
        return (directory / _PROJECT_FILE).read_text()
    except OSError:
        return None


async def _ask(engine: aiohttp.ClientSession, method: str, path: str, **params: str) -> Any:
    async with engine.request(method, quote(path, safe="/:@"), params=params) as answer:
        body = await answer.read()
        if answer.status >= 400:
            raise Refused(answer.status, body.decode("utf-8", "replace"))
        return json.loads(body) if body.strip() else {}


async def _tags(engine: aiohttp.ClientSession, pattern: str) -> list[str]:
    found = await _ask(engine, "GET", "/images/json", filters=json.dumps({"reference": {pattern: True}}))
    prefix = pattern.removesuffix("*")
    return [tag for image in found for tag in image.get("RepoTags") or [] if tag.startswith(prefix)]


async def _remove(engine: aiohttp.ClientSession, name: str) -> None:
    """An image that a container uses keeps its name until the project's next build."""
    try:
        await _ask(engine, "DELETE", f"/images/{name}")
    except Refused as refused:
        if refused.status not in (404, 409):
            raise

"""Guarded engine sockets without an engine: remembers which builds have one."""

from __future__ import annotations

from pathlib import Path


class FakeGuards:
    """Implements `Guards` of services/codebuild/outside.py."""

    def __init__(self) -> None:
        self.opened: dict[str, str] = {}
        self.closed: list[str] = []
        self.forgotten: list[str] = []

    async def open(self, build: str, project: str) -> Path:
        self.opened[build] = project
        return Path("/guards") / build

    async def close(self, build: str) -> None:
        self.opened.pop(build, None)
        self.closed.append(build)

    async def forget(self, project: str) -> None:
        self.forgotten.append(project)

    async def shutdown(self) -> None:
        self.opened.clear()

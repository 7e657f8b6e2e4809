"""What a build needs of the world outside of this service, behind Protocols; the composition root hands it in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

Say = Callable[[str], None]


class NoImage(Exception):
    """There is no such build image to be had."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BuildImages(Protocol):
    """Makes sure that the image of a build is in the engine."""

    async def ensure(self, reference: str, region: str, say: Say) -> str:
        """The engine's id of the image. `say` tells the user what takes long. Raises NoImage."""
        ...


class Guards(Protocol):
    """Guarded engine sockets, one for each build."""

    async def open(self, build: str, project: str) -> Path:
        """Serve the socket `docker.sock` of a build, if it is not served yet, in the directory that is
        returned."""
        ...

    async def close(self, build: str) -> None:
        """Serve it no more, end what is going on through it, and take away what it made but for the cache."""
        ...

    async def forget(self, project: str) -> None:
        """Take away the cache of a project that is no more."""
        ...

    async def shutdown(self) -> None:
        """Stop serving all of them. What builds made stays, for they go on."""
        ...


class Endpoint(Protocol):
    """How a container reaches the cloud."""

    async def __call__(self) -> tuple[str, dict[str, str]]:
        """The URL, and names that the container's hosts file needs for it."""
        ...

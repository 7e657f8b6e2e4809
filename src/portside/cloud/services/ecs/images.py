"""Images for containers: from the account's own registry, from the engine's store, or pulled.

Owns the decision where a reference is found, and AWS's words when it is not. The bytes belong to the registry
(`RegistryImages`, implemented by the ECR service and handed in by the composition root) and to the engine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from portside.cloud.machine.engine import Engine, EngineError, Unavailable

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(.+)")
_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1):\d+/(.+)")


@dataclass(frozen=True, slots=True)
class EnsuredImage:
    """An image that is in the engine. `digest` is the manifest's, empty when the image came from no registry."""

    engine_id: str
    digest: str


class CannotPull(Exception):
    """There is no such image to be had. `reason` is AWS's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ImageSource(Protocol):
    """Makes sure that an image is in the engine."""

    async def ensure(self, reference: str, region: str) -> EnsuredImage:
        """Raises CannotPull, or Unavailable when the engine does not answer."""
        ...


class RegistryImage(Protocol):
    """What the registry knows of an image; the engine's id of it is the digest of its configuration."""

    @property
    def digest(self) -> str: ...

    @property
    def config_digest(self) -> str: ...


Found = TypeVar("Found", bound=RegistryImage)


class RegistryImages(Protocol[Found]):
    """The account's registry, read without the network."""

    def resolve(self, reference: str, region: str) -> Found | None:
        """The image of a full reference (`<registry>/<repository>:<tag>` or `...@<digest>`), None if absent."""
        ...

    def archive(self, image: Found) -> AsyncIterator[bytes]:
        """The image as a docker-archive tar stream."""
        ...


class EngineImages(Generic[Found]):
    """Implements `ImageSource` with an engine and the account's registry."""

    def __init__(self, engine: Engine, registry: RegistryImages[Found], account: str) -> None:
        self._engine = engine
        self._registry = registry
        self._account = account
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, reference: str, region: str) -> EnsuredImage:
        ecr = _ECR.fullmatch(reference)
        if ecr is not None and ecr[1] == self._account:
            return await self._from_registry(reference, ecr[2], required=True)
        if _LOCAL.fullmatch(reference):
            return await self._from_registry(reference, region, required=False)
        return await self._from_engine(reference)

    async def _from_registry(self, reference: str, region: str, *, required: bool) -> EnsuredImage:
        found = self._registry.resolve(reference, region)
        if found is None:
            if not required:  # some other registry on this machine
                return await self._from_engine(reference)
            raise CannotPull(
                f"CannotPullContainerError: Error response from daemon: manifest for {reference} not found: "
                "manifest unknown: Requested image not found"
            )
        lock = self._locks.setdefault(found.config_digest, asyncio.Lock())
        try:
            async with lock:
                present = await self._engine.image_id(found.config_digest)
                if present is None:
                    await self._engine.load(self._registry.archive(found))
                    present = await self._engine.image_id(found.config_digest)
                    # Engines with another image store know a loaded image by its name only.
                    present = present or await self._engine.image_id(reference)
        except Unavailable:
            raise
        except EngineError as error:
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: {error.reason}") from None
        finally:
            if not lock.locked():
                self._locks.pop(found.config_digest, None)
        if present is None:
            raise CannotPull(f"CannotPullContainerError: the engine did not keep the image {reference}")
        return EnsuredImage(present, found.digest)

    async def _from_engine(self, reference: str) -> EnsuredImage:
        try:
            present = await self._engine.image_id(reference)
            if present is None:
                await self._engine.pull(reference)
                present = await self._engine.image_id(reference)
            digests = await self._engine.image_digests(reference)
        except Unavailable:
            raise
        except EngineError as error:
            raise CannotPull(f"CannotPullContainerError: Error response from daemon: {error.reason}") from None
        if present is None:
            raise CannotPull(f"CannotPullContainerError: the engine did not keep the image {reference}")
        return EnsuredImage(present, digests[0] if digests else "")


def pinned(reference: str, image: EnsuredImage) -> str:
    """The reference by which a deployment keeps to this very image."""
    if not image.digest:
        return image.engine_id
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return f"{head if colon and '/' not in tag else name}@{image.digest}"

"""Blobs on disk, under their digests, and uploads on their way there.

Owns the directory: `sha256/ab/<hex>` for what is complete, `uploads/<id>` for what is not. Knows no repository:
who may see a blob is in `records.py`. A blob appears by a rename after its bytes are on disk and its digest
is proven, so there is never a half-made one. Nothing holds a blob in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

# One hop to a thread per so many bytes: hashing and writing then run beside the event loop.
BATCH = 2 * 1024 * 1024
READ = 1024 * 1024


class DigestMismatch(Exception):
    """The bytes are not what their digest says. The upload is gone."""

    def __init__(self, claimed: str, found: str) -> None:
        super().__init__(f"digest {claimed} was claimed, the bytes have {found}")
        self.claimed = claimed
        self.found = found


@dataclass(slots=True)
class _Upload:
    """An upload that this process has looked at: how far it is, and the hash so far."""

    path: Path
    size: int
    hash: _Hash
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def write(self, data: bytes) -> None:
        # Written before it is hashed: after a full disk the file is cut back to what the hash knows.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            os.ftruncate(descriptor, self.size)
            raise
        finally:
            os.close(descriptor)
        self.hash.update(data)
        self.size += len(data)


class Blobs:
    """The files of one registry, below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._complete = directory / "sha256"
        self._uploads = directory / "uploads"
        self._complete.mkdir(parents=True, exist_ok=True)
        self._uploads.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, _Upload] = {}

    def path(self, digest: str) -> Path:
        hexadecimal = digest.removeprefix("sha256:")
        return self._complete / hexadecimal[:2] / hexadecimal

    def size(self, digest: str) -> int | None:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def stored(self) -> Iterable[str]:
        """The digest of every complete blob."""
        for found in self._complete.glob("*/*"):
            yield f"sha256:{found.name}"

    # Uploads

    def begin(self, upload: str) -> None:
        path = self._uploads / upload
        path.touch()
        self._open[upload] = _Upload(path, 0, hashlib.sha256())

    def received(self, upload: str) -> int:
        """How many bytes of an upload are here."""
        known = self._open.get(upload)
        if known is not None:
            return known.size
        try:
            return (self._uploads / upload).stat().st_size
        except FileNotFoundError:
            return 0

    async def append(self, upload: str, chunks: AsyncIterable[bytes]) -> int:
        """Add what `chunks` yields and return the new size. When `chunks` raises, what came before is kept,
        so that a client which lost its connection can go on from there."""
        target = await self._target(upload)
        async with target.lock:
            batch: list[bytes] = []
            held = 0
            writing: asyncio.Future[None] | None = None
            try:
                async for chunk in chunks:
                    batch.append(chunk)
                    held += len(chunk)
                    if held >= BATCH:
                        if writing is not None:
                            await writing
                        writing = asyncio.ensure_future(asyncio.to_thread(target.write, b"".join(batch)))
                        batch, held = [], 0
            finally:
                if writing is not None:
                    await writing
                if batch:
                    await asyncio.to_thread(target.write, b"".join(batch))
            return target.size

    async def finish(self, upload: str, digest: str, register: Callable[[int], None]) -> int:
        """Make the upload the blob `digest` and call `register(size)` in the same breath, so that no clean-up
        sees the file without its record. DigestMismatch discards the upload."""
        target = await self._target(upload)
        async with target.lock:
            found = f"sha256:{target.hash.hexdigest()}"
            if found != digest:
                self.discard(upload)
                raise DigestMismatch(digest, found)
            final = self.path(digest)
            if not final.exists():
                final.parent.mkdir(exist_ok=True)
                await asyncio.to_thread(_flush, target.path)
            if final.exists():
                target.path.unlink()
            else:
                target.path.replace(final)
            register(target.size)
            self._open.pop(upload, None)
            return target.size

    def has_upload(self, upload: str) -> bool:
        return (self._uploads / upload).exists()

    def discard(self, upload: str) -> None:
        self._open.pop(upload, None)
        (self._uploads / upload).unlink(missing_ok=True)

    def discard_all_but(self, uploads: frozenset[str]) -> None:
        """At start: remove the files of uploads that nobody will continue."""
        for found in self._uploads.iterdir():
            if found.name not in uploads:
                found.unlink()

    async def _target(self, upload: str) -> _Upload:
        known = self._open.get(upload)
        if known is None:
            path = self._uploads / upload
            # Begun by an earlier process: its hash is gone, its bytes are here.
            known = await asyncio.to_thread(_reopen, path)
            known = self._open.setdefault(upload, known)
        return known

    # Reading

    async def read(self, digest: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a blob, a piece at a time."""
        path = self.path(digest)
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            left = path.stat().st_size - start if length is None else length
            while left > 0:
                piece = await asyncio.to_thread(file.read, min(READ, left))
                if not piece:
                    return
                left -= len(piece)
                yield piece

    async def whole(self, digest: str) -> bytes:
        """A small blob, such as a configuration."""
        return await asyncio.to_thread(self.path(digest).read_bytes)


def _reopen(path: Path) -> _Upload:
    found = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ):
            found.update(piece)
            size += len(piece)
    return _Upload(path, size, found)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

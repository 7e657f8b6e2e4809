"""The context of an image build: a tar archive on its way from a client to the engine, kept in a file in between.

Owns the Dockerfile in it, which is read and may be replaced; every other byte is passed on as it came.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import posixpath
import shutil
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

CHUNK = 1024 * 1024
# How much of a context is looked through as it passes, before it is kept in a file.
MOST_IN_PASSING = 4 * 1024 * 1024
LARGEST_DOCKERFILE = 1024 * 1024
_BLOCK = 512
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class ContextError(Exception):
    """The context cannot be used; the text is the engine's kind of sentence."""


@dataclass(frozen=True, slots=True)
class Context:
    """A plain tar file; the Dockerfile's member begins at `start` and the next one at `end`."""

    path: Path
    name: str
    dockerfile: str
    start: int
    end: int
    mode: int


async def receive(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Write what the client sends."""
    with path.open("wb") as file:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)


def read(path: Path, dockerfile: str) -> Context:
    """Find the Dockerfile. Runs in a thread."""
    _decompress(path)
    wanted = posixpath.normpath(dockerfile)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if posixpath.normpath(member.name) != wanted or not member.isfile():
                    continue
                if member.size > LARGEST_DOCKERFILE:
                    raise ContextError(f"the Dockerfile {dockerfile} is too large")
                content = tar.extractfile(member)
                assert content is not None
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                text = content.read().decode("utf-8", "replace")
                return Context(path, member.name, text, member.offset, end, member.mode)
    except tarfile.TarError as error:
        raise ContextError(f"the build context is no tar archive: {error}") from None
    raise ContextError(f"Cannot locate specified Dockerfile: {dockerfile}")


@dataclass(frozen=True, slots=True)
class Passing:
    """A context whose Dockerfile lies in what has come so far; the rest need not be kept."""

    begun: bytes
    rest: AsyncIterator[bytes]
    context: Context

    async def send(self, dockerfile: str) -> AsyncIterator[bytes]:
        """The archive with that Dockerfile in the place of its own."""
        context = self.context
        if dockerfile == context.dockerfile:
            yield self.begun
        else:
            yield self.begun[: context.start] + _member(context, dockerfile.encode()) + self.begun[context.end :]
        async for piece in self.rest:
            yield piece


async def look(pieces: AsyncIterator[bytes], dockerfile: str) -> Passing | bytes:
    """Read on until the Dockerfile has come. The bytes read if it is not among the first, or cannot be seen."""
    begun = b""
    async for piece in pieces:
        begun += piece
        found = _found(begun, posixpath.normpath(dockerfile))
        if found is not None:
            return Passing(begun, pieces, found)
        if len(begun) > MOST_IN_PASSING:
            break
    return begun


def _found(begun: bytes, wanted: str) -> Context | None:
    at = 0
    while at + _BLOCK <= len(begun):
        try:
            member = tarfile.TarInfo.frombuf(begun[at : at + _BLOCK], "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return None  # compressed, or at its end
        start, data = at, at + _BLOCK
        at = data + -(-member.size // _BLOCK) * _BLOCK
        if member.isreg() and posixpath.normpath(member.name) == wanted:
            if at > len(begun):
                return None
            text = begun[data : data + member.size].decode("utf-8", "replace")
            return Context(Path(), member.name, text, start, at, member.mode)
    return None


def _decompress(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(6)
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            plain = path.with_suffix(".plain")
            with opener(path, "rb") as packed, plain.open("wb") as target:
                shutil.copyfileobj(packed, target, CHUNK)
            plain.replace(path)
            return


async def send(context: Context, dockerfile: str) -> AsyncIterator[bytes]:
    """The archive with that Dockerfile in the place of its own."""
    with context.path.open("rb") as file:
        async for chunk in _part(file, 0, context.start):
            yield chunk
        if dockerfile == context.dockerfile:
            async for chunk in _part(file, context.start, context.end):
                yield chunk
        else:
            yield _member(context, dockerfile.encode())
        async for chunk in _part(file, context.end, None):
            yield chunk


async def _part(file: IO[bytes], start: int, end: int | None) -> AsyncIterator[bytes]:
    file.seek(start)
    left = end - start if end is not None else None
    while left is None or left > 0:
        chunk = await asyncio.to_thread(file.read, CHUNK if left is None else min(CHUNK, left))
        if not chunk:
            return
        if left is not None:
            left -= len(chunk)
        yield chunk


def _member(context: Context, content: bytes) -> bytes:
    member = tarfile.TarInfo(context.name)
    member.size, member.mode = len(content), context.mode
    padding = b"\0" * (-len(content) % _BLOCK)
    return member.tobuf(tarfile.PAX_FORMAT) + content + padding

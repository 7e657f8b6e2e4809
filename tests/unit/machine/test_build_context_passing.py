"""Contexts of builds, looked through as they pass."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from portside.cloud.machine import build_context

DOCKERFILE = "FROM one\nRUN two\n"


def archive(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 0.5  # half seconds take an extended header
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("size", [7, 512, 700, 10**6])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("text", [DOCKERFILE, "FROM another\n" * 100])
async def test_the_dockerfile_is_seen_and_replaced_and_all_else_stays(size: int, form: int, text: str) -> None:
    data = archive({"A" * 120: b"x" * 600, "./Dockerfile": DOCKERFILE.encode(), "b": b"y" * 5000}, form)
    found = await build_context.look(cut(data, size), "Dockerfile")
    assert isinstance(found, build_context.Passing)
    assert found.context.dockerfile == DOCKERFILE
    sent = await joined(found.send(text))
    assert text != DOCKERFILE or sent == data
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert contents == {"A" * 120: b"x" * 600, "./Dockerfile": text.encode(), "b": b"y" * 5000}


@pytest.mark.parametrize(
    "data",
    [
        archive({"other": b"x"}),
        gzip.compress(archive({"Dockerfile": b"FROM one"})),
        archive({"a": bytes(build_context.MOST_IN_PASSING * 2), "Dockerfile": b"FROM one"}),
        b"no archive",
        b"",
    ],
)
async def test_what_cannot_be_seen_in_passing_is_told_whole(data: bytes) -> None:
    pieces = cut(data, 65536)
    begun = await build_context.look(pieces, "Dockerfile")
    assert isinstance(begun, bytes)
    assert begun + await joined(pieces) == data

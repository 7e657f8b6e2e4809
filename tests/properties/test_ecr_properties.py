"""Rules of the registry that hold for all inputs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portside.cloud.services.ecr.blobs import Blobs, DigestMismatch
from portside.cloud.services.ecr.manifests import digest_of, parse

HEX = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)
DESCRIPTORS = st.fixed_dictionaries({"digest": HEX, "size": st.integers(0, 2**40), "mediaType": st.just("m")})


@given(DESCRIPTORS, st.lists(DESCRIPTORS, max_size=5), st.sampled_from([None, 1, 4]))
def test_a_manifest_is_its_bytes(
    config: dict[str, object], layers: list[dict[str, object]], indent: int | None
) -> None:
    raw = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}, indent=indent).encode()
    assert digest_of(raw) == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert digest_of(raw) != digest_of(raw + b"\n")
    manifest = parse(raw)
    assert [blob.digest for blob in manifest.blobs] == [config["digest"], *(layer["digest"] for layer in layers)]
    assert manifest.size == sum(int(str(part["size"])) for part in (config, *layers))


async def pieces(data: list[bytes]) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


@given(st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=4), st.booleans(), st.booleans())
def test_an_upload_in_any_pieces_is_the_same_blob(parts: list[list[bytes]], restarted: bool, wrong: bool) -> None:
    whole = b"".join(piece for part in parts for piece in part)
    digest = "sha256:" + hashlib.sha256(whole).hexdigest()

    async def run(directory: Path) -> None:
        blobs = Blobs(directory)
        blobs.begin("one")
        for part in parts:
            await blobs.append("one", pieces(part))
            if restarted:
                blobs = Blobs(directory)
        assert blobs.received("one") == len(whole)
        if wrong:
            with pytest.raises(DigestMismatch):
                await blobs.finish("one", "sha256:" + "0" * 64, lambda size: None)
            assert not blobs.has_upload("one") and list(blobs.stored()) == []
            return
        registered: list[int] = []
        await blobs.finish("one", digest, registered.append)
        assert registered == [len(whole)]
        assert b"".join([piece async for piece in blobs.read(digest)]) == whole
        assert list(blobs.stored()) == [digest] and not blobs.has_upload("one")

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))

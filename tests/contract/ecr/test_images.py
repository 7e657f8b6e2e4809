"""Images on their way into an engine."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from ecr_cloud import digest, ecr_cloud, push, sample, upload
from portside.cloud.services.ecr.images import ImageNotFound

HOST = "000000000000.dkr.ecr.us-east-1.amazonaws.com"


async def test_references_are_resolved_or_told_apart(tmp_path: Path) -> None:
    image = sample()
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create("app")
        async with cloud.session() as http:
            await push(http, "app", "v1", image)
        for reference in (f"{HOST}/app:v1", f"{HOST}/app@{image.digest}", "localhost:4566/app:v1"):
            found = cloud.images.resolve(reference)
            assert found is not None
            assert (found.manifest_digest, found.image_id) == (image.digest, digest(image.config))
        assert cloud.images.resolve("nginx:latest") is None
        with pytest.raises(ImageNotFound):
            cloud.images.resolve("localhost:4566/app:v1", "eu-west-1")
        for absent in (f"{HOST}/app:v2", f"{HOST}/none:v1", f"{HOST}/app@{digest(b'')}"):
            with pytest.raises(ImageNotFound):
                cloud.images.resolve(absent)


async def test_a_layer_that_occurs_twice_is_in_the_archive_once(tmp_path: Path) -> None:
    image = sample()
    document = json.loads(image.manifest)
    document["layers"] *= 2
    raw = json.dumps(document).encode()
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create("app")
        async with cloud.session() as http:
            await upload(http, "app", image.layer)
            await upload(http, "app", image.config)
            async with http.put("/v2/app/manifests/v1", data=raw) as answer:
                assert answer.status == 201
        found = cloud.images.resolve(f"{HOST}/app:v1")
        assert found is not None
        whole = b"".join([piece async for piece in cloud.images.archive(found)])
        with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
            names = archive.getnames()
            inner = archive.extractfile("manifest.json")
            assert inner is not None
            (entry,) = json.load(inner)
            layer = archive.extractfile(entry["Layers"][0])
            assert layer is not None
            assert layer.read() == image.layer
    assert len(names) == len(set(names)) == 3
    assert len(entry["Layers"]) == 2
    assert entry["Config"] == digest(image.config).removeprefix("sha256:") + ".json"

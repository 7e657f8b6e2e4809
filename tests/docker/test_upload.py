"""The way of an image into the registry where the engine itself cannot reach it."""

from __future__ import annotations

import pytest

from ecr_cloud import CALLER, ecr_cloud
from portside.image.builder import Builder, Login
from portside.image.errors import ImageError
from portside.image.upload import out_of_reach, upload


@pytest.mark.docker
async def test_an_image_arrives_whole_and_keeps_its_id(host, busybox, tmp_path, docker):
    async with ecr_cloud(tmp_path) as cloud, Builder(host) as builder:
        cloud.create("web")
        login = Login("AWS", cloud.password(), cloud.host)
        digest = await upload(builder, busybox, "web", "v1", login)
        (detail,) = cloud.api.describe_images(CALLER, {"repositoryName": "web"})["imageDetails"]
        assert (detail["imageDigest"], detail["imageTags"]) == (digest, ["v1"])
        # The configuration is the engine's own, so a task needs no second copy of the image.
        found = cloud.images.resolve(f"{cloud.host}/web:v1")
        assert found is not None
        assert found.image_id == await docker.image_id(busybox)
        # Again: every part is there already.
        assert await upload(builder, busybox, "web", "v2", login) == digest


@pytest.mark.docker
async def test_refusals_of_the_registry_are_told(host, busybox, tmp_path):
    async with ecr_cloud(tmp_path) as cloud, Builder(host) as builder:
        with pytest.raises(ImageError, match="does not exist"):
            await upload(builder, busybox, "web", "v1", Login("AWS", cloud.password(), cloud.host))
        cloud.create("web")
        with pytest.raises(ImageError, match="the registry refused the image"):
            await upload(builder, busybox, "web", "v1", Login("AWS", "wrong", cloud.host))
        assert cloud.api.describe_images(CALLER, {"repositoryName": "web"})["imageDetails"] == []


@pytest.mark.docker
async def test_an_engine_that_cannot_reach_the_registry_says_so(host, busybox):
    async with Builder(host) as builder:
        await builder.tag(busybox, "127.0.0.1:9/web", "v1")
        try:
            with pytest.raises(ImageError) as caught:
                await builder.push("127.0.0.1:9/web", "v1", Login("AWS", "x", "127.0.0.1:9"))
        finally:
            await builder.untag("127.0.0.1:9/web:v1")
    assert out_of_reach(caught.value)
    assert not out_of_reach(ImageError("no", "denied: your authorization token has expired"))

"""The docker client and engine against the registry."""

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecr_cloud import CALLER, EcrCloud, digest, ecr_cloud, layer, push, sample
from portside.cloud.services.ecr.images import RegistryImage

pytestmark = pytest.mark.docker

NAME = "portside-test/registry"


async def docker(config: Path, *words: str, stdin: bytes = b"") -> tuple[int, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        ["docker", "--config", str(config), *words],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode()


@pytest.fixture
def config() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def built(config: Path) -> Iterator[str]:
    """A small image in the engine that no registry has."""
    reference = f"{NAME}-local:{os.getpid()}"
    blob = layer({"hello": os.urandom(200_000)})
    made = subprocess.run(["docker", "import", "-", reference], input=blob, check=True, stdout=subprocess.PIPE)
    yield reference
    subprocess.run(["docker", "rmi", "-f", made.stdout.decode().strip()], check=False, stdout=subprocess.DEVNULL)


async def login(cloud: EcrCloud, config: Path, password: str) -> tuple[int, str]:
    words = ("login", "--username", "AWS", "--password-stdin", cloud.host)
    return await docker(config, *words, stdin=password.encode())


async def test_login_push_and_pull(tmp_path: Path, config: Path, built: str) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(NAME)
        status, text = await login(cloud, config, cloud.password())
        assert status == 0, text
        remote = f"{cloud.host}/{NAME}:v1"
        assert (await docker(config, "tag", built, remote))[0] == 0
        status, text = await docker(config, "push", remote)
        assert status == 0, text
        # BR-47: the digest that docker prints is the digest that the API tells.
        (described,) = cloud.api.describe_images(CALLER, {"repositoryName": NAME})["imageDetails"]
        assert described["imageTags"] == ["v1"]
        assert f"digest: {described['imageDigest']}" in text
        manifest = cloud.api.batch_get_image(CALLER, {"repositoryName": NAME, "imageIds": [{"imageTag": "v1"}]})
        assert digest(manifest["images"][0]["imageManifest"].encode()) == described["imageDigest"]
        # A second push of the same finds everything there.
        status, text = await docker(config, "push", remote)
        assert status == 0, text
        assert "Layer already exists" in text
        await docker(config, "rmi", "-f", remote, built)
        status, text = await docker(config, "pull", remote)
        assert status == 0, text
        await docker(config, "rmi", "-f", remote)


async def test_wrong_password_is_refused(tmp_path: Path, config: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        status, text = await login(cloud, config, "nonsense")
        assert status != 0
        assert "401" in text or "unauthorized" in text.lower() or "Not Authorized" in text


async def test_push_without_login_stores_nothing(tmp_path: Path, config: Path, built: str) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(NAME)
        remote = f"{cloud.host}/{NAME}:v1"
        await docker(config, "tag", built, remote)
        status, _ = await docker(config, "push", remote)
        await docker(config, "rmi", remote)
        assert status != 0
        assert cloud.api.describe_images(CALLER, {"repositoryName": NAME})["imageDetails"] == []
        assert list((tmp_path / "blobs").rglob("*/??/*")) == []


async def test_push_to_a_missing_repository_tells_aws_text(tmp_path: Path, config: Path, built: str) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        await login(cloud, config, cloud.password())
        remote = f"{cloud.host}/portside-test/absent:v1"
        await docker(config, "tag", built, remote)
        status, text = await docker(config, "push", remote)
        await docker(config, "rmi", remote)
        assert status != 0
        assert "The repository with name 'portside-test/absent' does not exist in the registry with id" in text


async def test_immutable_tag_is_refused_in_aws_words(tmp_path: Path, config: Path, built: str) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(NAME, imageTagMutability="IMMUTABLE")
        async with cloud.session() as http:
            assert await push(http, NAME, "v1", sample()) == 201
        await login(cloud, config, cloud.password())
        remote = f"{cloud.host}/{NAME}:v1"
        await docker(config, "tag", built, remote)
        status, text = await docker(config, "push", remote)
        await docker(config, "rmi", remote)
        assert status != 0
        assert "cannot be overwritten because the repository is immutable" in text


async def load(cloud: EcrCloud, image: RegistryImage) -> str:
    loading = await asyncio.create_subprocess_exec(
        "docker", "load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert loading.stdin is not None and loading.stdout is not None
    async for piece in cloud.images.archive(image):
        loading.stdin.write(piece)
        await loading.stdin.drain()
    loading.stdin.close()
    text = (await loading.stdout.read()).decode()
    await loading.wait()
    return text


async def test_an_engine_loads_the_archive_of_an_image_it_does_not_have(tmp_path: Path, config: Path) -> None:
    async with ecr_cloud(tmp_path) as cloud:
        cloud.create(NAME)
        image = sample(os.urandom(3_000_000))
        async with cloud.session() as http:
            assert await push(http, NAME, "v1", image) == 201
        resolved = cloud.images.resolve(f"localhost:4566/{NAME}:v1")
        assert resolved is not None
        assert resolved.image_id == digest(image.config)
        text = await load(cloud, resolved)
        try:
            assert f"Loaded image: {resolved.name}" in text
            _, shown = await docker(config, "image", "inspect", resolved.image_id)
            assert json.loads(shown)[0]["Id"] == resolved.image_id
        finally:
            await docker(config, "rmi", "-f", resolved.image_id)

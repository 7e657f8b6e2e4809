"""A gateway with ECR and its registry behind it, for tests of either."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from portside.cloud.kernel.clock import Clock, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Caller
from portside.cloud.services.ecr.api import EcrApi
from portside.cloud.services.ecr.images import Images
from portside.cloud.services.ecr.registry import Permit
from portside.cloud.services.ecr.service import Ecr
from portside.testing.server import ACCOUNT, REGION, quiet_log, serve

CALLER = Caller.root(ACCOUNT, REGION, endpoint="http://127.0.0.1:4566")


def _database(directory: Path) -> Database:
    directory.mkdir(exist_ok=True)
    return Database(directory / "state.db")


def make_ecr(directory: Path, database: Database, clock: Clock | None, permit: Permit | None) -> Ecr:
    return Ecr(
        database=database,
        directory=directory / "blobs",
        ids=Ids(),
        clock=clock or SystemClock(),
        log=quiet_log(),
        account=ACCOUNT,
        region=REGION,
        permit=permit,
    )


@dataclass
class EcrCloud:
    api: EcrApi
    images: Images
    url: str

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def password(self, caller: Caller = CALLER) -> str:
        answer = self.api.get_authorization_token(caller, {})
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
        return token.removeprefix("AWS:")

    def create(self, name: str, **more: object) -> None:
        self.api.create_repository(CALLER, {"repositoryName": name, **more})

    def session(self, caller: Caller = CALLER) -> aiohttp.ClientSession:
        """An HTTP client that is logged in."""
        login = base64.b64encode(f"AWS:{self.password(caller)}".encode()).decode()
        return aiohttp.ClientSession(self.url, headers={"authorization": f"Basic {login}"})


@asynccontextmanager
async def ecr_cloud(
    directory: Path, clock: Clock | None = None, permit: Permit | None = None
) -> AsyncIterator[EcrCloud]:
    with contextlib.closing(_database(directory)) as database:
        made = make_ecr(directory, database, clock, permit)
        async with made as ecr, serve([ecr.service()], registry=ecr.registry) as url:
            yield EcrCloud(ecr.api, ecr.images, url)


# Images to push


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(files: dict[str, bytes]) -> bytes:
    """A compressed layer, the same for the same files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o755
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


@dataclass
class Sample:
    """An image of one layer."""

    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        return digest(self.manifest)


DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sample(content: bytes = b"hello") -> Sample:
    compressed = layer({"hello": content})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(gzip.decompress(compressed))]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": digest(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(compressed),
                    "digest": digest(compressed),
                }
            ],
        },
        indent=3,
    ).encode()
    return Sample(compressed, config, manifest)


async def upload(http: aiohttp.ClientSession, repository: str, data: bytes) -> str:
    async with http.post(
        f"/v2/{repository}/blobs/uploads/?digest={digest(data)}", data=io.BytesIO(data)
    ) as answer:
        assert answer.status == 201, await answer.text()
    return digest(data)


async def push(http: aiohttp.ClientSession, repository: str, reference: str, image: Sample) -> int:
    """All of an image; the status of the manifest's PUT."""
    await upload(http, repository, image.layer)
    await upload(http, repository, image.config)
    headers = {"content-type": DOCKER_MANIFEST}
    url = f"/v2/{repository}/manifests/{reference}"
    async with http.put(url, data=image.manifest, headers=headers) as answer:
        return answer.status

"""Pushes an image without the engine's own push: for engines that cannot reach a registry on this machine.

An engine in a virtual machine (Colima, Podman machine, Docker Desktop) has a loopback of its own. So the image is
taken out of the engine as an archive and its parts are sent to the registry from here, by the OCI distribution
protocol. The configuration stays as it is, byte for byte, and with it the image's id.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tarfile
import tempfile
from collections.abc import AsyncIterator
from typing import IO, TYPE_CHECKING, Any

from yarl import URL

from portside.image.builder import PUSH_LIMIT, Builder, Login
from portside.image.errors import ImageError

if TYPE_CHECKING:
    import aiohttp

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CHUNK = 1024 * 1024

# What engines say when they cannot get to a registry at all. Anything else is the registry's own answer.
OUT_OF_REACH = ("connection refused", "dial tcp", "no route to host", "i/o timeout", "connection reset")


def out_of_reach(error: ImageError) -> bool:
    return any(text in str(error).lower() for text in OUT_OF_REACH)


async def upload(builder: Builder, name: str, repository: str, tag: str, login: Login) -> str:
    """Send the engine's image `name` to `http://<login.server>/<repository>:<tag>`; returns its digest."""
    import aiohttp

    pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    headers = {"authorization": f"Basic {pair}"}
    limit = aiohttp.ClientTimeout(total=PUSH_LIMIT)
    with tempfile.TemporaryFile() as archive:
        await builder.export(name, archive)
        archive.seek(0)
        async with aiohttp.ClientSession(f"http://{login.server}", headers=headers, timeout=limit) as registry:
            try:
                return await _send(registry, archive, repository, tag)
            except aiohttp.ClientError as error:
                raise ImageError(f"{name} cannot be pushed", str(error)) from error


async def _send(registry: aiohttp.ClientSession, archive: IO[bytes], repository: str, tag: str) -> str:
    with tarfile.open(fileobj=archive) as tar:
        described = json.loads(_member(tar, "manifest.json").read())[0]
        config = await _blob(registry, repository, _member(tar, described["Config"]))
        layers = [await _blob(registry, repository, _member(tar, path)) for path in described["Layers"]]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": [{"mediaType": LAYER, **layer} for layer in layers],
        }
    ).encode()
    url = f"/v2/{repository}/manifests/{tag}"
    async with registry.put(url, data=manifest, headers={"content-type": MANIFEST}) as answer:
        await _check(answer)
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


async def _blob(registry: aiohttp.ClientSession, repository: str, content: IO[bytes]) -> dict[str, Any]:
    """Send one part unless it is there already."""
    total, size = hashlib.sha256(), 0
    while chunk := content.read(CHUNK):
        total.update(chunk)
        size += len(chunk)
    digest = f"sha256:{total.hexdigest()}"
    content.seek(0)
    async with registry.head(f"/v2/{repository}/blobs/{digest}") as answer:
        if answer.status == 200:
            return {"digest": digest, "size": size}
    async with registry.post(f"/v2/{repository}/blobs/uploads/") as answer:
        await _check(answer)
        location = answer.url.join(URL(answer.headers["location"], encoded=True)).raw_path_qs
    url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
    headers = {"content-length": str(size), "content-type": "application/octet-stream"}
    async with registry.put(URL(url, encoded=True), data=_chunks(content), headers=headers) as answer:
        await _check(answer)
    return {"digest": digest, "size": size}


async def _chunks(content: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := content.read(CHUNK):
        yield chunk


def _member(tar: tarfile.TarFile, path: str) -> IO[bytes]:
    found = tar.extractfile(path)
    if found is None:
        raise ImageError("the engine's archive of the image cannot be read", f"{path} is not a file")
    return found


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 300:
        raise ImageError("the registry refused the image", (await answer.text()).strip() or str(answer.status))

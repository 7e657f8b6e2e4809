"""Images of this registry on their way into a container engine, without the network.

Owns the reading of references as they stand in task definitions, the choice of the platform, and the archive
that an engine loads. Layers stay as compressed as they were pushed.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

from portside.cloud.services.ecr import manifests, records
from portside.cloud.services.ecr.catalogue import Catalogue
from portside.cloud.services.ecr.names import parse_reference
from portside.cloud.services.ecr.records import Image, Repository


class ImageNotFound(Exception):
    """There is no such image in the registry. The text is AWS's, for a stopped task's reason."""


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image that can be run here. `image_id` is its id in an engine: the digest of its configuration.

    `manifest_digest` is what the reference stood for (of the index, if it was one), `name` is the local name that
    the archive gives the image, so that it does not look abandoned.
    """

    region: str
    repository: str
    manifest_digest: str
    image_id: str
    size: int
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"portside/{self.repository}:{self.image_id.removeprefix('sha256:')[:12]}"


class Images:
    """The registry's images, as a container engine needs them."""

    def __init__(self, catalogue: Catalogue, *, account: str, region: str, architecture: str = "amd64") -> None:
        self._catalogue = catalogue
        self._account = account
        self._region = region
        self._architecture = architecture

    def is_ours(self, reference: str) -> bool:
        """Whether a reference names an image that should be in this registry."""
        return parse_reference(reference, self._account) is not None

    def resolve(self, reference: str, region: str | None = None) -> RegistryImage | None:
        """The image behind a reference; None when it names another registry, ImageNotFound when this one does
        not have it. `region` is meant where the host does not tell."""
        wanted = parse_reference(reference, self._account)
        if wanted is None:
            return None
        database = self._catalogue.database
        repository = records.repository(database, wanted.region or region or self._region, wanted.repository)
        if repository is None:
            raise ImageNotFound(
                f"The repository with name '{wanted.repository}' does not exist in the registry with id"
                f" '{self._account}'"
            )
        digest = wanted.digest
        if digest is None and wanted.tag is not None:
            digest = records.tagged(database, repository.region, repository.name, wanted.tag)
        image = self._image(repository, digest)
        if image is None:
            raise ImageNotFound(f"{reference}: not found")
        return self._runnable(reference, repository, image)

    def note_pull(self, image: RegistryImage) -> None:
        with self._catalogue.database.write() as tx:
            now = self._catalogue.clock.now()
            records.note_pull(tx, image.region, image.repository, image.manifest_digest, now)

    async def archive(self, image: RegistryImage) -> AsyncIterator[bytes]:
        """The image as a docker-archive tar stream, a piece at a time."""
        blobs = self._catalogue.blobs
        config = await blobs.whole(image.image_id)
        config_name = f"{image.image_id.removeprefix('sha256:')}.json"
        # A layer may occur twice in an image, but is loaded once under its one name.
        names = [f"{digest.removeprefix('sha256:')}.tar" for digest in image.layers]
        entry = {"Config": config_name, "RepoTags": [image.name], "Layers": names}
        yield _file("manifest.json", json.dumps([entry]).encode())
        yield _file(config_name, config)
        for digest, name in dict(zip(image.layers, names, strict=True)).items():
            size = blobs.size(digest)
            if size is None:
                raise ImageNotFound(f"layer {digest} of {image.repository} is not on disk")
            yield _header(name, size)
            async for piece in blobs.read(digest):
                yield piece
            yield _padding(size)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _image(self, repository: Repository, digest: str | None) -> Image | None:
        if digest is None:
            return None
        return records.image(self._catalogue.database, repository.region, repository.name, digest)

    def _runnable(self, reference: str, repository: Repository, image: Image) -> RegistryImage:
        manifest = manifests.parse(image.manifest, image.media_type)
        if manifest.is_index:
            child = manifests.choose(manifest, self._architecture)
            found = self._image(repository, None if child is None else child.digest)
            if found is None:
                raise ImageNotFound(f"{reference}: no image for platform linux/{self._architecture}")
            manifest = manifests.parse(found.manifest, found.media_type)
        if manifest.config is None:
            raise ImageNotFound(f"{reference}: is not an image that can be run")
        return RegistryImage(
            region=repository.region,
            repository=repository.name,
            manifest_digest=image.digest,
            image_id=manifest.config.digest,
            size=manifest.size,
            layers=tuple(layer.digest for layer in manifest.layers),
        )


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(format=tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _file(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    out.write(_header(name, len(content)))
    out.write(content)
    out.write(_padding(len(content)))
    return out.getvalue()

"""Blobs in and out over HTTP: uploads in their four forms, mounts, and downloads with ranges.

Owns the part of the OCI distribution specification below `/v2/<name>/blobs/`. Who may call, and which repository
it is about, was settled in `registry.py`; the bytes are in `blobs.py`.
"""

from __future__ import annotations

import re

from portside.cloud.services.ecr import records
from portside.cloud.services.ecr.blobs import DigestMismatch
from portside.cloud.services.ecr.catalogue import Catalogue
from portside.cloud.services.ecr.exchange import Exchange, RegistryError, repository_of
from portside.cloud.services.ecr.names import is_digest
from portside.cloud.services.ecr.records import Repository, Upload

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d+)-(\d+)(?:/(?:\d+|\*))?")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Transfers:
    """Answers the requests for blobs of one repository."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    # Downloads

    async def blob(self, exchange: Exchange, repository: Repository, digest: str) -> None:
        if exchange.method not in ("GET", "HEAD"):
            raise RegistryError("UNSUPPORTED", "Layers go with the images that need them.")
        if not is_digest(digest):
            raise RegistryError("DIGEST_INVALID", f"'{digest}' is not a sha256 digest.")
        layer = records.layer(self._catalogue.database, repository.region, repository.name, digest)
        size = self._catalogue.blobs.size(digest) if layer is not None else None
        if layer is None or size is None:
            raise RegistryError("BLOB_UNKNOWN", "blob unknown to registry", {"digest": digest})
        headers = {
            "content-type": "application/octet-stream",
            "docker-content-digest": digest,
            "etag": f'"{digest}"',
            "accept-ranges": "bytes",
        }
        if exchange.method == "HEAD":
            # A push asks this way, and then leaves out what it was told is here.
            self._catalogue.touch(layer)
        start, length, status = _wanted(exchange.headers.get("range", ""), size)
        if status == 206:
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{size}"
        await exchange.stream(status, headers, length, self._catalogue.blobs.read(digest, start, length))

    # Uploads

    async def begin(self, exchange: Exchange, repository: Repository) -> None:
        if exchange.method != "POST":
            raise RegistryError("UNSUPPORTED", "An upload begins with POST.")
        mount, source = exchange.query("mount"), exchange.query("from")
        if (
            mount
            and source
            and is_digest(mount)
            and self._catalogue.mount(repository, repository_of(source), mount)
        ):
            await self._created(exchange, repository, mount)
            return
        digest = exchange.query("digest")
        upload = self._catalogue.begin_upload(repository)
        if digest is not None:
            await self._receive(exchange, upload)
            await self._finish(exchange, repository, upload, digest)
            return
        await exchange.answer(202, self._progress(upload))

    async def go_on(self, exchange: Exchange, repository: Repository, identifier: str) -> None:
        upload = records.upload(self._catalogue.database, identifier)
        here = (repository.region, repository.name)
        if upload is None or (upload.region, upload.repository) != here:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        match exchange.method:
            case "GET" | "HEAD":
                await exchange.answer(204, self._progress(upload))
            case "PATCH":
                self._check_range(exchange, upload)
                await self._receive(exchange, upload)
                await exchange.answer(202, self._progress(upload))
            case "PUT":
                digest = exchange.query("digest")
                if digest is None or not is_digest(digest):
                    raise RegistryError("DIGEST_INVALID", "The request needs a parameter digest=sha256:...")
                if exchange.has_body:
                    self._check_range(exchange, upload)
                    await self._receive(exchange, upload)
                await self._finish(exchange, repository, upload, digest)
            case "DELETE":
                self._catalogue.discard_upload(upload)
                await exchange.answer(204)
            case _:
                raise RegistryError("UNSUPPORTED", f"{exchange.method} is not a way to go on with an upload.")

    async def _receive(self, exchange: Exchange, upload: Upload) -> None:
        try:
            await self._catalogue.blobs.append(upload.id, exchange.body())
        except FileNotFoundError:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry") from None

    async def _finish(self, exchange: Exchange, repository: Repository, upload: Upload, digest: str) -> None:
        try:
            await self._catalogue.finish_upload(upload, digest)
        except DigestMismatch as mismatch:
            raise RegistryError(
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
                {"digest": mismatch.claimed, "found": mismatch.found},
            ) from None
        except FileNotFoundError:
            raise RegistryError("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry") from None
        await self._created(exchange, repository, digest)

    async def _created(self, exchange: Exchange, repository: Repository, digest: str) -> None:
        await exchange.answer(
            201,
            {"location": f"/v2/{repository.name}/blobs/{digest}", "docker-content-digest": digest},
        )

    def _check_range(self, exchange: Exchange, upload: Upload) -> None:
        """A chunk that says where it belongs must go on exactly where the upload ends."""
        claimed = exchange.headers.get("content-range")
        if claimed is None:
            return
        found = _CONTENT_RANGE.fullmatch(claimed)
        received = self._catalogue.blobs.received(upload.id)
        length = exchange.headers.get("content-length", "")
        good = (
            found is not None
            and int(found[1]) == received
            and (not length.isdigit() or int(found[2]) - int(found[1]) + 1 == int(length))
        )
        if not good:
            raise RegistryError(
                "BLOB_UPLOAD_INVALID",
                f"The upload has {received} bytes; a chunk '{claimed}' does not go on from there.",
                status=416,
                headers=self._progress(upload),
            )

    def _progress(self, upload: Upload) -> dict[str, str]:
        last = max(0, self._catalogue.blobs.received(upload.id) - 1)
        return {
            "location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
            "range": f"0-{last}",
            "docker-upload-uuid": upload.id,
        }


def _wanted(header: str, size: int) -> tuple[int, int, int]:
    """Start, length and status for a Range header; several ranges at once get the whole, as HTTP allows."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return 0, size, 200
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size - 1
    else:
        start, end = int(found[1]), min(size - 1, int(found[2]) if found[2] else size - 1)
    if start > end:
        raise RegistryError(
            "SIZE_INVALID",
            f"The blob has {size} bytes.",
            status=416,
            headers={"content-range": f"bytes */{size}"},
        )
    return start, end - start + 1, 206

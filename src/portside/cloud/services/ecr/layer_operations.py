"""The part of the ECR API that is about layers: what is there, where it can be had, and upload in parts.

Owns the answers only; the rules are in `catalogue.py`, the bytes in `blobs.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from portside.cloud.kernel.clock import Clock
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecr import records
from portside.cloud.services.ecr.answers import broken_constraint, in_registry, repository_of, where
from portside.cloud.services.ecr.blobs import DigestMismatch
from portside.cloud.services.ecr.catalogue import Catalogue
from portside.cloud.services.ecr.names import is_digest
from portside.cloud.services.ecr.records import Repository, Upload
from portside.cloud.services.ecr.tokens import Tokens

PART_SIZE = 20 * 1024 * 1024
SMALLEST_PART = 5 * 1024 * 1024
ADDRESS_LIFE = 3600


class LayerOperations:
    """A part of `EcrApi`."""

    _catalogue: Catalogue
    _tokens: Tokens
    _clock: Clock

    @operation("BatchCheckLayerAvailability")
    def batch_check_layer_availability(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        layers: list[Params] = []
        failures: list[Params] = []
        for digest in params["layerDigests"]:
            if not is_digest(digest):
                failures.append(
                    {
                        "layerDigest": digest,
                        "failureCode": "InvalidLayerDigest",
                        "failureReason": "Invalid request parameters: layer digest should satisfy the regex",
                    }
                )
                continue
            found = records.layer(self._catalogue.database, repository.region, repository.name, digest)
            if found is None:
                layers.append({"layerDigest": digest, "layerAvailability": "UNAVAILABLE"})
                continue
            self._catalogue.touch(found)
            layers.append(
                {
                    "layerDigest": digest,
                    "layerAvailability": "AVAILABLE",
                    "layerSize": found.size,
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                }
            )
        return {"layers": layers, "failures": failures}

    @operation("GetDownloadUrlForLayer")
    def get_download_url_for_layer(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        digest = str(params["layerDigest"])
        if records.layer(self._catalogue.database, repository.region, repository.name, digest) is None:
            raise AwsError(
                "LayersNotFoundException",
                f"The layer with digest '{digest}' does not exist in {in_registry(caller, repository)}",
            )
        path = f"/v2/{repository.name}/blobs/{digest}"
        expires = int(self._clock.now()) + ADDRESS_LIFE
        signed = self._tokens.sign_path(f"{repository.region}{path}", expires)
        return {
            "downloadUrl": f"{caller.endpoint}{path}?region={repository.region}&{signed}",
            "layerDigest": digest,
        }

    @operation("InitiateLayerUpload")
    def initiate_layer_upload(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        return {"uploadId": self._catalogue.begin_upload(repository).id, "partSize": PART_SIZE}

    @operation("UploadLayerPart")
    async def upload_layer_part(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        upload = self._upload(caller, repository, params)
        blob: bytes = params["layerPartBlob"]
        first, last = int(params["partFirstByte"]), int(params["partLastByte"])
        received = self._catalogue.blobs.received(upload.id)
        if last - first + 1 != len(blob):
            raise broken_constraint("partLastByte", f"the part has {len(blob)} bytes")
        if first != received:
            raise AwsError(
                "InvalidLayerPartException",
                f"The layer part {first}-{last} does not follow on the last valid byte {received - 1} of the"
                f" upload '{upload.id}' into {in_registry(caller, repository)}",
                extra=where(caller, repository)
                | {"uploadId": upload.id, "lastValidByteReceived": max(0, received - 1)},
            )
        if received % PART_SIZE and received < SMALLEST_PART:
            raise AwsError(
                "LayerPartTooSmallException",
                f"A layer part may be smaller than {SMALLEST_PART} bytes only when it is the last one",
            )
        size = await self._catalogue.blobs.append(upload.id, _once(blob))
        return where(caller, repository) | {"uploadId": upload.id, "lastByteReceived": size - 1}

    @operation("CompleteLayerUpload")
    async def complete_layer_upload(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        upload = self._upload(caller, repository, params)
        digest = str(params["layerDigests"][0])
        if self._catalogue.blobs.received(upload.id) == 0:
            raise AwsError("EmptyUploadException", f"The upload '{upload.id}' has no parts")
        if records.layer(self._catalogue.database, repository.region, repository.name, digest) is not None:
            self._catalogue.discard_upload(upload)
            raise AwsError(
                "LayerAlreadyExistsException",
                f"Layer with digest '{digest}' already exists in {in_registry(caller, repository)}",
            )
        try:
            await self._catalogue.finish_upload(upload, digest)
        except DigestMismatch as mismatch:
            raise AwsError(
                "InvalidLayerException",
                f"Layer with digest '{mismatch.claimed}' does not match the uploaded content, which has the digest"
                f" '{mismatch.found}'",
            ) from None
        return where(caller, repository) | {"uploadId": upload.id, "layerDigest": digest}

    def _upload(self, caller: Caller, repository: Repository, params: Params) -> Upload:
        identifier = str(params["uploadId"])
        found = records.upload(self._catalogue.database, identifier)
        if found is None or (found.region, found.repository) != (repository.region, repository.name):
            raise AwsError(
                "UploadNotFoundException",
                f"The upload with id '{identifier}' does not exist in {in_registry(caller, repository)}",
            )
        return found


async def _once(blob: bytes) -> AsyncIterator[bytes]:
    yield blob

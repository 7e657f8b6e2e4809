"""The part of the ECR API that is about images.

Owns the answers only; the rules are in `catalogue.py`, the words in `answers.py`.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecr import records
from portside.cloud.services.ecr.answers import (
    broken_constraint,
    described_image,
    failure,
    in_registry,
    page,
    repository_of,
    whole_image,
)
from portside.cloud.services.ecr.catalogue import (
    BlobsAreMissing,
    Catalogue,
    ChildrenAreMissing,
    DigestDiffers,
    IsReferenced,
    TagIsFixed,
)
from portside.cloud.services.ecr.manifests import ManifestInvalid
from portside.cloud.services.ecr.names import is_digest, is_tag
from portside.cloud.services.ecr.records import Image, Repository


class Failed(Exception):
    """One image of a batch could not be found; the batch goes on."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ImageOperations:
    """A part of `EcrApi`."""

    _catalogue: Catalogue
    _clock: Clock

    @operation("PutImage")
    def put_image(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        tag, raw = params.get("imageTag"), str(params["imageManifest"]).encode()
        try:
            stored = self._catalogue.put_image(
                repository, raw, params.get("imageManifestMediaType") or "", tag, params.get("imageDigest")
            )
        except ManifestInvalid as bad:
            raise broken_constraint("ImageManifest", str(bad)) from None
        except DigestDiffers as differs:
            raise AwsError(
                "ImageDigestDoesNotMatchException",
                f"The provided digest '{params['imageDigest']}' does not match the digest of the image manifest,"
                f" '{differs.found}'",
            ) from None
        except ChildrenAreMissing as missing:
            raise AwsError(
                "ReferencedImagesNotFoundException",
                f"Images with digests '{missing}' required for pushing image into"
                f" {in_registry(caller, repository)} don't exist",
            ) from None
        except BlobsAreMissing as missing:
            raise AwsError(
                "LayersNotFoundException",
                f"Layers with digests '{missing}' required for pushing image into"
                f" {in_registry(caller, repository)} don't exist",
            ) from None
        except TagIsFixed:
            raise AwsError(
                "ImageTagAlreadyExistsException",
                f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be"
                " overwritten because the repository is immutable.",
            ) from None
        if not stored.new:
            raise AwsError(
                "ImageAlreadyExistsException",
                f"Image with digest '{stored.image.digest}' and tag '{tag or 'null'}' already exists in"
                f" {in_registry(caller, repository)}",
            )
        return {"image": whole_image(caller, stored.image, tag)}

    @operation("ListImages")
    def list_images(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        wanted = (params.get("filter") or {}).get("tagStatus", "ANY")
        found: list[Params] = []
        for image in self._images(repository):
            if image.tags and wanted != "UNTAGGED":
                found += [{"imageDigest": image.digest, "imageTag": tag} for tag in image.tags]
            elif not image.tags and wanted != "TAGGED":
                found.append({"imageDigest": image.digest})
        shown, token = page(found, params)
        return {"imageIds": shown, "nextToken": token}

    @operation("DescribeImages")
    def describe_images(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        if params.get("imageIds"):
            chosen: dict[str, Image] = {}
            for identifier in params["imageIds"]:
                try:
                    image, _ = self._find(repository, identifier)
                except Failed:
                    digest = identifier.get("imageDigest") or "null"
                    tag = identifier.get("imageTag") or "null"
                    raise AwsError(
                        "ImageNotFoundException",
                        f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist"
                        f" within the repository with name '{repository.name}' in the registry with id"
                        f" '{caller.account}'",
                    ) from None
                chosen[image.digest] = image
            return {"imageDetails": [described_image(caller, image) for image in chosen.values()]}
        wanted = (params.get("filter") or {}).get("tagStatus", "ANY")
        found = [
            described_image(caller, image)
            for image in self._images(repository)
            if wanted == "ANY" or (wanted == "TAGGED") == bool(image.tags)
        ]
        shown, token = page(found, params)
        return {"imageDetails": shown, "nextToken": token}

    @operation("BatchGetImage")
    def batch_get_image(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        accepted = params.get("acceptedMediaTypes")
        found: list[Params] = []
        failures: list[Params] = []
        for identifier in params["imageIds"]:
            try:
                image, tag = self._find(repository, identifier)
                if accepted and image.media_type not in accepted:
                    raise Failed("ImageNotFound", "Requested image not found")
            except Failed as failed:
                failures.append(failure(identifier, failed.code, failed.reason))
                continue
            with self._catalogue.database.write() as tx:
                records.note_pull(tx, image.region, image.repository, image.digest, self._clock.now())
            found.append(whole_image(caller, image, tag))
        return {"images": found, "failures": failures}

    @operation("BatchDeleteImage")
    def batch_delete_image(self, caller: Caller, params: Params) -> Params:
        repository = repository_of(self._catalogue.database, caller, params)
        gone: list[Params] = []
        failures: list[Params] = []
        for identifier in params["imageIds"]:
            try:
                image, tag = self._find(repository, identifier)
                if tag is not None:
                    self._catalogue.untag(image, tag)
                    gone.append({"imageDigest": image.digest, "imageTag": tag})
                else:
                    self._catalogue.delete_image(image)
                    gone += [{"imageDigest": image.digest, "imageTag": each} for each in image.tags]
                    gone += [{"imageDigest": image.digest}] if not image.tags else []
            except Failed as failed:
                failures.append(failure(identifier, failed.code, failed.reason))
            except IsReferenced:
                failures.append(
                    failure(
                        identifier,
                        "ImageReferencedByManifestList",
                        "Requested image referenced by manifest list",
                    )
                )
        return {"imageIds": gone, "failures": failures}

    def _images(self, repository: Repository) -> list[Image]:
        return records.images(self._catalogue.database, repository.region, repository.name)

    def _find(self, repository: Repository, identifier: Params) -> tuple[Image, str | None]:
        """The image of an id, and the tag it was asked for by."""
        tag, digest = identifier.get("imageTag"), identifier.get("imageDigest")
        database, region, name = self._catalogue.database, repository.region, repository.name
        if tag is None and digest is None:
            raise Failed("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
        if digest is not None and not is_digest(digest):
            raise Failed("InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex")
        if tag is not None and not is_tag(tag):
            raise Failed("InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex")
        if tag is not None:
            stands_for = records.tagged(database, region, name, tag)
            if digest is not None and stands_for is not None and stands_for != digest:
                raise Failed("ImageTagDoesNotMatchDigest", "Requested image tag does not match the digest")
            digest = stands_for
        image = records.image(database, region, name, digest) if digest is not None else None
        if image is None:
            raise Failed("ImageNotFound", "Requested image not found")
        return image, tag

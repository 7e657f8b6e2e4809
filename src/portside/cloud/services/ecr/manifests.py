"""Manifests: what one refers to, and whether it may be stored at all.

Pure. The bytes of a manifest are its identity and are never rewritten; here they are only read. Who stores them
is `catalogue.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portside.cloud.services.ecr.names import is_digest

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGES = (DOCKER_MANIFEST, OCI_MANIFEST)
INDEXES = (DOCKER_LIST, OCI_INDEX)
LARGEST = 4 * 1024 * 1024


class ManifestInvalid(Exception):
    """Why the bytes are not a manifest that this registry takes."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One thing that a manifest points at. `remote` layers have addresses of their own and are not uploaded."""

    digest: str
    size: int
    media_type: str
    platform: str = ""
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image (config and layers) or an index (children)."""

    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: str | None
    artifact_type: str | None
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """What has to be uploaded before the manifest."""
        config = () if self.config is None else (self.config,)
        return config + tuple(layer for layer in self.layers if not layer.remote)

    @property
    def size(self) -> int:
        return sum(blob.size for blob in self.blobs)


def digest_of(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def parse(raw: bytes, content_type: str = "") -> Manifest:
    """Read a manifest; `content_type` is what the client called it, if it did."""
    if len(raw) > LARGEST:
        raise ManifestInvalid(f"A manifest may have {LARGEST} bytes at most.")
    try:
        document = json.loads(raw)
    except ValueError:
        raise ManifestInvalid("The manifest is not valid JSON.") from None
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:
        raise ManifestInvalid("A manifest is a JSON object with schemaVersion 2.")
    media_type = _media_type(document, content_type)
    if media_type in INDEXES:
        return Manifest(
            media_type,
            config=None,
            layers=(),
            children=tuple(_descriptor(each, "manifests") for each in _list(document, "manifests")),
            subject=_subject(document),
            artifact_type=_text(document, "artifactType"),
            annotations=_annotations(document),
        )
    config = _descriptor(document.get("config"), "config")
    return Manifest(
        media_type,
        config=config,
        layers=tuple(_descriptor(each, "layers") for each in _list(document, "layers")),
        children=(),
        subject=_subject(document),
        artifact_type=_text(document, "artifactType") or config.media_type,
        annotations=_annotations(document),
    )


def choose(index: Manifest, architecture: str, system: str = "linux") -> Descriptor | None:
    """The child of an index that runs on this platform. A variant counts less than the architecture."""
    wanted = f"{system}/{architecture}"
    exact = [child for child in index.children if child.platform == wanted]
    near = [child for child in index.children if child.platform.startswith(wanted + "/")]
    return next(iter(exact + near), None)


def _media_type(document: Mapping[str, Any], content_type: str) -> str:
    inside = document.get("mediaType")
    outside = content_type.split(";")[0].strip()
    known = IMAGES + INDEXES
    if inside is not None:
        if inside not in known:
            raise ManifestInvalid(f"Manifests of type '{inside}' are not supported.")
        if outside in known and outside != inside:
            raise ManifestInvalid(f"The manifest says '{inside}', its Content-Type '{outside}'.")
        return str(inside)
    if outside in known:
        return outside
    # An OCI manifest need not name its type: what it holds tells it.
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise ManifestInvalid(f"The manifest has no list '{key}'.")
    return found


def _descriptor(value: Any, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise ManifestInvalid(f"'{where}' holds no descriptor.")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ManifestInvalid(f"'{where}' holds a descriptor without a valid sha256 digest.")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestInvalid(f"'{where}' holds a descriptor without a valid size.")
    platform = value.get("platform")
    parts = (
        [str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key)]
        if isinstance(platform, dict)
        else []
    )
    return Descriptor(digest, size, str(value.get("mediaType", "")), "/".join(parts), bool(value.get("urls")))


def _subject(document: Mapping[str, Any]) -> str | None:
    value = document.get("subject")
    return None if value is None else _descriptor(value, "subject").digest


def _text(document: Mapping[str, Any], key: str) -> str | None:
    value = document.get(key)
    return value if isinstance(value, str) and value else None


def _annotations(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    value = document.get("annotations")
    return tuple((str(k), str(v)) for k, v in value.items()) if isinstance(value, dict) else ()

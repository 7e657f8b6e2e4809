"""The rules of repositories and images, for both doors: the API (`api.py`) and the registry (`registry.py`).

Owns every change of the records and the moment when a blob is removed. A blob that nothing refers to is kept
for a while (`GRACE`), because a client that saw it a moment ago may be about to push a manifest that needs it;
`sweep_loop.py` comes back for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ecr import manifests, records
from portside.cloud.services.ecr.blobs import Blobs
from portside.cloud.services.ecr.manifests import Manifest
from portside.cloud.services.ecr.names import is_immutable
from portside.cloud.services.ecr.records import Image, Layer, Repository, Upload

GRACE = 600.0
UPLOAD_LIFE = 24 * 3600.0


class Refused(Exception):
    """The catalogue said no; the subclasses say why."""


class TagIsFixed(Refused):
    """The repository is immutable and the tag stands for another image."""


class BlobsAreMissing(Refused):
    def __init__(self, digests: list[str]) -> None:
        super().__init__(", ".join(digests))
        self.digests = digests


class ChildrenAreMissing(BlobsAreMissing):
    """Manifests that an index lists have not been pushed."""


class DigestDiffers(Refused):
    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


class IsReferenced(Refused):
    """The image belongs to an index that is still there."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The outcome of a push. `new` is False when image and tag were there already."""

    image: Image
    manifest: Manifest
    new: bool


class Catalogue:
    """Repositories, images and layers of one cloud."""

    def __init__(self, database: Database, blobs: Blobs, ids: Ids, clock: Clock) -> None:
        database.migrate("ecr", records.MIGRATIONS)
        self.database = database
        self.blobs = blobs
        self.ids = ids
        self.clock = clock
        self.key = records.login_key(database, ids.bytes(32))
        self.on_loose: Callable[[], None] = lambda: None

    # Images

    def put_image(
        self, repository: Repository, raw: bytes, content_type: str, tag: str | None, digest: str | None
    ) -> Stored:
        """Store a manifest under its digest, and under `tag` if there is one. Raises ManifestInvalid, Refused."""
        manifest = manifests.parse(raw, content_type)
        found = manifests.digest_of(raw)
        if digest is not None and digest != found:
            raise DigestDiffers(found)
        region, name, now = repository.region, repository.name, self.clock.now()
        with self.database.write() as tx:
            former = records.tagged(tx, region, name, tag) if tag else None
            fixed = tag is not None and is_immutable(repository.mutability, repository.exclusions, tag)
            if fixed and former not in (None, found):
                raise TagIsFixed
            self._check_parts(tx, repository, manifest)
            present = records.image(tx, region, name, found)
            same = present is not None and (tag is None or former == found)
            if present is None:
                children = [records.image(tx, region, name, child.digest) for child in manifest.children]
                size = manifest.size + sum(child.size for child in children if child is not None)
                record = Image(
                    region,
                    name,
                    found,
                    manifest.media_type,
                    size,
                    now,
                    raw,
                    manifest.artifact_type,
                    manifest.subject,
                )
                parts = [blob.digest for blob in manifest.blobs] + [child.digest for child in manifest.children]
                records.store_image(tx, record, parts)
            if tag is not None and former != found:
                records.store_tag(tx, region, name, tag, found)
            stored = records.image(tx, region, name, found)
        assert stored is not None
        return Stored(stored, manifest, not same)

    def _check_parts(self, tx: Transaction, repository: Repository, manifest: Manifest) -> None:
        region, name = repository.region, repository.name
        missing = [b.digest for b in manifest.blobs if records.layer(tx, region, name, b.digest) is None]
        if missing:
            raise BlobsAreMissing(missing)
        absent = [c.digest for c in manifest.children if records.image(tx, region, name, c.digest) is None]
        if absent:
            raise ChildrenAreMissing(absent)

    def untag(self, image: Image, tag: str) -> None:
        """Take one tag away; the image goes with its last one, unless an index still lists it."""
        where = (image.region, image.repository)
        with self.database.write() as tx:
            records.delete_tag(tx, *where, tag)
            last = image.tags == (tag,)
            if last and not records.parents(tx, *where, image.digest):
                records.delete_image(tx, *where, image.digest)
        self._clean()

    def delete_image(self, image: Image) -> None:
        where = (image.region, image.repository)
        with self.database.write() as tx:
            if records.parents(tx, *where, image.digest):
                raise IsReferenced
            records.delete_image(tx, *where, image.digest)
        self._clean()

    def delete_repository(self, repository: Repository) -> None:
        """With all that is in it. Unfinished uploads into it are lost."""
        where = (repository.region, repository.name)
        with self.database.write() as tx:
            digests = records.blobs_of(tx, *where)
            open_uploads = [u.id for u in records.uploads(tx) if (u.region, u.repository) == where]
            records.delete_repository(tx, *where)
        for upload in open_uploads:
            self.blobs.discard(upload)
        self._remove_unused(digests)

    # Layers and uploads

    def begin_upload(self, repository: Repository) -> Upload:
        record = Upload(self.ids.uuid(), repository.region, repository.name, self.clock.now())
        with self.database.write() as tx:
            records.store_upload(tx, record)
        self.blobs.begin(record.id)
        return record

    async def finish_upload(self, upload: Upload, digest: str) -> int:
        """The upload becomes a layer of its repository. Raises DigestMismatch, after which it is gone."""

        def register(size: int) -> None:
            with self.database.write() as tx:
                records.delete_upload(tx, upload.id)
                # The repository may have been deleted meanwhile; then the blob goes the way of loose ones.
                if records.repository(tx, upload.region, upload.repository) is not None:
                    records.store_layer(
                        tx, Layer(upload.region, upload.repository, digest, size, self.clock.now())
                    )
            self.on_loose()

        try:
            return await self.blobs.finish(upload.id, digest, register)
        except BaseException:
            if not self.blobs.has_upload(upload.id):
                with self.database.write() as tx:
                    records.delete_upload(tx, upload.id)
            raise

    def discard_upload(self, upload: Upload) -> None:
        with self.database.write() as tx:
            records.delete_upload(tx, upload.id)
        self.blobs.discard(upload.id)

    def touch(self, layer: Layer) -> None:
        """Somebody relies on a layer being there: keep it for the time of a push."""
        with self.database.write() as tx:
            records.store_layer(
                tx, Layer(layer.region, layer.repository, layer.digest, layer.size, self.clock.now())
            )

    def mount(self, repository: Repository, source: str, digest: str) -> bool:
        """Let `repository` see a blob that `source`, of the same region, has."""
        found = records.layer(self.database, repository.region, source, digest)
        if found is None:
            return False
        with self.database.write() as tx:
            records.store_layer(
                tx, Layer(repository.region, repository.name, digest, found.size, self.clock.now())
            )
        return True

    # Garbage

    def sweep(self) -> float | None:
        """Remove loose layers whose grace is over; seconds until the next one's is, None when there is none."""
        now = self.clock.now()
        loose = records.loose_layers(self.database)
        over = [layer for layer in loose if layer.touched_at + GRACE <= now]
        if over:
            with self.database.write() as tx:
                for layer in over:
                    records.delete_layer(tx, layer)
            self._remove_unused([layer.digest for layer in over])
        waiting = [layer.touched_at + GRACE - now for layer in loose if layer.touched_at + GRACE > now]
        return min(waiting) if waiting else None

    def tidy(self) -> None:
        """At start: forget uploads that nobody will continue, and files without a record."""
        now = self.clock.now()
        stale = [u for u in records.uploads(self.database) if u.started_at + UPLOAD_LIFE <= now]
        for upload in stale:
            self.discard_upload(upload)
        self.blobs.discard_all_but(frozenset(u.id for u in records.uploads(self.database)))
        self._remove_unused(list(self.blobs.stored()))

    def _clean(self) -> None:
        self.sweep()
        self.on_loose()

    def _remove_unused(self, digests: list[str]) -> None:
        for digest in digests:
            if not records.blob_in_use(self.database, digest):
                self.blobs.remove(digest)

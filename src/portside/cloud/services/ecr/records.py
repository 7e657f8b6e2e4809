"""What the registry remembers, and the SQL that loads and stores it.

Owns the tables. Rows are kept per region. A `layer` row says that a repository may see a blob; the bytes are in
`blobs.py`. The rules that put and delete images by these rows are in `catalogue.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from portside.cloud.kernel.database import Database, Row, Transaction, Value

MIGRATIONS = (
    """
    CREATE TABLE ecr_key (id INTEGER PRIMARY KEY CHECK (id = 1), key BLOB NOT NULL);
    CREATE TABLE ecr_repository (
        region TEXT, name TEXT, created_at REAL NOT NULL, mutability TEXT NOT NULL, exclusions TEXT NOT NULL,
        scan_on_push INTEGER NOT NULL, encryption TEXT NOT NULL, policy TEXT, lifecycle TEXT, tags TEXT NOT NULL,
        PRIMARY KEY (region, name));
    CREATE TABLE ecr_layer (
        region TEXT, repository TEXT, digest TEXT, size INTEGER NOT NULL, touched_at REAL NOT NULL,
        PRIMARY KEY (region, repository, digest),
        FOREIGN KEY (region, repository) REFERENCES ecr_repository ON DELETE CASCADE);
    CREATE INDEX ecr_layer_by_digest ON ecr_layer (digest);
    CREATE TABLE ecr_image (
        region TEXT, repository TEXT, digest TEXT, media_type TEXT NOT NULL, artifact_type TEXT, subject TEXT,
        size INTEGER NOT NULL, pushed_at REAL NOT NULL, pulled_at REAL, manifest BLOB NOT NULL,
        PRIMARY KEY (region, repository, digest),
        FOREIGN KEY (region, repository) REFERENCES ecr_repository ON DELETE CASCADE);
    CREATE TABLE ecr_part (
        region TEXT, repository TEXT, image TEXT, digest TEXT,
        PRIMARY KEY (region, repository, image, digest),
        FOREIGN KEY (region, repository, image) REFERENCES ecr_image ON DELETE CASCADE);
    CREATE INDEX ecr_part_by_digest ON ecr_part (region, repository, digest);
    CREATE TABLE ecr_tag (
        region TEXT, repository TEXT, tag TEXT, digest TEXT NOT NULL,
        PRIMARY KEY (region, repository, tag),
        FOREIGN KEY (region, repository, digest) REFERENCES ecr_image ON DELETE CASCADE);
    CREATE INDEX ecr_tag_by_digest ON ecr_tag (region, repository, digest);
    CREATE TABLE ecr_upload (
        id TEXT PRIMARY KEY, region TEXT NOT NULL, repository TEXT NOT NULL, started_at REAL NOT NULL,
        FOREIGN KEY (region, repository) REFERENCES ecr_repository ON DELETE CASCADE);
    """,
)


class Reader(Protocol):
    """A database or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Repository:
    region: str
    name: str
    created_at: float
    mutability: str = "MUTABLE"
    exclusions: tuple[str, ...] = ()
    scan_on_push: bool = False
    encryption: tuple[tuple[str, str], ...] = (("encryptionType", "AES256"),)
    policy: str | None = None
    lifecycle: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """A stored manifest, with its tags in order."""

    region: str
    repository: str
    digest: str
    media_type: str
    size: int
    pushed_at: float
    manifest: bytes
    artifact_type: str | None = None
    subject: str | None = None
    pulled_at: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    region: str
    repository: str
    digest: str
    size: int
    touched_at: float


@dataclass(frozen=True, slots=True)
class Upload:
    id: str
    region: str
    repository: str
    started_at: float


# Repositories


def _repository(row: Row) -> Repository:
    return Repository(
        region=row["region"],
        name=row["name"],
        created_at=row["created_at"],
        mutability=row["mutability"],
        exclusions=tuple(json.loads(row["exclusions"])),
        scan_on_push=bool(row["scan_on_push"]),
        encryption=tuple(json.loads(row["encryption"]).items()),
        policy=row["policy"],
        lifecycle=row["lifecycle"],
        tags=tuple(json.loads(row["tags"]).items()),
    )


def repository(reader: Reader, region: str, name: str) -> Repository | None:
    rows = reader.read("SELECT * FROM ecr_repository WHERE region = ? AND name = ?", (region, name))
    return _repository(rows[0]) if rows else None


def repositories(reader: Reader, region: str) -> list[Repository]:
    rows = reader.read("SELECT * FROM ecr_repository WHERE region = ? ORDER BY name", (region,))
    return [_repository(row) for row in rows]


def store_repository(tx: Transaction, record: Repository) -> None:
    """Insert, or replace what may change."""
    tx.execute(
        "INSERT INTO ecr_repository VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (region, name) DO UPDATE SET"
        " mutability = excluded.mutability, exclusions = excluded.exclusions, scan_on_push ="
        " excluded.scan_on_push, policy = excluded.policy, lifecycle = excluded.lifecycle, tags = excluded.tags",
        (
            record.region,
            record.name,
            record.created_at,
            record.mutability,
            json.dumps(record.exclusions),
            int(record.scan_on_push),
            json.dumps(dict(record.encryption)),
            record.policy,
            record.lifecycle,
            json.dumps(dict(record.tags)),
        ),
    )


def delete_repository(tx: Transaction, region: str, name: str) -> None:
    tx.execute("DELETE FROM ecr_repository WHERE region = ? AND name = ?", (region, name))


# Images

_IMAGES = (
    "SELECT i.*, (SELECT group_concat(tag, ' ') FROM (SELECT tag FROM ecr_tag t WHERE t.region = i.region AND"
    " t.repository = i.repository AND t.digest = i.digest ORDER BY tag)) AS tags FROM ecr_image i"
)


def _image(row: Row) -> Image:
    return Image(
        region=row["region"],
        repository=row["repository"],
        digest=row["digest"],
        media_type=row["media_type"],
        size=row["size"],
        pushed_at=row["pushed_at"],
        manifest=row["manifest"],
        artifact_type=row["artifact_type"],
        subject=row["subject"],
        pulled_at=row["pulled_at"],
        tags=tuple(row["tags"].split(" ")) if row["tags"] else (),
    )


def images(reader: Reader, region: str, name: str) -> list[Image]:
    rows = reader.read(
        f"{_IMAGES} WHERE i.region = ? AND i.repository = ? ORDER BY i.pushed_at, i.digest", (region, name)
    )
    return [_image(row) for row in rows]


def image(reader: Reader, region: str, name: str, digest: str) -> Image | None:
    rows = reader.read(
        f"{_IMAGES} WHERE i.region = ? AND i.repository = ? AND i.digest = ?", (region, name, digest)
    )
    return _image(rows[0]) if rows else None


def tagged(reader: Reader, region: str, name: str, tag: str) -> str | None:
    """The digest that a tag stands for."""
    rows = reader.read(
        "SELECT digest FROM ecr_tag WHERE region = ? AND repository = ? AND tag = ?", (region, name, tag)
    )
    return str(rows[0]["digest"]) if rows else None


def referrers(reader: Reader, region: str, name: str, subject: str) -> list[Image]:
    rows = reader.read(
        f"{_IMAGES} WHERE i.region = ? AND i.repository = ? AND i.subject = ? ORDER BY i.pushed_at, i.digest",
        (region, name, subject),
    )
    return [_image(row) for row in rows]


def parents(reader: Reader, region: str, name: str, digest: str) -> list[str]:
    """The images of a repository that refer to a blob or a child manifest."""
    rows = reader.read(
        "SELECT image FROM ecr_part WHERE region = ? AND repository = ? AND digest = ?", (region, name, digest)
    )
    return [str(row["image"]) for row in rows]


def store_image(tx: Transaction, record: Image, parts: Sequence[str]) -> None:
    """A new image, with what it refers to."""
    tx.execute(
        "INSERT INTO ecr_image VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        (
            record.region,
            record.repository,
            record.digest,
            record.media_type,
            record.artifact_type,
            record.subject,
            record.size,
            record.pushed_at,
            record.manifest,
        ),
    )
    for part in parts:
        tx.execute(
            "INSERT OR IGNORE INTO ecr_part VALUES (?, ?, ?, ?)",
            (record.region, record.repository, record.digest, part),
        )


def store_tag(tx: Transaction, region: str, name: str, tag: str, digest: str) -> None:
    tx.execute("INSERT OR REPLACE INTO ecr_tag VALUES (?, ?, ?, ?)", (region, name, tag, digest))


def delete_tag(tx: Transaction, region: str, name: str, tag: str) -> None:
    tx.execute("DELETE FROM ecr_tag WHERE region = ? AND repository = ? AND tag = ?", (region, name, tag))


def delete_image(tx: Transaction, region: str, name: str, digest: str) -> None:
    tx.execute("DELETE FROM ecr_image WHERE region = ? AND repository = ? AND digest = ?", (region, name, digest))


def note_pull(tx: Transaction, region: str, name: str, digest: str, now: float) -> None:
    tx.execute(
        "UPDATE ecr_image SET pulled_at = ? WHERE region = ? AND repository = ? AND digest = ?",
        (now, region, name, digest),
    )


# Layers and uploads


def _layer(row: Row) -> Layer:
    return Layer(row["region"], row["repository"], row["digest"], row["size"], row["touched_at"])


def layer(reader: Reader, region: str, name: str, digest: str) -> Layer | None:
    rows = reader.read(
        "SELECT * FROM ecr_layer WHERE region = ? AND repository = ? AND digest = ?", (region, name, digest)
    )
    return _layer(rows[0]) if rows else None


def loose_layers(reader: Reader) -> list[Layer]:
    """Layers that no image of their repository refers to: uploads on their way to a manifest, or left over."""
    rows = reader.read(
        "SELECT * FROM ecr_layer l WHERE NOT EXISTS (SELECT 1 FROM ecr_part p WHERE p.region = l.region"
        " AND p.repository = l.repository AND p.digest = l.digest)"
    )
    return [_layer(row) for row in rows]


def store_layer(tx: Transaction, record: Layer) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO ecr_layer VALUES (?, ?, ?, ?, ?)",
        (record.region, record.repository, record.digest, record.size, record.touched_at),
    )


def delete_layer(tx: Transaction, record: Layer) -> None:
    tx.execute(
        "DELETE FROM ecr_layer WHERE region = ? AND repository = ? AND digest = ?",
        (record.region, record.repository, record.digest),
    )


def blob_in_use(reader: Reader, digest: str) -> bool:
    return bool(reader.read("SELECT 1 FROM ecr_layer WHERE digest = ? LIMIT 1", (digest,)))


def blobs_of(reader: Reader, region: str, name: str) -> list[str]:
    rows = reader.read("SELECT digest FROM ecr_layer WHERE region = ? AND repository = ?", (region, name))
    return [str(row["digest"]) for row in rows]


def upload(reader: Reader, identifier: str) -> Upload | None:
    rows = reader.read("SELECT * FROM ecr_upload WHERE id = ?", (identifier,))
    return Upload(rows[0]["id"], rows[0]["region"], rows[0]["repository"], rows[0]["started_at"]) if rows else None


def uploads(reader: Reader) -> list[Upload]:
    rows = reader.read("SELECT * FROM ecr_upload")
    return [Upload(row["id"], row["region"], row["repository"], row["started_at"]) for row in rows]


def store_upload(tx: Transaction, record: Upload) -> None:
    tx.execute(
        "INSERT INTO ecr_upload VALUES (?, ?, ?, ?)",
        (record.id, record.region, record.repository, record.started_at),
    )


def delete_upload(tx: Transaction, identifier: str) -> None:
    tx.execute("DELETE FROM ecr_upload WHERE id = ?", (identifier,))


# The key of logins


def login_key(database: Database, fresh: bytes) -> bytes:
    """The key that signs passwords: `fresh` the first time, the same for ever after."""
    with database.write() as tx:
        tx.execute("INSERT OR IGNORE INTO ecr_key VALUES (1, ?)", (fresh,))
        return bytes(tx.read("SELECT key FROM ecr_key")[0]["key"])

"""Takes selected files out of a build's container, and packs them.

Owns the way from the engine's archives to a local one; what is selected is `selection.py`'s word, where it goes
`uploads.py`'s.
"""

from __future__ import annotations

import asyncio
import posixpath
import tarfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from portside.cloud.machine.engine import Engine, Missing
from portside.cloud.services.codebuild.selection import Selection

CHUNK = 1024 * 1024
MOST_BYTES = 5 * 1024 * 1024 * 1024
_EARLIEST = (1980, 1, 1, 0, 0, 0)


class TooLarge(Exception):
    """The files of one artifact are more than an artifact can be."""


@dataclass(frozen=True, slots=True)
class Found:
    """A selected file: its path in the container, and where its bytes are."""

    path: str
    name: str
    archive: Path
    member: str
    mode: int
    link: str = ""


@dataclass
class Collector:
    """Fetches each directory of a container once. `directory` holds the archives, and is removed with the
    build."""

    engine: Engine
    container: str
    directory: Path
    _fetched: dict[str, Path | None] = field(default_factory=dict)

    async def find(self, selection: Selection, *, symlinks: bool = False) -> list[Found]:
        """The selected files by name."""
        found: dict[str, Found] = {}
        for root in selection.roots:
            archive = await self._fetch(root)
            if archive is not None:
                for each in await asyncio.to_thread(_look, archive, root, selection, symlinks):
                    found.setdefault(each.name, each)
        return sorted(found.values(), key=lambda each: each.name)

    async def _fetch(self, root: str) -> Path | None:
        for known, archive in self._fetched.items():
            if known == root:
                return archive
        target: Path | None = self.directory / f"taken-{len(self._fetched)}.tar"
        assert target is not None
        try:
            await _save(self.engine.get_archive(self.container, root), target)
        except Missing:
            target = None
        self._fetched[root] = target
        return target


async def _save(content: AsyncIterator[bytes], target: Path) -> None:
    size = 0
    with target.open("wb") as file:
        async for chunk in content:
            size += len(chunk)
            if size > MOST_BYTES:
                raise TooLarge
            await asyncio.to_thread(file.write, chunk)


def _look(archive: Path, root: str, selection: Selection, symlinks: bool) -> list[Found]:
    parent = posixpath.dirname(root.rstrip("/"))
    found: list[Found] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            path = posixpath.join(parent, member.name) if root != "/" else "/" + member.name.lstrip("./")
            name = selection.name(path)
            if name is None or not name:
                continue
            if member.isfile() or member.islnk():
                found.append(Found(path, name, archive, member.name, member.mode))
            elif member.issym() and symlinks:
                found.append(Found(path, name, archive, member.name, member.mode, member.linkname))
            elif member.issym():
                target = _behind(tar, member)
                if target is not None:
                    found.append(Found(path, name, archive, target.name, target.mode))
    return found


def _behind(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The file that a symbolic link leads to, if it is in the archive."""
    for _ in range(8):
        try:
            member = tar.getmember(
                posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
            )
        except KeyError:
            return None
        if not member.issym():
            return member if member.isfile() else None
    return None


class Contents:
    """Reads files that were found; the archives stay open in between."""

    def __init__(self) -> None:
        self._open: dict[Path, tarfile.TarFile] = {}

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._open.values():
            each.close()

    def open(self, found: Found) -> IO[bytes]:
        tar = self._open.get(found.archive)
        if tar is None:
            tar = self._open[found.archive] = tarfile.open(found.archive)  # noqa: SIM115 - closed in __exit__
        content = tar.extractfile(found.member)
        assert content is not None
        return content


def pack_zip(files: list[Found], names: Mapping[str, str], target: Path) -> None:
    """A zip archive of the files under their names. Runs in a thread."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, Contents() as contents:
        for found in files:
            entry = zipfile.ZipInfo(names[found.name], _EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if found.link:
                entry.external_attr = (0o120777) << 16
                archive.writestr(entry, found.link)
                continue
            entry.external_attr = (0o100000 | found.mode) << 16
            with contents.open(found) as content, archive.open(entry, "w", force_zip64=True) as into:
                while chunk := content.read(CHUNK):
                    into.write(chunk)


_SOURCE, _ELSEWHERE = "source/", "elsewhere/"


def placed(cache: Path, target: Path, source: str) -> None:
    """A cache as an archive for a container whose source lies in `source`. Runs in a thread."""
    with tarfile.open(cache) as before, tarfile.open(target, "w") as after:
        for member in before:
            content = before.extractfile(member) if member.isfile() else None
            if member.name.startswith(_SOURCE):
                member.name = posixpath.join(source.lstrip("/"), member.name.removeprefix(_SOURCE))
            else:
                member.name = member.name.removeprefix(_ELSEWHERE)
            after.addfile(member, content)


def pack_cache(files: list[Found], target: Path, source: str) -> None:
    """A tar archive of the files. The source lies in another directory in each build, so what is in there is kept
    by its path from it. Runs in a thread."""
    with tarfile.open(target, "w") as archive, Contents() as contents:
        for found in files:
            inside = found.path.startswith(f"{source}/")
            name = _SOURCE + found.path[len(source) + 1 :] if inside else _ELSEWHERE + found.path.lstrip("/")
            member = tarfile.TarInfo(name)
            member.mode = found.mode
            if found.link:
                member.type, member.linkname = tarfile.SYMTYPE, found.link
                archive.addfile(member)
                continue
            with contents.open(found) as content:
                content.seek(0, 2)
                member.size = content.tell()
                content.seek(0)
                archive.addfile(member, content)


async def stream(path: Path) -> AsyncIterator[bytes]:
    """A file's bytes."""
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk

"""Artifacts as zip archives: reading single files out of them, and packing some.

Pure. Archives come from outside: names that lead out of a directory are skipped, and what a file unpacks to is
bounded before it is read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

MIB = 1024 * 1024
LARGEST_FILE = 256 * MIB
LARGEST_ARCHIVE = 1024 * MIB
MOST_FILES = 100_000
# Archives of the same content are the same bytes.
_WHEN = (1980, 1, 1, 0, 0, 0)


class BadArchive(Exception):
    """Not a zip archive, or more than can be read. The text completes `artifact X ...`."""


class NoSuchFile(Exception):
    """The archive has no such file."""


def read(data: bytes, path: str, most: int = LARGEST_FILE) -> bytes:
    """One file of an archive."""
    wanted = str(PurePosixPath(path.lstrip("/")))
    with _opened(data) as archive:
        for info in archive.infolist():
            if not info.is_dir() and str(PurePosixPath(info.filename)) == wanted:
                return _content(archive, info, most)
    raise NoSuchFile(path)


def files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """All files with a safe name, in order."""
    total = 0
    with _opened(data) as archive:
        infos = archive.infolist()
        if len(infos) > MOST_FILES:
            raise BadArchive(f"has more than {MOST_FILES} files")
        for info in infos:
            name = PurePosixPath(info.filename.replace("\\", "/"))
            if info.is_dir() or name.is_absolute() or ".." in name.parts:
                continue
            content = _content(archive, info, LARGEST_FILE)
            total += len(content)
            if total > LARGEST_ARCHIVE:
                raise BadArchive(f"unpacks to more than {LARGEST_ARCHIVE} bytes")
            yield str(name), content


def pack(content: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name, _WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return out.getvalue()


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise BadArchive("is not a zip archive") from None


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    if info.flag_bits & 1:
        raise BadArchive(f"has an encrypted file, {info.filename}")
    if info.file_size > most:
        raise BadArchive(f"has a file of more than {most} bytes, {info.filename}")
    try:
        with archive.open(info) as stream:
            # The header may lie about the size.
            content = stream.read(most + 1)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        raise BadArchive(f"has a damaged file, {info.filename}") from None
    if len(content) > most:
        raise BadArchive(f"has a file of more than {most} bytes, {info.filename}")
    return content

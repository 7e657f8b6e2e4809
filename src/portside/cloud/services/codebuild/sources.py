"""Gets the sources of a build: from a pipeline's artifacts, from S3, or from a connected repository.

Owns the download, as the build's service role, and the form in which sources go into the container: one tar
archive each, made without unpacking anything on this machine, so no archive can reach outside of its directory.
"""

from __future__ import annotations

import asyncio
import io
import json
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portside.cloud.machine.repositories import Bound, Repositories, RepositoryError
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.codebuild.failures import CLIENT_ERROR, PhaseFailed
from portside.cloud.services.codebuild.records import Build
from portside.cloud.services.codebuild.validate import GIT

CLONE_REFERENCE = "codebuild-clone-ref.json"
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Fetched:
    """One source: a tar archive with paths from the root of the container, and the directory it lies in there."""

    identifier: str
    archive: Path
    directory: str
    resolved: str = ""
    url: str = ""


class Sources:
    def __init__(self, calls: Calls, repositories: Repositories, bound: Bound) -> None:
        self._calls = calls
        self._repositories = repositories
        self._bound = bound

    async def fetch(self, build: Build, caller: Caller, into: Path) -> list[Fetched]:
        """The primary source first. Raises PhaseFailed."""
        if build.pipeline is not None:
            given = build.pipeline.get("sources") or []
            if not given:
                return [await self._nothing(build, into)]
            return [await self._handed(build, caller, each, n, into) for n, each in enumerate(given)]
        versions = {
            each["sourceIdentifier"]: each["sourceVersion"]
            for each in build.spec.get("secondarySourceVersions") or []
        }
        found = [await self._one(build, caller, build.spec["source"], build.source_version, 0, into)]
        for number, source in enumerate(build.spec.get("secondarySources") or [], start=1):
            version = versions.get(source["sourceIdentifier"], "")
            found.append(await self._one(build, caller, source, version, number, into))
        return found

    async def _nothing(self, build: Build, into: Path) -> Fetched:
        archive = into / "source-0.tar"
        await asyncio.to_thread(_pack_objects, [], archive, build.directory)
        return Fetched("", archive, build.directory)

    async def _handed(self, build: Build, caller: Caller, given: Params, number: int, into: Path) -> Fetched:
        directory = _directory(build, number)
        version = f"arn:aws:s3:::{given['bucket']}/{given['key']}"
        content = await self._object(given["bucket"], given["key"], "", caller, _which(number, version))
        archive = into / f"source-{number}.tar"
        reference = await asyncio.to_thread(_clone_reference, content)
        if reference is not None:
            await self._clone(reference["repository"], reference["commit"], 0, directory, archive)
        else:
            await self._unpack(content, archive, directory, version)
        identifier = given["identifier"] if number else ""
        return Fetched(identifier, archive, directory, str(given.get("revision") or ""))

    async def _one(
        self, build: Build, caller: Caller, source: Params, version: str, number: int, into: Path
    ) -> Fetched:
        identifier = source.get("sourceIdentifier") or "" if number else ""
        archive = into / f"source-{number}.tar"
        directory = _directory(build, number)
        kind = source["type"]
        if kind == "NO_SOURCE":
            return await self._nothing(build, into)
        if kind == "S3":
            await self._from_s3(source["location"], version, caller, number, archive, directory)
            return Fetched(identifier, archive, directory, url=f"s3://{source['location']}")
        assert kind in GIT, kind
        name = repository_name(source["location"])
        directory = posixpath.join(directory, _import_path(source["location"]))
        commit = await self._clone(
            name, version or "HEAD", int(source.get("gitCloneDepth") or 0), directory, archive
        )
        return Fetched(identifier, archive, directory, commit, source["location"])

    async def _from_s3(
        self, location: str, version: str, caller: Caller, number: int, archive: Path, directory: str
    ) -> None:
        bucket, _, key = location.partition("/")
        which = _which(number, version or f"arn:aws:s3:::{location}")
        if not key.endswith("/"):
            content = await self._object(bucket, key, version, caller, which)
            await self._unpack(content, archive, directory, location)
            return
        found: list[tuple[str, bytes]] = []
        params: Params = {"Bucket": bucket, "Prefix": key}
        while True:
            try:
                page = await self._calls("s3", "ListObjectsV2", params, caller)
            except AwsError as error:
                raise _refused(error, which) from None
            for each in page.get("Contents") or []:
                if not each["Key"].endswith("/"):
                    content = await self._object(bucket, each["Key"], "", caller, which)
                    found.append((each["Key"].removeprefix(key), content))
            if not page.get("NextContinuationToken"):
                break
            params["ContinuationToken"] = page["NextContinuationToken"]
        await asyncio.to_thread(_pack_objects, found, archive, directory)

    async def _unpack(self, content: bytes, archive: Path, directory: str, what: str) -> None:
        try:
            await asyncio.to_thread(_pack_zip, content, archive, directory)
        except zipfile.BadZipFile:
            raise PhaseFailed(CLIENT_ERROR, f"zip: not a valid zip file: {what}") from None

    async def _object(self, bucket: str, key: str, version: str, caller: Caller, which: str) -> bytes:
        params: Params = {"Bucket": bucket, "Key": key}
        if version:
            params["VersionId"] = version
        try:
            answer = await self._calls("s3", "GetObject", params, caller)
        except AwsError as error:
            raise _refused(error, which) from None
        return bytes(answer["Body"])

    async def _clone(self, name: str, revision: str, depth: int, directory: str, archive: Path) -> str:
        path = self._bound(name)
        if path is None:
            raise PhaseFailed(
                CLIENT_ERROR,
                f"The repository {name} is not connected to a checkout on this machine. "
                f"Run `portside connect {name} PATH`",
            )
        target = archive.with_suffix("")
        try:
            commit = await self._repositories.resolve(path, revision)
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
            await self._repositories.clone(path, commit, target, depth)
        except RepositoryError as error:
            raise PhaseFailed(CLIENT_ERROR, f"git clone of {name} failed: {error.reason}") from None
        await asyncio.to_thread(_pack_directory, target, archive, directory)
        return commit


def repository_name(location: str) -> str:
    """OWNER/REPO of a clone URL; the bare name for CodeCommit."""
    path = location.split("://", 1)[-1]
    path = path.partition("/")[2] if "://" in location or "@" not in path else path.partition(":")[2]
    path = path.strip("/").removesuffix(".git")
    return path.removeprefix("v1/repos/") if "git-codecommit" in location else path


def _import_path(location: str) -> str:
    """`github.com/OWNER/REPO`: git sources lie in a directory of their own name."""
    without = location.split("://", 1)[-1].rpartition("@")[2].replace(":", "/")
    return without.strip("/").removesuffix(".git")


def _directory(build: Build, number: int) -> str:
    """Where source `number` lies; each has a directory with digits of its own."""
    parent, _, last = build.directory.rpartition("/")
    head, digits = parent[: -len(parent.rpartition("src")[2])], int(parent.rpartition("src")[2])
    return f"{head}{digits + number}/{last}"


def _which(number: int, version: str) -> str:
    return f"for {'primary' if number == 0 else 'secondary'} source and source version {version}"


def _refused(error: AwsError, which: str) -> PhaseFailed:
    return PhaseFailed(CLIENT_ERROR, f"{error.code}: {error.message} status code: {error.status} {which}")


# Archives. All of it runs in a thread.


def _clone_reference(content: bytes) -> dict[str, Any] | None:
    """What stands in a source that is to be cloned instead."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.namelist() != [CLONE_REFERENCE]:
                return None
            found: dict[str, Any] = json.loads(archive.read(CLONE_REFERENCE))
            return found
    except zipfile.BadZipFile:
        return None


def _parents(tar: tarfile.TarFile, directory: str) -> None:
    path = ""
    for part in directory.strip("/").split("/"):
        path = f"{path}/{part}" if path else part
        member = tarfile.TarInfo(path)
        member.type, member.mode = tarfile.DIRTYPE, _DIRECTORY_MODE
        tar.addfile(member)


def _inside(directory: str, name: str) -> str:
    """The path in the container; PhaseFailed if it would lie outside of the directory."""
    path = posixpath.normpath(posixpath.join(directory, name))
    if name.startswith("/") or not (path + "/").startswith(directory + "/"):
        raise PhaseFailed(CLIENT_ERROR, f"The archive holds {name}, which lies outside of its directory")
    return path.lstrip("/")


def _pack_zip(content: bytes, target: Path, directory: str) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive, tarfile.open(target, "w") as tar:
        _parents(tar, directory)
        for entry in archive.infolist():
            member = tarfile.TarInfo(_inside(directory, entry.filename))
            mode = entry.external_attr >> 16
            if entry.is_dir():
                member.type, member.mode = tarfile.DIRTYPE, stat.S_IMODE(mode) | _DIRECTORY_MODE
                tar.addfile(member)
            elif stat.S_ISLNK(mode):
                member.type, member.linkname = tarfile.SYMTYPE, archive.read(entry).decode()
                tar.addfile(member)
            else:
                member.mode, member.size = stat.S_IMODE(mode) or 0o644, entry.file_size
                with archive.open(entry) as file:
                    tar.addfile(member, file)


def _pack_objects(found: Iterable[tuple[str, bytes]], target: Path, directory: str) -> None:
    with tarfile.open(target, "w") as tar:
        _parents(tar, directory)
        for name, content in found:
            member = tarfile.TarInfo(_inside(directory, name))
            member.mode, member.size = 0o644, len(content)
            tar.addfile(member, io.BytesIO(content))


def _pack_directory(source: Path, target: Path, directory: str) -> None:
    def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(target, "w") as tar:
        _parents(tar, directory)
        tar.add(source, directory.lstrip("/"), filter=owned_by_root)
    shutil.rmtree(source, ignore_errors=True)


def read_file(archive: Path, path: str) -> bytes | None:
    """One file of a source's archive; None if it is not there."""
    with tarfile.open(archive) as tar:
        try:
            found = tar.extractfile(posixpath.normpath(path).lstrip("/"))
        except KeyError:
            return None
        return found.read() if found is not None else None

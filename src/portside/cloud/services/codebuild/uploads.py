"""Where what a build made goes: artifacts to a pipeline's bucket or the project's, and caches.

Owns the keys under which artifacts are kept, and the uploads, as the build's service role. Files are found by
`collecting.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.codebuild import selection
from portside.cloud.services.codebuild.buildspec import Artifact, Buildspec
from portside.cloud.services.codebuild.collecting import (
    Collector,
    Contents,
    Found,
    TooLarge,
    pack_cache,
    pack_zip,
    placed,
)
from portside.cloud.services.codebuild.failures import CLIENT_ERROR, PhaseFailed
from portside.cloud.services.codebuild.records import Build
from portside.cloud.services.codebuild.selection import flattened, select

Say = Callable[[str], None]
NO_MATCH = "no matching artifact paths found"


def expressions(spec: Buildspec) -> dict[str, str]:
    """The texts of artifacts and reports that the shell has to evaluate at the end, by key."""
    found: dict[str, str] = {}
    for key, artifact in _artifacts(spec).items():
        texts = {"name": artifact.name, "base": artifact.base_directory, "prefix": artifact.s3_prefix}
        texts |= {f"file{index}": each for index, each in enumerate(artifact.files)}
        texts |= {f"not{index}": each for index, each in enumerate(artifact.exclude)}
        found |= {f"{key}.{part}": text for part, text in texts.items() if "$" in text or "`" in text}
    for index, report in enumerate(spec.reports):
        texts = {"base": report.base_directory}
        texts |= {f"file{number}": each for number, each in enumerate(report.files)}
        found |= {f"report{index}.{part}": text for part, text in texts.items() if "$" in text}
    return found


def _artifacts(spec: Buildspec) -> dict[str, Artifact]:
    found = {f"artifact-{index}": each for index, each in enumerate(spec.secondary, start=1)}
    return ({"artifact-0": spec.artifacts} if spec.artifacts is not None else {}) | found


def evaluated(spec: Buildspec, values: Mapping[str, str]) -> tuple[Artifact | None, tuple[Artifact, ...]]:
    """The artifacts with what the shell made of their texts."""

    def done(key: str, artifact: Artifact) -> Artifact:
        def text(part: str, written: str) -> str:
            return values.get(f"{key}.{part}", written)

        return replace(
            artifact,
            name=text("name", artifact.name),
            base_directory=text("base", artifact.base_directory),
            s3_prefix=text("prefix", artifact.s3_prefix),
            files=tuple(text(f"file{index}", each) for index, each in enumerate(artifact.files)),
            exclude=tuple(text(f"not{index}", each) for index, each in enumerate(artifact.exclude)),
        )

    made = {key: done(key, each) for key, each in _artifacts(spec).items()}
    return made.get("artifact-0"), tuple(made[f"artifact-{n}"] for n in range(1, len(spec.secondary) + 1))


class Uploads:
    """One build's. `say` writes a line into its log."""

    def __init__(self, build: Build, calls: Calls, caller: Caller, collector: Collector, say: Say) -> None:
        self._build = build
        self._calls = calls
        self._caller = caller
        self._collector = collector
        self._say = say

    async def artifacts(self, spec: Buildspec) -> list[Params]:
        """Upload all artifacts; what the API shows of them. Raises PhaseFailed."""
        primary, secondary = evaluated(spec, self._build.values)
        if self._build.pipeline is not None:
            return await self._for_pipeline(primary, {each.identifier: each for each in secondary})
        found = []
        settings = self._build.spec["artifacts"]
        if settings["type"] == "S3" and primary is not None:
            found.append(await self._to_bucket(primary, settings))
        for wanted in self._build.spec.get("secondaryArtifacts") or []:
            identifier = wanted["artifactIdentifier"]
            artifact = next((each for each in secondary if each.identifier == identifier), None)
            if artifact is None:
                raise PhaseFailed(CLIENT_ERROR, f"the buildspec has no secondary artifact {identifier}")
            found.append(await self._to_bucket(artifact, wanted))
        return found

    async def _for_pipeline(self, primary: Artifact | None, others: Mapping[str, Artifact]) -> list[Params]:
        found = []
        assert self._build.pipeline is not None
        for number, wanted in enumerate(self._build.pipeline.get("artifacts") or []):
            identifier = wanted["identifier"]
            artifact = others.get(identifier) or (primary if number == 0 else None)
            if artifact is None:
                if number == 0 and not others:
                    self._say("The buildspec declares no artifacts: nothing is uploaded")
                    continue
                raise PhaseFailed(CLIENT_ERROR, f"the buildspec has no secondary artifact {identifier}")
            files = await self._files(artifact)
            names = _names(artifact, files)
            shown = await self._put_zip(files, names, wanted["bucket"], wanted["key"])
            found.append(shown | ({"artifactIdentifier": identifier} if number else {}))
        return found

    async def _to_bucket(self, artifact: Artifact, settings: Params) -> Params:
        files = await self._files(artifact)
        names = _names(artifact, files)
        bucket = settings["location"].removeprefix("arn:aws:s3:::")
        key = artifact_key(self._build, artifact, settings)
        identifier = settings.get("artifactIdentifier")
        extra: Params = {"artifactIdentifier": identifier} if identifier else {}
        extra["overrideArtifactName"] = bool(settings.get("overrideArtifactName"))
        extra["encryptionDisabled"] = bool(settings.get("encryptionDisabled"))
        if settings.get("packaging") == "ZIP":
            return await self._put_zip(files, names, bucket, key) | extra
        with Contents() as contents:
            for each in files:
                target = f"{key}/{names[each.name]}" if key else names[each.name]
                body = each.link.encode() if each.link else await asyncio.to_thread(contents.open(each).read)
                await self._put(bucket, target, body)
        return {"location": f"arn:aws:s3:::{bucket}/{key}"} | extra

    async def _files(self, artifact: Artifact) -> list[Found]:
        self._say(f"Expanding base directory path: {artifact.base_directory or '.'}")
        self._say("Assembling file list")
        wanted = select(self._build.values["source"], artifact.base_directory, artifact.files, artifact.exclude)
        try:
            found = await self._collector.find(wanted, symlinks=artifact.symlinks)
        except TooLarge:
            raise PhaseFailed(CLIENT_ERROR, "the artifact is larger than 5 GB") from None
        for each in artifact.files:
            self._say(f"Expanding {each}")
        if not found:
            raise PhaseFailed(CLIENT_ERROR, NO_MATCH)
        self._say(f"Found {len(found)} file(s)")
        return found

    async def _put_zip(self, files: list[Found], names: Mapping[str, str], bucket: str, key: str) -> Params:
        target = self._collector.directory / "artifact.zip"
        await asyncio.to_thread(pack_zip, files, names, target)
        body = await asyncio.to_thread(target.read_bytes)
        await self._put(bucket, key, body)
        sha256, md5 = await asyncio.to_thread(
            lambda: (hashlib.sha256(body).hexdigest(), hashlib.md5(body, usedforsecurity=False).hexdigest())
        )
        return {"location": f"arn:aws:s3:::{bucket}/{key}", "sha256sum": sha256, "md5sum": md5}

    async def _put(self, bucket: str, key: str, body: bytes) -> None:
        params = {"Bucket": bucket, "Key": key, "Body": body, "Metadata": {"codebuild-buildarn": self._build.arn}}
        try:
            await self._calls("s3", "PutObject", params, self._caller)
        except AwsError as error:
            text = f"Error in UPLOAD_ARTIFACTS phase: {error.code}: {error.message} status code: {error.status}"
            raise PhaseFailed(CLIENT_ERROR, text) from None

    # Caches

    async def save_cache(self, spec: Buildspec, local: Path, key: str) -> None:
        """Keep what the cache paths name for later builds. A cache that cannot be kept fails nothing."""
        cache = self._build.spec["cache"]
        if not spec.cache_paths or not _is_kept(cache):
            return
        wanted = selection.select(self._build.values["source"], "", spec.cache_paths)
        for each in spec.cache_paths:
            self._say(f"Expanding cache path {each}")
        files = await self._collector.find(wanted, symlinks=True)
        if not files:
            self._say("No matching cache paths found")
            return
        target = self._collector.directory / "cache.tar"
        await asyncio.to_thread(pack_cache, files, target, self._build.values["source"])
        if cache["type"] == "S3":
            bucket, key = cache_place(cache, key)
            body = await asyncio.to_thread(target.read_bytes)
            try:
                await self._calls("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": body}, self._caller)
            except AwsError as error:
                self._say(f"Unable to upload the cache: {error.code}: {error.message}")
        else:
            await asyncio.to_thread(local.parent.mkdir, parents=True, exist_ok=True)
            await asyncio.to_thread(target.replace, local)


async def find_cache(build: Build, calls: Calls, caller: Caller, local: Path, key: str, into: Path) -> Path | None:
    """The archive that an earlier build left; None if there is none."""
    cache = build.spec["cache"]
    if not _is_kept(cache):
        return None
    found = local
    if cache["type"] == "S3":
        bucket, name = cache_place(cache, key)
        try:
            answer = await calls("s3", "GetObject", {"Bucket": bucket, "Key": name}, caller)
        except AwsError:
            return None
        found = into / "cache-found.tar"
        await asyncio.to_thread(found.write_bytes, answer["Body"])
    elif not await asyncio.to_thread(local.exists):
        return None
    target = into / "cache-before.tar"
    await asyncio.to_thread(placed, found, target, build.values["source"])
    return target


def _is_kept(cache: Params) -> bool:
    return cache["type"] == "S3" or (
        cache["type"] == "LOCAL" and "LOCAL_CUSTOM_CACHE" in (cache.get("modes") or [])
    )


def cache_place(cache: Params, key: str) -> tuple[str, str]:
    bucket, _, prefix = cache["location"].removeprefix("arn:aws:s3:::").partition("/")
    return bucket, f"{prefix.rstrip('/')}/{key}" if prefix.strip("/") else key


def artifact_key(build: Build, artifact: Artifact, settings: Params) -> str:
    """Where an artifact goes in its bucket: a zip archive, or the folder of its files."""
    by_id = settings.get("namespaceType") == "BUILD_ID"
    name = settings.get("name") or build.project
    if settings.get("overrideArtifactName") and artifact.name:
        name = artifact.name
    path = artifact.s3_prefix if by_id and artifact.s3_prefix else settings.get("path") or ""
    parts = [path.strip("/"), build.uuid if by_id else "", name.strip("/")]
    return "/".join(part for part in parts if part)


def _names(artifact: Artifact, files: list[Found]) -> dict[str, str]:
    names = [each.name for each in files]
    return flattened(names) if artifact.discard_paths else {name: name for name in names}

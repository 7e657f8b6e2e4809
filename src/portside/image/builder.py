"""Builds and pushes images through a Docker Engine API.

Owns the conversation with the engine for one command's length. The steps of a build are passed on line by line.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlencode

from portside.image.errors import ImageError

Say = Callable[[str], None]

PULL_LIMIT = 1800.0
BUILD_LIMIT = 3600.0
PUSH_LIMIT = 1800.0
ASK_LIMIT = 30.0


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for a registry; the password is never printed."""

    username: str
    password: str = field(repr=False)
    server: str

    def header(self) -> str:
        content = {"username": self.username, "password": self.password, "serveraddress": self.server}
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


class Builder:
    """Use: `async with Builder("unix:///var/run/docker.sock") as builder`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._docker: Any = None

    async def __aenter__(self) -> Builder:
        import aiodocker

        self._docker = aiodocker.Docker(url=self._host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._docker.close()

    async def present(self, reference: str) -> bool:
        import aiodocker

        try:
            async with asyncio.timeout(ASK_LIMIT):
                await self._docker.images.inspect(reference)
        except aiodocker.DockerError as error:
            if error.status == 404:
                return False
            raise ImageError(f"the engine could not look for {reference}", error.message) from error
        return True

    async def pull(self, reference: str) -> None:
        """Pull a public image. Raises ImageError with the engine's reason."""
        await self._follow(
            f"{reference} cannot be pulled", PULL_LIMIT, self._docker.images.pull(reference, stream=True)
        )

    async def build(self, context: io.BytesIO, dockerfile: str, tag: str, args: dict[str, str], say: Say) -> None:
        """Build `context` (a tar file) and name the image `tag`."""
        stream = self._docker.images.build(
            fileobj=context,
            encoding="identity",
            path_dockerfile=dockerfile,
            tag=tag,
            buildargs=args,
            rm=True,
            forcerm=True,
            stream=True,
        )
        await self._follow("the image cannot be built", BUILD_LIMIT, stream, say)

    async def tag(self, image: str, repository: str, tag: str) -> None:
        await self._docker.images.tag(image, repository, tag=tag)

    async def push(self, repository: str, tag: str, login: Login) -> str:
        """Push `repository:tag`; returns the manifest's digest as the registry reported it."""
        digest = ""

        def look(line: str) -> None:
            nonlocal digest
            found = re.search(r"digest: (sha256:[0-9a-f]{64})", line)
            if found:
                digest = found[1]

        auth = {"auth": base64.b64encode(f"{login.username}:{login.password}".encode()).decode()}
        stream = self._docker.images.push(repository, auth=auth, tag=tag, stream=True)
        await self._follow(f"{repository}:{tag} cannot be pushed", PUSH_LIMIT, stream, look)
        return digest

    async def export(self, reference: str, into: IO[bytes]) -> None:
        """Write an image as an archive, as `docker save` does."""
        import aiodocker

        try:
            async with asyncio.timeout(PUSH_LIMIT), self._docker.images.export_image(reference) as content:
                async for chunk, _ in content.iter_chunks():
                    into.write(chunk)
        except aiodocker.DockerError as error:
            raise ImageError(f"{reference} cannot be taken out of the engine", error.message) from error

    async def untag(self, reference: str) -> None:
        """Take a name off an image; the image goes with its last name."""
        import aiodocker

        try:
            await self._docker.images.delete(reference)
        except aiodocker.DockerError as error:
            if error.status not in (404, 409):  # 409: a container still uses it, so it stays
                raise ImageError(f"{reference} cannot be removed", error.message) from error

    async def import_archive(self, path: str, repository: str, tag: str, changes: list[str]) -> None:
        """Make an image of a root file system in a tar file."""
        import aiodocker
        import aiohttp

        query = urlencode(
            [("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", each) for each in changes)]
        )
        headers = {"content-type": "application/x-tar"}
        limit = aiohttp.ClientTimeout(total=BUILD_LIMIT)
        try:
            with open(path, "rb") as content:  # noqa: ASYNC230, PTH123 - aiohttp streams a plain file
                # The engine's own client has no way to give several `changes`.
                async with self._docker._query(
                    f"images/create?{query}", "POST", data=content, headers=headers, timeout=limit
                ) as answer:
                    await answer.read()
        except aiodocker.DockerError as error:
            raise ImageError(f"{repository}:{tag} cannot be made", error.message) from error

    async def _follow(self, what: str, limit: float, stream: AsyncIterator[Any], say: Say | None = None) -> None:
        """Read the engine's progress to its end; its error becomes ours."""
        import aiodocker

        last: list[str] = []
        try:
            async with asyncio.timeout(limit):
                async for message in stream:
                    if "error" in message:
                        raise ImageError(what, _reason(str(message["error"]), last))
                    text = str(message.get("stream") or message.get("status") or "").rstrip()
                    if text:
                        last = [*last[-19:], text]
                        if say is not None:
                            say(text)
        except aiodocker.DockerError as error:
            raise ImageError(what, error.message) from error
        except TimeoutError as error:
            raise ImageError(what, f"the engine did not finish within {limit:.0f} s") from error


def _reason(error: str, last: list[str]) -> str:
    """The engine's error with the output that led to it."""
    said = [line for line in last if not line.startswith((" --->", "Removing intermediate"))][-5:]
    return error + ("\n  " + "\n  ".join(said) if said else "")


def base_of(dockerfile: str, argument: str) -> str:
    """The default of a build argument that stands before the first FROM, empty if there is none."""
    for line in dockerfile.splitlines():
        stripped = line.strip()
        if re.match(r"(?i)FROM\s", stripped):
            return ""
        found = re.match(rf"(?i)ARG\s+{re.escape(argument)}\s*=\s*[\"']?([^\"'\s]+)", stripped)
        if found:
            return found[1]
    return ""

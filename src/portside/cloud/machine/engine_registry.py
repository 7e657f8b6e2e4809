"""What the user's docker client asks for about images of the account's registry, done with the cloud's own one.

Pull, push, login, look at a manifest, build from, remove. Images have the user's names in the engine; the names
under which the engine reaches the registry (`engine_names.py`) are lent for a push, and stay for digests. Whatever
fails is told in the engine's words with the user's names.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from portside.cloud.machine import build_context, dockerfile
from portside.cloud.machine.engine_names import NOTING, RegistryNames, pulled
from portside.cloud.machine.engine_socket import Operation
from portside.cloud.machine.engine_words import addressed, decoded_login, logins_of, message_of, reason_of
from portside.cloud.machine.guard import Refused, connect
from portside.cloud.machine.guard_names import Reference
from portside.cloud.machine.http_tunnel import Exchange, tunnel

if TYPE_CHECKING:
    import aiohttp

QUICK = 60.0
LONG = 3600.0 * 36
LARGEST_DOCUMENT = 16 * 1024 * 1024


class EngineRegistry:
    """`engine` is the engine's address, `names` tells the registry's; build contexts pass through `directory`."""

    def __init__(self, engine: Callable[[], str], names: RegistryNames, directory: Path) -> None:
        self._host = engine
        self._names = names
        self._directory = directory
        self._locks: dict[str, asyncio.Lock] = {}

    def operations(self) -> dict[str, Operation]:
        return {
            "POST /auth": self._auth,
            "POST /images/create": self._pull,
            "POST /images/(.+)/push": self._push,
            "GET /distribution/(.+)/json": self._distribution,
            "POST /build": self._build,
            "GET /images/json": self._list,
            "GET /images/(.+)/json": self._inspect,
            "GET /images/(.+)/history": self._by_digest,
            "GET /images/(.+)/get": self._by_digest,
            "POST /images/(.+)/tag": self._by_digest,
            "DELETE /images/(.+)": self._remove,
            "POST /containers/create": self._create,
        }

    # Registries

    async def _auth(self, exchange: Exchange, name: str) -> bool:
        body = await exchange.whole_body(LARGEST_DOCUMENT)
        given = message_of(body)
        host = str(given.get("serveraddress") or "").split("://", 1)[-1].partition("/")[0]
        if not self._names.is_own_host(host):
            await tunnel(exchange, self._host(), body=body)
            return True
        local = self._names.local
        try:
            async with self._engine() as engine:
                answer = await self._json(engine, "POST", "/auth", data={**given, "serveraddress": local})
        except Refused as refused:
            message = refused.message.replace(f"http://{local}", f"https://{host}").replace(local, host)
            raise Refused(refused.status, message) from None
        await exchange.answer(200, answer)
        return True

    async def _pull(self, exchange: Exchange, name: str) -> bool:
        head = exchange.head
        reference = pulled(head.parameter("fromImage"), head.parameter("tag"))
        if not self._names.is_own(reference):
            return False
        every = not reference.tag and not reference.digest
        lines = self._pulled(
            reference, decoded_login(head.header("X-Registry-Auth")), head.parameter("platform"), every=every
        )
        await exchange.lines(lines)
        return True

    async def _pulled(
        self, reference: Reference, login: dict[str, Any], platform: str, *, every: bool = False
    ) -> AsyncIterator[bytes]:
        """By its digest, so that the engine remembers that one; then it gets the user's name."""
        repository = self._names.local_repository(reference)
        headers = addressed(login, self._names.local)
        async with self._engine() as engine:
            digest = reference.digest
            if not digest and not every:
                digest = await self._digest(engine, f"{repository}:{reference.version}", headers)
            # Without a digest the engine itself shall say what is wrong.
            parameters = {"fromImage": repository, "platform": platform}
            if not every:
                parameters["tag"] = digest or reference.version
            failed = False
            held: bytes | None = None
            async for line in self._output(engine, "/images/create", parameters, headers):
                failed = failed or "error" in message_of(line)
                # The user's name is there before the last line says so.
                if held is not None:
                    yield self._names.pull_line(held.decode(), reference, digest).encode()
                held = line
            if not failed:
                if every or not digest:
                    await self._rename_all(engine, repository)
                elif not reference.digest:
                    await self._tag(engine, f"{repository}@{digest}", str(reference))
            if held is not None:
                yield self._names.pull_line(held.decode(), reference, digest).encode()

    async def _digest(self, engine: aiohttp.ClientSession, name: str, headers: dict[str, str]) -> str:
        try:
            found = await self._json(
                engine, "GET", f"/distribution/{quote(name, safe='/:@')}/json", headers=headers
            )
        except Refused:
            return ""
        return str((found.get("Descriptor") or {}).get("digest") or "")

    async def _rename_all(self, engine: aiohttp.ClientSession, repository: str) -> None:
        for name in await self._tags(engine, repository):
            await self._tag(engine, name, self._names.user(name))
            await self._untag(engine, name)

    async def _push(self, exchange: Exchange, name: str) -> bool:
        given = Reference.parse(unquote(name))
        if not self._names.is_own(given):
            return False
        tag = exchange.head.parameter("tag") or given.tag
        async with self._engine() as engine:
            wanted = [f"{given.repository}:{tag}"] if tag else await self._tags(engine, given.repository)
            for each in wanted or [given.repository]:
                if await self._identifier(engine, each) is None:
                    raise Refused(404, f"An image does not exist locally with the tag: {given.repository}")
            login = addressed(decoded_login(exchange.head.header("X-Registry-Auth")), self._names.local)
            await exchange.lines(self._pushed(engine, [Reference.parse(each) for each in wanted], login))
        return True

    async def _pushed(
        self, engine: aiohttp.ClientSession, references: list[Reference], login: dict[str, str]
    ) -> AsyncIterator[bytes]:
        for reference in references:
            repository = self._names.local_repository(reference)
            lent = f"{repository}:{reference.version}"
            digest = ""
            async with self._locks.setdefault(lent, asyncio.Lock()):
                await self._tag(engine, str(reference), lent)
                try:
                    path = f"/images/{quote(repository, safe='/:')}/push"
                    async for line in self._output(engine, path, {"tag": reference.version}, login):
                        digest = (message_of(line).get("aux") or {}).get("Digest") or digest
                        yield self._names.user(line.decode()).encode()
                finally:
                    await asyncio.shield(self._untag(engine, lent))
                if digest:
                    await self._note(engine, repository, digest, login)

    async def _note(
        self, engine: aiohttp.ClientSession, repository: str, digest: str, login: dict[str, str]
    ) -> None:
        """The digest went with the lent name. The engine notes it again when it pulls what it has already.

        Nobody asked for that pull, so the registry is told not to record it.
        """
        headers = {**login, NOTING: "true"}
        async for line in self._output(
            engine, "/images/create", {"fromImage": repository, "tag": digest}, headers
        ):
            if "error" in message_of(line):
                return

    async def _distribution(self, exchange: Exchange, name: str) -> bool:
        reference = Reference.parse(unquote(name))
        if not self._names.is_own(reference):
            return False
        login = addressed(decoded_login(exchange.head.header("X-Registry-Auth")), self._names.local)
        path = f"/distribution/{quote(f'{self._names.local}/{reference}', safe='/:@')}/json"
        async with self._engine() as engine:
            await exchange.answer(200, await self._json(engine, "GET", path, headers=login))
        return True

    # Building

    async def _build(self, exchange: Exchange, name: str) -> bool:
        """Base images of the registry are pulled before the engine begins. BuildKit takes the context by a way of
        its own, past this one, and finds only what has been pulled."""
        head = exchange.head
        if head.parameter("version") == "2" or head.parameter("remote"):
            return False
        wanted = head.parameter("dockerfile") or "Dockerfile"
        pieces = exchange.body()
        seen = await build_context.look(pieces, wanted)
        if isinstance(seen, build_context.Passing):
            await self._built(exchange, seen.context, seen.send, pieces_left=True)
            return True
        with tempfile.TemporaryDirectory(dir=self._directory) as scratch:
            path = Path(scratch) / "context.tar"
            await build_context.receive(_joined(seen, pieces), path)
            try:
                context = await asyncio.to_thread(build_context.read, path, wanted)
            except build_context.ContextError:
                await tunnel(exchange, self._host(), body=_file(path))  # the engine says it best
                return True
            await self._built(exchange, context, functools.partial(build_context.send, context), pieces_left=False)
        return True

    async def _built(
        self,
        exchange: Exchange,
        context: build_context.Context,
        send: Callable[[str], AsyncIterator[bytes]],
        *,
        pieces_left: bool,
    ) -> None:
        head = exchange.head
        arguments = json.loads(head.parameter("buildargs") or "{}") or {}
        used = dockerfile.uses(context.dockerfile, {k: v for k, v in arguments.items() if v is not None})
        anew = head.parameter("pull") in ("1", "true")
        own = any(self._names.is_own(Reference.parse(use.image)) for use in used)
        renamed: dict[str, str] = {}
        if own:
            known = logins_of(head.header("X-Registry-Config"))
            # While some of the context is still to come, reading on to see the client go would lose it.
            async with contextlib.nullcontext() if pieces_left else exchange.attended():
                for image in dict.fromkeys(use.image for use in used):
                    other = await self._base(image, known, anew=anew)
                    renamed |= {image: other} if other else {}
        parameters = [each for each in head.parameters if not (own and each[0] == "pull")]
        text = dockerfile.renamed(context.dockerfile, used, renamed)
        await tunnel(exchange, self._host(), head.to(parameters=parameters), send(text))

    async def _base(self, image: str, known: dict[str, dict[str, Any]], *, anew: bool) -> str:
        """See that a base image is there; its other name, if a Dockerfile cannot use this one."""
        reference = Reference.parse(image)
        own = self._names.is_own(reference)
        async with self._engine() as engine:
            name = await self._engine_name(engine, image)
            if (own or anew) and (anew or await self._identifier(engine, name) is None):
                login = known.get(reference.host or "index.docker.io") or {}
                if own:
                    lines = self._pulled(reference, login, "")
                else:
                    asked = {"fromImage": reference.repository, "tag": reference.version}
                    lines = self._output(engine, "/images/create", asked, addressed(login, reference.host))
                async for line in lines:
                    failed = message_of(line).get("error")
                    if failed:
                        raise Refused(500, str(failed))
                name = await self._engine_name(engine, image)
        return name if name != image else ""

    # Images by the user's names

    async def _list(self, exchange: Exchange, name: str) -> bool:
        async with self._engine() as engine:
            found = await self._json(engine, "GET", _target(exchange))
        await exchange.answer(200, [self._shown(image) for image in found])
        return True

    async def _inspect(self, exchange: Exchange, name: str) -> bool:
        async with self._engine() as engine:
            path = await self._path(engine, exchange, name)
            found = await self._json(engine, "GET", exchange.head.path if path is None else path)
        await exchange.answer(200, self._shown(found))
        return True

    async def _by_digest(self, exchange: Exchange, name: str) -> bool:
        async with self._engine() as engine:
            path = await self._path(engine, exchange, name)
        if path is None:
            return False
        await tunnel(exchange, self._host(), exchange.head.to(path))
        return True

    async def _remove(self, exchange: Exchange, name: str) -> bool:
        """Names under which only the engine knows the image go with the last of the user's."""
        given = unquote(name)
        removed: list[Any] = []
        async with self._engine() as engine:
            path = await self._path(engine, exchange, name)
            if path is None:
                try:
                    found = await self._json(engine, "GET", f"/images/{quote(given, safe='/:@')}/json")
                except Refused:
                    return False
                known = [*(found.get("RepoTags") or []), *(found.get("RepoDigests") or [])]
                force = exchange.head.parameter("force") in ("1", "true")
                for each in self._names.spare(given, known, force=force):
                    removed += await self._untag(engine, each)
                path = exchange.head.path
            removed += await self._json(engine, "DELETE", _target(exchange, path))
        await exchange.answer(200, json.loads(self._names.user(json.dumps(removed))))
        return True

    async def _create(self, exchange: Exchange, name: str) -> bool:
        body = await exchange.whole_body(LARGEST_DOCUMENT)
        document = message_of(body)
        image = str(document.get("Image") or "")
        async with self._engine() as engine:
            other = await self._engine_name(engine, image)
        if other != image:
            body = json.dumps({**document, "Image": other}).encode()
        await tunnel(exchange, self._host(), body=body)
        return True

    def _shown(self, image: dict[str, Any]) -> dict[str, Any]:
        shown = dict(image)
        for key in ("RepoTags", "RepoDigests"):
            if image.get(key):
                shown[key] = list(dict.fromkeys(self._names.user(name) for name in image[key]))
        return shown

    async def _path(self, engine: aiohttp.ClientSession, exchange: Exchange, name: str) -> str | None:
        """The path of a request about an image that the engine knows by another name; None if it is the same."""
        given = unquote(name)
        other = await self._engine_name(engine, given)
        return None if other == given else exchange.head.path.replace(name, quote(other, safe="/:@"), 1)

    async def _engine_name(self, engine: aiohttp.ClientSession, image: str) -> str:
        """An image by its digest has the name by which the engine pulled it."""
        reference = Reference.parse(image)
        if not reference.digest or not self._names.is_own(reference):
            return image
        wanted = f"{reference.repository}@{reference.digest}"
        for each in await self._json(engine, "GET", "/images/json?digests=1"):
            for name in each.get("RepoDigests") or []:
                if self._names.user(name) == wanted:
                    return str(name)
        return image

    # The engine

    def _engine(self) -> aiohttp.ClientSession:
        return connect(self._host())

    async def _identifier(self, engine: aiohttp.ClientSession, name: str) -> str | None:
        try:
            found = await self._json(engine, "GET", f"/images/{quote(name, safe='/:@')}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return str(found["Id"])

    async def _tags(self, engine: aiohttp.ClientSession, repository: str) -> list[str]:
        filters = quote(json.dumps({"reference": {repository: True}}))
        found = await self._json(engine, "GET", f"/images/json?filters={filters}")
        tags = [tag for image in found for tag in image.get("RepoTags") or []]
        return [tag for tag in tags if Reference.parse(tag).repository == repository]

    async def _tag(self, engine: aiohttp.ClientSession, image: str, name: str) -> None:
        reference = Reference.parse(name)
        query = f"repo={quote(reference.repository)}&tag={reference.version}"
        await self._json(engine, "POST", f"/images/{quote(image, safe='/:@')}/tag?{query}")

    async def _untag(self, engine: aiohttp.ClientSession, name: str) -> list[Any]:
        try:
            removed = await self._json(engine, "DELETE", f"/images/{quote(name, safe='/:@')}?noprune=1")
        except Refused as refused:
            if refused.status not in (404, 409):
                raise
            return []
        return list(removed)

    async def _json(
        self,
        engine: aiohttp.ClientSession,
        method: str,
        target: str,
        *,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        from yarl import URL

        url = URL(target, encoded=True)
        async with _limited(QUICK), engine.request(method, url, json=data, headers=headers) as answer:
            body = await answer.read()
            if answer.status >= 400:
                raise Refused(answer.status, self._names.user(reason_of(body)))
            return json.loads(body) if body.strip() else {}

    async def _output(
        self, engine: aiohttp.ClientSession, path: str, parameters: dict[str, str], headers: dict[str, str]
    ) -> AsyncIterator[bytes]:
        """The lines of a progress stream, as the engine wrote them."""
        async with _limited(LONG), engine.post(path, params=parameters, headers=headers) as answer:
            if answer.status >= 400:
                raise Refused(answer.status, self._names.user(reason_of(await answer.read())))
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line.strip()
            if rest.strip():
                yield rest.strip()


@asynccontextmanager
async def _limited(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Refused(500, f"the container engine did not answer within {seconds:g} seconds") from None


async def _joined(begun: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for piece in rest:
        yield piece


async def _file(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, build_context.CHUNK):
            yield piece


def _target(exchange: Exchange, path: str | None = None) -> str:
    query = exchange.head.query
    return (exchange.head.path if path is None else path) + (f"?{query}" if query else "")

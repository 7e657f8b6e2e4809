"""What a guarded client may do with images: build, tag, push, pull, look at and remove its own.

Carried out with the machine's engine, in the client's own space of names (`guard_names.py`). Names of the
account's registry are pushed to and pulled from the cloud's own one, with the login of the client. Output is
passed on line by line as it comes; nothing large is held in memory.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from portside.cloud.machine import build_context, dockerfile
from portside.cloud.machine.engine_words import addressed, decoded_login, logins_of, message_of, reason_of
from portside.cloud.machine.guard import Asked, Operation, Refused, document
from portside.cloud.machine.guard_names import DOMAIN, Kind, Names, Reference, is_identifier, unreachable

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

QUICK = 60.0
LONG = 3600.0 * 36
BUILD_OPTIONS = frozenset(
    {
        "t", "dockerfile", "q", "nocache", "cachefrom", "pull", "rm", "forcerm", "buildargs", "shmsize", "squash",
        "labels", "networkmode", "target", "platform", "extrahosts", "version", "session", "buildid", "isolation",
    }
)  # fmt: skip
# Options that clients always send, with one of these values, which mean nothing.
_NOTHING = ("", "0", "null", "[]")
_WITHOUT_MEANING = (
    "memory", "memswap", "cpushares", "cpuquota", "cpuperiod", "cpusetcpus", "cpusetmems", "cgroupparent",
    "ulimits", "remote", "outputs", "securityopt",
)  # fmt: skip
_NETWORKS = ("", "default", "bridge", "none")


class GuardedImages:
    """One client's. `locks` keeps two clients of this cloud from pushing under one name at the same moment."""

    def __init__(
        self,
        engine: aiohttp.ClientSession,
        names: Names,
        directory: Path,
        locks: Callable[[str], asyncio.Lock],
    ) -> None:
        self._engine = engine
        self._names = names
        self._directory = directory
        self._locks = locks
        self.identifiers: set[str] = set()
        self._digests: dict[str, set[str]] = {}

    def operations(self) -> dict[str, Operation]:
        return {
            "GET /_ping": self._ping,
            "GET /version": self._version,
            "GET /info": self._info,
            "POST /auth": self._auth,
            "POST /build": self._build,
            "GET /images/json": self._list,
            "POST /images/create": self._pull,
            "GET /images/(.+)/json": self._inspect,
            "GET /images/(.+)/history": self._history,
            "POST /images/(.+)/tag": self._tag,
            "POST /images/(.+)/push": self._push,
            "DELETE /images/(.+)": self._remove,
            # `docker inspect NAME` looks for all kinds of things.
            "GET /containers/(.+)/json": self._nothing,
            "GET /(?:networks|volumes|services|tasks|nodes|plugins|secrets|configs)/(.+)": self._nothing,
        }

    # The engine itself

    async def _ping(self, asked: Asked) -> web.StreamResponse:
        from aiohttp import web

        async with self._limited(QUICK), self._engine.get("/_ping") as answer:
            kept = ("Api-Version", "Ostype", "Docker-Experimental", "Cache-Control", "Pragma")
            headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        # Tells clients to build with the classic builder: the other one needs far more of the engine.
        # By the other header the build image's `docker` knows whether it was cut off by the cloud's end.
        return web.Response(
            text="OK", headers=headers | {"Builder-Version": "1", "Portside-Life": str(os.getpid())}
        )

    async def _version(self, asked: Asked) -> web.StreamResponse:
        return document(await self._json("GET", f"{asked.version}/version"))

    async def _info(self, asked: Asked) -> web.StreamResponse:
        found = await self._json("GET", f"{asked.version}/info")
        kept = (
            "ServerVersion", "OSType", "Architecture", "NCPU", "MemTotal", "OperatingSystem", "KernelVersion",
            "Driver", "IndexServerAddress",
        )  # fmt: skip
        shown = {name: found[name] for name in kept if name in found}
        return document(shown | {"Name": "build", "Containers": 0, "Images": 0, "Plugins": {}})

    async def _auth(self, asked: Asked) -> web.StreamResponse:
        import aiohttp

        given = await asked.request.json()
        server = str(given.get("serveraddress") or "")
        host = server.split("://", 1)[-1].partition("/")[0]
        reference = Reference(f"{host}/x")
        kind = self._names.kind(reference) if reference.host else Kind.PUBLIC
        if kind is Kind.UNREACHABLE:
            raise Refused(500, unreachable(reference))
        if kind is Kind.PUBLIC:
            data = json.dumps(given).encode()
            return document(await self._json("POST", f"{asked.version}/auth", data=data))
        login = aiohttp.BasicAuth(str(given.get("username") or ""), str(given.get("password") or ""))
        async with (
            self._limited(QUICK),
            aiohttp.ClientSession() as session,
            session.get(f"http://{self._names.local}/v2/", headers={"Authorization": login.encode()}) as answer,
        ):
            status = answer.status
        if status != 200:
            raise Refused(401, f"login attempt to https://{host}/v2/ failed with status: {status} Unauthorized")
        return document({"IdentityToken": "", "Status": "Login Succeeded"})

    async def _nothing(self, asked: Asked) -> web.StreamResponse:
        raise Refused(404, f"No such object: {unquote(asked.name)}")

    # Building

    async def _build(self, asked: Asked) -> web.StreamResponse:
        query = [(key, value) for key, value in asked.request.query.items()]
        _check_build(query)
        with tempfile.TemporaryDirectory(dir=self._directory) as scratch:
            path = Path(scratch) / "context.tar"
            await build_context.receive(asked.request.content.iter_any(), path)
            try:
                name = asked.query.get("dockerfile") or "Dockerfile"
                context = await asyncio.to_thread(build_context.read, path, name)
            except build_context.ContextError as error:
                raise Refused(400, str(error)) from None
            arguments = json.loads(asked.query.get("buildargs") or "{}")
            used = dockerfile.uses(context.dockerfile, {k: v for k, v in arguments.items() if v is not None})
            known = logins_of(asked.request.headers.get("X-Registry-Config", ""))
            renamed = {use.image: await self._base(use.image, asked, known) for use in used}
            renamed = {image: other for image, other in renamed.items() if other}
            text = dockerfile.renamed(context.dockerfile, used, renamed)
            options = self._build_options(query, bool(renamed))
            headers = {"content-type": "application/x-tar"}
            if "X-Registry-Config" in asked.request.headers:
                headers["X-Registry-Config"] = asked.request.headers["X-Registry-Config"]
            return await self._stream(
                asked, "POST", "/build", params=options, data=build_context.send(context, text), headers=headers,
                look=self._built,
            )  # fmt: skip

    def _build_options(self, query: list[tuple[str, str]], renamed: bool) -> list[tuple[str, str]]:
        options: list[tuple[str, str]] = []
        for key, value in query:
            match key:
                case "t":
                    options.append((key, self._names.private(Reference.parse(value))))
                case "cachefrom":
                    named = json.loads(value or "null") or []
                    mine = [self._names.private(Reference.parse(each)) for each in named]
                    options.append((key, json.dumps(mine)))
                case "rm" | "forcerm" | "session" | "buildid" | "version":
                    pass
                case "pull" if renamed:
                    pass  # what has another name was pulled already
                case _ if key in BUILD_OPTIONS:
                    options.append((key, value))
        # Nothing of an interrupted build stays.
        return [*options, ("rm", "1"), ("forcerm", "1")]

    async def _base(self, image: str, asked: Asked, known: dict[str, dict[str, Any]]) -> str:
        """The engine's name of an image that a Dockerfile uses; empty if the name may stay."""
        reference = Reference.parse(image)
        private = self._names.private(reference)
        kind = self._names.kind(reference)
        pull_anew = kind is Kind.OWN and asked.query.get("pull") in ("1", "true")
        if not pull_anew and await self._identifier(private) is not None:
            return private
        if is_identifier(image) and (identifier := await self._identifier(image)) is not None:
            if not await self._mine(image):
                raise Refused(404, f"No such image: {image}")
            return identifier
        if kind is Kind.UNREACHABLE:
            raise Refused(500, unreachable(reference))
        if kind is Kind.PUBLIC:
            return ""
        login = addressed(known.get(self._names.registry) or {}, self._names.local)
        async for line in self._pulled(reference, asked.version, login):
            failed = json.loads(line).get("error")
            if failed:
                raise Refused(500, self._names.translate(str(failed)))
        return private

    def _built(self, message: dict[str, Any]) -> None:
        identifier = (message.get("aux") or {}).get("ID")
        if identifier:
            self.identifiers.add(str(identifier))

    # Registries

    async def _pull(self, asked: Asked) -> web.StreamResponse:
        name = asked.query.get("fromImage") or ""
        if not name or asked.query.get("fromSrc"):
            raise Refused(403, "a build cannot import images, only pull them")
        version = asked.query.get("tag") or ""
        joined = name if not version or "@" in name else f"{name}{'@' if ':' in version else ':'}{version}"
        reference = Reference.parse(joined)
        kind = self._names.kind(reference)
        if kind is Kind.UNREACHABLE:
            raise Refused(500, unreachable(reference))
        header = asked.request.headers.get("X-Registry-Auth", "")
        if kind is Kind.OWN:
            login = addressed(decoded_login(header), self._names.local)
            return await self._lines(asked, self._pulled(reference, asked.version, login))
        return await self._lines(asked, self._pulled_public(reference, asked.version, header))

    async def _pulled(self, reference: Reference, version: str, login: dict[str, str]) -> AsyncIterator[bytes]:
        repository = self._names.at_registry(reference)
        where = f"{repository}@{reference.digest}" if reference.digest else f"{repository}:{reference.version}"
        async with self._locks(where), self._restored(where):
            params = {"fromImage": repository, "tag": reference.version}
            async for line in self._output("POST", f"{version}/images/create", params=params, headers=login):
                yield line
            await self._adopt(where, reference)

    async def _pulled_public(self, reference: Reference, version: str, header: str) -> AsyncIterator[bytes]:
        headers = {"X-Registry-Auth": header} if header else {}
        params = {"fromImage": reference.repository, "tag": reference.version}
        async for line in self._output("POST", f"{version}/images/create", params=params, headers=headers):
            yield line
        await self._adopt(str(reference), reference)

    async def _adopt(self, name: str, reference: Reference) -> None:
        """An image that was pulled gets its name in the client's space."""
        identifier = await self._identifier(name)
        if identifier is not None:
            await self._name(identifier, self._names.private(reference))
            self.identifiers.add(identifier)

    async def _push(self, asked: Asked) -> web.StreamResponse:
        given = Reference.parse(unquote(asked.name))
        tag = asked.query.get("tag") or given.tag
        if tag:
            wanted = [Reference(given.repository, tag)]
        else:
            wanted = [each for each in await self._own_references() if each.repository == given.repository]
        kind = self._names.kind(given)
        present = [each for each in wanted if await self._identifier(self._names.private(each)) is not None]
        if not present:
            raise Refused(404, f"An image does not exist locally with the tag: {given.repository}")
        if kind is Kind.UNREACHABLE:
            raise Refused(500, unreachable(given))
        return await self._lines(asked, self._pushed(present, kind, asked))

    async def _pushed(self, references: list[Reference], kind: Kind, asked: Asked) -> AsyncIterator[bytes]:
        header = asked.request.headers.get("X-Registry-Auth", "")
        for reference in references:
            own = kind is Kind.OWN
            repository = self._names.at_registry(reference) if own else reference.repository
            headers = addressed(decoded_login(header), self._names.local) if own else {"X-Registry-Auth": header}
            where = f"{repository}:{reference.version}"
            async with self._locks(where), self._restored(where):
                identifier = await self._identifier(self._names.private(reference))
                if identifier is None:
                    raise Refused(404, f"An image does not exist locally with the tag: {reference.repository}")
                await self._name(identifier, where)
                path = f"{asked.version}/images/{quote(repository, safe='/:')}/push"
                async for line in self._output("POST", path, params={"tag": reference.version}, headers=headers):
                    digest = (message_of(line).get("aux") or {}).get("Digest")
                    if digest:
                        self._digests.setdefault(identifier, set()).add(f"{reference.repository}@{digest}")
                    yield line

    @asynccontextmanager
    async def _restored(self, name: str) -> AsyncIterator[None]:
        """Whatever name is lent for a moment means afterwards what it meant before."""
        before = await self._identifier(name)
        try:
            yield
        finally:
            await asyncio.shield(self._restore(name, before))

    async def _restore(self, name: str, before: str | None) -> None:
        if before is not None:
            await self._name(before, name)
        else:
            await self._forget(name)

    # Images of the client

    async def _list(self, asked: Asked) -> web.StreamResponse:
        filters = json.loads(asked.query.get("filters") or "{}")
        patterns = filters.pop("reference", None) or {}
        params = {"filters": json.dumps(filters | {"reference": {f"{self._space}/*": True}})}
        found = await self._json("GET", f"{asked.version}/images/json", params=params)
        shown = []
        for image in found:
            image = self._shown(image)
            tags = image["RepoTags"]
            if patterns:
                tags = [t for t in tags if any(_matches(t, pattern) for pattern in patterns)]
            if tags:
                shown.append({**image, "RepoTags": tags})
        return document(shown)

    async def _inspect(self, asked: Asked) -> web.StreamResponse:
        name = await self._resolve(asked.name)
        found = await self._json("GET", f"{asked.version}/images/{name}/json")
        return document(self._shown(found))

    async def _history(self, asked: Asked) -> web.StreamResponse:
        name = await self._resolve(asked.name)
        found = await self._json("GET", f"{asked.version}/images/{name}/history")
        for each in found:
            each["Tags"] = [t for t in map(self._names.public, each.get("Tags") or []) if t] or None
        return document(found)

    async def _tag(self, asked: Asked) -> web.StreamResponse:
        from aiohttp import web

        name = await self._resolve(asked.name)
        tag = asked.query.get("tag") or ""
        target = Reference.parse(asked.query.get("repo", "") + (f":{tag}" if tag else ""))
        await self._name(name, self._names.private(target))
        return web.Response(status=201)

    async def _remove(self, asked: Asked) -> web.StreamResponse:
        given = unquote(asked.name)
        name = await self._resolve(asked.name)
        params = {key: value for key, value in asked.query.items() if key in ("force", "noprune")}
        if name.startswith("sha256:"):
            found = await self._json("GET", f"/images/{name}/json")
            mine = [tag for tag in found.get("RepoTags") or [] if self._names.public(tag)]
            if len(mine) > 1 and params.get("force") not in ("1", "true"):
                raise Refused(
                    409,
                    f"conflict: unable to delete {given} (must be forced) - image is referenced in multiple "
                    "repositories",
                )
            targets = mine or [name]
        else:
            targets = [name]
        answer: list[Any] = []
        for target in targets:
            answer += await self._json("DELETE", f"{asked.version}/images/{target}", params=params)
        return document([self._translated(each) for each in answer])

    def _translated(self, entry: dict[str, str]) -> dict[str, str]:
        return {key: self._names.translate(value) for key, value in entry.items()}

    async def _resolve(self, name: str) -> str:
        """The engine's name for an image that a client names; Refused if it is none of the client's."""
        given = unquote(name)
        private = self._names.private(Reference.parse(given))
        if await self._identifier(private) is not None:
            return private
        if is_identifier(given):
            identifier = await self._identifier(given)
            if identifier is not None and await self._mine(given):
                return identifier
        raise Refused(404, f"No such image: {given}")

    async def _mine(self, identifier: str) -> bool:
        found = await self._json("GET", f"/images/{identifier}/json")
        tags = found.get("RepoTags") or []
        return found["Id"] in self.identifiers or any(self._names.public(tag) for tag in tags)

    def _shown(self, image: dict[str, Any]) -> dict[str, Any]:
        tags = [tag for tag in map(self._names.public, image.get("RepoTags") or []) if tag]
        return {**image, "RepoTags": tags, "RepoDigests": sorted(self._digests.get(str(image.get("Id")), ()))}

    async def _own_references(self) -> list[Reference]:
        return [Reference.parse(public) for name in await self.held() if (public := self._names.public(name))]

    @property
    def _space(self) -> str:
        return f"{DOMAIN}/{self._names.space}"

    async def held(self) -> list[str]:
        """The engine's names of all images in the client's space."""
        filters = json.dumps({"reference": {f"{self._space}/*": True}})
        found = await self._json("GET", "/images/json", params={"filters": filters})
        return [tag for image in found for tag in image.get("RepoTags") or [] if self._names.public(tag)]

    # The engine's answers

    async def _identifier(self, name: str) -> str | None:
        try:
            found = await self._json("GET", f"/images/{quote(name, safe='/:@')}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return str(found["Id"])

    async def _name(self, image: str, name: str) -> None:
        reference = Reference.parse(name)
        params = {"repo": reference.repository, "tag": reference.version}
        await self._json("POST", f"/images/{quote(image, safe='/:@')}/tag", params=params)

    async def _forget(self, name: str) -> None:
        try:
            await self._json("DELETE", f"/images/{quote(name, safe='/:@')}", params={"noprune": "1"})
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        if "data" in options:
            options["headers"] = {"content-type": "application/json"}
        async with self._limited(QUICK), self._engine.request(method, path, **options) as answer:
            body = await answer.read()
            if answer.status >= 400:
                raise Refused(answer.status, self._names.translate(reason_of(body)))
            return json.loads(body) if body.strip() else {}

    async def _output(self, method: str, path: str, **options: Any) -> AsyncIterator[bytes]:
        """The lines of a progress stream, as the engine wrote them."""
        async with self._limited(LONG), self._engine.request(method, path, **options) as answer:
            if answer.status >= 400:
                raise Refused(answer.status, self._names.translate(reason_of(await answer.read())))
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line
            if rest.strip():
                yield rest

    async def _stream(
        self, asked: Asked, method: str, path: str, *, look: Callable[[dict[str, Any]], None], **options: Any
    ) -> web.StreamResponse:
        async def looked() -> AsyncIterator[bytes]:
            async for line in self._output(method, asked.version + path, **options):
                look(message_of(line))
                yield line

        return await self._lines(asked, looked())

    async def _lines(self, asked: Asked, lines: AsyncIterator[bytes]) -> web.StreamResponse:
        """Pass a progress stream on, in the client's names."""
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            # A refusal before the first line still has a status of its own.
            first = await anext(aiter(lines), None)
            await response.prepare(asked.request)
            if first is not None:
                await response.write(self._names.translate(first.decode()).encode() + b"\n")
                async for line in lines:
                    await response.write(self._names.translate(line.decode()).encode() + b"\n")
        except Refused as refused:
            if not response.prepared:
                raise
            failed = {"errorDetail": {"message": refused.message}, "error": refused.message}
            await response.write(json.dumps(failed).encode() + b"\n")
        finally:
            await lines.aclose()  # type: ignore[attr-defined]
        await response.write_eof()
        return response

    @asynccontextmanager
    async def _limited(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise Refused(500, f"the container engine did not answer within {seconds:g} seconds") from None


def _check_build(query: list[tuple[str, str]]) -> None:
    for key, value in query:
        if key == "version" and value == "2":
            raise Refused(403, "BuildKit is not offered in builds here; unset DOCKER_BUILDKIT")
        if key == "networkmode" and value not in _NETWORKS:
            raise Refused(403, f"a build of images cannot use the network {value} here")
        harmless = key in BUILD_OPTIONS or (key in _WITHOUT_MEANING and value in _NOTHING)
        if not harmless:
            raise Refused(403, f"a build of images cannot set {key} here")


def _matches(tag: str, pattern: str) -> bool:
    repository = tag.rpartition(":")[0]
    return fnmatch.fnmatchcase(tag, pattern) or fnmatch.fnmatchcase(repository, pattern)

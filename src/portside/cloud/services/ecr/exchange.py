"""One HTTP exchange of the registry: what came in, and the few ways to answer.

Owns the plain ASGI of it, and the error format of the OCI distribution specification. What is answered is
decided in `registry.py` and `transfers.py`.

A client that cannot ask under the registry's own name, because nothing resolves it here, may put that name before
the repository's: `/v2/<account>.dkr.ecr.<region>.amazonaws.com/<repository>/...` means what the rest of the path
would mean at that host.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from portside.cloud.services.ecr.names import region_of_host

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "TAG_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "UNKNOWN": 500,
}


class RegistryError(Exception):
    """An answer of the registry that says no."""

    def __init__(
        self,
        code: str,
        message: str,
        detail: Any = None,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.detail = detail
        self.status = status or STATUS[code]
        self.headers = dict(headers or {})


class ClientGone(Exception):
    """The connection ended before the body did."""


class Exchange:
    """A request and the way back. Headers are by lower-case name."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self._named, self.path = _split(scope["path"])
        self.headers: dict[str, str] = {
            k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]
        }
        self.scheme: str = scope.get("scheme", "http")
        self._query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        self._receive = receive
        self._send = send
        self.answered = False

    def query(self, name: str) -> str | None:
        found = self._query.get(name)
        return found[0] if found else None

    @property
    def host(self) -> str:
        return self._named or self.headers.get("host", "")

    @property
    def has_body(self) -> bool:
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    async def body(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it arrives. Raises ClientGone."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def whole_body(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self.body():
            size += len(piece)
            if size > limit:
                raise RegistryError("SIZE_INVALID", f"The body may have {limit} bytes at most.", status=413)
            pieces.append(piece)
        return b"".join(pieces)

    async def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        length = {} if status == 204 else {"content-length": str(len(body))}
        await self._start(status, length | dict(headers or {}))
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def json(self, document: Any, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(document, separators=(",", ":")).encode()
        await self.answer(200, {"content-type": "application/json"} | dict(headers or {}), body)

    async def stream(
        self, status: int, headers: Mapping[str, str], length: int, pieces: AsyncIterable[bytes]
    ) -> None:
        await self._start(status, {"content-length": str(length), **headers})
        if self.method != "HEAD":
            async for piece in pieces:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, error: RegistryError) -> None:
        entry = {"code": error.code, "message": error.message}
        if error.detail is not None:
            entry["detail"] = error.detail
        body = json.dumps({"errors": [entry]}).encode()
        await self.answer(error.status, {"content-type": "application/json", **error.headers}, body)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.answered = True
        wire = [(key.encode(), self._addressed(value).encode("latin-1")) for key, value in headers.items()]
        wire.append((b"docker-distribution-api-version", b"registry/2.0"))
        await self._send({"type": "http.response.start", "status": status, "headers": wire})

    def _addressed(self, value: str) -> str:
        """A header's value; where it leads to a path here, by the way on which the client came."""
        for start in ("/v2/", "</v2/"):
            if self._named and value.startswith(start):
                return f"{start}{self._named}/{value.removeprefix(start)}"
        return value


def _split(path: str) -> tuple[str, str]:
    """The registry's name that a path begins with, if any, and the path without it."""
    start, host, rest = path[:4], *path[4:].partition("/")[::2]
    if start == "/v2/" and rest and region_of_host(host) is not None:
        return host, f"/v2/{rest}"
    return "", path


def repository_of(source: str) -> str:
    """The repository that a client wants to mount from, which it may name with the registry's name before it."""
    host, _, rest = source.partition("/")
    return rest if rest and region_of_host(host) is not None else source

"""The ordered steps of every request: receive, identify, parse, answer, serialise.

Owns the ASGI application. Whatever goes wrong inside becomes an AWS error in the protocol of the service that
was asked; no traceback ever leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.gateway.identify import CBOR, Target, identify
from portside.cloud.gateway.signature import Scope, scope
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol import parse, serialise
from portside.cloud.protocol.asgi import AsgiApp, Receive, Send, read_body, too_large
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.serialise import Response
from portside.cloud.services.calls import Caller

# A template by body is 51,200 bytes and an ECR layer part 20 MiB in base64; nothing of ours is larger.
LARGEST_BODY = 64 * 1024 * 1024
PAGES = "/_portside/"
SOCKETS = "/_portside/exec/"


class Forwarder(Protocol):
    """Passes a whole HTTP request on to the ancillary endpoint."""

    async def forward(
        self,
        service: str,
        region: str,
        connection: dict[str, Any],
        receive: Receive,
        send: Send,
        body: bytes | None,
    ) -> None: ...


# Who holds an access key of a role's session: (access key, token, region, endpoint). None: the account itself.
SessionCaller = Callable[[str, str, str, str], Caller | None]


class Gateway:
    """The ASGI application of the cloud.

    `registry` answers everything under /v2/; `pages` maps other unsigned paths (`/_portside/health`) to
    applications of their own, which answer what lies below their path as well.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        forwarder: Forwarder,
        registry: AsgiApp,
        pages: Mapping[str, AsgiApp],
        *,
        account: str,
        region: str,
        ids: Ids,
        log: Log,
        session: SessionCaller = lambda key, token, region, endpoint: None,
    ) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self._forwarder = forwarder
        self._registry = registry
        self._pages = pages
        self._account = account
        self._region = region
        self._ids = ids
        self._log = log

    async def __call__(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        if connection["type"] != "http":
            await self._other(connection, receive, send)
            return
        path: str = connection["path"]
        page = self._page(path)
        if page is not None:
            await page(connection, receive, send)
            return
        if path == "/v2" or path.startswith("/v2/"):
            await self._registry(connection, receive, send)
            return
        await self._aws(connection, receive, send)

    def _page(self, path: str) -> AsgiApp | None:
        found = self._pages.get(path)
        if found is None and path.startswith(PAGES):
            found = next((page for at, page in self._pages.items() if path.startswith(f"{at}/")), None)
        return found

    async def _aws(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in connection["headers"]}
        query = connection["query_string"].decode("latin-1")
        signed = scope(headers.get("authorization", ""), query)
        request_id = self._ids.uuid()
        target: Target | None = None
        try:
            kind = headers.get("content-type", "")
            is_form = kind.startswith("application/x-www-form-urlencoded")
            documents = "x-amz-target" in headers or headers.get("smithy-protocol") == CBOR
            body = await _read(receive, headers) if documents or is_form or "Action=" in query else None
            fields = parse.form(body or b"", query) if is_form or "Action=" in query else None
            target = identify(connection["path"], headers, fields, signed.service if signed else None)
            caller = self._caller(signed, headers, query)
            if not await self._dispatcher.owns(target.service, target.operation):
                region = caller.region
                if caller.role:
                    operation, params = _passed_on(target, connection, headers, query, body or b"", fields)
                    await self._dispatcher.authorize(target.service, operation, params, caller)
                await self._forwarder.forward(target.service, region, connection, receive, send, body)
                return
            response = await self._own(target, headers, body or b"", fields, caller, request_id)
        except AwsError as error:
            response = _error(error, target, headers, request_id)
        except Exception as error:
            self._log.error("request failed", request=request_id, error=repr(error), exc_info=error)
            failed = AwsError(
                "InternalFailure", f"portside failed to answer; its log tells why under {request_id}.", 500
            )
            response = _error(failed, target, headers, request_id)
        await _send(send, response)

    async def _own(
        self,
        target: Target,
        headers: dict[str, str],
        body: bytes,
        fields: dict[str, str] | None,
        caller: Caller,
        request_id: str,
    ) -> Response:
        if not caller.access_key:
            raise AwsError(
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
                403,
            )
        if not target.operation:
            raise AwsError("MissingAction", "Missing Action")
        operation = self._dispatcher.operation(target.service, target.operation)
        if "x-amz-target" in headers:
            params, make = parse.parse_json(operation, body), serialise.json_response
        elif headers.get("smithy-protocol") == CBOR:
            params, make = parse.parse_cbor(operation, body), serialise.cbor_response
        else:
            params, make = parse.parse_query(operation, fields or {}), serialise.query_response
        answer = await self._dispatcher.answer(target.service, operation, params, caller)
        return make(operation, answer, request_id)

    def _caller(self, signed: Scope | None, headers: dict[str, str], query: str) -> Caller:
        """Whose request it is: a role's session if its credentials are one's, else the account."""
        endpoint = f"http://{headers.get('host', '')}"
        if signed is None:
            return Caller.root(self._account, self._region, endpoint=endpoint)
        token = headers.get("x-amz-security-token", "")
        if not token and "security-token" in query.lower():
            given = {name.lower(): values[0] for name, values in parse_qs(query).items()}
            token = given.get("x-amz-security-token", "")
        region = signed.region or self._region
        session = self._session(signed.access_key, token, region, endpoint)
        return session or Caller.root(self._account, region, signed.access_key, endpoint=endpoint)

    async def _other(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        if connection["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
            return
        page = self._page(connection["path"]) if connection["path"].startswith(SOCKETS) else None
        if page is not None:
            await page(connection, receive, send)
        else:  # no other path speaks over a WebSocket
            await send({"type": "websocket.close", "code": 1003})


def _passed_on(
    target: Target,
    connection: dict[str, Any],
    headers: dict[str, str],
    query: str,
    body: bytes,
    fields: dict[str, str] | None,
) -> tuple[str, dict[str, Any]]:
    """Operation and parameters of a request for the ancillary services, as far as it takes to decide about it."""
    if not target.operation:
        from portside.cloud.protocol import rest

        path = (connection.get("raw_path") or connection["path"].encode()).decode("latin-1")
        bucket = rest.virtual_bucket(headers.get("host", "")) if target.service == "s3" else ""
        if bucket:
            path = f"/{bucket}{path}"
        found = rest.match(target.service, connection["method"], path, query, headers)
        if found is None:
            raise AwsError("UnknownOperationException", f"There is no operation of {target.service} at {path}.")
        return found
    from portside.cloud.protocol.models import model

    described = model(target.service)
    if described is None or target.operation not in described.operation_names:
        raise AwsError("UnknownOperationException", f"There is no operation {target.operation}.")
    operation = described.operation_model(target.operation)
    if "x-amz-target" in headers:
        return target.operation, parse.parse_json(operation, body)
    if headers.get("smithy-protocol") == CBOR:
        return target.operation, parse.parse_cbor(operation, body)
    return target.operation, parse.parse_query(operation, fields or {})


def _error(error: AwsError, target: Target | None, headers: dict[str, str], request_id: str) -> Response:
    if "x-amz-target" in headers:
        return serialise.json_error(error, request_id)
    if headers.get("smithy-protocol") == CBOR:
        return serialise.cbor_error(error, request_id)
    if target is not None and target.service == "s3":
        return serialise.rest_xml_error(error, request_id)
    return serialise.query_error(error, request_id)


async def _read(receive: Receive, headers: dict[str, str]) -> bytes:
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > LARGEST_BODY:
        raise too_large(LARGEST_BODY)
    return await read_body(receive, LARGEST_BODY)


async def _send(send: Send, response: Response) -> None:
    headers = [(key.encode(), value.encode("latin-1")) for key, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})

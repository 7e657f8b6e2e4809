"""From an answer, or an error, to the bytes of a response.

Pure; driven by the operation's output shape. Only members that the shape knows are written, so an answer
may hold more than the API shows. Timestamps are given as epoch seconds.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from portside.cloud.protocol.errors import AwsError

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

_DEFAULT_NAMESPACE = "http://webservices.amazon.com/AWSFault/2005-15-09"


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers (lower-case names) and body."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def iso(at: float | datetime) -> str:
    """`2026-01-31T10:20:30.123Z`, the form of AWS's query APIs. Moments that another endpoint has answered with,
    and that are passed on, are datetimes."""
    if isinstance(at, datetime):
        return _to_the_millisecond(at.astimezone(UTC))
    second, rest = divmod(at, 1)
    millisecond = int(round(rest * 1e6) // 1000)
    if millisecond == 1000:
        return _to_the_millisecond(datetime.fromtimestamp(at, UTC))
    return f"{_second(second)}.{millisecond:03d}Z"


def _to_the_millisecond(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


@lru_cache(maxsize=64)
def _second(at: float) -> str:
    """Many things happen within one."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def seconds(at: float | datetime) -> float:
    """Since the epoch, the form of AWS's JSON APIs; of either kind of moment, as in `iso`."""
    return at.timestamp() if isinstance(at, datetime) else at


# JSON 1.0 and 1.1


def json_response(operation: OperationModel, answer: dict[str, Any], request_id: str) -> Response:
    shape = operation.output_shape
    document = _to_json(shape, answer) if shape is not None else {}
    version = operation.service_model.metadata.get("jsonVersion", "1.1")
    return Response(
        200,
        {"content-type": f"application/x-amz-json-{version}", "x-amzn-requestid": request_id},
        json.dumps(document, separators=(",", ":")).encode(),
    )


def _to_json(shape: Shape, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        if shape.is_document_type:
            return value
        members = shape.members
        return {
            members[name].serialization.get("name", name): _to_json(members[name], member)
            for name, member in value.items()
            if member is not None and name in members
        }
    if kind == "list":
        return [_to_json(shape.member, member) for member in value]
    if kind == "map":
        return {key: _to_json(shape.value, member) for key, member in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        return seconds(value)
    return value


def json_error(error: AwsError, request_id: str, version: str = "1.1") -> Response:
    document = {"__type": error.code, "message": error.message, **error.extra}
    return Response(
        error.status,
        {
            "content-type": f"application/x-amz-json-{version}",
            "x-amzn-requestid": request_id,
            "x-amzn-errortype": error.code,
        },
        json.dumps(document, separators=(",", ":")).encode(),
    )


# Query


def query_response(operation: OperationModel, answer: dict[str, Any], request_id: str) -> Response:
    out: list[str] = []
    name = operation.wire_name
    namespace = operation.service_model.metadata.get("xmlNamespace", _DEFAULT_NAMESPACE)
    out.append(f'<{name}Response xmlns="{namespace}">')
    shape = operation.output_shape
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
        out.append(f"<{wrapper}>")
        _xml_members(shape, answer, out)
        out.append(f"</{wrapper}>")
    out.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>")
    return Response(
        200, {"content-type": "text/xml", "x-amzn-requestid": request_id}, "".join(out).encode("utf-8")
    )


def _xml_members(shape: Shape, value: dict[str, Any], out: list[str]) -> None:
    members = shape.members
    for name, member in value.items():
        inner = members.get(name)
        if inner is not None and member is not None:
            _xml(inner, inner.serialization.get("name", name), member, out)


def _xml(shape: Shape, tag: str, value: Any, out: list[str]) -> None:
    kind = shape.type_name
    if kind == "list" and shape.serialization.get("flattened"):
        for member in value:
            _xml(shape.member, tag, member, out)
        return
    out.append(f"<{tag}>")
    if kind == "structure":
        _xml_members(shape, value, out)
    elif kind == "list":
        inner = shape.member.serialization.get("name", "member")
        for member in value:
            _xml(shape.member, inner, member, out)
    elif kind == "map":
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        for key, member in value.items():
            out.append(f"<entry><{key_name}>{_text(key)}</{key_name}>")
            _xml(shape.value, value_name, member, out)
            out.append("</entry>")
    elif kind == "boolean":
        out.append("true" if value else "false")
    elif kind == "timestamp":
        out.append(iso(value))
    elif kind == "blob":
        out.append(base64.b64encode(value).decode())
    else:
        out.append(_text(str(value)))
    out.append(f"</{tag}>")


def escape(value: str) -> str:
    """For text in XML. The standard library's would load a web client with it."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(value: str) -> str:
    """Escaped, without the control characters that XML 1.0 cannot carry."""
    if not value.isprintable():
        value = "".join(c if c in "\t\n\r" or ord(c) >= 0x20 else "?" for c in value)
    return escape(value).replace("\r", "&#13;")


def query_error(error: AwsError, request_id: str, namespace: str = _DEFAULT_NAMESPACE) -> Response:
    body = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{error.fault}</Type>'
        f"<Code>{escape(error.code)}</Code><Message>{_text(error.message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Response(
        error.status, {"content-type": "text/xml", "x-amzn-requestid": request_id}, body.encode("utf-8")
    )


def rest_xml_error(error: AwsError, request_id: str) -> Response:
    """The form of S3."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(error.code)}</Code>'
        f"<Message>{_text(error.message)}</Message><RequestId>{request_id}</RequestId></Error>"
    )
    return Response(
        error.status,
        {"content-type": "application/xml", "x-amz-request-id": request_id},
        body.encode("utf-8"),
    )


# RPC v2 CBOR


def cbor_response(operation: OperationModel, answer: dict[str, Any], request_id: str) -> Response:
    import cbor2

    shape = operation.output_shape
    document = _to_cbor(shape, answer) if shape is not None else {}
    return Response(200, _cbor_headers(request_id), cbor2.dumps(document))


def _to_cbor(shape: Shape, value: Any) -> Any:
    import cbor2

    kind = shape.type_name
    if kind == "structure":
        members = shape.members
        return {
            members[name].serialization.get("name", name): _to_cbor(members[name], member)
            for name, member in value.items()
            if member is not None and name in members
        }
    if kind == "list":
        return [_to_cbor(shape.member, member) for member in value]
    if kind == "map":
        return {key: _to_cbor(shape.value, member) for key, member in value.items()}
    if kind == "timestamp":
        return cbor2.CBORTag(1, float(seconds(value)))
    return value


def _cbor_headers(request_id: str) -> dict[str, str]:
    return {
        "content-type": "application/cbor",
        "smithy-protocol": "rpc-v2-cbor",
        "x-amzn-requestid": request_id,
    }


def cbor_error(error: AwsError, request_id: str) -> Response:
    """A map of two texts, which needs no CBOR library."""

    def text(value: str) -> bytes:
        data = value.encode("utf-8")
        size = len(data)
        head = bytes([0x60 | size]) if size < 24 else b"\x79" + size.to_bytes(2, "big")
        return head + data

    body = b"\xa2" + text("__type") + text(error.code) + text("message") + text(error.message[:60000])
    return Response(error.status, _cbor_headers(request_id), body)

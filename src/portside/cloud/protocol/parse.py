"""From the bytes of a request to parameters in the form that botocore's clients pass.

Pure; driven by the operation's input shape. JSON 1.0/1.1, RPC v2 CBOR and Query are what the cloud's own services
speak.
Timestamps become epoch seconds, blobs become bytes. Constraints are checked afterwards by `shapes.py`.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from portside.cloud.protocol.errors import AwsError

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

Params = dict[str, Any]


def form(body: bytes, query: str) -> dict[str, str]:
    """The fields of a Query request, from its body or its query string."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise AwsError("MalformedQueryString", "The request body is not valid UTF-8.") from None
    return _fields(query) | _fields(text)


def _fields(text: str) -> dict[str, str]:
    """As `urllib.parse.parse_qsl` tells them, which takes three times as long for a template."""
    found: dict[str, str] = {}
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            found[_decoded(name)] = _decoded(value)
    return found


def _decoded(text: str) -> str:
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    return unquote_to_bytes(text).decode("utf-8", "replace") if text.isascii() else unquote(text)


def parse_json(operation: OperationModel, body: bytes) -> Params:
    """Parameters of a JSON request. Unknown members are dropped, as AWS does."""
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        raise AwsError("SerializationException", "The request body is not valid JSON.") from None
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "Start of structure or map found where not expected.")
    shape = operation.input_shape
    return {} if shape is None else _from_document(shape, document)


def parse_cbor(operation: OperationModel, body: bytes) -> Params:
    """Parameters of an RPC v2 CBOR request: the same document, with blobs and timestamps as they are."""
    import cbor2

    try:
        document = cbor2.loads(body) if body else {}
    # The library promises its own errors only, but a tag's content can raise whatever its type does.
    except Exception:
        raise AwsError("SerializationException", "The request body is not valid CBOR.") from None
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "Start of structure or map found where not expected.")
    shape = operation.input_shape
    return {} if shape is None else _from_document(shape, document)


def _from_document(shape: Shape, value: Any) -> Any:
    kind = shape.type_name
    if value is None:
        return None
    if kind == "structure" and isinstance(value, dict):
        members = shape.members
        if shape.is_document_type:
            return value
        return {
            name: _from_document(members[name], member)
            for name, member in value.items()
            if name in members and member is not None
        }
    if kind == "list" and isinstance(value, list):
        return [_from_document(shape.member, member) for member in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _from_document(shape.value, member) for key, member in value.items()}
    if kind == "blob" and isinstance(value, bytes):
        return value
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise AwsError("SerializationException", f"{shape.name} is not valid base64.") from None
    if kind == "timestamp":
        return _seconds(value, shape.name)
    if kind in ("string", "integer", "long", "float", "double", "boolean"):
        return _scalar(kind, shape.name, value)
    raise AwsError("SerializationException", f"Unexpected JSON for {shape.name}: a {kind} was expected.")


def _scalar(kind: str, name: str, value: Any) -> Any:
    match kind:
        case "string" if isinstance(value, str):
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "integer" | "long" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "float" | "double" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    raise AwsError("SerializationException", f"{type(value).__name__} can not be converted to {kind} for {name}.")


def parse_query(operation: OperationModel, fields: dict[str, str]) -> Params:
    """Parameters of a Query request (`Tags.member.1.Key=...`)."""
    shape = operation.input_shape
    if shape is None:
        return {}
    value = _from_query(shape, "", fields, operation.service_model.metadata)
    return value if isinstance(value, dict) else {}


def _from_query(shape: Shape, prefix: str, fields: dict[str, str], metadata: dict[str, Any]) -> Any:
    kind = shape.type_name
    if kind == "structure":
        found = {}
        # Of the many members of an operation most requests give few.
        given = None if prefix else {key.partition(".")[0] for key in fields}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            if given is not None and wire not in given:
                continue
            value = _from_query(member, f"{prefix}.{wire}" if prefix else wire, fields, metadata)
            if value is not None:
                found[name] = value
        # An empty structure is told from an absent one only at the top.
        return found if found or not prefix else None
    if kind == "list":
        if fields.get(prefix) == "":
            return []
        if not shape.serialization.get("flattened"):
            prefix = f"{prefix}.{shape.member.serialization.get('name', 'member')}"
        return _sequence(shape.member, prefix, fields, metadata)
    if kind == "map":
        if not shape.serialization.get("flattened"):
            prefix = f"{prefix}.entry"
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        pairs = {}
        for index in _indices(prefix, fields):
            key = fields.get(f"{prefix}.{index}.{key_name}")
            if key is not None:
                pairs[key] = _from_query(shape.value, f"{prefix}.{index}.{value_name}", fields, metadata)
        return pairs or None
    text = fields.get(prefix)
    return None if text is None else _from_text(shape, prefix, text)


def _sequence(member: Shape, prefix: str, fields: dict[str, str], metadata: dict[str, Any]) -> Any:
    found = []
    for index in _indices(prefix, fields):
        value = _from_query(member, f"{prefix}.{index}", fields, metadata)
        found.append({} if value is None and member.type_name == "structure" else value)
    return found or None


def _indices(prefix: str, fields: dict[str, str]) -> list[int]:
    start = len(prefix) + 1
    numbers = {
        key[start:].split(".", 1)[0] for key in fields if key.startswith(prefix) and key[start - 1 : start] == "."
    }
    return sorted(int(number) for number in numbers if number.isdigit())


def _from_text(shape: Shape, name: str, text: str) -> Any:
    kind = shape.type_name
    try:
        match kind:
            case "integer" | "long":
                return int(text)
            case "float" | "double":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "timestamp":
                return _seconds(text, name)
            case "blob":
                return base64.b64decode(text, validate=True)
    except (ValueError, KeyError):
        raise AwsError("MalformedInput", f"Invalid value '{text}' for {name}: a {kind} was expected.") from None
    return text


def _seconds(value: Any, name: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise AwsError("SerializationException", f"{name} is not a timestamp: '{value}'.") from None

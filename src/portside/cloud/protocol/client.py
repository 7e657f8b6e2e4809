"""The other direction: an operation's parameters to a request, and the response to an answer.

Pure, by botocore's own serialisers and parsers. Used where the cloud itself calls an AWS endpoint that is not
one of its own services (see services/ancillary.py).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlencode

from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Ready to send, but for host and signature. `target` is path and query string."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def operation_model(service: str, operation: str) -> OperationModel:
    found = model(service)
    if found is None or operation not in found.operation_names:
        raise AwsError("InvalidAction", f"There is no operation {service}:{operation}.")
    return found.operation_model(operation)


def build(service: str, operation: str, params: dict[str, Any]) -> HttpRequest:
    """Serialise one call."""
    described = operation_model(service, operation)
    made = _serializer(_protocol(described)).serialize_to_request(params, described)
    query = made["query_string"]
    text = urlencode(query, doseq=True) if isinstance(query, dict) else str(query or "")
    path = made["url_path"]
    if service == "s3" and "Bucket" in params and not path.startswith(f"/{params['Bucket']}"):
        # Since virtual-hosted addressing, the model's paths leave the bucket to the endpoint rules.
        path = f"/{params['Bucket']}{path if path != '/' else ''}"
    target = path + (("&" if "?" in path else "?") + text if text else "")
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True).encode()
    elif isinstance(body, str):
        body = body.encode()
    elif hasattr(body, "read"):
        body = body.read()
    headers = {key: str(value) for key, value in made["headers"].items()}
    return HttpRequest(made["method"], target, headers, body or b"")


def read(service: str, operation: str, status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The answer of one call; raises `AwsError` with the code and text of the service."""
    described = operation_model(service, operation)
    # botocore decodes a payload that is bytes, but leaves a stream alone.
    streams = described.has_streaming_output and status < 300
    parsed: dict[str, Any] = create_parser(_protocol(described)).parse(
        {"status_code": status, "headers": _Insensitive(headers), "body": io.BytesIO(body) if streams else body},
        described.output_shape,
    )
    if status >= 300:
        error = parsed.get("Error", {})
        raise AwsError(error.get("Code") or "Unknown", error.get("Message") or "", status)
    parsed.pop("ResponseMetadata", None)
    if streams:
        parsed[described.output_shape.serialization["payload"]] = body
    return parsed


def signing_name(service: str) -> str:
    found = model(service)
    assert found is not None
    return str(found.signing_name)


def _protocol(operation: OperationModel) -> str:
    return str(operation.service_model.resolved_protocol)


@cache
def _serializer(protocol: str) -> Any:
    return create_serializer(protocol, include_validation=False)


class _Insensitive(dict[str, str]):
    """Headers by any case: botocore's parsers look them up as the models spell them."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__({key.lower(): value for key, value in headers.items()})

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.lower(), default)

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(key.lower())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key.lower())

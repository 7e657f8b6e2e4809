"""Which operation a REST request is (S3, Lambda, ...), and the parameters that its address and headers tell.

Pure; driven by the `http` traits of botocore's models. Bodies are not looked at: this serves to decide whether a
request may pass, not to answer it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from portside.cloud.protocol.models import model

if TYPE_CHECKING:
    from botocore.model import OperationModel

_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class _Route:
    """One operation's form: what its address looks like and what must be there besides."""

    operation: OperationModel
    method: str
    path: re.Pattern[str]
    labels: tuple[str, ...]
    literals: tuple[tuple[str, str], ...]
    # (member, name in the query string or header)
    queries: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    required: frozenset[str]

    @property
    def weight(self) -> int:
        """The more a form insists on, the better it fits."""
        needed = sum(1 for member, _ in (*self.queries, *self.headers) if member in self.required)
        return len(self.literals) + needed


def virtual_bucket(host: str) -> str:
    """The bucket of a virtual-hosted request: `bucket.s3.localhost:4566`."""
    name, found, _ = host.partition(".s3.")
    return name if found else ""


def match(
    service: str, method: str, path: str, query: str, headers: dict[str, str]
) -> tuple[str, dict[str, Any]] | None:
    """Operation and parameters, None where no operation of the service has this form. `path` percent-encoded,
    `headers` with lower-case names."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    trimmed = path.rstrip("/") or "/"
    for route in _routes(service):
        found = route.path.fullmatch(trimmed) if route.method == method else None
        if found is None or any(given.get(key) != value for key, value in route.literals):
            continue
        params: dict[str, Any] = {
            label: unquote(text) for label, text in zip(route.labels, found.groups(), strict=True)
        }
        params |= {member: given[name] for member, name in route.queries if name in given}
        params |= {member: headers[name] for member, name in route.headers if name in headers}
        if route.required <= params.keys():
            return route.operation.name, params
    return None


@cache
def _routes(service: str) -> tuple[_Route, ...]:
    described = model(service)
    if described is None or not described.metadata["protocol"].startswith("rest"):
        return ()
    made = [_route(described.operation_model(name)) for name in described.operation_names]
    return tuple(sorted(made, key=lambda route: (-route.weight, "+" in route.path.pattern)))


def _route(operation: OperationModel) -> _Route:
    uri, _, literal = operation.http["requestUri"].partition("?")
    labels = [str(found[1]) for found in _LABEL.finditer(uri)]
    pattern = ""
    for piece in re.split(r"(\{[^}]+\})", uri.rstrip("/") or "/"):
        label = _LABEL.fullmatch(piece)
        pattern += re.escape(piece) if label is None else "(.+)" if label[2] else "([^/]+)"
    shape = operation.input_shape
    members = shape.members if shape is not None else {}
    queries, headers, names = [], [], {}
    for member, inner in members.items():
        where, name = inner.serialization.get("location"), inner.serialization.get("name", member)
        if where == "querystring":
            queries.append((member, name))
        elif where == "header":
            headers.append((member, name.lower()))
        elif where == "uri":
            names[name] = member
    located = {member for member, _ in (*queries, *headers)} | set(names.values())
    return _Route(
        operation=operation,
        method=operation.http["method"],
        path=re.compile(pattern),
        labels=tuple(names.get(label, label) for label in labels),
        literals=tuple(parse_qsl(literal, keep_blank_values=True)),
        queries=tuple(queries),
        headers=tuple(headers),
        required=frozenset(shape.required_members if shape is not None else ()) & located,
    )

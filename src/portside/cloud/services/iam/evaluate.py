"""Whether a role may do something, from its policies.

Pure. Source: the IAM User Guide, "Policy evaluation logic", for one account: an explicit deny anywhere wins; the
identity policies must allow, and so must the permissions boundary and the session policy where there is one.
Resource policies are not weighed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portside.cloud.services.iam.policy import Request, Statement, statements


@dataclass(frozen=True, slots=True)
class Policies:
    """The documents that bear on a session, as JSON texts. `boundary` and `session`: None where there is none."""

    identity: tuple[str, ...]
    boundary: str | None = None
    session: str | None = None


def denial(policies: Policies, request: Request) -> str | None:
    """Why the request is refused, as AWS ends its sentence; None if it is allowed."""
    identity = [each for document in policies.identity for each in statements(document)]
    boundary = statements(policies.boundary) if policies.boundary is not None else None
    session = statements(policies.session) if policies.session is not None else None
    groups: list[tuple[str, Iterable[Statement]]] = [
        ("an identity-based policy", identity),
        ("a permissions boundary", boundary or ()),
        ("a session policy", session or ()),
    ]
    for name, found in groups:
        if any(not each.allows and each.speaks_of(request) for each in found):
            return f"with an explicit deny in {name}"
    limits: list[tuple[str, Iterable[Statement] | None]] = [
        ("identity-based policy", identity),
        ("permissions boundary", boundary),
        ("session policy", session),
    ]
    for name, listed in limits:
        if listed is not None and not any(each.allows and each.speaks_of(request) for each in listed):
            return f"because no {name} allows the {request.action} action"
    return None


def trusts(document: str, service: str, action: str, context: dict[str, tuple[str, ...]]) -> bool:
    """Whether a role's trust policy lets a service assume the role."""
    return _trusted(document, "Service", (service,), Request(action, "", context))


def trusts_principal(document: str, arns: tuple[str, ...], context: dict[str, tuple[str, ...]]) -> bool:
    """Whether a role's trust policy lets one of `arns` (a caller under its several names) assume the role."""
    return _trusted(document, "AWS", arns, Request("sts:AssumeRole", "", context))


def grants(
    document: str,
    principals: Mapping[str, tuple[str, ...]],
    action: str,
    resource: str,
    context: Mapping[str, tuple[str, ...]],
) -> bool:
    """Whether a resource's policy lets one of `principals`, by kind, do `action` to `resource`."""
    request = Request(action, resource, context)
    found = [
        each
        for each in statements(document)
        if any(each.names(kind, *names) for kind, names in principals.items()) and each.speaks_of(request)
    ]
    return bool(found) and all(each.allows for each in found)


def _trusted(document: str, kind: str, wanted: tuple[str, ...], request: Request) -> bool:
    found = [each for each in statements(document) if each.names(kind, *wanted) and each.speaks_of(request)]
    return bool(found) and all(each.allows for each in found)

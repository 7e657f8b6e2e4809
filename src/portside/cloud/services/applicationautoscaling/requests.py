"""What all operations check alike: which target a call is about, and pages of answers.

Pure. Only services of ECS can be scaled here; other namespaces are refused by name.
"""

from __future__ import annotations

import re
from typing import TypeVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.applicationautoscaling import errors
from portside.cloud.services.applicationautoscaling.records import DIMENSION, NAMESPACE
from portside.cloud.services.calls import Caller, Params

_RESOURCE = re.compile(r"service/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
PAGE = 50
Item = TypeVar("Item")


def check_namespace(params: Params) -> None:
    namespace = params["ServiceNamespace"]
    if namespace != NAMESPACE:
        raise errors.not_offered(f"Application Auto Scaling for the service namespace {namespace}")
    dimension = params.get("ScalableDimension")
    if dimension is not None and dimension != DIMENSION:
        raise errors.invalid(
            f"Unsupported service namespace, resource type or scalable dimension: {NAMESPACE}, {dimension}"
        )


def resource_of(params: Params) -> str:
    """The resource id of a call about one target."""
    check_namespace(params)
    resource: str = params.get("ResourceId") or ""
    if not params.get("ScalableDimension"):
        raise errors.invalid("The scalable dimension is required.")
    if not _RESOURCE.fullmatch(resource):
        raise errors.invalid(
            f"Unsupported service namespace, resource type or scalable dimension: {NAMESPACE}, {resource}, "
            f"{DIMENSION}. A resource id has the form service/<cluster>/<service>."
        )
    return resource


def key_of(caller: Caller, resource: str) -> str:
    return f"{caller.region}/{resource}"


def page(found: list[Item], params: Params) -> tuple[list[Item], str | None]:
    token = params.get("NextToken") or "0"
    if not token.isdecimal():
        raise AwsError("InvalidNextTokenException", "Invalid pagination token.")
    begin, size = int(token), int(params.get("MaxResults") or PAGE)
    return found[begin : begin + size], str(begin + size) if begin + size < len(found) else None

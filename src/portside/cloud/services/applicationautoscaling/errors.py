"""The errors of Application Auto Scaling, in AWS's words."""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.applicationautoscaling.records import DIMENSION, NAMESPACE


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def broken(found: list[Violation]) -> AwsError:
    return invalid(describe(found))


def not_offered(what: str) -> AwsError:
    return invalid(f"portside's local cloud does not offer {what}.")


def no_target(resource: str) -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        f"No scalable target registered for service namespace: {NAMESPACE}, resource ID: {resource}, "
        f"scalable dimension: {DIMENSION}",
    )


def no_policy(name: str, resource: str = "") -> AwsError:
    where = (
        f" for service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: {DIMENSION}"
        if resource
        else ""
    )
    return AwsError("ObjectNotFoundException", f"No scaling policy found{where}, policy name: {name}")


def no_action(name: str, resource: str) -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        f"No scheduled action found for service namespace: {NAMESPACE}, resource ID: {resource}, "
        f"scalable dimension: {DIMENSION}, scheduled action name: {name}",
    )

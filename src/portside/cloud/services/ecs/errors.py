"""ECS's own errors, in AWS's words where those are known."""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe


def client(message: str) -> AwsError:
    return AwsError("ClientException", message)


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def invalid_shape(found: list[Violation]) -> AwsError:
    return invalid(describe(found))


def cluster_not_found() -> AwsError:
    return AwsError("ClusterNotFoundException", "Cluster not found.")


def service_not_found() -> AwsError:
    return AwsError("ServiceNotFoundException", "Service not found.")


def service_not_active() -> AwsError:
    return AwsError("ServiceNotActiveException", "Service was not ACTIVE.")

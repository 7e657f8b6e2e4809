"""Which service and which operation a request is for.

Pure. Looks at, in this order: the path of the container registry, the X-Amz-Target header (JSON services), the
path of RPC v2 CBOR (`/service/PREFIX/operation/NAME`), the `Action` field (Query services), the service in the
signature's credential scope, the host name, and whether it is a form with a file. What stays without an operation
(S3, REST) is for the ancillary services, which route by themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from portside.cloud.protocol.errors import AwsError

# Prefix of X-Amz-Target -> botocore's name, for the services that the cloud answers itself.
TARGETS = {
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "cloudwatch",
    "AnyScaleFrontendService": "application-autoscaling",
    "CodeBuild_20161006": "codebuild",
    "CodePipeline_20150709": "codepipeline",
    "CodeDeploy_20141006": "codedeploy",
    "com.amazonaws.codeconnections.CodeConnections_20231201": "codeconnections",
    "com.amazonaws.codestar.connections.CodeStar_connections_20191201": "codestar-connections",
}

# Signing name -> botocore's name, where they differ.
SIGNING_NAMES = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch"}

# Version field of a Query request -> botocore's name, for requests whose scope does not tell.
VERSIONS = {
    "2015-12-01": "elbv2",
    "2012-06-01": "elb",
    "2010-05-15": "cloudformation",
    "2011-06-15": "sts",
}

REGISTRY = "registry"
CBOR = "rpc-v2-cbor"
_RPC_PATH = re.compile(r"/service/([^/]+)/operation/([^/]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """`operation` is empty where the service finds it by itself."""

    service: str
    operation: str = ""


def identify(
    path: str, headers: dict[str, str], fields: dict[str, str] | None, scope_service: str | None
) -> Target:
    """`headers` with lower-case names; `fields` the Query parameters if the request has a form."""
    if path == "/v2" or path.startswith("/v2/"):
        return Target(REGISTRY)
    target = headers.get("x-amz-target", "")
    if target:
        prefix, _, name = target.rpartition(".")
        service = TARGETS.get(prefix)
        if service is not None:
            return Target(service, name)
        if scope_service:
            return Target(SIGNING_NAMES.get(scope_service, scope_service), name)
        raise AwsError("UnknownOperationException", f"Unknown target '{target}'.")
    if headers.get("smithy-protocol") == CBOR:
        found = _RPC_PATH.fullmatch(path)
        if found:
            own = SIGNING_NAMES.get(scope_service or "", scope_service or "")
            return Target(TARGETS.get(found[1], own), found[2])
    action, version = ((fields or {}).get(name, "") for name in ("Action", "Version"))
    if scope_service:
        service = SIGNING_NAMES.get(scope_service, scope_service)
        # Both generations of load balancers are signed with one name.
        return Target(VERSIONS.get(version, service) if service == "elbv2" else service, action)
    if action and version in VERSIONS:
        return Target(VERSIONS[version], action)
    service = _from_host(headers.get("host", ""))
    if service:
        return Target(service, action)
    if headers.get("content-type", "").startswith("multipart/form-data"):
        return Target("s3")  # a browser's upload, signed in one of the form's fields
    raise AwsError(
        "MissingAuthenticationToken",
        "Request is missing Authentication Token. Sign it, or name a service: "
        'eval "$(portside cloud env)" sets what AWS clients need.',
        403,
    )


def _from_host(host: str) -> str:
    """`ecs.us-east-1.amazonaws.com` and `bucket.s3.localhost:4566`."""
    labels = host.split(":")[0].split(".")
    if "s3" in labels[:2]:
        return "s3"
    if host.split(":")[0].endswith(".amazonaws.com"):
        return SIGNING_NAMES.get(labels[0], labels[0])
    return ""

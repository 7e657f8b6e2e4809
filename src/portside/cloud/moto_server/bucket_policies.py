"""Bucket policies with their conditions.

moto looks at the policy of a bucket but not at the conditions in it, so that the usual "deny everything that does
not come over TLS" would lock everybody out. The one method that decides is replaced by our own reading of
policies.
Source: the IAM User Guide, "IAM JSON policy elements: Condition".
"""

from __future__ import annotations

from functools import cache
from typing import Any

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket

from portside.cloud.services.iam.policy import Request, statements

# The local endpoint has no TLS; on AWS the same request would.
_CONTEXT = {"aws:securetransport": ("true",)}


def judge(policy: bytes | None, action: str, resource: str) -> PermissionResult:
    """What a bucket's policy says about an action on `resource`, by anybody."""
    if policy is None:
        return PermissionResult.NEUTRAL
    request = Request(action, resource, _CONTEXT)
    found = [each for each in statements(policy.decode()) if each.names("AWS", "*") and each.speaks_of(request)]
    if any(not each.allows for each in found):
        return PermissionResult.DENIED
    return PermissionResult.PERMITTED if found else PermissionResult.NEUTRAL


@cache
def install() -> None:
    """Before the first request for S3, for it loads moto's part for it."""

    def get_permission(self: Any, action: str, resource: str) -> PermissionResult:
        return judge(self.policy, action, resource)

    FakeBucket.get_permission = get_permission

"""Who signs a request: the credential scope of Signature Version 4, from header or query string.

Pure. Reads the access key, region and service. The local cloud trusts what arrives on loopback and does not
check the signature itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCOPE = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request")
_QUERY = re.compile(r"([^/&]+)/(\d{8})/([^/&]+)/([^/&]+)/aws4_request")


@dataclass(frozen=True, slots=True)
class Scope:
    """The credential scope: `AKIA.../20260131/us-east-1/ecs/aws4_request`."""

    access_key: str
    region: str
    service: str


def scope(authorization: str, query_credential: str) -> Scope | None:
    """From the Authorization header, or from X-Amz-Credential of a presigned URL; None if unsigned."""
    found = _SCOPE.search(authorization) if authorization else None
    if found is None and query_credential:
        found = _QUERY.fullmatch(query_credential)
    return None if found is None else Scope(found[1], found[3], found[4])

"""Who signs a request: the credential scope of Signature Version 4, from header or query string.

Pure. Reads the access key, region and service. S3 is also signed by its older way, which has no scope and says
only the key: presigned URLs are, unless their maker asks for version 4. The local cloud trusts what arrives on
loopback and does not check the signature itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs

_SCOPE = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request")
_QUERY = re.compile(r"([^/&]+)/(\d{8})/([^/&]+)/([^/&]+)/aws4_request")
_OF_S3 = re.compile(r"AWS ([^:\s]+):\S+")


@dataclass(frozen=True, slots=True)
class Scope:
    """The credential scope: `AKIA.../20260131/us-east-1/ecs/aws4_request`. Older ones name no region."""

    access_key: str
    region: str
    service: str


def scope(authorization: str, query: str) -> Scope | None:
    """From the Authorization header, or from the query string of a presigned URL; None if unsigned."""
    found = _SCOPE.search(authorization) if authorization else None
    if found is None and "X-Amz-Credential" in query:
        found = _QUERY.fullmatch(_first(query, "X-Amz-Credential"))
    if found is not None:
        return Scope(found[1], found[3], found[4])
    older = _OF_S3.fullmatch(authorization)
    if older is not None:
        return Scope(older[1], "", "s3")
    # SDKs of long ago signed Query requests with these too, and with an action.
    if "AWSAccessKeyId=" in query and "Signature=" in query and "Action=" not in query:
        return Scope(_first(query, "AWSAccessKeyId"), "", "s3")
    return None


def _first(query: str, name: str) -> str:
    return parse_qs(query).get(name, [""])[0]

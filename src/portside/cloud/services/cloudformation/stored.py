"""Texts in the object store: from the address of a template or of a piece of one to its bucket and key.

Pure. Owns the forms of address: AWS's host names, the cloud's own endpoint and `s3://`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

_S3_HOST = re.compile(
    r"^(?:(?P<bucket>[a-z0-9.\-]+)\.)?s3[.-](?:[a-z0-9\-]+\.)*(?:amazonaws\.com(?:\.cn)?|localhost)$"
)


def bucket_and_key(
    url: str, endpoint: str, schemes: tuple[str, ...] = ("http", "https")
) -> tuple[str, str] | None:
    """None for an address that is not one of the object store. `endpoint` is the cloud's own."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in schemes:
        return None
    path = unquote(parts.path).lstrip("/")
    if parts.scheme == "s3":
        return parts.netloc, path
    found = _S3_HOST.match(host)
    if not found and not (endpoint and parts.netloc == urlsplit(endpoint).netloc):
        return None
    if found and found["bucket"]:
        return found["bucket"], path
    bucket, _, key = path.partition("/")
    return bucket, key

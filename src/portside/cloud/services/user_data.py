"""The user data of instances: scripts that would run at their first start.

Pure. Owns how a script is read out of what EC2 hands over, and what in it counts. Who joins a cluster by it is
ECS's business, whom it would tell that it has finished is CloudFormation's.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re

_CLUSTER = re.compile(r"""ECS_CLUSTER\s*=\s*["']?([A-Za-z0-9_-]{1,255})""")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{8,}={0,2}\s*")


def decoded(encoded: str) -> str:
    """User data as EC2 gives it: base64, perhaps gzipped inside, and perhaps encoded once too often, which happens
    to launch configurations whose author did not know that the client encodes as well."""
    raw = encoded.encode()
    for _ in range(2):
        if not _BASE64.fullmatch(raw):
            break
        try:
            raw = base64.b64decode(raw)
        except (binascii.Error, ValueError):
            break
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except OSError:
            return ""
    return raw.decode("utf-8", "replace")


def commands(script: str) -> str:
    """The script without comments, each command in one line."""
    return re.sub(r"\\\r?\n", " ", _without_comments(script))


def cluster_assigned(script: str) -> str:
    """The name in the last `ECS_CLUSTER=<name>` that is no comment, empty if there is none."""
    found = _CLUSTER.findall(_without_comments(script))
    return str(found[-1]) if found else ""


def _without_comments(script: str) -> str:
    return "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#") or "#!" in line[:2])

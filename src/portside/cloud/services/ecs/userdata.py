"""Which cluster an instance's user data names.

Pure. User data is a shell script (or a cloud-config) that writes `ECS_CLUSTER=<name>` to the agent's
configuration, in one of many spellings: echo or printf with or without quotes, here documents, cloud-config
`write_files`, multi-part MIME, or the agent's TOML in Bottlerocket.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re

_ASSIGNMENT = re.compile(r"""ECS_CLUSTER\s*=\s*["']?([A-Za-z0-9_-]{1,255})""")
_BOTTLEROCKET = re.compile(
    r"""\[settings\.ecs\][^\[]*?^\s*cluster\s*=\s*["']([A-Za-z0-9_-]{1,255})["']""", re.M | re.S
)
_AGENT = ("/etc/ecs/ecs.config", "ECS_", "amazon-ecs", "ecs-init", "[settings.ecs]")


def cluster_named(text: str) -> str | None:
    """The cluster, `default` when the script configures the agent but names none, None when there is no agent."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#") or "ECS_" not in line]
    script = "\n".join(lines)
    found = _ASSIGNMENT.findall(script) or _BOTTLEROCKET.findall(script)
    if found:
        return str(found[-1])
    return "default" if any(sign in script for sign in _AGENT) else None


def decode(encoded: str) -> str:
    """User data as EC2 gives it: base64, perhaps gzipped inside."""
    try:
        raw = base64.b64decode(encoded, validate=False)
    except (binascii.Error, ValueError):
        return encoded
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except OSError:
            return ""
    return raw.decode("utf-8", "replace")

"""Which cluster an instance's user data names, itself or in the metadata of a stack that it asks for.

Pure. User data is a shell script (or a cloud-config) that writes `ECS_CLUSTER=<name>` to the agent's
configuration, in one of many spellings: echo or printf with or without quotes, here documents, cloud-config
`write_files`, multi-part MIME, or the agent's TOML in Bottlerocket.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

_ASSIGNMENT = re.compile(r"""ECS_CLUSTER\s*=\s*["']?([A-Za-z0-9_-]{1,255})""")
_BOTTLEROCKET = re.compile(
    r"""\[settings\.ecs\][^\[]*?^\s*cluster\s*=\s*["']([A-Za-z0-9_-]{1,255})["']""", re.M | re.S
)
_INIT = re.compile(r"cfn-init(?:\.exe)?\s+([^\n;|&]*)")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{8,}={0,2}\s*")
_AGENT = ("/etc/ecs/ecs.config", "ECS_", "amazon-ecs", "ecs-init", "[settings.ecs]")


def cluster_named(text: str) -> str | None:
    """The cluster, `default` when the script configures the agent but names none, None when there is no agent."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#") or "ECS_" not in line]
    script = "\n".join(lines)
    found = _ASSIGNMENT.findall(script) or _BOTTLEROCKET.findall(script)
    if found:
        return str(found[-1])
    return "default" if any(sign in script for sign in _AGENT) else None


def initialised_from(text: str) -> tuple[str, str] | None:
    """Stack and logical id of the resource whose metadata a `cfn-init` in the script carries out."""
    joined = re.sub(
        r"\\\r?\n", " ", "\n".join(each for each in text.splitlines() if not each.lstrip().startswith("#"))
    )
    for call in _INIT.finditer(joined):
        words = call[1].replace("=", " ").split()
        given = dict(itertools.pairwise(word.strip("\"'") for word in words))
        stack = given.get("--stack") or given.get("-s")
        resource = given.get("--resource") or given.get("-r")
        if stack and resource:
            return stack, resource
    return None


def cluster_in_metadata(metadata: str) -> str | None:
    """As `cluster_named`, of what `cfn-init` would write and run: the metadata of a resource, as JSON."""
    try:
        found = json.loads(metadata).get("AWS::CloudFormation::Init")
    except (ValueError, AttributeError):
        return None
    return cluster_named("\n".join(_texts(found)))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for member in value.values():
                yield from _texts(member)
        case list():
            for member in value:
                yield from _texts(member)


def decode(encoded: str) -> str:
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

"""Which cluster an instance's user data names, itself or in the metadata of a stack that it asks for.

Pure. User data is a shell script (or a cloud-config) that writes `ECS_CLUSTER=<name>` to the agent's
configuration, in one of many spellings: echo or printf with or without quotes, here documents, cloud-config
`write_files`, multi-part MIME, or the agent's TOML in Bottlerocket.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from portside.cloud.services import user_data

_BOTTLEROCKET = re.compile(
    r"""\[settings\.ecs\][^\[]*?^\s*cluster\s*=\s*["']([A-Za-z0-9_-]{1,255})["']""", re.M | re.S
)
_INIT = re.compile(r"cfn-init(?:\.exe)?\s+([^\n;|&]*)")
_AGENT = ("/etc/ecs/ecs.config", "ECS_", "amazon-ecs", "ecs-init", "[settings.ecs]")


def cluster_named(text: str) -> str | None:
    """The cluster, `default` when the script configures the agent but names none, None when there is no agent."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#") or "ECS_" not in line]
    script = "\n".join(lines)
    assigned = user_data.cluster_assigned(script)
    found = [assigned] if assigned else _BOTTLEROCKET.findall(script)
    if found:
        return str(found[-1])
    return "default" if any(sign in script for sign in _AGENT) else None


def initialised_from(text: str) -> tuple[str, str] | None:
    """Stack and logical id of the resource whose metadata a `cfn-init` in the script carries out."""
    for call in _INIT.finditer(user_data.commands(text)):
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

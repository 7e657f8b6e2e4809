"""Dynamic references: `{{resolve:ssm:...}}`, `ssm-secure` and `secretsmanager`, replaced just before use.

Owns their syntax and how they are fetched. They stay literal in templates, events and comparisons; only a
resource's handler sees the value.
"""

from __future__ import annotations

import json
import re
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.cloudformation.intrinsics import EvaluationError

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")


def present(value: Any) -> bool:
    if isinstance(value, str):
        return "{{resolve:" in value
    if isinstance(value, dict):
        return any(present(member) for member in value.values())
    return isinstance(value, list) and any(present(member) for member in value)


async def resolve(value: Any, calls: Calls, caller: Caller) -> Any:
    """`value` with every dynamic reference replaced; EvaluationError if one leads nowhere."""
    if not present(value):
        return value
    if isinstance(value, dict):
        return {key: await resolve(member, calls, caller) for key, member in value.items()}
    if isinstance(value, list):
        return [await resolve(member, calls, caller) for member in value]
    parts: list[str] = []
    position = 0
    for found in _REFERENCE.finditer(value):
        parts.append(value[position : found.start()])
        parts.append(await _fetch(found[1], found[2], calls, caller))
        position = found.end()
    parts.append(value[position:])
    return "".join(parts)


async def _fetch(service: str, reference: str, calls: Calls, caller: Caller) -> str:
    try:
        if service == "secretsmanager":
            return await _secret(reference, calls, caller)
        name, _, version = reference.rpartition(":")
        if not name or not version.isdigit():
            name, version = reference, ""
        answer = await calls(
            "ssm",
            "GetParameter",
            {"Name": f"{name}:{version}" if version else name, "WithDecryption": service == "ssm-secure"},
            caller,
        )
        return str(answer["Parameter"]["Value"])
    except AwsError as error:
        if service == "secretsmanager":
            raise EvaluationError(f"Secrets Manager can't find the specified secret. ({error.message})") from None
        raise EvaluationError(f"Parameters: [{service}:{reference}] cannot be found.") from None


async def _secret(reference: str, calls: Calls, caller: Caller) -> str:
    # An ARN has seven parts of its own before the options begin.
    if reference.startswith("arn:"):
        parts = reference.split(":")
        identity, options = ":".join(parts[:7]), parts[7:]
    else:
        identity, *options = reference.split(":")
    options += [""] * (4 - len(options))
    _, key, stage, version = options[:4]
    params = {"SecretId": identity}
    if stage:
        params["VersionStage"] = stage
    if version:
        params["VersionId"] = version
    text = str((await calls("secretsmanager", "GetSecretValue", params, caller)).get("SecretString", ""))
    if not key:
        return text
    try:
        found = json.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        raise EvaluationError(f"Could not find a value associated with JSONKey in SecretString: {key}") from None
    return found if isinstance(found, str) else json.dumps(found)

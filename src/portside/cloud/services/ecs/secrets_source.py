"""The values of a container's `secrets`, fetched when it is created and never stored.

Owns the reading of `valueFrom`: a Systems Manager parameter by name or ARN, or a Secrets Manager ARN with
optional `:json-key:version-stage:version-id`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params

_FAILED = "ResourceInitializationError: unable to pull secrets or registry auth: "


class SecretsFailed(Exception):
    """A secret could not be read. `reason` is AWS's text; it never holds a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = _FAILED + reason


async def values(calls: Calls, wanted: Mapping[str, str], caller: Caller) -> dict[str, str]:
    """Environment variable -> value for `secrets` (variable -> valueFrom)."""
    return {name: await _value(calls, source, caller) for name, source in wanted.items()}


async def _value(calls: Calls, source: str, caller: Caller) -> str:
    if source.startswith("arn:") and source.split(":")[2] == "secretsmanager":
        return await _secret(calls, source, caller)
    return await _parameter(calls, source, caller)


async def _parameter(calls: Calls, source: str, caller: Caller) -> str:
    name = source
    if source.startswith("arn:"):
        parts = source.split(":", 5)
        caller = replace(caller, region=parts[3] or caller.region)
        name = parts[5].removeprefix("parameter")
        # `parameter/db/password` is the path /db/password, `parameter/password` may be the plain name.
        name = name if name.count("/") > 1 else name.lstrip("/")
    try:
        answer = await calls("ssm", "GetParameters", {"Names": [name], "WithDecryption": True}, caller)
        if not answer.get("Parameters") and source.startswith("arn:") and not name.startswith("/"):
            answer = await calls("ssm", "GetParameters", {"Names": [f"/{name}"], "WithDecryption": True}, caller)
    except AwsError as error:
        raise SecretsFailed(f"unable to retrieve secrets from ssm: {error.code}: {error.message}") from None
    found = answer.get("Parameters") or []
    if not found:
        raise SecretsFailed(f"unable to retrieve secrets from ssm: invalid parameters: {source}")
    return str(found[0]["Value"])


async def _secret(calls: Calls, source: str, caller: Caller) -> str:
    parts = source.split(":")
    key, stage, version = [*parts[7:10], "", "", ""][:3]
    params: Params = {"SecretId": ":".join(parts[:7])}
    if stage:
        params["VersionStage"] = stage
    if version:
        params["VersionId"] = version
    try:
        answer = await calls("secretsmanager", "GetSecretValue", params, replace(caller, region=parts[3]))
    except AwsError as error:
        raise SecretsFailed(
            f"unable to retrieve secret from asm: {error.code}: {error.message} ({source})"
        ) from None
    text = str(answer.get("SecretString") or "")
    if not key:
        return text
    try:
        document = json.loads(text)
        value = document[key]
    except (ValueError, KeyError, TypeError):
        raise SecretsFailed(f"unable to retrieve secret from asm: retrieved secret has no key {key}") from None
    return value if isinstance(value, str) else json.dumps(value)

"""The values of variables that are kept in Parameter Store or in Secrets Manager.

Asked for as the build's service role, when the container is made; they are in no record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params

PARAMETERS_AT_ONCE = 10


class ValueFailed(Exception):
    """A value cannot be had; `code` and `reason` are the context of the phase."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def parameters(calls: Calls, wanted: Mapping[str, str], caller: Caller) -> dict[str, str]:
    """Variable -> value for variable -> name of a parameter."""
    code = "Decrypted Variables Error"
    names = sorted(set(wanted.values()))
    found: dict[str, str] = {}
    for start in range(0, len(names), PARAMETERS_AT_ONCE):
        some = names[start : start + PARAMETERS_AT_ONCE]
        try:
            answer = await calls("ssm", "GetParameters", {"Names": some, "WithDecryption": True}, caller)
        except AwsError as error:
            raise ValueFailed(code, f"{error.code}: {error.message}") from None
        # Asked for by name or by ARN, the answer has both.
        for each in answer.get("Parameters") or []:
            found[each["Name"]] = found[each.get("ARN") or each["Name"]] = str(each["Value"])
    for name in names:
        if name not in found:
            raise ValueFailed(code, f"parameter does not exist: {name}")
    return {variable: found[name] for variable, name in wanted.items()}


async def secrets(calls: Calls, wanted: Mapping[str, str], caller: Caller) -> dict[str, str]:
    """Variable -> value for variable -> `secret-id:json-key:version-stage:version-id`."""
    return {variable: await _secret(calls, reference, caller) for variable, reference in wanted.items()}


async def _secret(calls: Calls, reference: str, caller: Caller) -> str:
    code = "Secrets Manager Error Message"
    identifier, key, stage, version = split(reference)
    if stage and version:
        raise ValueFailed(code, f"{reference}: version-stage and version-id exclude one another")
    params: Params = {"SecretId": identifier}
    if stage:
        params["VersionStage"] = stage
    if version:
        params["VersionId"] = version
    try:
        answer = await calls("secretsmanager", "GetSecretValue", params, caller)
    except AwsError as error:
        raise ValueFailed(code, f"{error.code}: {error.message}") from None
    text = str(answer.get("SecretString") or "")
    if not key:
        return text
    try:
        value = json.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        raise ValueFailed(code, f"the secret {identifier} has no key {key}") from None
    return value if isinstance(value, str) else json.dumps(value)


def split(reference: str) -> tuple[str, str, str, str]:
    """The parts of a reference; the id may be an ARN, which has colons of its own."""
    parts = reference.split(":")
    size = 7 if reference.startswith("arn:") else 1
    key, stage, version = [*parts[size : size + 3], "", "", ""][:3]
    return ":".join(parts[:size]), key, stage, version

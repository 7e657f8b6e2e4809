"""Dynamic references: `{{resolve:ssm:...}}`, `ssm-secure` and `secretsmanager`, replaced just before use.

Owns their syntax, where they may stand (`check`) and how they are fetched. They stay literal in templates, events
and comparisons; only a resource's handler sees the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.cloudformation import limits
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.functions import EvaluationError

if TYPE_CHECKING:
    from portside.cloud.services.cloudformation.template import Declared

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")
_STORED = re.compile(r"\{\{resolve:(ssm|ssm-secure):([^{}]*)\}\}")
# A name, or the ARN of somebody else's parameter, and perhaps a version; no label.
_FORM = re.compile(r"(?:arn:[^:]+:ssm:[^:]*:[^:]*:parameter/[\w./-]+|[\w./-]+)(:[0-9]+)?")


# The properties that may hold a secure string of the parameter store, by resource type.
_SECURE = {
    "AWS::DirectoryService::MicrosoftAD": ("Password",),
    "AWS::DirectoryService::SimpleAD": ("Password",),
    "AWS::ElastiCache::ReplicationGroup": ("AuthToken",),
    "AWS::IAM::User": ("LoginProfile/Password",),
    "AWS::KinesisFirehose::DeliveryStream": ("RedshiftDestinationConfiguration/Password",),
    "AWS::OpsWorks::App": ("AppSource/Password",),
    "AWS::OpsWorks::Stack": ("CustomCookbooksSource/Password", "RdsDbInstances/DbPassword"),
    "AWS::RDS::DBCluster": ("MasterUserPassword",),
    "AWS::RDS::DBInstance": ("MasterUserPassword",),
    "AWS::Redshift::Cluster": ("MasterUserPassword",),
}


def check(resources: Iterable[Declared], parts: Any) -> None:
    """ValidationError for too many references, and for secure ones where they may not stand."""
    found = [each for text, _ in _texts(parts, "") for each in _REFERENCE.findall(text)]
    limits.count("dynamic references", found, limits.DYNAMIC_REFERENCES)
    misplaced = insecure(resources, versioned=True)
    if misplaced:
        raise invalid(misplaced)


def insecure(resources: Iterable[Declared], *, versioned: bool) -> str:
    """Where secure strings of the store may not stand, in AWS's words; empty if nowhere. AWS refuses those with a
    version, and gives up operations with others as soon as they have begun."""
    refused = [
        f"{each.type}/Properties/{path}"
        for each in resources
        for text, path in _texts(each.properties, "")
        for service, name in _STORED.findall(text)
        if service == "ssm-secure"
        and path not in _SECURE.get(each.type, ())
        and bool(re.search(r":[0-9]+$", name)) is versioned
    ]
    return f"SSM Secure reference is not supported in: [{','.join(refused)}]" if refused else ""


def named(value: Any) -> Iterator[str]:
    """The parameters of the store that an evaluated value refers to, as `name` or `name:version`; ValidationError
    for what cannot be one."""
    for text, _ in _texts(value, ""):
        for service, name in _STORED.findall(text) if "{{resolve:" in text else ():
            if _FORM.fullmatch(name) is None:
                raise invalid(
                    f"Incorrect format is used in the following SSM reference: [{{{{resolve:{service}:{name}}}}}]"
                )
            if service == "ssm":
                yield name


async def look_up(names: Iterable[str], calls: Calls, caller: Caller) -> dict[str, str]:
    """What the parameters hold, found out before anything is made: ValidationError if there is no such parameter,
    or if it is a secret."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            answer = await calls("ssm", "GetParameter", {"Name": name, "WithDecryption": False}, caller)
        except AwsError as error:
            if error.status < 500 and not error.code.startswith("AccessDenied"):
                raise invalid(missing(name)) from None
            raise
        if answer["Parameter"].get("Type") == "SecureString":
            plain = re.sub(r":[0-9]+$", "", name)
            raise invalid(f"Non-secure ssm prefix was used for secure parameter {plain}")
        found[name] = str(answer["Parameter"]["Value"])
    return found


def missing(name: str, service: str = "ssm") -> str:
    return f"Parameters: [{service}:{name}] cannot be found."


def filled(value: Any, stored: Mapping[str, str]) -> Any:
    """`value` with what is known of the store in the places of its references."""
    if isinstance(value, dict):
        return {key: filled(member, stored) for key, member in value.items()}
    if isinstance(value, list):
        return [filled(member, stored) for member in value]
    if not isinstance(value, str) or "{{resolve:ssm:" not in value:
        return value

    def known(reference: re.Match[str]) -> str:
        return stored.get(reference[2], reference[0]) if reference[1] == "ssm" else reference[0]

    return _STORED.sub(known, value)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text with the names that lead to it, down to the first list and not into functions."""
    if isinstance(value, str):
        yield value, path
    elif isinstance(value, dict):
        for key, member in value.items():
            deeper = path if key.startswith("Fn::") else f"{path}/{key}".strip("/")
            yield from _texts(member, deeper)
    elif isinstance(value, list):
        for member in value:
            for text, _ in _texts(member, path):
                yield text, path


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
            where = f"Service: AWSSecretsManager; Status Code: {error.status}; Error Code: {error.code}"
            raise EvaluationError(f"{error.message} ({where})") from None
        raise EvaluationError(missing(reference, service)) from None


async def _secret(reference: str, calls: Calls, caller: Caller) -> str:
    # An ARN has seven parts of its own before the options begin.
    if reference.startswith("arn:"):
        parts = reference.split(":")
        identity, options = ":".join(parts[:7]), parts[7:]
    else:
        identity, *options = reference.split(":")
    if len(options) > 4:
        raise EvaluationError(f"Incorrect format is used in the following reference: [secretsmanager:{reference}]")
    options += [""] * (4 - len(options))
    kind, key, stage, version = options
    if kind not in ("", "SecretString"):
        raise EvaluationError(
            f"The only supported value for a dynamic reference of Secrets Manager is SecretString, found {kind}"
        )
    if stage and version:
        raise EvaluationError("A dynamic reference may name a version stage or a version id, not both")
    params = {"SecretId": identity}
    if stage:
        params["VersionStage"] = stage
    if version:
        params["VersionId"] = version
    text = str((await calls("secretsmanager", "GetSecretValue", params, caller)).get("SecretString", ""))
    if not key:
        return text
    try:
        document = json.loads(text)
    except ValueError:
        raise EvaluationError("Could not parse SecretString JSON") from None
    if not isinstance(document, dict) or key not in document:
        raise EvaluationError("Could not find a value associated with JSONKey in SecretString")
    found = document[key]
    return found if isinstance(found, str) else json.dumps(found)

"""The environment variables of a container: what the agent sets, then the user's files, values and secrets.

Owns their order and the reading of environment files. The agent's own variables come first, so that a user may set
another region or endpoint; a value in the definition wins over one in a file, as on AWS. Source: the ECS Developer
Guide, "Passing environment variables".
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.ecs import secrets_source
from portside.cloud.services.ecs.blueprints import ContainerBlueprint
from portside.cloud.services.ecs.outside import Credentials, Endpoint
from portside.cloud.services.ecs.records import Container, Task

METADATA_PATH = "/_portside/metadata/"
CREDENTIALS_PATH = "/_portside/credentials/"


class FileFailed(Exception):
    """An environment file cannot be had. `reason` is AWS's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = f"ResourceInitializationError: failed to download env files: {reason}"


def from_agent(task: Task, record: Container, endpoint: Endpoint) -> dict[str, str]:
    """What the agent tells every container that has a network."""
    return {
        "AWS_EXECUTION_ENV": f"AWS_ECS_{task.launch_type}",
        "AWS_REGION": task.region,
        "AWS_DEFAULT_REGION": task.region,
        "AWS_ENDPOINT_URL": endpoint.url,
        "ECS_CONTAINER_METADATA_URI_V4": endpoint.url + METADATA_PATH + metadata_id(record),
    }


def for_role(identifier: str, where: Credentials) -> dict[str, str]:
    """Where the SDKs look for the credentials of the task role."""
    path = CREDENTIALS_PATH + identifier
    if where.relative:
        return {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": path}
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": where.base + path}


def metadata_id(record: Container) -> str:
    return record.arn.rpartition("/")[2]


async def of_user(calls: Calls, blueprint: ContainerBlueprint, caller: Caller) -> dict[str, str]:
    """Raises FileFailed, or SecretsFailed."""
    found: dict[str, str] = {}
    for arn in blueprint.environment_files:
        found |= await _file(calls, arn, caller)
    return found | dict(blueprint.environment) | await secrets_source.values(calls, blueprint.secrets, caller)


async def _file(calls: Calls, arn: str, caller: Caller) -> dict[str, str]:
    bucket, _, key = arn.partition(":::")[2].partition("/")
    try:
        answer = await calls("s3", "GetObject", {"Bucket": bucket, "Key": key}, caller)
    except AwsError as error:
        raise FileFailed(f"{error.code}: {error.message} ({arn})") from None
    try:
        text = bytes(answer["Body"]).decode()
    except UnicodeDecodeError:
        raise FileFailed(f"the file is not UTF-8 ({arn})") from None
    return parse(text)


def parse(text: str) -> dict[str, str]:
    """Lines of `NAME=value`; what begins with `#` is a comment, and nothing is unquoted."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value for name, _, value in pairs if name.strip()}

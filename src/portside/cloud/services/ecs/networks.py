"""What a call says about the network and the surroundings of the tasks that it asks for.

Pure. Owns the checks of `networkConfiguration` and `serviceRegistries` against a task definition, in AWS's words,
and the first form of a task's `network`, which `attachments.py` completes.
"""

from __future__ import annotations

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs.errors import invalid
from portside.cloud.services.ecs.names import kind_of

MOST_SUBNETS = 16
MOST_GROUPS = 5


def check(params: Params, definition: Params) -> None:
    """`params` of RunTask, CreateService or UpdateService; `definition` is the spec of the task definition."""
    given = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if definition.get("networkMode") == "awsvpc":
        if not given or not given.get("subnets"):
            raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        if len(given["subnets"]) > MOST_SUBNETS:
            raise invalid(f"subnets can have at most {MOST_SUBNETS} items.")
        if len(given.get("securityGroups") or []) > MOST_GROUPS:
            raise invalid(f"securityGroups can have at most {MOST_GROUPS} items.")
    elif given:
        raise invalid("Network Configuration is not valid for the given networkMode of this task definition.")
    for registry in params.get("serviceRegistries") or []:
        _registry(registry, definition)


def _registry(registry: Params, definition: Params) -> None:
    arn = registry.get("registryArn") or ""
    if kind_of(arn) != "service":
        raise invalid(f"Invalid registryArn '{arn}': it must be the ARN of a Cloud Map service.")
    containers = {each["name"]: each for each in definition["containerDefinitions"]}
    name = registry.get("containerName")
    if definition.get("networkMode") == "awsvpc" and not name:
        return
    if not name or not registry.get("containerPort"):
        raise invalid(
            "When using a bridge or host network mode, containerName and containerPort must be specified in the "
            "service registry."
        )
    if name not in containers:
        raise invalid(f"The container {name} does not exist in the task definition.")
    if registry["containerPort"] not in [each["containerPort"] for each in containers[name]["portMappings"]]:
        raise invalid(f"The container {name} did not have a container port {registry['containerPort']} defined.")


def asked(params: Params) -> Params:
    """A task's `network` as far as it was asked for."""
    given = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    found: Params = {
        "subnets": given.get("subnets") or [],
        "securityGroups": given.get("securityGroups") or [],
        "assignPublicIp": given.get("assignPublicIp") or "",
        "registries": params.get("serviceRegistries") or [],
        "execute": bool(params.get("enableExecuteCommand")),
    }
    return {key: value for key, value in found.items() if value}


def target_type(definition: Params) -> str:
    """The kind of targets that tasks of this definition are."""
    return "ip" if definition.get("networkMode") == "awsvpc" else "instance"

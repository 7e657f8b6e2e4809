"""What the local cloud can run, of all that a task definition or a call may ask for.

Pure. AWS accepts more than is offered here; whatever would be ignored is refused by name when a task or a
service is to be started, never run in part.
"""

from __future__ import annotations

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import blueprints, volumes
from portside.cloud.services.ecs.errors import client

_LOG_DRIVERS = ("awslogs", "json-file")
_TASK_FEATURES = ("proxyConfiguration", "inferenceAccelerators", "ephemeralStorage")
# A privileged container is this machine's root, and would have the engine itself.
_CONTAINER_FEATURES = (
    "repositoryCredentials",
    "privileged",
    "firelensConfiguration",
    "credentialSpecs",
)
_CALL_FEATURES = (
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
)
_VOLUME_FEATURES = (
    "efsVolumeConfiguration",
    "fsxWindowsFileServerVolumeConfiguration",
    "s3filesVolumeConfiguration",
    "configuredAtLaunch",
)
# With these a container gets out of its confinement.
_CAPABILITIES = frozenset(
    {"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "DAC_READ_SEARCH", "BPF", "PERFMON", "SYS_TIME"}
)
_SECURITY_OPTIONS = ("no-new-privileges", "no-new-privileges:true")


def check_definition(spec: Params) -> None:
    """Refuse a definition that cannot be run as it says."""
    for key in ("pidMode", "ipcMode"):
        if spec.get(key) == "host":
            raise _refused(f"'{key}' host")
    system = (spec.get("runtimePlatform") or {}).get("operatingSystemFamily", "LINUX")
    if system != "LINUX":
        raise _refused(f"operating system family '{system}'")
    for feature in _TASK_FEATURES:
        if spec.get(feature):
            raise _refused(f"'{feature}'")
    for volume in spec.get("volumes") or []:
        for feature in _VOLUME_FEATURES:
            if volume.get(feature):
                raise _refused(f"'{feature}' (volume '{volume.get('name')}')")
    for volume in blueprints.read(spec).volumes:
        why = volumes.refused(volume)
        if why:
            raise _refused(why)
    for container in spec.get("containerDefinitions") or []:
        _container(container)


def _container(spec: Params) -> None:
    where = f" (container '{spec['name']}')"
    for feature in _CONTAINER_FEATURES:
        if spec.get(feature):
            raise _refused(f"'{feature}'" + where)
    for each in spec.get("resourceRequirements") or []:
        if each.get("type") != "GPU":  # those are refused by placement, as on AWS
            raise _refused(f"'resourceRequirements' of type {each.get('type')}" + where)
    linux = spec.get("linuxParameters") or {}
    if linux.get("devices"):
        raise _refused("'linuxParameters.devices'" + where)
    for name in (linux.get("capabilities") or {}).get("add") or []:
        if name.removeprefix("CAP_") in _CAPABILITIES:
            raise _refused(f"the capability {name}" + where)
    for option in spec.get("dockerSecurityOptions") or []:
        if option not in _SECURITY_OPTIONS:
            raise _refused(f"the security option '{option}'" + where)
    logs = spec.get("logConfiguration") or {}
    if logs and logs.get("logDriver") not in _LOG_DRIVERS:
        raise _refused(f"log driver '{logs.get('logDriver')}'" + where)
    if logs.get("secretOptions"):
        raise _refused("'logConfiguration.secretOptions'" + where)
    if (spec.get("restartPolicy") or {}).get("enabled"):
        raise _refused("'restartPolicy'" + where)


def check_call(params: Params) -> None:
    """Refuse what a CreateService, UpdateService or RunTask call asks beyond what is offered."""
    launch = params.get("launchType")
    if launch not in (None, "EC2", "FARGATE"):
        raise _refused(f"launch type {launch}")
    for feature in _CALL_FEATURES:
        if params.get(feature):
            raise _refused(f"'{feature}'")
    controller = (params.get("deploymentController") or {}).get("type", "ECS")
    if controller != "ECS":
        raise _refused(f"deployment controller {controller}")
    for balancer in params.get("loadBalancers") or []:
        if balancer.get("loadBalancerName"):
            raise _refused("a Classic Load Balancer")


def _refused(what: str) -> Exception:
    return client(f"The local cloud does not offer {what}.")

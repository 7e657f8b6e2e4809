"""The volumes of tasks: which ones the engine has to have, under which names, and how containers mount them.

Pure. A path on the container instance is a volume of that instance, for its disk is not this machine's; a shared
volume lives as long as the instance too, every other one as long as its task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from portside.cloud.services.ecs.blueprints import ContainerBlueprint, TaskBlueprint, Volume
from portside.cloud.services.ecs.names import last
from portside.cloud.services.ecs.records import Task

VOLUME_LABEL = "portside.volume"  # the ARN of the task or of the instance that it lives as long as
# Paths of an instance that are no files of anyone's but the machine itself.
MACHINE_PATHS = ("/proc", "/sys", "/dev", "/var/run/docker.sock", "/run/docker.sock", "/var/run", "/run")


@dataclass(frozen=True, slots=True)
class EngineVolume:
    """A volume that the engine must have. `owner` is the ARN of what it lives as long as."""

    name: str
    owner: str
    driver: str = ""
    options: Mapping[str, str] | None = None


def refused(volume: Volume) -> str:
    """Why the local cloud cannot offer the volume; empty if it can."""
    path = volume.source.rstrip("/") or volume.source
    if any(path == each or path.startswith(each + "/") for each in MACHINE_PATHS) or path == "/":
        return f"the path {volume.source} of the instance (volume '{volume.name}'), which is this machine's own"
    if volume.driver not in ("", "local"):
        return f"the volume driver '{volume.driver}' (volume '{volume.name}')"
    options = volume.options
    mounts = options.get("device", "").startswith("/") or "bind" in options.get("o", "")
    if options and (options.get("type") != "tmpfs" or mounts):
        return f"the driver options of volume '{volume.name}': only those of type tmpfs"
    return ""


def engine_volumes(task: Task, plan: TaskBlueprint, cloud: str) -> dict[str, EngineVolume]:
    """By the name in the task definition."""
    found = {}
    for volume in plan.volumes:
        lasting = bool(volume.source) or volume.shared
        owner = (task.instance or task.arn) if lasting else task.arn
        what = volume.source or volume.name
        digest = hashlib.sha256(f"{owner} {what}".encode()).hexdigest()[:16]
        name = f"portside-{cloud}-{digest}" if lasting else f"portside-{cloud}-{last(task.arn)}-{volume.name}"
        found[volume.name] = EngineVolume(name, owner, volume.driver, volume.options)
    return found


def binds(
    plan: TaskBlueprint, container: ContainerBlueprint, known: Mapping[str, EngineVolume]
) -> tuple[str, ...]:
    """`name:/path[:options]` for each mount."""
    sources = {volume.name: volume.source for volume in plan.volumes}
    made = []
    for mount in container.mounts:
        # What is at that path in the image does not show, as with a directory of the instance.
        options = [*(["ro"] if mount.read_only else []), *(["nocopy"] if sources[mount.volume] else [])]
        made.append(":".join([known[mount.volume].name, mount.path, *([",".join(options)] if options else [])]))
    return tuple(made)

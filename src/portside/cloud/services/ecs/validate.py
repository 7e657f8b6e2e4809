"""What RegisterTaskDefinition accepts, and how it stores it.

Pure. Raises ClientException in AWS's words where those are known. It accepts everything that AWS accepts;
whether the local cloud can run it is asked when a task is to be started (`offered.py`).
"""

from __future__ import annotations

import re

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import names
from portside.cloud.services.ecs.errors import client

_CPU = re.compile(r"\s*(\d+(?:\.\d+)?)\s*vcpu\s*", re.IGNORECASE)
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*gb\s*", re.IGNORECASE)
LARGEST_PORT = 65535
RESERVED_PORTS = frozenset({22, 2375, 2376, 51678, 51679, 51680})
SMALLEST_MEMORY = 4

# cpu -> allowed memory in MiB
FARGATE = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4097, 1024)),
    1024: tuple(range(2048, 8193, 1024)),
    2048: tuple(range(4096, 16385, 1024)),
    4096: tuple(range(8192, 30721, 1024)),
    8192: tuple(range(16384, 61441, 4096)),
    16384: tuple(range(32768, 122881, 8192)),
}


def normalise(params: Params) -> Params:
    """The definition as it is stored and shown; raises ClientException."""
    if not names.NAME.fullmatch(params["family"]):
        raise client("Family contains invalid characters.")
    spec: Params = {key: value for key, value in params.items() if key not in ("tags", "family")}
    if spec.get("cpu") is not None:
        spec["cpu"] = str(_cpu(spec["cpu"]))
    if spec.get("memory") is not None:
        spec["memory"] = str(_memory(spec["memory"]))
    spec.setdefault("volumes", [])
    spec.setdefault("placementConstraints", [])
    fargate = "FARGATE" in (spec.get("requiresCompatibilities") or [])
    if fargate:
        _fargate(spec)
    if "networkMode" not in spec and not fargate:
        spec["networkMode"] = "bridge"
    containers = spec.get("containerDefinitions") or []
    if not containers:
        raise client("Container list cannot be empty.")
    spec["containerDefinitions"] = [_container(each, spec) for each in containers]
    _together(spec)
    return spec


def _cpu(text: str) -> int:
    found = _CPU.fullmatch(text)
    if found:
        return round(float(found[1]) * 1024)
    if not text.strip().isdigit():
        raise client(f"Invalid 'cpu' setting for task. '{text}' is neither a number nor a value such as '1 vCPU'.")
    return int(text)


def _memory(text: str) -> int:
    found = _MEMORY.fullmatch(text)
    if found:
        return round(float(found[1]) * 1024)
    if not text.strip().isdigit():
        raise client(f"Invalid 'memory' setting for task. '{text}' is neither a number nor a value such as '1GB'.")
    return int(text)


def _fargate(spec: Params) -> None:
    if spec.get("networkMode") != "awsvpc":
        raise client("Fargate only supports network mode ‘awsvpc’.")
    if not spec.get("cpu") or not spec.get("memory"):
        raise client("Fargate requires that 'cpu' and 'memory' be defined at the task level.")
    if int(spec["memory"]) not in FARGATE.get(int(spec["cpu"]), ()):
        raise client(
            f"No Fargate configuration exists for given values: {spec['cpu']} CPU, {spec['memory']} memory."
        )


def _container(given: Params, task: Params) -> Params:
    spec: Params = dict(given)
    name = spec.get("name") or ""
    if not name:
        raise client("Container.name should not be null or empty.")
    if not names.NAME.fullmatch(name):
        raise client(f"Invalid container name '{name}': up to 255 letters, digits, hyphens and underscores.")
    if not spec.get("image"):
        raise client("Container.image should not be null or empty.")
    spec.setdefault("cpu", 0)
    spec.setdefault("essential", True)
    for key in ("environment", "mountPoints", "volumesFrom", "systemControls"):
        spec.setdefault(key, [])
    _memory_of(name, spec, task)
    spec["portMappings"] = [_port(name, each, task) for each in spec.get("portMappings") or []]
    if spec.get("links") and task.get("networkMode") != "bridge":
        raise client("Links are only supported with network mode 'bridge'.")
    for feature in ("hostname", "extraHosts", "dnsServers", "dnsSearchDomains"):
        if spec.get(feature) and task.get("networkMode") in ("awsvpc", "host"):
            raise client(f"'{feature}' is not supported when networkMode={task['networkMode']}.")
    for file in spec.get("environmentFiles") or []:
        where = file.get("value") or ""
        if file.get("type") != "s3" or ":s3:::" not in where or not where.endswith(".env"):
            raise client(
                f"Invalid 'environmentFiles' setting for container '{name}'. A file has type s3 and the ARN of an "
                "object whose name ends in .env."
            )
    logs = spec.get("logConfiguration") or {}
    if logs.get("logDriver") == "awslogs":
        options = logs.get("options") or {}
        for option in ("awslogs-group", "awslogs-region"):
            if not options.get(option):
                raise client(f"Log driver awslogs requires options: {option}")
        fargate = "FARGATE" in (task.get("requiresCompatibilities") or [])
        if fargate and not options.get("awslogs-stream-prefix"):
            raise client("Log driver awslogs requires options: awslogs-stream-prefix")
    check = spec.get("healthCheck")
    if check:
        _check(name, check)
    return spec


def _memory_of(name: str, spec: Params, task: Params) -> None:
    memory, reservation = spec.get("memory"), spec.get("memoryReservation")
    if not memory and not reservation and not task.get("memory"):
        raise client(
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' must be "
            "specified."
        )
    for key, value in (("memory", memory), ("memoryReservation", reservation)):
        if value is not None and value < SMALLEST_MEMORY:
            raise client(f"Invalid '{key}' setting for container '{name}'. It must be {SMALLEST_MEMORY} or more.")
    if memory and reservation and memory < reservation:
        raise client(
            f"Invalid setting for container '{name}'. 'memoryReservation' must be less than 'memory': "
            f"{reservation} is not less than {memory}."
        )


def _port(name: str, given: Params, task: Params) -> Params:
    mapping: Params = dict(given)
    mode = task.get("networkMode")
    port = mapping.get("containerPort")
    if port is None or not 0 < port <= LARGEST_PORT:
        raise client(f"Invalid 'containerPort' setting for container '{name}'.")
    host = mapping.get("hostPort") or 0
    if not 0 <= host <= LARGEST_PORT:
        raise client(f"Invalid 'hostPort' setting for container '{name}'.")
    if mode in ("awsvpc", "host"):
        if host and host != port:
            raise client(
                f"When networkMode={mode}, the host ports and container ports in port mappings must match."
            )
        host = port
    elif host in RESERVED_PORTS:
        raise client(f"Invalid 'hostPort' setting for container '{name}'. Port {host} is reserved.")
    return mapping | {"hostPort": host, "protocol": mapping.get("protocol") or "tcp"}


def _check(name: str, check: Params) -> None:
    command = check.get("command") or []
    if (
        not command
        or command[0] not in ("CMD", "CMD-SHELL", "NONE")
        or (len(command) < 2 and command[0] != "NONE")
    ):
        raise client(
            f"Invalid 'healthCheck' setting for container '{name}'. The command must begin with CMD or CMD-SHELL."
        )
    for key, low, high in (("interval", 5, 300), ("timeout", 2, 60), ("retries", 1, 10), ("startPeriod", 0, 300)):
        value = check.get(key)
        if value is not None and not low <= value <= high:
            raise client(f"Invalid '{key}' in 'healthCheck' of container '{name}'. It must be {low} to {high}.")


def _together(spec: Params) -> None:
    """Rules that look at all containers at once."""
    containers = spec["containerDefinitions"]
    known = {each["name"]: each for each in containers}
    if len(known) < len(containers):
        raise client("Container.name must be unique within a task definition.")
    if not any(each["essential"] for each in containers):
        raise client("Invalid task definition. At least one container must be marked as essential.")
    taken: set[tuple[int, str]] = set()
    for each in containers:
        for mapping in each["portMappings"]:
            static = (mapping["hostPort"], mapping["protocol"])
            if mapping["hostPort"] and static in taken:
                raise client(f"Host port {static[0]}/{static[1]} is used by more than one port mapping.")
            taken.add(static)
        for dependency in each.get("dependsOn") or []:
            _dependency(each["name"], dependency, known)
        for mount in each.get("mountPoints") or []:
            if mount.get("sourceVolume") not in {volume.get("name") for volume in spec["volumes"]}:
                raise client(f"Unknown volume '{mount.get('sourceVolume')}'.")
        others = [link.partition(":")[0] for link in each.get("links") or []]
        others += [source.get("sourceContainer") for source in each.get("volumesFrom") or []]
        for other in others:
            if other not in known:
                raise client(f"Container '{each['name']}' names container '{other}', which is not there.")
    _acyclic({each["name"]: _needed(each) for each in containers})
    if spec.get("memory"):
        total = sum(each.get("memoryReservation") or each.get("memory") or 0 for each in containers)
        if total > int(spec["memory"]):
            raise client(
                "Invalid task definition. The memory of all containers together is more than that of the task."
            )


def _dependency(name: str, dependency: Params, known: dict[str, Params]) -> None:
    target = known.get(dependency["containerName"])
    if target is None:
        raise client(
            f"Container '{name}' depends on container '{dependency['containerName']}', which is not there."
        )
    if dependency["condition"] in ("COMPLETE", "SUCCESS") and target["essential"]:
        raise client(
            f"Container '{name}' cannot wait for the essential container '{target['name']}' to reach "
            f"{dependency['condition']}."
        )
    if dependency["condition"] == "HEALTHY" and not target.get("healthCheck"):
        raise client(
            f"Container '{name}' waits for '{target['name']}' to be HEALTHY, but that has no healthCheck."
        )


def _needed(container: Params) -> list[str]:
    """The containers that must be there before this one."""
    return [
        *(each["containerName"] for each in container.get("dependsOn") or []),
        *(link.partition(":")[0] for link in container.get("links") or []),
        *(each["sourceContainer"] for each in container.get("volumesFrom") or []),
    ]


def _acyclic(graph: dict[str, list[str]]) -> None:
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {name for name, needs in graph.items() if name not in done and done.issuperset(needs)}
        if not ready:
            raise client("The container dependencies form a circle.")
        done |= ready

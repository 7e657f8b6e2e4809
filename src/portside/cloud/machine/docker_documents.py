"""The documents of the Docker Engine API: our values into theirs, theirs into ours.

Pure. `docker.py` makes the calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from portside.cloud.machine.engine import (
    Conflict,
    ContainerEvent,
    ContainerSpec,
    ContainerState,
    ContainerStats,
    Health,
    LogLine,
    Missing,
    Phase,
    PortBinding,
    Rejected,
    Unavailable,
)

MIB = 1024 * 1024
# Container output is kept by the cloud; the engine's own copy only has to outlast an interruption. Docker 20.10
# loses and repeats lines for followers when it rotates files, so there is a bound, but far out of the way.
LOG_DRIVER = {"Type": "json-file", "Config": {"max-size": "1g", "max-file": "2"}}
_PORT_WORDS = ("port is already allocated", "address already in use", "port already", "failed to bind")


def translate(status: int, reason: str) -> Missing | Conflict | Unavailable | Rejected:
    """An engine's refusal in our four kinds."""
    lowered = reason.lower()
    if any(word in lowered for word in _PORT_WORDS):
        return Conflict(reason)
    match status:
        case 404:
            return Missing(reason)
        case 409:
            return Conflict(reason)
        case 502 | 503 | 504 | 900:  # 900: aiodocker could not connect
            return Unavailable(reason)
    return Rejected(reason)


def create_document(spec: ContainerSpec) -> dict[str, Any]:
    """The body of the create call for `spec`."""
    exposed: dict[str, dict[str, str]] = {}
    published: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        key = f"{port.container_port}/{port.protocol}"
        exposed[key] = {}
        host_port = str(port.host_port) if port.host_port else ""
        published.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": host_port})
    host: dict[str, Any] = {
        "PortBindings": published,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": LOG_DRIVER,
        "Init": spec.init,
        "ReadonlyRootfs": spec.read_only,
        "ExtraHosts": [f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        "Binds": list(spec.binds),
    }
    if spec.cpu_shares is not None:
        host["CpuShares"] = spec.cpu_shares
    if spec.memory is not None:
        host["Memory"] = spec.memory * MIB
    if spec.memory_reservation is not None:
        host["MemoryReservation"] = spec.memory_reservation * MIB
    if spec.network is not None:
        host["NetworkMode"] = spec.network
    host |= {key: value for key, value in _optional_host(spec).items() if value}
    if spec.ulimits:
        host["Ulimits"] = [{"Name": u.name, "Soft": u.soft, "Hard": u.hard} for u in spec.ulimits]
    document: dict[str, Any] = {
        "Image": spec.image,
        "Labels": dict(spec.labels),
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "ExposedPorts": exposed,
        "HostConfig": host,
        "Healthcheck": _health_check(spec),
    }
    if spec.interactive:
        document["OpenStdin"] = True
    if spec.terminal:
        document["Tty"] = True
    optional = {
        "Cmd": None if spec.command is None else list(spec.command),
        "Entrypoint": None if spec.entrypoint is None else list(spec.entrypoint),
        "Hostname": spec.hostname,
        "User": spec.user,
        "WorkingDir": spec.working_directory,
        "StopSignal": spec.stop_signal,
    }
    return document | {key: value for key, value in optional.items() if value is not None}


def _optional_host(spec: ContainerSpec) -> dict[str, Any]:
    swap = spec.swap
    if swap is not None and swap > 0:
        swap = (swap + (spec.memory or 0)) * MIB
    return {
        "Dns": list(spec.dns),
        "DnsSearch": list(spec.dns_search),
        "Links": list(spec.links),
        "Sysctls": dict(spec.sysctls),
        "VolumesFrom": list(spec.volumes_from),
        "Tmpfs": dict(spec.tmpfs),
        "ShmSize": (spec.shared_memory or 0) * MIB,
        "MemorySwap": swap,
        "MemorySwappiness": spec.swappiness,
        "CapAdd": list(spec.capabilities_added),
        "CapDrop": list(spec.capabilities_dropped),
        "SecurityOpt": list(spec.security_options),
        "PidMode": spec.process_namespace,
        "IpcMode": spec.ipc_namespace,
    }


def _health_check(spec: ContainerSpec) -> dict[str, Any]:
    check = spec.health_check
    if check is None:
        return {"Test": ["NONE"]}
    second = 1_000_000_000
    return {
        "Test": list(check.test),
        "Interval": check.interval * second,
        "Timeout": check.timeout * second,
        "Retries": check.retries,
        "StartPeriod": check.start_period * second,
    }


def state_of(document: Mapping[str, Any]) -> ContainerState:
    """What `GET /containers/{id}/json` answered."""
    state = document["State"]
    if state.get("Running"):
        phase = Phase.RUNNING
    elif _seconds(state.get("FinishedAt")) > 0 or state.get("Status") in ("exited", "dead", "stopped"):
        phase = Phase.EXITED
    else:
        phase = Phase.CREATED
    ports = []
    settings = document.get("NetworkSettings") or {}
    for key, bindings in (settings.get("Ports") or {}).items():
        number, _, protocol = key.partition("/")
        for binding in bindings or []:
            if binding.get("HostPort"):
                ports.append(
                    PortBinding(
                        int(number), binding.get("HostIp") or "", int(binding["HostPort"]), protocol or "tcp"
                    )
                )
    health = (state.get("Health") or {}).get("Status") or "none"
    return ContainerState(
        id=str(document["Id"]),
        name=str(document["Name"]).lstrip("/"),
        labels=(document.get("Config") or {}).get("Labels") or {},
        phase=phase,
        image=str(document.get("Image") or ""),
        exit_code=int(state.get("ExitCode") or 0) if phase is Phase.EXITED else None,
        out_of_memory=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        started_at=_seconds(state.get("StartedAt")),
        finished_at=_seconds(state.get("FinishedAt")) if phase is Phase.EXITED else 0.0,
        ports=tuple(ports),
        address=settings.get("IPAddress") or "",
        health=Health(health) if health in list(Health) else Health.NONE,
    )


_ACTIONS = ("start", "die", "oom", "destroy")


def stats_of(document: Mapping[str, Any]) -> ContainerStats | None:
    """What `GET /containers/{id}/stats` answered; None for a container that does not run."""
    at = _seconds(document.get("read"))
    cpu, memory = document.get("cpu_stats") or {}, document.get("memory_stats") or {}
    if not at or memory.get("usage") is None:
        return None
    detail = memory.get("stats") or {}
    # The first is cgroup v1's (which has the second as well, without the children), the second is v2's.
    cached = int(detail.get("total_inactive_file", detail.get("inactive_file", 0)))
    used = int(memory["usage"])
    limit = int(memory.get("limit") or 0)
    usage = cpu.get("cpu_usage") or {}
    return ContainerStats(
        cpu=int(usage.get("total_usage") or 0) / 1e9,
        memory=used - cached if cached < used else used,
        memory_limit=limit,
        cores=int(cpu.get("online_cpus") or len(usage.get("percpu_usage") or ()) or 1),
        at=at,
        document=document,
    )


def event_of(document: Mapping[str, Any]) -> ContainerEvent | None:
    """One line of the event stream, if it is of interest. Podman says `died` and `remove`."""
    actor = document.get("Actor") or {}
    action = str(document.get("Action") or document.get("status") or "")
    action = {"died": "die", "remove": "destroy"}.get(action, action)
    if action.startswith("health_status"):
        action = "health"
    elif action not in _ACTIONS:
        return None
    return ContainerEvent(action, str(actor.get("ID") or document.get("id") or ""), actor.get("Attributes") or {})


async def demultiplex(chunks: AsyncIterator[bytes]) -> AsyncIterator[LogLine]:
    """Lines out of the log stream: frames of an 8-byte header (stream, length) and time-stamped text."""
    buffer = b""
    unfinished = {1: b"", 2: b""}
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= 8:
            size = int.from_bytes(buffer[4:8], "big")
            if len(buffer) < 8 + size:
                break
            stream = buffer[0] if buffer[0] in unfinished else 1
            text = unfinished[stream] + buffer[8 : 8 + size]
            buffer = buffer[8 + size :]
            *lines, unfinished[stream] = text.split(b"\n")
            for line in lines:
                yield _line(line, stream)
    for stream, text in unfinished.items():
        if text:
            yield _line(text, stream)


def _line(raw: bytes, stream: int) -> LogLine:
    stamp, _, text = raw.partition(b" ")
    at = _seconds(stamp.decode("ascii", "replace"))
    return LogLine(at, text.rstrip(b"\r").decode("utf-8", "replace"), "stderr" if stream == 2 else "stdout")


def _seconds(stamp: Any) -> float:
    """RFC 3339 with nanoseconds to epoch seconds; 0 for Go's zero time and for what is no time."""
    text = str(stamp or "")
    if len(text) < 19 or text.startswith("0001-"):
        return 0.0
    zone = text[19:].lstrip(".0123456789")
    fraction = text[19 : len(text) - len(zone)]
    try:
        whole = datetime.fromisoformat(text[:19] + (zone if zone not in ("", "Z") else "+00:00"))
        return whole.astimezone(UTC).timestamp() + (float("0" + fraction) if len(fraction) > 1 else 0.0)
    except ValueError:
        return 0.0

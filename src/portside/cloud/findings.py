"""What the facts about a machine mean for the local cloud, and what mends each finding.

Pure: `judge` turns the facts of `examination.py` into findings. Used by `portside doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from portside.cloud.examination import Facts

OLDEST_ENGINE = (20, 10)
LITTLE_DISK = 5 * 2**30
NO_DISK = 2**30
LITTLE_MEMORY = 2**30
NAME_PORT = 53
# The releases of the AWS CLI since which AWS_ENDPOINT_URL leads it to the local cloud.
FIRST_WITH_ENDPOINTS = {1: (1, 29), 2: (2, 13)}
ENGINE_HINT = (
    "Install Docker, Podman or Colima and start it, or set DOCKER_HOST to the socket of one that runs; on Debian "
    "and Ubuntu, as root, `portside engine --install` does it."
)


class State(StrEnum):
    GOOD = "good"
    POOR = "poor"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty when nothing is to be done."""

    what: str
    state: State
    said: str
    remedy: str = ""


def judge(facts: Facts) -> list[Finding]:
    """The findings, in the order in which they matter."""
    return [
        _engine_finding(facts),
        *_container_findings(facts),
        _port_finding(facts),
        _addresses_finding(facts),
        _low_ports_finding(facts),
        _names_finding(facts),
        _disk_finding(facts),
        _memory_finding(facts),
        _state_finding(facts),
        _git_finding(facts),
        *_aws_cli_findings(facts),
    ]


def _engine_finding(facts: Facts) -> Finding:
    found = facts.engine
    if found is None:
        where = f" at {facts.settings.engine}" if facts.settings.engine else ""
        return Finding("container engine", State.BAD, f"none answers{where}", ENGINE_HINT)
    said = f"{found.name} {found.version} at {found.host}, {found.architecture}"
    if found.name == "Docker" and _version(found.version) < OLDEST_ENGINE:
        oldest = ".".join(map(str, OLDEST_ENGINE))
        return Finding("container engine", State.POOR, said, f"portside is tested from {oldest} on; update it.")
    if not found.limits_memory:
        return Finding(
            "container engine",
            State.POOR,
            f"{said}; it cannot limit memory, so a task that takes too much is not ended",
            "Boot with the kernel option cgroup_enable=memory.",
        )
    return Finding("container engine", State.GOOD, said)


def _container_findings(facts: Facts) -> list[Finding]:
    if facts.engine is None:
        return []
    others = {cloud: number for cloud, number in facts.engine.containers.items() if cloud != facts.cloud}
    own = facts.engine.containers.get(facts.cloud, 0)
    found = []
    if own and not facts.running:
        found.append(
            Finding(
                "containers",
                State.POOR,
                f"{own} of this cloud, which does not run",
                "`portside cloud start` takes them up again; `portside cloud stop` after it removes them.",
            )
        )
    if others:
        listed = ", ".join(f"{number} of cloud {cloud}" for cloud, number in sorted(others.items()))
        found.append(
            Finding(
                "containers",
                State.POOR,
                f"of other clouds: {listed}",
                "Unless such a cloud runs with another PORTSIDE_HOME, remove them: "
                + " ".join(
                    f"docker rm -f $(docker ps -aq --filter label=portside.cloud={cloud})"
                    for cloud in sorted(others)
                ),
            )
        )
    return found or [Finding("containers", State.GOOD, "none is left over")]


def _port_finding(facts: Facts) -> Finding:
    endpoint = f"{facts.settings.address}:{facts.settings.port}"
    if facts.running:
        return Finding("endpoint", State.GOOD, f"the local cloud runs at {facts.running}")
    if facts.port_taken:
        return Finding(
            "endpoint",
            State.BAD,
            f"{endpoint}: {facts.port_taken}",
            f"End what listens there (`ss -ltnp 'sport = :{facts.settings.port}'` names it) or set PORTSIDE_PORT.",
        )
    return Finding("endpoint", State.GOOD, f"{endpoint} is free")


def _addresses_finding(facts: Facts) -> Finding:
    if facts.many_addresses:
        return Finding("loopback addresses", State.GOOD, "each load balancer can have its own")
    return Finding(
        "loopback addresses",
        State.POOR,
        "only 127.0.0.1 can be used, so two load balancers cannot have the same port",
        "On macOS: sudo ifconfig lo0 alias 127.0.0.2; or give the services different ports.",
    )


def _low_ports_finding(facts: Facts) -> Finding:
    if facts.root or facts.first_free_port <= NAME_PORT:
        return Finding("ports below 1024", State.GOOD, "may be listened on")
    return Finding(
        "ports below 1024",
        State.POOR,
        f"only ports from {facts.first_free_port} on may be listened on: no listener at 80, and no names of "
        "services inside containers (port 53)",
        f"sudo sysctl net.ipv4.ip_unprivileged_port_start={NAME_PORT}",
    )


def _names_finding(facts: Facts) -> Finding:
    if facts.resolved and all(each.startswith("127.") or each == "::1" for each in facts.resolved):
        return Finding("names", State.GOOD, "*.localhost leads to this machine")
    said = f"*.localhost leads to {', '.join(facts.resolved)}" if facts.resolved else "*.localhost is not known"
    return Finding(
        "names",
        State.POOR,
        said,
        "curl and browsers know better by themselves. For all others install libnss-myhostname (Debian, Ubuntu), "
        "use systemd-resolved, or take the load balancer's own address from `portside status`.",
    )


def _disk_finding(facts: Facts) -> Finding:
    if facts.disk is None:
        return Finding("disk", State.POOR, f"the free space at {facts.home} cannot be read", "Set PORTSIDE_HOME.")
    said = f"{facts.disk / 2**30:.1f} GiB are free at {facts.home}"
    if facts.disk >= LITTLE_DISK:
        return Finding("disk", State.GOOD, said)
    state = State.BAD if facts.disk < NO_DISK else State.POOR
    remedy = "Free some (`docker system df` shows what images take), or move PORTSIDE_HOME."
    return Finding("disk", state, said, remedy)


def _memory_finding(facts: Facts) -> Finding:
    if facts.memory is None:
        return Finding("memory", State.GOOD, "not looked at on this system")
    said = f"{facts.memory / 2**30:.1f} GiB are available"
    if facts.memory >= LITTLE_MEMORY:
        return Finding("memory", State.GOOD, said)
    return Finding("memory", State.POOR, said, "Builds may be ended by the system: close something.")


def _state_finding(facts: Facts) -> Finding:
    if facts.left_over:
        return Finding(
            "state",
            State.POOR,
            "the local cloud was killed; nothing is lost",
            "`portside cloud start` goes on where it was; `portside cloud reset` forgets everything.",
        )
    return Finding("state", State.GOOD, f"{facts.home} is in order")


def _git_finding(facts: Facts) -> Finding:
    if facts.git:
        return Finding("git", State.GOOD, "is there")
    return Finding("git", State.POOR, "is not there: pipelines cannot read a checkout", "Install git.")


def _aws_cli_findings(facts: Facts) -> list[Finding]:
    if not facts.aws_cli:
        return []
    version = _version(facts.aws_cli)
    since = FIRST_WITH_ENDPOINTS.get(version[0])
    if since is None or version >= since:
        return [Finding("AWS CLI", State.GOOD, facts.aws_cli)]
    return [
        Finding(
            "AWS CLI",
            State.POOR,
            f"{facts.aws_cli} does not read AWS_ENDPOINT_URL: it asks AWS, not the local cloud",
            "`pip install awscli` gives one that does, as does any from "
            f'{".".join(map(str, since))} on; or call it with --endpoint-url "$AWS_ENDPOINT_URL".',
        )
    ]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split("-")[0].split(".") if part.isdigit())

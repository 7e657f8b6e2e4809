"""What is to be known of this machine before the local cloud runs on it.

Owns how each fact is found; changes nothing. What the facts mean, `findings.py` says.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portside import engines
from portside.cloud import process
from portside.cloud.settings import CloudSettings, Home

# A name as load balancers have it, which no cloud needs to know.
NAME = "doctor.us-east-1.elb.localhost"
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
MEMORY = Path("/proc/meminfo")
CLI_LIMIT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine says of itself, and the containers of local clouds on it by the cloud's id."""

    host: str
    name: str
    version: str
    architecture: str
    limits_memory: bool
    containers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What `look` saw. `port_taken` is the reason why the endpoint cannot listen; sizes are bytes, None where they
    are unknown; `resolved` is where *.localhost leads; `aws_cli` is the version of `aws` on the path."""

    settings: CloudSettings
    home: Path
    running: str
    cloud: str
    left_over: bool
    engine: Engine | None
    port_taken: str
    many_addresses: bool
    first_free_port: int
    resolved: tuple[str, ...]
    disk: int | None
    memory: int | None
    git: bool
    root: bool
    aws_cli: str = ""


def look(home: Home, settings: CloudSettings) -> Facts:
    running = process.find(home)
    return Facts(
        settings=settings,
        home=home.directory,
        running=running.endpoint if running else "",
        cloud=running.id if running else _identity(home),
        left_over=process.left_over(home),
        engine=_engine(settings),
        port_taken="" if running or not settings.port else _taken(settings.address, settings.port),
        many_addresses=not _taken("127.0.0.2", 0),
        first_free_port=_first_free_port(),
        resolved=_resolved(NAME),
        disk=_disk(home.directory),
        memory=_memory(),
        git=shutil.which("git") is not None,
        root=os.geteuid() == 0,
        aws_cli=_aws_cli(),
    )


def _aws_cli() -> str:
    """`aws-cli/2.9.19 Python/3.11.2 ...` is what it says of itself; empty if there is none that says so."""
    try:
        said = subprocess.run(["aws", "--version"], capture_output=True, text=True, timeout=CLI_LIMIT)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"aws-cli/([0-9.]+)", said.stdout + said.stderr)
    return found[1] if found else ""


def _engine(settings: CloudSettings) -> Engine | None:
    host = settings.engine or engines.find(os.environ, Path.home()) or ""
    if not host or not engines.answers(host):
        return None
    about, version = engines.ask(host, "/info"), engines.ask(host, "/version")
    listed = engines.ask(host, '/containers/json?all=1&filters={"label":["portside.cloud"]}')
    containers: dict[str, int] = {}
    for each in listed if isinstance(listed, list) else []:
        cloud = str((each.get("Labels") or {}).get("portside.cloud"))
        containers[cloud] = containers.get(cloud, 0) + 1
    return Engine(
        host=host,
        name=_engine_name(version),
        version=str(version.get("Version") or ""),
        architecture=str(about.get("Architecture") or ""),
        limits_memory=bool(about.get("MemoryLimit", True)),
        containers=containers,
    )


def _engine_name(version: dict[str, Any]) -> str:
    components = [str(each.get("Name")) for each in version.get("Components") or []]
    return "Podman" if any("Podman" in each for each in components) else "Docker"


def _identity(home: Home) -> str:
    """Of a cloud that does not run: as its last record has it."""
    try:
        return str(json.loads(home.running.read_text())["id"])
    except (OSError, ValueError, KeyError):
        return ""


def _taken(address: str, port: int) -> str:
    """Why one cannot listen there, empty if one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _first_free_port() -> int:
    try:
        return int(UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        return 0 if sys.platform == "darwin" else 1024


def _resolved(name: str) -> tuple[str, ...]:
    try:
        found: Iterable[Any] = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def _disk(directory: Path) -> int | None:
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def _memory() -> int | None:
    try:
        lines = MEMORY.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None

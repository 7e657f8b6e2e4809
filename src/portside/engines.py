"""Where a container engine listens on this machine.

Pure search and small questions (`GET /_ping`) over the socket; depends on nothing, so that the command line and
the cloud can both use it. The winner goes to `cloud/machine/docker.py`.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

PING_SECONDS = 2.0
# The local cloud's own socket for docker clients. It is no engine: behind it is one, found in another way.
CLOUD_SOCKET = "portside.sock"
# Systems allow a socket's path 104 or 108 bytes; longer ones nobody can listen at.
LONGEST_SOCKET_PATH = 100


def candidates(environ: Mapping[str, str], home: Path) -> list[str]:
    """Addresses in the form of DOCKER_HOST, best first. DOCKER_HOST itself is the only one if it is set. If it
    leads to the local cloud's socket, PORTSIDE_ENGINE tells what it was before."""
    named = environ.get("DOCKER_HOST", "").strip()
    if is_cloud_socket(named):
        named = environ.get("PORTSIDE_ENGINE", "").strip()
    if named:
        return [named]
    sockets = [Path("/var/run/docker.sock")]
    runtime = environ.get("XDG_RUNTIME_DIR", "").strip()
    if runtime:
        sockets += [Path(runtime) / "docker.sock", Path(runtime) / "podman" / "podman.sock"]
    sockets += [
        Path("/run/podman/podman.sock"),
        home / ".colima" / "default" / "docker.sock",
        home / ".docker" / "run" / "docker.sock",
    ]
    return [f"unix://{path}" for path in sockets]


def is_cloud_socket(host: str) -> bool:
    return host.startswith("unix://") and host.endswith(f"/{CLOUD_SOCKET}")


def find(environ: Mapping[str, str], home: Path) -> str | None:
    """The first candidate that answers, None when no engine runs."""
    return next((host for host in candidates(environ, home) if answers(host)), None)


def answers(host: str, timeout: float = PING_SECONDS) -> bool:
    """Does an engine answer `GET /_ping` at `host`?"""
    try:
        with _connect(host, timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            first = connection.recv(64)
    except (OSError, ValueError):
        return False
    return first.startswith(b"HTTP/1.") and b" 200" in first[:16]


def ask(host: str, path: str, timeout: float = PING_SECONDS) -> Any:
    """What an engine answers to one GET, as JSON. An empty object where it does not answer with one."""
    connection = _Connection(host, timeout)
    try:
        connection.request("GET", quote(path, safe="/?=&"))
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._place = host
        self._limit = timeout

    def connect(self) -> None:
        self.sock = _connect(self._place, self._limit)
        self.sock.settimeout(self._limit)


def _connect(host: str, timeout: float) -> socket.socket:
    if host.startswith("unix://"):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(host.removeprefix("unix://"))
        except OSError:
            connection.close()
            raise
        return connection
    parts = urlsplit(host)
    if parts.scheme not in ("tcp", "http") or not parts.hostname:
        raise ValueError(f"cannot ask an engine at {host}")
    return socket.create_connection((parts.hostname, parts.port or 2375), timeout)

"""A tiny image made without the internet, for tests that run real containers.

It holds Debian's statically linked busybox, taken from the package of that name and imported through the engine's
API. It is kept under an honest name between runs.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

IMAGE = "portside-test/busybox:debian"
APPLETS = (
    "sh",
    "sleep",
    "echo",
    "cat",
    "httpd",
    "env",
    "nc",
    "true",
    "false",
    "date",
    "wget",
    "seq",
    "id",
    "hostname",
)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@contextlib.contextmanager
def connection(host: str) -> Iterator[http.client.HTTPConnection]:
    made = UnixConnection(host.removeprefix("unix://"))
    try:
        yield made
    finally:
        made.close()


def ensure_busybox(host: str) -> str:
    """The name of an image with busybox in it, made if need be."""
    with connection(host) as engine:
        engine.request("GET", f"/images/{IMAGE}/json")
        answer = engine.getresponse()
        answer.read()
    if answer.status == 200:
        return IMAGE
    with tempfile.TemporaryDirectory() as scratch:
        try:
            subprocess.run(["apt-get", "download", "-qq", "busybox-static"], cwd=scratch, check=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"busybox-static cannot be had: {error}")
        package = next(Path(scratch).glob("busybox-static*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package), "root"], cwd=scratch, check=True)
        archive = _archive(Path(scratch) / "root")
    repository, tag = IMAGE.split(":")
    changes = "changes=ENV%20PATH%3D/bin&changes=CMD%20%5B%22sh%22%5D"
    with connection(host) as engine:
        engine.request(
            "POST",
            f"/images/create?fromSrc=-&repo={repository}&tag={tag}&{changes}",
            body=archive,
            headers={"Content-Type": "application/x-tar"},
        )
        answer = engine.getresponse()
        text = answer.read()
        assert answer.status == 200, text
    return IMAGE


def _archive(root: Path) -> bytes:
    binary = next(path for path in root.rglob("busybox") if path.is_file() and path.stat().st_mode & 0o100)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("bin", "tmp", "www"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        archive.add(binary, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()

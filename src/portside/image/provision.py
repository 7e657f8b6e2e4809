"""A container engine where there is none: Debian's and Ubuntu's own package, started by hand.

Only on request (`portside engine --install`, which `make up` uses), only as root, and without systemd, which may
be absent. What was started is written down, so that `stop` ends exactly that process.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from portside import engines
from portside.cloud.process import alive
from portside.image import packages
from portside.image.errors import ImageError

PACKAGES = ("docker.io", "iptables", "ca-certificates")
START_LIMIT = 60.0
STOP_LIMIT = 30.0
HINT = (
    "Install Docker (https://docs.docker.com/engine/install/), Podman or Colima and start it, or set DOCKER_HOST "
    "to the socket of one that runs."
)


def ensure(directory: Path, *, install: bool, say: Callable[[str], None]) -> str:
    """The socket of an engine that answers; with `install`, one is installed and started if need be."""
    found = engines.find(os.environ, Path.home())
    if found is not None:
        return found
    if not install or not packages.codename() or os.geteuid() != 0:
        raise ImageError("no container engine answers", "", HINT)
    if shutil.which("dockerd") is None:
        say("Installing docker.io from the distribution.")
        try:
            packages.install(*PACKAGES)
        except ImageError as error:
            raise ImageError(error.what, error.why, HINT) from error
    say("Starting the container engine.")
    return _start(directory)


def _start(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "dockerd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _pid_file(directory).write_text(str(process.pid))
    deadline = time.monotonic() + START_LIMIT  # noqa: TID251 - waits for a real process
    while time.monotonic() < deadline:  # noqa: TID251
        if process.poll() is not None:
            _pid_file(directory).unlink()
            last = "\n  ".join(log.read_text(errors="replace").splitlines()[-3:])
            raise ImageError("the container engine ended at once", last, f"{log} tells more.")
        found = engines.find(os.environ, Path.home())
        if found is not None:
            return found
        time.sleep(0.1)  # noqa: TID251
    raise ImageError(f"the container engine did not answer within {START_LIMIT:.0f} s", "", f"{log} tells more.")


def stop(directory: Path) -> bool:
    """End the engine that `ensure` started here. False if there is none."""
    file = _pid_file(directory)
    try:
        pid = int(file.read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        file.unlink(missing_ok=True)
        return False
    if name != "dockerd":  # the number has passed to another process
        file.unlink(missing_ok=True)
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT  # noqa: TID251
    while alive(pid):
        if time.monotonic() > deadline:  # noqa: TID251
            raise ImageError(f"the container engine (process {pid}) did not end within {STOP_LIMIT:.0f} s")
        time.sleep(0.05)  # noqa: TID251
    file.unlink(missing_ok=True)
    return True


def _pid_file(directory: Path) -> Path:
    return directory / "dockerd.pid"

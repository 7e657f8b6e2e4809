"""The cloud as a process in the background: start it, find it, stop it.

Owns the lock that says whether a cloud runs, and the file that says where. Light, for every command looks here
first. The process itself is `__main__.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from portside.cloud.settings import CloudSettings, Home

START_LIMIT = 30.0
STOP_LIMIT = 90.0


class ProcessError(Exception):
    """The cloud could not be started or stopped; the text says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A cloud that runs. `engine` is what it was told to use."""

    pid: int
    id: str
    address: str
    port: int
    region: str
    account: str
    started_at: float

    @property
    def endpoint(self) -> str:
        return f"http://{self.address}:{self.port}"


def find(place: Home) -> Running | None:
    """The cloud that runs at `place`, None if there is none."""
    if not _locked(place.lock):
        return None
    return _record(place)


def left_over(place: Home) -> bool:
    """Whether a cloud was killed here, and may have left containers and processes."""
    return not _locked(place.lock) and place.running.exists()


def start(place: Home, settings: CloudSettings) -> Running:
    """Start a cloud and return once it answers. Raises ProcessError."""
    place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    readable, writable = os.pipe()
    try:
        with place.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "portside.cloud", str(place.directory), settings.to_json(), str(writable)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writable,),
                start_new_session=True,
            )
        os.close(writable)
        writable = -1
        said = _said(readable, START_LIMIT)
    finally:
        os.close(readable)
        if writable >= 0:
            os.close(writable)
    if said == "ready":
        found = _record(place)
        if found is not None:
            return found
    if child.poll() is None and not said:
        child.kill()
        said = f"it did not answer within {START_LIMIT:.0f} s"
    raise ProcessError(said or f"it ended at once; {place.log} tells why")


def stop(place: Home, settings: CloudSettings) -> bool:
    """Stop the cloud, its containers and its processes. False if there was nothing to stop."""
    running = find(place)
    if running is None:
        if not left_over(place):
            return False
        # A cloud that was killed left its record, and perhaps containers. The next one adopts and removes them.
        running = start(place, settings)
    os.kill(running.pid, signal.SIGTERM)
    deadline = _now() + STOP_LIMIT
    # The lock goes a moment before the process does, and nothing of it may be left.
    while _locked(place.lock) or alive(running.pid):
        if _now() > deadline:
            raise ProcessError(
                f"process {running.pid} did not end within {STOP_LIMIT:.0f} s; {place.log} tells why"
            )
        _pause(0.02)
    return True


def reset(place: Home, settings: CloudSettings) -> None:
    """Stop the cloud and forget all its state."""
    stop(place, settings)
    if place.state.exists():
        shutil.rmtree(place.state)


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended: one that nobody has asked for its exit code yet is no more."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _locked(path: Path) -> bool:
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return False
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _record(place: Home) -> Running | None:
    try:
        return Running(**json.loads(place.running.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _said(readable: int, limit: float) -> str:
    """What the child wrote before it closed its end of the pipe."""
    said = b""
    deadline = _now() + limit
    while (left := deadline - _now()) > 0:
        if not select.select([readable], [], [], left)[0]:
            break
        chunk = os.read(readable, 65536)
        if not chunk:
            break
        said += chunk
        if said.startswith(b"ready\n"):
            return "ready"
    return said.decode(errors="replace").strip()


def _now() -> float:
    return time.monotonic()  # noqa: TID251 - runs in the command line, not in the cloud


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251

"""The distribution's own package tools, on Debian and Ubuntu."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from portside.image.errors import ImageError

INSTALL_LIMIT = 900.0


def codename() -> str:
    """The release of Debian or Ubuntu that this machine runs, empty elsewhere."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not {"debian", "ubuntu"} & {fields.get("ID", ""), *fields.get("ID_LIKE", "").strip('"').split()}:
        return ""
    return fields.get("VERSION_CODENAME", "").strip('"')


def install(*names: str) -> None:
    """Install packages without what they merely recommend. Needs root. Raises ImageError."""
    run(["apt-get", "update", "-qq"], INSTALL_LIMIT)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], INSTALL_LIMIT)


def run(command: list[str], limit: float) -> None:
    """Run a command that asks nothing; ImageError has its last lines."""
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=limit,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.CalledProcessError as error:
        said = "\n  ".join(error.stderr.strip().splitlines()[-5:])
        raise ImageError(f"`{' '.join(command)}` failed", said) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"`{' '.join(command)}` failed", str(error)) from error

"""Other people's client programs, as they are published, each in a directory of its own.

They are fetched once into a cache of the user's, for what they need must not meet what portside needs: a virtual
environment per client of PyPI, an unpacked root per client of Debian. Nothing is installed. Where one cannot be had the
test is skipped, and counted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

LIMIT = 300
_APT = Path("/etc/apt")
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ARCHIVE = "http://deb.debian.org/debian"


def cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "portside-tests" / f"clients-{sys.version_info.major}.{sys.version_info.minor}"


def _once(name: str, fill: Callable[[Path], None]) -> Path:
    """The directory of that name, filled beside its place first: what is there is whole."""
    place = cache() / name
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{name}-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        try:
            fill(made)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            pytest.skip(f"{name} cannot be had: {error} {said.decode(errors='replace')[-300:]}")
        try:
            made.rename(place)
        except OSError:
            assert place.is_dir()  # another run was faster
    return place


def _run(*words: str | Path, cwd: Path | None = None) -> None:
    subprocess.run([str(word) for word in words], cwd=cwd, check=True, capture_output=True, timeout=LIMIT)


def from_pypi(*requirements: str) -> Path:
    """The packages and all that they need, as a directory for PYTHONPATH."""

    def fill(made: Path) -> None:
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--target", made, *requirements)

    return _once("+".join(each.replace("==", "-") for each in requirements), fill)


def from_debian(name: str, *packages: str, suite: str = "") -> Path:
    """The unpacked packages. Without a suite they are of the Debian that runs here."""
    if shutil.which("apt-get") is None:
        pytest.skip(f"{name} cannot be had: this is no Debian")

    def fill(made: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            options = _suite(Path(scratch), suite) if suite else []
            archives = Path(scratch) / "archives"
            archives.mkdir()
            if suite:
                _run("apt-get", *options, "update")
            _run("apt-get", *options, "-o", "APT::Sandbox::User=root", "download", *packages, cwd=archives)
            for each in archives.glob("*.deb"):
                _run("dpkg-deb", "-x", each, made)

    return _once(name, fill)


def _suite(directory: Path, suite: str) -> list[str]:
    """Options with which apt knows that suite only, and touches nothing of the machine's own."""
    for each in ("lists/partial", "cache/archives/partial"):
        (directory / each).mkdir(parents=True)
    sources = directory / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYS}] {_ARCHIVE} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": directory / "lists",
        "Dir::Cache": directory / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


AWSCLI2_NEEDS = (
    *("python3-awscrt", "python3-colorama", "python3-cryptography", "python3-cffi-backend", "python3-dateutil"),
    *("python3-distro", "python3-docutils", "python3-jmespath", "python3-prompt-toolkit", "python3-pyasn1"),
    *("python3-roman", "python3-ruamel.yaml", "python3-ruamel.yaml.clib", "python3-six", "python3-urllib3"),
    "python3-wcwidth",
)


def awscli2(directory: Path) -> Path:
    """A program `aws` in `directory`: Debian 12's, with that Debian's Python modules."""
    root = from_debian("awscli2", "awscli", *AWSCLI2_NEEDS)
    own = Path("/usr/bin/python3")
    python = own if own.exists() else Path(sys.executable)
    return script(
        directory / "aws",
        f'PYTHONPATH="{root}/usr/lib/python3/dist-packages" exec {python} {root}/usr/bin/aws "$@"',
    )


def pypi_program(directory: Path, name: str, module: str, *requirements: str) -> Path:
    """A program `name` in `directory`, which runs `module:function` of those packages."""
    packages = from_pypi(*requirements)
    where, _, function = module.partition(":")
    code = f"import sys; sys.argv[0] = '{name}'; from {where} import {function}; sys.exit({function}())"
    return script(directory / name, f'PYTHONPATH="{packages}" exec {sys.executable} -c "{code}" "$@"')


def script(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


def docker_of(row: str) -> Path:
    """A docker client. One of another Debian brings its own C library along, in case this one's is too old."""
    if row == "docker12":
        own = Path("/usr/bin/docker")
        return own if own.exists() else from_debian("docker12", "docker.io") / "usr/bin/docker"
    suite = {"docker13": "trixie", "docker-now": "sid"}[row]
    return from_debian(row, "docker-cli", suite=suite) / "usr/bin/docker"

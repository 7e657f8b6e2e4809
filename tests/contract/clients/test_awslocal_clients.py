"""awslocal, which is told nothing: it finds the cloud at its usual port, or by its own variable at another."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_cloud import LocalCloud, Tool, environment
from client_programs import awscli2, cache, from_pypi, pypi_program
from client_rows import ROWS

import sys

PACKAGE = f"awscli-local=={ROWS['awslocal'].version}"


def awslocal(directory: Path, aws: Path) -> Tool:
    """It starts the `aws` that it finds on the PATH."""
    packages = from_pypi(PACKAGE)
    environ = environment()
    environ["PATH"] = f"{aws.parent}:{environ['PATH']}"
    words = ["/bin/sh", "-c", f'PYTHONPATH={packages} exec {sys.executable} {packages}/bin/awslocal "$@"', "awslocal"]
    return Tool(words, environ, directory)

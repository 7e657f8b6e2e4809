"""Real containers for tests, if an engine answers here."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from docker_fixtures import ensure_busybox
from portside import engines
from portside.cloud.kernel.log import configure
from portside.cloud.machine.docker import DockerEngine


@pytest.fixture(scope="session")
def host() -> str:
    found = engines.find(os.environ, Path.home())
    if found is None or not found.startswith("unix://"):
        pytest.skip("no container engine answers on a socket here")
    return found


@pytest.fixture(scope="session")
def busybox(host: str) -> str:
    """The name of an image with busybox in it."""
    return ensure_busybox(host)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short path, for what makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="short") as made:
        yield Path(made)


@pytest.fixture
def cloud_id() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def docker(host: str, cloud_id: str) -> AsyncIterator[DockerEngine]:
    """A real engine; whatever a test leaves behind under its own label is removed."""
    engine = DockerEngine(host, configure(sys.stderr))
    try:
        yield engine
    finally:
        for state in await engine.containers({"portside.cloud": cloud_id}):
            await engine.remove(state.id)
        for name in await engine.networks({"portside.cloud": cloud_id}):
            await engine.remove_network(name)
        await engine.close()

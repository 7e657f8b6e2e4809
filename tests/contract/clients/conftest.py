"""One cloud for all of these clients, and the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client_cloud import LocalCloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    made = LocalCloud(tmp_path_factory.mktemp("cloud"), "127.0.0.97")
    made.start()
    try:
        yield made
    finally:
        made.stop()

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from worlds.pipelines import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "state.db").running() as made:
        yield made

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from codepipeline_cloud import Running, cloud


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The ancillary services' socket lies in the state directory, whose name may be too long for one.
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def running(place: Path) -> AsyncIterator[Running]:
    async with cloud(place) as made:
        yield made

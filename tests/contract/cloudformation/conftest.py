"""A cloud whose stacks are made of the ancillary services' types."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cfn_ancillary import Cloud, ancillary_cloud


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    # The endpoint's socket lies in the working directory, whose name may be too long for one.
    monkeypatch.chdir(tmp_path)
    async with ancillary_cloud(tmp_path) as made:
        yield made

"""Which tests may run side by side, where `tests/run.py` has two workers.

Those with a container engine stay together, one after the other: they share its images, its bridge and addresses on
loopback, and what they measure is how traffic fares.
"""

from __future__ import annotations

import pytest


# Before the hook of the workers' own plugin, which reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.xdist_group("engine"))

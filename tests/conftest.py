"""Which tests run beside which, where there are two workers (`tests/run.py`).

A file stays together, for its tests share what was costly to make. So does everything that has the machine for itself:
a container engine, a proxy, the usual ports.
"""

from __future__ import annotations

import pytest

ALONE = "machine"
_ALONE = ("tests/docker/", "tests/conformance/", "tests/contract/clients/test_awslocal_clients.py")


def group(path: str) -> str:
    """Of the test file with that path from the project's root."""
    return ALONE if path.startswith(_ALONE) else path


# First, for the plugin that makes groups of the marks does so in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item.nodeid.partition("::")[0])))

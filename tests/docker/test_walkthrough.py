"""docs/walkthrough.md, typed command by command: each ends well and prints what the page shows."""

from __future__ import annotations

import difflib
import os
import shutil
import socket

import pytest

from portside.image import packages
from walk import PAGE, Shell, base_image, filtered, steps

ADDRESS = "127.0.0.94"
PORTS = range(3001, 3006)


def taken() -> list[int]:
    """Ports that the page publishes and that somebody listens on."""
    found = []
    for port in PORTS:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found


@pytest.fixture(scope="module")
def clients():
    """What the page types beside docker and the AWS CLI; a bare machine has neither."""
    missing = [name for name in ("curl", "git") if shutil.which(name) is None]
    if not missing:
        return
    if not packages.codename() or os.geteuid() != 0:
        pytest.skip(f"there is no {' and no '.join(missing)} here, and it cannot be installed")
    packages.install(*missing)


@pytest.mark.docker
def test_the_walk_by_hand_is_as_the_page_shows_it(host, clients, short):
    if ports := taken():
        pytest.skip(f"somebody listens on {ports}, which the walk publishes")
    shell = Shell(short, ADDRESS, host, base_image(host))
    try:
        for step in steps(PAGE.read_text()):
            output, code = shell.type(step.command)
            assert code == 0, f"{step.command}\nended with {code}:\n{output}"
            shown, printed = filtered(step.output).splitlines(), filtered(output).splitlines()
            differs = "\n".join(difflib.unified_diff(shown, printed, "the page", "this run", lineterm=""))
            assert not differs, f"{PAGE.name}, line {step.first}: {step.command}\n{differs}\n\n{output}"
    finally:
        shell.close()

"""The image of the containers that hold an address: its program really waits, and its bytes are always the same."""

import io
import json
import os
import platform
import subprocess
import tarfile
from pathlib import Path

import pytest

from portside.cloud.machine import holder


async def read(machine: str) -> bytes:
    return b"".join([chunk async for chunk in holder.archive(machine)])


@pytest.mark.skipif(platform.system() != "Linux" or platform.machine() != "x86_64", reason="a program for Linux")
def test_the_program_waits_until_it_is_told_to_end(tmp_path: Path) -> None:
    path = tmp_path / "holder"
    path.write_bytes(holder.program("x86_64"))
    path.chmod(0o755)
    process = subprocess.Popen([str(path)])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.terminate()
    assert process.wait(5) == -15
    assert os.path.getsize(path) < 200


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64")]
)
async def test_the_archive_is_an_image_of_its_machine(machine: str, architecture: str) -> None:
    content = await read(machine)
    assert content == await read(machine)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        (image,) = json.load(tar.extractfile("manifest.json"))
        config = json.load(tar.extractfile(image["Config"]))
    assert image["RepoTags"] == [holder.NAME]
    assert config["architecture"] == architecture


def test_another_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        holder.program("riscv64")

"""The image of the containers that do nothing but hold a network address.

Its one program waits for ever; it is so small that it is assembled here, byte by byte, instead of being fetched
from somewhere: `pause` (or `ppoll` without an end) in a loop, in an ELF file of one segment.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import AsyncIterator

NAME = "portside/holder:1"
_BASE = 0x400000
# mov eax, 34 (pause); syscall; jmp to the beginning
_X86_64 = bytes.fromhex("b8220000000f05ebf7")
# mov x0..x4, 0; mov x8, 73 (ppoll); svc 0; b to the beginning
_AARCH64 = struct.pack(
    "<8I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004, 0xD2800928, 0xD4000001, 0x17FFFFF9
)
# Machine as the kernel names it -> (ELF's number, the registry's name, code)
_MACHINES = {
    "x86_64": (62, "amd64", _X86_64),
    "aarch64": (183, "arm64", _AARCH64),
    "arm64": (183, "arm64", _AARCH64),
}


def program(machine: str) -> bytes:
    """The executable. ValueError for a machine that it does not exist for."""
    if machine not in _MACHINES:
        raise ValueError(f"there is no program for a machine of type {machine}")
    number, _, code = _MACHINES[machine]
    size = 64 + 56 + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + code


async def archive(machine: str) -> AsyncIterator[bytes]:
    """The image as a docker-archive tar stream; the same bytes every time."""
    layer = _tar({"holder": program(machine)}, 0o755)
    config = {
        "architecture": _MACHINES[machine][1],
        "os": "linux",
        "config": {"Entrypoint": ["/holder"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created_by": "portside"}],
    }
    text = json.dumps(config, sort_keys=True).encode()
    name = hashlib.sha256(text).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    yield _tar({f"{name}.json": text, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}, 0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()

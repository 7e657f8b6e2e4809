"""Questions to a running Envoy, over its admin socket.

Owns the few lines of HTTP that it takes, and the reading of the answers.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 5.0


class AdminUnavailable(Exception):
    """Envoy does not answer: it is not up yet, or not any more."""


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin interface at `socket`."""

    socket: Path

    async def get(self, target: str) -> str:
        try:
            async with asyncio.timeout(LIMIT):
                reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=2**24)
                try:
                    request = f"GET {target} HTTP/1.1\r\nhost: portside\r\nconnection: close\r\n\r\n"
                    writer.write(request.encode())
                    answer = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise AdminUnavailable(str(error)) from None
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AdminUnavailable(head.split(b"\r\n", 1)[0].decode("latin-1") or "no answer")
        if b"transfer-encoding: chunked" in head.lower():
            body = _joined(body)
        return body.decode()

    async def ready(self) -> bool:
        try:
            return (await self.get("/ready")).startswith("LIVE")
        except AdminUnavailable:
            return False

    async def versions(self) -> dict[str, str]:
        """The version that Envoy serves of each file, by the name of its statistic; and, under the names that end
        in `update_rejected`, how often it refused one."""
        text = await self.get("/stats?filter=(version_text|update_rejected)$")
        pairs = (line.partition(": ") for line in text.splitlines())
        return {name: value.strip('"') for name, _, value in pairs}

    async def listening(self) -> set[tuple[str, int]]:
        """The addresses that Envoy listens on."""
        document = json.loads(await self.get("/listeners?format=json"))
        found: set[tuple[str, int]] = set()
        for status in document.get("listener_statuses", []):
            address = status.get("local_address", {}).get("socket_address", {})
            if "port_value" in address:
                found.add((address["address"], address["port_value"]))
        return found

    async def refusals(self) -> dict[str, str]:
        """What Envoy has against each listener that it did not take, by the listener's name."""
        document = json.loads(await self.get("/config_dump"))
        found: dict[str, str] = {}
        for part in document.get("configs", []):
            for listener in part.get("dynamic_listeners", []):
                state: dict[str, Any] | None = listener.get("error_state")
                if state:
                    found[listener["name"]] = str(state.get("details", "refused"))
        return found


def _joined(chunked: bytes) -> bytes:
    out = []
    rest = chunked
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        out.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(out)

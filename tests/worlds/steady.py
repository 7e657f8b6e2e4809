"""Requests at a constant rate, whatever becomes of the ones before: a wrong answer must not slow the asking down.

Runs in a process of its own until its input ends. Usage: steady.py HOST PORT RATE HOST_HEADER; prints
one line of JSON: how many were sent, and how often each kind of outcome came: a status, the name of an error, CUT_OFF
for an answer that ended in its middle, CLOSED for a connection that ended without a byte of one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

CONNECTIONS = 25
LIMIT = 20.0
CUT_OFF, CLOSED = "cut off", "closed"


class Asker:
    """One connection, kept alive; a new one where the server asked for it."""

    def __init__(self, host: str, port: int, request: bytes, seen: Counter[str]) -> None:
        self._place, self._request, self._seen = (host, port), request, seen
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answered = False

    async def once(self) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                self._seen[await self._ask()] += 1
        except (OSError, TimeoutError) as error:
            self._seen[type(error).__name__] += 1
            self.close()
        except asyncio.IncompleteReadError as error:
            # After the head, what is missing is always the rest of an answer that has begun.
            self._seen[CUT_OFF if self._answered or error.partial else CLOSED] += 1
            self.close()

    async def _ask(self) -> str:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place)
        reader, writer = self._streams
        self._answered = False
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        self._answered = True
        at = head.find(b"content-length: ")
        if at >= 0:
            await reader.readexactly(int(head[at + 16 :].split(b"\r\n", 1)[0]))
        elif b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        if b"connection: close" in head:
            self.close()
        return head.split(b" ", 2)[1].decode()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def run(host: str, port: int, rate: float, name: str) -> Counter[str]:
    seen: Counter[str] = Counter()
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    began = time.perf_counter()

    async def keep_asking(number: int) -> None:
        asker = Asker(host, port, request, seen)
        turn = 0
        while not ended.done():
            # One that is late asks at once until it has caught up.
            due = began + (turn * CONNECTIONS + number) / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await asker.once()
            turn += 1
        asker.close()

    await asyncio.gather(*(keep_asking(number) for number in range(CONNECTIONS)))
    seen["seconds"] = round(time.perf_counter() - began)
    return seen


def main() -> None:
    host, port, rate, name = sys.argv[1:5]
    seen = asyncio.run(run(host, int(port), float(rate), name))
    seconds = seen.pop("seconds")
    print(json.dumps({"sent": seen.total(), "seconds": seconds, "outcomes": dict(seen)}))


if __name__ == "__main__":
    main()

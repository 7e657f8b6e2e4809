"""A constant load: so many requests a second, whatever the answers do, until standard input is closed.

Usage: python bench/steady.py HOST PORT RATE; prints one line of JSON: how many were sent, how many were answered
with 200, the kinds of failures, and the slowest answer in seconds. Connections are kept and used again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

import aiohttp

LIMIT = 20.0


class Load:
    def __init__(self, url: str, rate: float) -> None:
        self.url = url
        self.rate = rate
        self.sent = self.good = 0
        self.slowest = 0.0
        self.failures: Counter[str] = Counter()

    async def one(self, session: aiohttp.ClientSession) -> None:
        began = time.perf_counter()
        try:
            async with session.get(self.url) as answer:
                await answer.read()
                if answer.status == 200:
                    self.good += 1
                else:
                    self.failures[str(answer.status)] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failures[type(error).__name__] += 1
        self.slowest = max(self.slowest, time.perf_counter() - began)

    async def run(self, stop: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=LIMIT)
        connector = aiohttp.TCPConnector(limit=256, keepalive_timeout=60)
        waiting: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            began = time.perf_counter()
            while not stop.is_set():
                due = int((time.perf_counter() - began) * self.rate)
                while self.sent < due:
                    self.sent += 1
                    task = asyncio.create_task(self.one(session))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
                await asyncio.sleep(0.004)
            await asyncio.gather(*waiting)


async def main() -> None:
    host, port, rate = sys.argv[1:4]
    load = Load(f"http://{host}:{port}/", float(rate))
    stop = asyncio.Event()
    asyncio.get_running_loop().run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: stop.set())
    await load.run(stop)
    found = {"sent": load.sent, "good": load.good, "failures": load.failures, "slowest": round(load.slowest, 3)}
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())

"""`python -m portside.cloud HOME SETTINGS FD`: the cloud's process. `process.py` starts it.

Holds the lock, writes where it listens, and says `ready` on the file descriptor, or why it could not start.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

from portside.cloud.settings import CloudSettings, Home

# Allocations between collections of the youngest, and collections between those of the older generations.
GARBAGE = (20_000, 20, 50)


def main() -> int:
    home = Home(Path(sys.argv[1]))
    settings = CloudSettings.from_json(sys.argv[2])
    with os.fdopen(int(sys.argv[3]), "w") as tell:
        lock = home.lock.open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell.write(f"another cloud already runs in {home.directory}\n")
            return 1
        # Sockets of child processes are named relative to it: the path of a Unix socket is short by nature.
        os.chdir(home.state)
        try:
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run(home, settings, tell))
        except OSError as error:
            tell.write(f"{error.strerror or error} ({settings.address}:{settings.port})\n")
            return 1
    return 0


async def run(home: Home, settings: CloudSettings, tell: TextIO) -> None:
    from portside.cloud.app import Cloud

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with Cloud(home, settings) as cloud:
        # What is there now stays, and need not be looked through again and again; docs/performance.md.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        cloud.write_record()
        tell.write("ready\n")
        tell.close()
        await stopping.wait()
        await cloud.stop()
    home.running.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

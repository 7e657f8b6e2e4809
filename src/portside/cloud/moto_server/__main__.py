"""`python -m portside.cloud.moto_server SOCKET JOURNAL ACCOUNT`: serves until its standard input is closed.

Prints `ready` once the journal has been replayed and the socket is open. The open standard input ties its life
to that of the cloud: when the cloud ends, however it ends, so does this.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from pathlib import Path


async def serve(socket: str, journal: Path) -> None:
    import uvicorn

    from portside.cloud.kernel.clock import SystemClock
    from portside.cloud.moto_server.app import MotoApp
    from portside.cloud.moto_server.journal import Journal

    app = MotoApp(Journal(journal), SystemClock())
    app.replay()
    config = uvicorn.Config(
        app, uds=socket, http="httptools", lifespan="off", access_log=False, log_config=None,
        timeout_keep_alive=3600,
    )  # fmt: skip
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    stdin_closed = asyncio.ensure_future(_stdin_closed(loop))
    stdin_closed.add_done_callback(lambda _: setattr(server, "should_exit", True))
    started = asyncio.ensure_future(server.serve())
    while not server.started and not started.done():
        await asyncio.wait({started}, timeout=0.01)
    print("ready", flush=True)
    await started


async def _stdin_closed(loop: asyncio.AbstractEventLoop) -> None:
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def main() -> None:
    socket, journal, account = sys.argv[1:4]
    os.environ["MOTO_ACCOUNT_ID"] = account
    # Policies are those of the account's owner here; moto's own check of them stays off.
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "true")
    # Roles of templates attach the policies that AWS manages.
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    warnings.simplefilter("ignore")
    # The terminal's Ctrl-C is for the command line; this process ends with its standard input.
    os.setpgrp()
    asyncio.run(serve(socket, Path(journal)))


if __name__ == "__main__":
    main()

"""How fast a layer of 200 MB is pushed, beside Debian's docker-registry (the CNCF distribution registry).

Both run on loopback and store to the same disk; the client writes one PATCH with sendfile, as `docker push`
streams a layer, and finishes the upload. Prints one line of JSON. Without a docker-registry on the PATH there is
no peer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = 200 * 1024 * 1024
RUNS = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def serve_ours(directory: Path, port: int) -> None:
    """The gateway with ECR alone; prints the password."""
    from portside.cloud.gateway.dispatch import Dispatcher
    from portside.cloud.gateway.pipeline import Gateway
    from portside.cloud.gateway.server import Server
    from portside.cloud.kernel.clock import SystemClock
    from portside.cloud.kernel.database import Database
    from portside.cloud.kernel.ids import Ids
    from portside.cloud.kernel.log import configure
    from portside.cloud.services.calls import Caller
    from portside.cloud.services.ecr.service import Ecr
    from portside.testing.calls import ScriptedCalls

    log = configure(sys.stderr)
    ecr = Ecr(
        database=Database(directory / "state.db"), directory=directory / "blobs", ids=Ids(), clock=SystemClock(),
        log=log, account="000000000000", region="us-east-1",
    )  # fmt: skip
    caller = Caller("000000000000", "us-east-1", "arn")
    ecr.api.create_repository(caller, {"repositoryName": "bench"})
    gateway = Gateway(
        Dispatcher(ScriptedCalls(), [ecr.service()]), None, ecr.registry, {},  # type: ignore[arg-type]
        account="000000000000", region="us-east-1", ids=Ids(), log=log,
    )  # fmt: skip
    token = ecr.api.get_authorization_token(caller, {})["authorizationData"][0]["authorizationToken"]
    async with ecr, Server(gateway, "127.0.0.1", port):
        print(token, flush=True)
        await asyncio.Event().wait()


def start_ours(directory: Path) -> tuple[subprocess.Popen[bytes], int, str]:
    port = free_port()
    words = [sys.executable, __file__, "--serve", str(directory), str(port)]
    source = str(Path(__file__).parents[1] / "src")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": source})
    assert process.stdout is not None
    return process, port, process.stdout.readline().decode().strip()


def start_peer(directory: Path) -> tuple[subprocess.Popen[bytes], int, str] | None:
    program = shutil.which("docker-registry")
    if program is None:
        return None
    port = free_port()
    settings = directory / "config.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([program, "serve", str(settings)], stdout=quiet, stderr=quiet)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    return process, port, base64.b64encode(b"AWS:x").decode()


class Client:
    """As much HTTP/1.1 as a push needs."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._file = self._socket.makefile("rb")
        self._head = f"host: localhost:{port}\r\nauthorization: Basic {token}\r\n"

    def ask(self, method: str, target: str, body: Path | None = None) -> tuple[int, dict[str, str]]:
        size = body.stat().st_size if body else 0
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\n{self._head}content-length: {size}\r\n\r\n".encode())
        if body:
            with body.open("rb") as file:
                self._socket.sendfile(file)
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline()) != b"\r\n":
            key, _, value = line.decode().partition(":")
            headers[key.lower()] = value.strip()
        self._file.read(int(headers.get("content-length", "0")))
        return status, headers

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def push(port: int, token: str, layer: Path, digest: str) -> float:
    client = Client(port, token)
    began = time.perf_counter()
    status, headers = client.ask("POST", "/v2/bench/blobs/uploads/")
    assert status == 202, status
    target = "/" + headers["location"].split("/", 3)[3] if "://" in headers["location"] else headers["location"]
    status, headers = client.ask("PATCH", target, layer)
    assert status == 202, status
    target = "/" + headers["location"].split("/", 3)[3] if "://" in headers["location"] else headers["location"]
    status, _ = client.ask("PUT", f"{target}{'&' if '?' in target else '?'}digest={digest}")
    assert status == 201, status
    seconds = time.perf_counter() - began
    client.close()
    return SIZE / seconds / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for part in ("ours", "peer"):
            (directory / part).mkdir()
        servers = {"ours": start_ours(directory / "ours"), "peer": start_peer(directory / "peer")}
        speeds: dict[str, list[float]] = {"ours": [], "peer": []}
        layer = directory / "layer"
        try:
            for run in range(RUNS + 1):
                data = os.urandom(1 << 20) * (SIZE >> 20)
                layer.write_bytes(data)
                digest = "sha256:" + hashlib.sha256(data).hexdigest()
                del data
                for who, server in servers.items():
                    if server is not None:
                        speed = push(server[1], server[2], layer, digest)
                        if run:  # the first one warms up
                            speeds[who].append(speed)
        finally:
            for server in servers.values():
                if server is not None:
                    server[0].terminate()
                    server[0].wait()
    ours = statistics.median(speeds["ours"])
    peer = statistics.median(speeds["peer"]) if speeds["peer"] else None
    print(
        json.dumps(
            {
                "name": "push of a 200 MB layer",
                "ours": round(ours, 1),
                "peer": peer and round(peer, 1),
                "ratio": peer and round(ours / peer, 2),
                "unit": "MB/s",
                "runs": RUNS,
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_ours(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        main()

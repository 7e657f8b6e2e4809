"""Start, idle memory and small read calls of the cloud, beside moto's own server (an emulator in Python).

Start is measured from the command `portside cloud start` to the first answer of STS, which is also how the peer is
measured. Calls come from 8 keep-alive connections of `load.py` on the same machine. Prints lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
RUNS = 5
CONNECTIONS = 8
SECONDS = 2
START_LIMIT = 60

CALLS = {
    "GetCallerIdentity": ("sts", "Action=GetCallerIdentity&Version=2011-06-15"),
    "ListExports": ("cloudformation", "Action=ListExports&Version=2010-05-15"),
    "DescribeClusters": ("ecs", "{}"),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def headers(operation: str, port: int) -> dict[str, str]:
    service, _ = CALLS[operation]
    scope = f"AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/{service}/aws4_request"
    made = {
        "Host": f"127.0.0.1:{port}",
        "Accept-Encoding": "identity",
        "X-Amz-Date": "20260101T000000Z",
        "User-Agent": "Boto3/1 md/Botocore#1 lang/python#3",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    if service == "ecs":
        made["X-Amz-Target"] = f"AmazonEC2ContainerServiceV20141113.{operation}"
        made["Content-Type"] = "application/x-amz-json-1.1"
    else:
        made["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    return made


def ask(operation: str, port: int) -> bytes:
    body = CALLS[operation][1].encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=body, headers=headers(operation, port))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def rate(operation: str, port: int, directory: Path) -> float:
    body = CALLS[operation][1].encode()
    lines = [f"{key}: {value}" for key, value in headers(operation, port).items()]
    head = "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", ""])
    file = directory / "request"
    file.write_bytes(head.encode() + body)
    words = [
        sys.executable,
        str(HERE / "load.py"),
        "127.0.0.1",
        str(port),
        str(CONNECTIONS),
        str(SECONDS),
        str(file),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=SECONDS + 30)
    speed, bad = done.stdout.split()
    if bad != "0":
        raise SystemExit(f"{operation}: {bad} answers were errors")
    return float(speed)


def until_it_answers(port: int) -> None:
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            ask("GetCallerIdentity", port)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def memory(pid: int) -> float:
    """Resident MiB of a process and its children."""
    total = 0.0
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        status = Path(f"/proc/{each}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0]) / 1024
        for task in Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                waiting += [int(child) for child in (task / "children").read_text().split()]
    return total


class Ours:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.home = directory / "home"
        self.environ = {**os.environ, "PORTSIDE_HOME": str(self.home), "PORTSIDE_PORT": str(self.port)}

    def start(self) -> int:
        subprocess.run([BIN / "portside", "cloud", "start"], env=self.environ, check=True, capture_output=True)
        until_it_answers(self.port)
        return int(json.loads((self.home / "cloud" / "running.json").read_text())["pid"])

    def stop(self) -> None:
        subprocess.run([BIN / "portside", "cloud", "stop"], env=self.environ, check=True, capture_output=True)


class Peer:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([BIN / "moto_server", "-p", str(self.port)], **quiet)
        until_it_answers(self.port)
        return self.process.pid

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


def say(name: str, ours: list[float], peer: list[float], unit: str, digits: int) -> None:
    mine, other = statistics.median(ours), statistics.median(peer)
    row = {
        "name": name,
        "ours": round(mine, digits),
        "peer": round(other, digits),
        "ratio": round(mine / other, 2),
        "unit": unit,
        "runs": len(ours),
    }
    print(json.dumps(row), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ours, peer = Ours(directory), Peer(directory)
        started: dict[str, list[float]] = {"ours": [], "peer": []}
        idle: dict[str, list[float]] = {"ours": [], "peer": []}
        rates: dict[str, dict[str, list[float]]] = {call: {"ours": [], "peer": []} for call in CALLS}
        for _ in range(RUNS):
            for who, which in (("ours", ours), ("peer", peer)):
                began = time.perf_counter()
                pid = which.start()
                started[who].append(time.perf_counter() - began)
                try:
                    idle[who].append(memory(pid))
                    for call, found in rates.items():
                        ask(call, which.port)  # what is loaded at first use is not measured
                        found[who].append(rate(call, which.port, directory))
                finally:
                    which.stop()
        say("first answer after the start", started["ours"], started["peer"], "s", 2)
        say("idle memory", idle["ours"], idle["peer"], "MiB", 0)
        for call, found in rates.items():
            say(call, found["ours"], found["peer"], "requests/s", 0)


if __name__ == "__main__":
    main()

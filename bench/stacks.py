"""100 stacks of three small resources, created side by side to their last event, beside moto's server; and what
one stack costs as it grows to 2,000 resources in all.

The clock runs from the first CreateStack until DescribeStacks has shown each stack complete; afterwards every
stack must have all its events. moto's server makes a stack within the call, and keeps nothing on disk. Prints
lines of JSON.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from api import Ours, Peer

RUNS = 5
STACKS = 100
CONNECTIONS = 8
LIMIT = 60.0
PAUSE = 0.02  # between looks; looking takes time from what is looked at
GROWTH = (250, 500)  # resources of one stack, four stacks each
SMALL = {
    "Resources": {
        "Logs": {"Type": "AWS::Logs::LogGroup"},
        "Cluster": {"Type": "AWS::ECS::Cluster"},
        "Definition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": "app",
                "ContainerDefinitions": [{"Name": "app", "Image": "app", "Memory": 64}],
            },
        },
    }
}
EVENTS = 2 + 3 * 3  # of the stack, and of each of its resources


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)

    def call(self, operation: str, **params: Any) -> str:
        body = urllib.parse.urlencode({"Action": operation, "Version": "2010-05-15", **params})
        scope = "AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/cloudformation/aws4_request"
        head = {
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        }
        self._connection.request("POST", "/", body, head)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{operation}: {text}")
        return text


def create(port: int, names: list[str], body: str, connections: int = CONNECTIONS) -> float:
    """Seconds until all of them are complete."""
    clients = [Client(port) for _ in range(connections)]

    def share(number: int) -> None:
        for name in names[number::connections]:
            clients[number].call("CreateStack", StackName=name, TemplateBody=body)

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(share, range(connections)))
    waiting = set(names)
    while waiting:
        if time.perf_counter() - began > LIMIT:
            raise SystemExit(f"not complete in time: {sorted(waiting)}")
        name = min(waiting)
        status = re.search(r"<StackStatus>(\w+)<", clients[0].call("DescribeStacks", StackName=name))
        assert status is not None
        if status[1] == "CREATE_COMPLETE":
            waiting.discard(name)
        elif status[1] != "CREATE_IN_PROGRESS":
            raise SystemExit(f"{name}: {status[1]}")
        else:
            time.sleep(PAUSE)
    return time.perf_counter() - began


def events(port: int, name: str) -> int:
    return Client(port).call("DescribeStackEvents", StackName=name).count("<EventId>")


def small(port: int, run: int, *, counted: bool) -> float:
    names = [f"run{run}-{number}" for number in range(STACKS)]
    # moto's server fails now and then when several calls come at once, and is no slower with one at a time.
    spent = create(port, names, json.dumps(SMALL), CONNECTIONS if counted else 1)
    if counted:
        missing = [name for name in names if events(port, name) != EVENTS]
        if missing:
            raise SystemExit(f"events are missing of {missing[:5]}")
    return spent


def growing(port: int, run: int, size: int) -> float:
    body = json.dumps({"Resources": {f"Logs{n}": {"Type": "AWS::Logs::LogGroup"} for n in range(size)}})
    return create(port, [f"grow{run}-{size}-{number}" for number in range(4)], body)


def say(name: str, ours: float, peer: float, runs: int, unit: str = "s") -> None:
    row = {"name": name, "ours": round(ours, 2), "peer": round(peer, 2), "ratio": round(ours / peer, 2)}
    print(json.dumps(row | {"unit": unit, "runs": runs}), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        cloud, peer = Ours(Path(name)), Peer(Path(name))
        cloud.start()
        peer.start()
        try:
            small(cloud.port, 0, counted=True)
            small(peer.port, 0, counted=False)
            ours, theirs = [], []
            for run in range(1, RUNS + 1):
                ours.append(small(cloud.port, run, counted=True))
                theirs.append(small(peer.port, run, counted=False))
            say(f"{STACKS} stacks of three resources", statistics.median(ours), statistics.median(theirs), RUNS)
            # In turns, for other work on the machine to hit both.
            grown = [[growing(cloud.port, run, size) for size in GROWTH] for run in range(RUNS)]
            spent = [statistics.median(each) for each in zip(*grown, strict=True)]
            say(
                f"2,000 resources in stacks beside 1,000 (peer: twice the time of {4 * GROWTH[0]:,})",
                spent[1],
                2 * spent[0],
                RUNS,
            )
        finally:
            peer.stop()
            cloud.stop()


if __name__ == "__main__":
    sys.exit(main())

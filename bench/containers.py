"""200 containers of one cloud: how long they take to run, and to be adopted after `kill -9`. Needs a container
engine.

Fails unless every container is the same as before, started at the same moment, and nothing is left in the end.
Prints lines of JSON; the peer of the adoption is the time that the first start took. `PORTSIDE_BENCH_IMAGE`
names an image with `sleep` in it, `CONTAINERS` how many there are to be.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from api import Ours

COUNT = int(os.environ.get("CONTAINERS", "200"))
IMAGE = os.environ.get("PORTSIDE_BENCH_IMAGE", "portside/debian-node:bookworm")
LIMIT = 600.0
USER_DATA = "#!/bin/bash\necho ECS_CLUSTER=default >> /etc/ecs/ecs.config\n"


def client(port: int, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def until(reached: Any) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > LIMIT:
            raise SystemExit("not reached in time")
        time.sleep(0.1)
    return time.monotonic() - began


def of_cloud(identifier: str) -> dict[str, str]:
    """Container id -> start time, as the engine says."""
    words = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=portside.cloud={identifier}"]
    ids = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    if not ids:
        return {}
    words = ["docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def running(port: int) -> int:
    (service,) = client(port, "ecs").describe_services(services=["bench"])["services"]
    return int(service["runningCount"])


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="portside-bench-") as scratch:
        ours = Ours(Path(scratch))
        ours.start()
        identifier = json.loads((ours.home / "cloud" / "running.json").read_text())["id"]
        try:
            ecs, ec2 = client(ours.port, "ecs"), client(ours.port, "ec2")
            ecs.create_cluster()
            ec2.run_instances(
                ImageId="ami-12345678", MinCount=1, MaxCount=1, InstanceType="m5.4xlarge", UserData=USER_DATA
            )
            container = {
                "name": "app",
                "image": IMAGE,
                "memory": 16,
                "command": ["sleep", "3600"],
                "stopTimeout": 0,
            }
            ecs.register_task_definition(family="bench", containerDefinitions=[container])
            until(lambda: ecs.list_container_instances()["containerInstanceArns"])
            ecs.create_service(serviceName="bench", taskDefinition="bench", desiredCount=COUNT)
            started = until(lambda: running(ours.port) == COUNT)
            before = of_cloud(identifier)
            pid = int(json.loads((ours.home / "cloud" / "running.json").read_text())["pid"])
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            ours.start()
            until(lambda: running(ours.port) == COUNT)
            # Every task has been looked at once the engine loop has compared what there is.
            arns = ecs.list_container_instances()["containerInstanceArns"]
            until(
                lambda: all(
                    each["agentConnected"]
                    for each in ecs.describe_container_instances(containerInstances=arns)["containerInstances"]
                )
            )
            adopted = time.monotonic() - began
            time.sleep(20)  # longer than the engine's listing takes to come round: nothing is touched afterwards
            after = of_cloud(identifier)
        finally:
            ours.stop()
        left = of_cloud(identifier)
    row = {
        "name": f"{COUNT} containers adopted after kill -9, beside starting them",
        "ours": round(adopted, 2),
        "peer": round(started, 2),
        "ratio": round(adopted / started, 2),
        "unit": "s",
        "runs": 1,
    }
    print(json.dumps(row))
    same = before == after and len(before) == COUNT
    print(
        f"{len(before)} before, {len(after)} after, the same: {same}; left in the end: {len(left)}",
        file=sys.stderr,
    )
    return 0 if same and not left else 1


if __name__ == "__main__":
    sys.exit(main())

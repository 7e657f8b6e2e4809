"""What a cloud with 20 running tasks costs while nobody asks it anything: CPU time and memory. Needs a container
engine.

CPU is measured over 30 seconds at the fast pace, in which metrics are taken ten times as often as on AWS. Prints
lines of JSON; the peer is the limit that we set ourselves.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from api import Ours

TASKS = 20
SECONDS = 30
START_LIMIT = 180
IMAGE = os.environ.get("PORTSIDE_BENCH_IMAGE", "portside/debian-node:bookworm")
CPU_LIMIT = 3.0
MEMORY_LIMIT = 250.0
USER_DATA = "#!/bin/bash\necho ECS_CLUSTER=default >> /etc/ecs/ecs.config\n"


def family(pid: int) -> dict[int, str]:
    """The process and all below it, with their names."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        found[each] = Path(f"/proc/{each}/comm").read_text().strip()
        for task in Path(f"/proc/{each}/task").iterdir():
            waiting += [int(child) for child in (task / "children").read_text().split()]
    return found


def used(pid: int) -> float:
    """Seconds of a core."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """MB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def run_tasks(port: int) -> None:
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    ecs, ec2 = client("ecs"), client("ec2")
    ecs.create_cluster(clusterName="default")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, InstanceType="m5.xlarge", MinCount=1, MaxCount=1, UserData=USER_DATA)
    container = {"name": "app", "image": IMAGE, "command": ["sleep", "100000"], "cpu": 64, "memory": 32}
    ecs.register_task_definition(family="idle", containerDefinitions=[container | {"stopTimeout": 2}])
    ecs.create_service(serviceName="idle", taskDefinition="idle", desiredCount=TASKS)
    deadline = time.monotonic() + START_LIMIT
    while ecs.describe_services(services=["idle"])["services"][0]["runningCount"] < TASKS:
        if time.monotonic() > deadline:
            raise SystemExit(ecs.describe_services(services=["idle"])["services"][0]["events"][:3])
        time.sleep(1)


def say(name: str, ours: float, limit: float, unit: str) -> None:
    row = {
        "name": name,
        "ours": round(ours, 2),
        "peer": limit,
        "ratio": round(ours / limit, 2),
        "unit": unit,
        "runs": 1,
    }
    print(json.dumps(row), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        cloud = Ours(Path(name))
        pid = cloud.start()
        try:
            run_tasks(cloud.port)
            time.sleep(15)  # until what a start entails is over
            before = {each: used(each) for each in family(pid)}
            time.sleep(SECONDS)
            members = family(pid)
            for each, called in members.items():
                share = 100 * (used(each) - before.get(each, 0.0)) / SECONDS
                print(f"{called}: {share:.2f} % of a core, {resident(each):.0f} MB", file=sys.stderr)
            spent = sum(used(each) - before.get(each, 0.0) for each in members)
            say(f"idle with {TASKS} tasks, CPU (peer: the limit)", 100 * spent / SECONDS, CPU_LIMIT, "% of a core")
            say("memory of the cloud itself (peer: the limit)", resident(pid), MEMORY_LIMIT, "MB")
            together = sum(resident(each) for each in members)
            say("the same with moto (peer: the limit)", together, MEMORY_LIMIT, "MB")
        finally:
            cloud.stop()


if __name__ == "__main__":
    main()

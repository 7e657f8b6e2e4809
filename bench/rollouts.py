"""50 rollouts in a row under 500 requests a second: how many requests are lost, and how long one rollout of two
tasks takes beyond what it cannot do without. Needs a container engine.

What a rollout cannot do without: the container's own start, the one health check that a new target must pass,
the drain of the old targets. The limit for all the rest is one second. `ROUNDS` and `PORTSIDE_BENCH_IMAGE` may
be set in the environment. Prints lines of JSON; fails if a single request is lost.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from api import Ours

ROUNDS = int(os.environ.get("ROUNDS", "50"))
RATE = 500
TASKS = 2
PORT = 3070
LIMIT = 120.0
# An image with Node.js: a server that keeps connections and closes them in good order when it is told to end.
IMAGE = os.environ.get("PORTSIDE_BENCH_IMAGE", "portside/debian-node:bookworm")
PROGRAM = """
const server = require("http").createServer((_, answer) => answer.end("hello"));
server.keepAliveTimeout = 65000;
server.listen(3000);
process.on("SIGTERM", () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
"""
LOAD = Path(__file__).parents[1] / "tests" / "worlds" / "steady.py"
USER_DATA = "#!/bin/bash\necho ECS_CLUSTER=default >> /etc/ecs/ecs.config\n"
INTERVAL, DRAIN = 5, 5  # as configured; the cloud runs at its fast pace
PACE, FLOOR = 0.1, 0.2  # of that pace


class Site:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.ecs, self.elb, self.ec2 = self.client("ecs"), self.client("elbv2"), self.client("ec2")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def make(self) -> None:
        self.ecs.create_cluster()
        self.ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, InstanceType="m5.large", UserData=USER_DATA
        )
        subnets = [each["SubnetId"] for each in self.ec2.describe_subnets()["Subnets"]]
        vpc = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        balancer = self.elb.create_load_balancer(Name="bench", Subnets=subnets[:2])["LoadBalancers"][0]
        group = self.elb.create_target_group(
            Name="bench",
            Protocol="HTTP",
            Port=3000,
            VpcId=vpc,
            HealthCheckIntervalSeconds=INTERVAL,
            HealthCheckTimeoutSeconds=2,
            HealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN)}
        self.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[delay])
        self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=PORT,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        self.ecs.register_task_definition(
            family="bench",
            containerDefinitions=[
                {
                    "name": "app",
                    "image": IMAGE,
                    "memory": 128,
                    "command": ["node", "-e", PROGRAM],
                    "portMappings": [{"containerPort": 3000}],
                    "stopTimeout": 5,
                }
            ],
        )
        until(lambda: self.ecs.list_container_instances()["containerInstanceArns"])
        self.ecs.create_service(
            serviceName="bench",
            taskDefinition="bench",
            desiredCount=TASKS,
            loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 3000}],
        )
        until(self.steady)

    def steady(self) -> bool:
        (service,) = self.ecs.describe_services(services=["bench"])["services"]
        (newest, *others) = service["deployments"]
        return newest["rolloutState"] == "COMPLETED" and not others

    def rollout(self) -> tuple[float, float]:
        """Seconds in all, and of them the new containers' own start."""
        began = time.perf_counter()
        made = self.ecs.update_service(service="bench", forceNewDeployment=True)
        deployment = made["service"]["deployments"][0]["id"]
        until(self.steady)
        took = time.perf_counter() - began
        arns = self.ecs.list_tasks(serviceName="bench")["taskArns"]
        tasks = self.ecs.describe_tasks(tasks=arns)["tasks"]
        mine = [each for each in tasks if each["startedBy"] == deployment]
        starts = [(each["startedAt"] - each["createdAt"]).total_seconds() for each in mine]
        return took, max(starts)


def until(reached: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not reached():
        if time.monotonic() > deadline:
            raise SystemExit("not reached in time")
        time.sleep(0.02)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="portside-bench-") as scratch:
        ours = Ours(Path(scratch))
        ours.start()
        try:
            site = Site(ours.port)
            site.make()
            words = [sys.executable, str(LOAD), "127.0.0.1", str(PORT), str(RATE), "localhost"]
            load = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                under_load = [site.rollout() for _ in range(ROUNDS)]
            finally:
                said, _ = load.communicate("", timeout=60)
            found = json.loads(said)
            quiet = [site.rollout() for _ in range(5)]
        finally:
            ours.stop()
    lost = found["sent"] - found["outcomes"].get("200", 0)
    print(f"{ROUNDS} rollouts under {RATE}/s: {found}", file=sys.stderr)
    needed = max(FLOOR, INTERVAL * PACE / 5) + max(FLOOR, DRAIN * PACE)
    rests = []
    for took, start in quiet:
        rests.append(took - start - needed)
        print(f"quiet: {took:.2f} s, of it start {start:.2f}, check and drain {needed:.2f}", file=sys.stderr)
    median = statistics.median(took for took, _ in under_load)
    print(f"under load: median {median:.2f} s a rollout", file=sys.stderr)
    rest = statistics.median(rests)
    for name, value, peer, unit, runs in (
        (f"requests lost of {found['sent']} in {ROUNDS} rollouts", lost, 0, "requests", 1),
        ("rollout of 2 tasks beyond start, check and drain", round(rest, 2), 1, "s", len(rests)),
    ):
        ratio = round(value / peer, 2) if peer else "-"
        row = {"name": name, "ours": value, "peer": peer, "ratio": ratio, "unit": unit, "runs": runs}
        print(json.dumps(row))
    return 1 if lost or rest > 1 else 0


if __name__ == "__main__":
    sys.exit(main())

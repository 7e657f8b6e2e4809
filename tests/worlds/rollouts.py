"""A whole cloud with a service of two tasks behind a load balancer, and constant load on it. Needs an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).parents[2]

PORT = 3000
LIMIT = 120.0
DRAIN = 10  # a second at the fast pace: longer than any answer takes, however busy the machine is
USER_DATA = "#!/bin/sh\necho ECS_CLUSTER=default >> /etc/ecs/ecs.config\n"
SERVER = "echo hello > /www/index.html; httpd -f -p 3000 -h /www & trap 'kill $!' TERM; wait"


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of one rollout. `own`: what is neither start, checks nor the end of the old tasks."""

    whole: float
    start: float
    checks: float
    ends: float

    @property
    def own(self) -> float:
        return self.whole - self.start - self.checks - self.ends


class Site:
    """A cloud of its own with a service `web` of two tasks behind a load balancer."""

    def __init__(self, directory: Path, image: str, address: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
        self._environ = kept | {
            "PORTSIDE_HOME": str(directory / "home"),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": address,
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.address, self._image = address, image

    def begin(self) -> None:
        self.portside("cloud", "start")
        words = self.portside("cloud", "env").split()
        url = next(w.partition("=")[2] for w in words if w.startswith("AWS_ENDPOINT_URL="))
        keys = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
        self.ecs = boto3.client("ecs", endpoint_url=url, **keys)
        self.elb = boto3.client("elbv2", endpoint_url=url, **keys)
        ec2 = boto3.client("ec2", endpoint_url=url, **keys)
        subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
        self.ecs.create_cluster()
        ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, InstanceType="t3.medium", UserData=USER_DATA
        )
        until(lambda: self.ecs.list_container_instances()["containerInstanceArns"])
        balancer = self.elb.create_load_balancer(Name="web", Subnets=subnets[:2])["LoadBalancers"][0]
        self.name = balancer["DNSName"]
        self.group = self.elb.create_target_group(
            Name="web",
            Protocol="HTTP",
            Port=PORT,
            VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=2,
            HealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        self.elb.modify_target_group_attributes(
            TargetGroupArn=self.group,
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN)}],
        )
        self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=PORT,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.group}],
        )
        container = {
            "name": "app",
            "image": self._image,
            "memory": 32,
            "command": ["sh", "-c", SERVER],
            "stopTimeout": 2,
            "portMappings": [{"containerPort": PORT}],
        }
        self.ecs.register_task_definition(family="web", containerDefinitions=[container])
        self.ecs.create_service(
            serviceName="web",
            taskDefinition="web",
            desiredCount=2,
            loadBalancers=[{"targetGroupArn": self.group, "containerName": "app", "containerPort": PORT}],
        )
        until(self.steady)

    def portside(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "portside", *words],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"portside {' '.join(words)}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def service(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ecs.describe_services(services=["web"])["services"][0]
        return found

    def steady(self) -> bool:
        found = self.service()
        (*_, last) = found["deployments"]
        return (
            len(found["deployments"]) == 1
            and last["rolloutState"] == "COMPLETED"
            and found["runningCount"] == found["desiredCount"]
        )

    def tasks(self) -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks()["taskArns"]
        found: list[dict[str, Any]] = self.ecs.describe_tasks(tasks=arns)["tasks"] if arns else []
        return found

    def healthy(self) -> int:
        found = self.elb.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return sum(1 for each in found if each["TargetHealth"]["State"] == "healthy")

    def rollout(self) -> Parts:
        old = {each["taskArn"] for each in self.tasks()}
        began = time.time()
        made = self.ecs.update_service(service="web", forceNewDeployment=True)["service"]["deployments"][0]["id"]
        until(lambda: self.healthy() >= 4 or self.steady())
        healthy = time.time()
        until(self.steady)
        ended = time.time()
        new = [each for each in self.tasks() if each["startedBy"] == made]
        gone = self.ecs.describe_tasks(tasks=list(old))["tasks"]
        started = max(each["startedAt"].timestamp() for each in new)
        created = min(each["createdAt"].timestamp() for each in new)
        stopping = min(each["stoppingAt"].timestamp() for each in gone)
        stopped = max(each["stoppedAt"].timestamp() for each in gone)
        checks = max(0.0, min(healthy, stopping) - started)
        return Parts(ended - began, started - created, checks, stopped - stopping)

    def end(self) -> None:
        self.portside("cloud", "stop")


class Load:
    """Constant load until the block ends; then `seen` says what came of it."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    @property
    def failed(self) -> dict[str, int]:
        return {kind: count for kind, count in self.seen["outcomes"].items() if kind != "200"}


@contextmanager
def load(site: Site, rate: float) -> Iterator[Load]:
    words = [
        sys.executable,
        str(Path(__file__).with_name("steady.py")),
        site.address,
        str(PORT),
        str(rate),
        site.name,
    ]
    asking = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found = Load()
    try:
        yield found
        found.seen = json.loads(asking.communicate(timeout=60)[0])
    finally:
        if asking.poll() is None:
            asking.kill()
            asking.communicate()


def until(reached: Callable[[], Any], limit: float = LIMIT) -> Any:
    deadline = time.monotonic() + limit
    while not (found := reached()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit:.0f} s")
        time.sleep(0.05)
    return found

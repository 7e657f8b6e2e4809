"""What real containers have around them, on a whole cloud: addresses, names, credentials, metadata, volumes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from portside.deploy.errors import Unreachable
from portside.deploy.execute import Channel

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
USER_DATA = "#!/bin/sh\necho ECS_CLUSTER=default >> /etc/ecs/ecs.config\n"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}

pytestmark = pytest.mark.docker


class Site:
    """A cloud of its own at the usual address, for only that one serves the bridge."""

    def __init__(self, directory: Path, image: str) -> None:
        self.image = image
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
        self.environ = kept | {
            "PORTSIDE_HOME": str(directory / "home"),
            "PORTSIDE_PORT": "0",
            "PYTHONPATH": str(ROOT / "src"),
        }

    def begin(self) -> None:
        self.portside("cloud", "start")
        words = self.portside("cloud", "env").split()
        self.url = next(w.partition("=")[2] for w in words if w.startswith("AWS_ENDPOINT_URL="))
        ec2 = self("ec2")
        self.subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
        self.vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self("ecs").create_cluster()
        ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, InstanceType="t3.medium", UserData=USER_DATA
        )
        until(self.connected)

    def connected(self) -> bool:
        ecs = self("ecs")
        arns = ecs.list_container_instances()["containerInstanceArns"]
        found = ecs.describe_container_instances(containerInstances=arns)["containerInstances"] if arns else []
        return any(each["agentConnected"] for each in found)

    def portside(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "portside", *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def __call__(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def role(self, *actions: str) -> str:
        iam = self("iam")
        arn = iam.create_role(RoleName="task", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName="task", PolicyName="task", PolicyDocument=document)
        return str(arn)

    def register(self, family: str, command: str, *, mode: str = "bridge", logs: str = "", **more: Any) -> None:
        container = {
            "name": "app",
            "image": self.image,
            "memory": 32,
            "command": ["sh", "-c", command],
            "stopTimeout": 2,
            **more.pop("container", {}),
        }
        if logs:
            options = {"awslogs-group": logs, "awslogs-region": "us-east-1", "awslogs-create-group": "true"}
            container["logConfiguration"] = {"logDriver": "awslogs", "options": options}
        self("ecs").register_task_definition(
            family=family, networkMode=mode, containerDefinitions=[container], **more
        )

    def run(self, family: str, **more: Any) -> list[str]:
        """Run a task to its end; the lines that it printed to its log group, which has the family's name."""
        ecs = self("ecs")
        made = ecs.run_task(taskDefinition=family, **more)
        assert made["tasks"], made["failures"]
        arn = made["tasks"][0]["taskArn"]

        def ended() -> Any:
            (task,) = ecs.describe_tasks(tasks=[arn])["tasks"]
            return task if task["lastStatus"] == "STOPPED" else None

        task = until(ended)
        assert task["stopCode"] == "EssentialContainerExited", task["stoppedReason"]
        return [each["message"] for each in self("logs").filter_log_events(logGroupName=family)["events"]]


def until(reached: Callable[[], Any], limit: float = LIMIT) -> Any:
    deadline = time.monotonic() + limit
    while not (found := reached()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture
def site(host: str, busybox: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, busybox)
    try:
        made.begin()
        yield made
    finally:
        made.portside("cloud", "stop")


def test_an_awsvpc_service_is_reached_by_address_by_name_and_by_its_load_balancer(site: Site) -> None:
    elb, ecs, names = site("elbv2"), site("ecs"), site("servicediscovery")
    balancer = elb.create_load_balancer(Name="web", Subnets=site.subnets[:2])["LoadBalancers"][0]
    group = elb.create_target_group(
        Name="web",
        Protocol="HTTP",
        Port=3000,
        VpcId=site.vpc,
        TargetType="ip",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=3000,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    names.create_private_dns_namespace(Name="internal.test", Vpc=site.vpc)
    space = names.list_namespaces()["Namespaces"][0]["Id"]
    dns = {"DnsRecords": [{"Type": "A", "TTL": 10}]}
    registry = names.create_service(Name="web", NamespaceId=space, DnsConfig=dns)["Service"]["Arn"]
    server = "echo hello from $(hostname) > /www/index.html; exec httpd -f -p 3000 -h /www"
    site.register("web", server, mode="awsvpc", container={"portMappings": [{"containerPort": 3000}]})
    ecs.create_service(
        serviceName="web",
        taskDefinition="web",
        desiredCount=2,
        networkConfiguration={"awsvpcConfiguration": {"subnets": site.subnets}},
        loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 3000}],
        serviceRegistries=[{"registryArn": registry}],
    )
    until(
        lambda: (
            ecs.describe_services(services=["web"])["services"][0]["deployments"][0]["rolloutState"] == "COMPLETED"
        )
    )
    tasks = ecs.describe_tasks(tasks=ecs.list_tasks(serviceName="web")["taskArns"])["tasks"]
    addresses = {each["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for each in tasks}
    assert len(addresses) == 2
    health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert {each["Target"]["Id"] for each in health} == addresses
    with urllib.request.urlopen("http://127.0.0.1:3000/", timeout=10) as answer:
        assert answer.read().startswith(b"hello from ")

    fetch = (
        f"for n in 1 2 3 4 5 6; do wget -qO- http://web.internal.test:3000/; done;"
        f"echo balanced; wget -qO- http://{balancer['DNSName']}:3000/"
    )
    site.register("probe", fetch, logs="probe")
    lines = site.run("probe")
    assert len([each for each in lines if each.startswith("hello from ")]) == 7

    ecs.update_service(service="web", desiredCount=0)
    until(lambda: not names.list_instances(ServiceId=registry.rpartition("/")[2])["Instances"])


def test_a_task_has_the_credentials_of_its_role_and_knows_where_it_is(site: Site) -> None:
    role = site.role("s3:ListAllMyBuckets")
    command = (
        'wget -qO- "http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"; echo;'
        'wget -qO- "$ECS_CONTAINER_METADATA_URI_V4/task"; echo; echo $AWS_ENDPOINT_URL;'
        'wget -qO- "$ECS_CONTAINER_METADATA_URI_V4/stats"'
    )
    for mode in ("bridge", "host", "awsvpc"):
        site.register(f"who-{mode}", command, mode=mode, logs=f"who-{mode}", taskRoleArn=role)
        subnets = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": site.subnets}}}
        lines = site.run(f"who-{mode}", **(subnets if mode == "awsvpc" else {}))
        assert len(lines) == 4, lines
        given, about, used = (json.loads(lines[number]) for number in (0, 1, 3))
        assert given["RoleArn"] == role
        assert about["Family"] == f"who-{mode}"
        assert used["id"] == about["Containers"][0]["DockerId"]
        assert used["memory_stats"]["usage"] > 0
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["Token"], "us-east-1")
        caller = session.client("sts", endpoint_url=site.url).get_caller_identity()
        assert ":assumed-role/task/" in caller["Arn"]
        session.client("s3", endpoint_url=site.url).list_buckets()
        with pytest.raises(Exception, match="not authorized to perform"):
            session.client("ecs", endpoint_url=site.url).list_clusters()
        assert lines[2].endswith(site.url.rpartition(":")[2])


def test_a_path_of_the_instance_keeps_what_tasks_put_there(site: Site) -> None:
    mounts = {"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]}
    volumes = [{"name": "data", "host": {"sourcePath": "/srv/data"}}]
    command = "cat /data/note 2>/dev/null || echo nothing; echo kept > /data/note"
    site.register("note", command, logs="note", container=mounts, volumes=volumes)
    site.run("note")
    assert site.run("note") == ["nothing", "kept"]
    assert not Path("/srv/data").exists()


def test_kernel_settings_user_and_read_only_root_hold_inside(site: Site) -> None:
    command = "id -u; cat /proc/sys/net/core/somaxconn; (echo > /tmp/x) 2>/dev/null || echo refused; echo > /scratch/x && echo written"
    settings = {
        "user": "1234",
        "readonlyRootFilesystem": True,
        "systemControls": [{"namespace": "net.core.somaxconn", "value": "777"}],
        "linuxParameters": {"tmpfs": [{"containerPath": "/scratch", "size": 4, "mountOptions": ["mode=1777"]}]},
    }
    site.register("settings", command, logs="settings", container=settings)
    lines = site.run("settings")
    assert lines[:2] == ["1234", "777"]
    assert lines[-2:] == ["refused", "written"]


def test_a_command_runs_in_a_container_with_input_output_and_exit_code(site: Site) -> None:
    ecs = site("ecs")
    site.register("app", "exec sleep 600")
    arn = ecs.run_task(taskDefinition="app")["tasks"][0]["taskArn"]
    until(lambda: ecs.describe_tasks(tasks=[arn])["tasks"][0]["lastStatus"] == "RUNNING")
    with pytest.raises(Exception, match="execute command was not enabled"):
        ecs.execute_command(task=arn, interactive=True, command="sh")

    arn = ecs.run_task(taskDefinition="app", enableExecuteCommand=True)["tasks"][0]["taskArn"]
    until(lambda: ecs.describe_tasks(tasks=[arn])["tasks"][0]["lastStatus"] == "RUNNING")
    session = ecs.execute_command(task=arn, interactive=True, command="sh")["session"]
    printed: list[bytes] = []

    async def talk() -> int:
        channel = Channel(session, printed.append, lambda: (97, 31))
        running = asyncio.create_task(channel.run())
        await channel.typed(b"echo the answer is $((6 * 7)); exit 3\n")
        return await running

    assert asyncio.run(talk()) == 3
    assert b"the answer is 42" in b"".join(printed)
    # The token has been used.
    with pytest.raises(Unreachable, match="no such session"):
        asyncio.run(Channel(session, printed.append, lambda: (80, 24)).run())

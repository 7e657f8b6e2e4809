"""User data, blueprints, pins, positions, the next step of a task."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from portside.cloud.machine.engine import ContainerState, Health, LogLine, Phase, PortBinding
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ecs import blueprints, lifecycle, offered, userdata
from portside.cloud.services.ecs.images import EnsuredImage, pinned
from portside.cloud.services.ecs.log_loop import Position, Progress
from portside.cloud.services.ecs.records import (
    TASK_TRANSITIONS,
    Container,
    ContainerStatus,
    HealthStatus,
    Task,
    TaskStatus,
)


@pytest.mark.parametrize(
    ("text", "cluster"),
    [
        ("#!/bin/bash\necho ECS_CLUSTER=prod >> /etc/ecs/ecs.config\n", "prod"),
        (
            '#!/bin/bash -xe\necho "ECS_CLUSTER=staging-cluster-ECSCluster-1X" >> /etc/ecs/ecs.config',
            "staging-cluster-ECSCluster-1X",
        ),
        ("cat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=prod\nECS_LOGLEVEL=debug\nEOF\n", "prod"),
        (
            "#cloud-config\nwrite_files:\n- path: /etc/ecs/ecs.config\n  content: |\n    ECS_CLUSTER='prod'\n",
            "prod",
        ),
        ("# ECS_CLUSTER=old\necho ECS_CLUSTER=new > /etc/ecs/ecs.config", "new"),
        ('[settings.ecs]\ncluster = "prod"\n', "prod"),
        ("echo ECS_LOGLEVEL=debug >> /etc/ecs/ecs.config", "default"),
        ("#!/bin/bash\nyum install -y httpd", None),
        ("", None),
    ],
)
def test_the_cluster_that_user_data_names(text: str, cluster: str | None) -> None:
    assert userdata.cluster_named(text) == cluster


@pytest.mark.parametrize(
    ("script", "source"),
    [
        ("/opt/aws/bin/cfn-init -v --stack web --resource Launch --region us-east-1", ("web", "Launch")),
        ("/opt/aws/bin/cfn-init -v \\\n  --stack=web \\\n  --resource=Launch", ("web", "Launch")),
        ("cfn-init -s 'web' -r \"Launch\" || exit 1", ("web", "Launch")),
        ("# cfn-init --stack web --resource Launch", None),
        ("cfn-signal --stack web --resource Launch", None),
        ("cfn-init --stack web", None),
    ],
)
def test_the_resource_that_cfn_init_carries_out(script, source):
    assert userdata.initialised_from(f"#!/bin/bash\n{script}\n") == source


@pytest.mark.parametrize(
    ("init", "cluster"),
    [
        ({"config": {"commands": {"01": {"command": "echo ECS_CLUSTER=web >> /etc/ecs/ecs.config"}}}}, "web"),
        (
            {"config": {"files": {"/etc/ecs/ecs.config": {"content": ["ECS_CLUSTER=web", "ECS_LOGLEVEL=info"]}}}},
            "web",
        ),
        ({"config": {"files": {"/etc/ecs/ecs.config": {"content": "ECS_LOGLEVEL=info"}}}}, "default"),
        ({"config": {"packages": {"yum": {"httpd": []}}}}, None),
    ],
)
def test_the_cluster_in_a_stacks_metadata(init, cluster):
    assert userdata.cluster_in_metadata(json.dumps({"AWS::CloudFormation::Init": init})) == cluster


@pytest.mark.parametrize("metadata", ["", "{}", "[]", "no JSON"])
def test_metadata_without_instructions_name_no_cluster(metadata):
    assert userdata.cluster_in_metadata(metadata) is None


def test_user_data_is_base64_and_may_be_zipped_or_encoded_twice() -> None:
    script = b"#!/bin/bash\necho ECS_CLUSTER=a"
    once = base64.b64encode(script)
    assert userdata.decode(once.decode()) == script.decode()
    assert userdata.decode(base64.encodebytes(once).decode()) == script.decode()
    assert userdata.decode(base64.b64encode(gzip.compress(script)).decode()) == script.decode()
    assert userdata.decode("") == ""


def test_sizes_of_a_task() -> None:
    spec = {
        "containerDefinitions": [
            {"name": "a", "image": "x", "cpu": 256, "memory": 300, "memoryReservation": 100},
            {"name": "b", "image": "x", "memory": 50},
        ]
    }
    plan = blueprints.read(spec)
    assert (plan.cpu, plan.memory) == (256, 150), "the reservation counts, the limit if there is none"
    plan = blueprints.read(spec | {"cpu": "512", "memory": "1024"})
    assert (plan.cpu, plan.memory) == (512, 1024)
    plan = blueprints.read(spec, {"containerOverrides": [{"name": "b", "memory": 80, "cpu": 10}]})
    assert (plan.cpu, plan.memory) == (266, 180)


@pytest.mark.parametrize(
    ("reference", "image", "expected"),
    [
        ("web:1", EnsuredImage("sha256:aa", "sha256:bb"), "web@sha256:bb"),
        ("localhost:5000/web", EnsuredImage("sha256:aa", "sha256:bb"), "localhost:5000/web@sha256:bb"),
        ("localhost:5000/web:1", EnsuredImage("sha256:aa", "sha256:bb"), "localhost:5000/web@sha256:bb"),
        ("web@sha256:bb", EnsuredImage("sha256:aa", "sha256:bb"), "web@sha256:bb"),
        ("web:1", EnsuredImage("sha256:aa", ""), "sha256:aa"),
    ],
)
def test_an_image_is_pinned_by_its_digest(reference: str, image: EnsuredImage, expected: str) -> None:
    assert pinned(reference, image) == expected


@pytest.mark.parametrize(
    "container",
    [
        {"privileged": True},
        {"linuxParameters": {"devices": [{"hostPath": "/dev/kvm"}]}},
        {"capability SYS_ADMIN": None, "linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}},
        {"security option": None, "dockerSecurityOptions": ["seccomp=unconfined"]},
        {"logConfiguration": {"logDriver": "splunk"}},
        {"resourceRequirements": [{"type": "InferenceAccelerator", "value": "one"}]},
        {"restartPolicy": {"enabled": True}},
    ],
)
def test_what_would_be_ignored_is_refused_by_name(container: dict[str, Any]) -> None:
    with pytest.raises(AwsError) as error:
        offered.check_definition({"containerDefinitions": [{"name": "app", "image": "app", **container}]})
    assert next(iter(container)) in str(error.value) or "log driver" in str(error.value)
    offered.check_definition(
        {
            "containerDefinitions": [
                {"name": "app", "image": "app", "linuxParameters": {"initProcessEnabled": True}},
                {"name": "side", "image": "app", "links": ["app"], "dockerSecurityOptions": ["no-new-privileges"]},
            ]
        }
    )


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ({"host": {"sourcePath": "/var/run/docker.sock"}}, "/var/run/docker.sock"),
        ({"host": {"sourcePath": "/proc"}}, "/proc"),
        ({"host": {"sourcePath": "/"}}, "the path /"),
        ({"dockerVolumeConfiguration": {"driver": "rexray/ebs"}}, "rexray/ebs"),
        (
            {"dockerVolumeConfiguration": {"driverOpts": {"type": "none", "o": "bind", "device": "/etc"}}},
            "driver options",
        ),
        ({"efsVolumeConfiguration": {"fileSystemId": "fs-1"}}, "efsVolumeConfiguration"),
    ],
)
def test_a_volume_that_would_open_this_machine_is_refused(volume: dict[str, Any], why: str) -> None:
    spec = {"containerDefinitions": [{"name": "app", "image": "app"}], "volumes": [{"name": "data", **volume}]}
    with pytest.raises(AwsError, match=why):
        offered.check_definition(spec)


def lines(*stamps: float) -> list[LogLine]:
    return [LogLine(at, f"line {index}") for index, at in enumerate(stamps)]


@pytest.mark.parametrize(
    "stamps",
    [
        (1.0, 1.0, 1.0, 2.0, 2.0),
        (1.0, 1.1, 1.05, 1.2, 1.15, 3.0, 2.9, 3.0),
        tuple(number / 100 for number in range(200)),
    ],
)
def test_a_position_is_exact_wherever_the_reading_is_cut_off(stamps: tuple[float, ...]) -> None:
    everything = lines(*stamps)
    for first in range(len(everything) + 1):
        for second in range(first, min(len(everything), first + 7) + 1):
            position, delivered = Position(), []
            for end in (first, second, len(everything)):
                # What an engine gives from a time on, without those that a former life has delivered.
                offer = [line for line in everything if line.at >= position.since]
                progress = Progress(position)
                for index, line in enumerate(offer):
                    if len(delivered) >= end and index >= position.skip:
                        break
                    progress.passed(line)
                    if index >= position.skip:
                        delivered.append(line)
                if offer:
                    position = Position.read(progress.position().token) if len(delivered) else position
            assert delivered == everything


def test_tokens_of_others_are_no_position() -> None:
    assert Position.read("") == Position.read("49590302938475") == Position.read("container:x") == Position()


def test_task_states_never_go_back() -> None:
    order = list(TaskStatus)
    assert all(order.index(later) > order.index(earlier) for earlier, later in TASK_TRANSITIONS)


def task(**more: Any) -> Task:
    base: dict[str, Any] = {
        "arn": "t", "region": "r", "cluster": "c", "instance": "i", "definition": "d", "status": TaskStatus.RUNNING,
        "desired": TaskStatus.RUNNING, "group_name": "g", "created_at": 0.0,
    }  # fmt: skip
    return Task(**(base | more))


def container(name: str, status: ContainerStatus, **more: Any) -> Container:
    base: dict[str, Any] = {
        "arn": name,
        "task": "t",
        "name": name,
        "position": 0,
        "status": status,
        "image": "x",
        "engine_id": "e",
        "logged": True,
    }
    return Container(**(base | more))


def plan(*containers: dict[str, Any]) -> blueprints.TaskBlueprint:
    return blueprints.read({"containerDefinitions": [{"image": "x", **each} for each in containers]})


def test_containers_stop_in_the_reverse_order_of_their_dependencies() -> None:
    wanted = plan({"name": "db"}, {"name": "app", "dependsOn": [{"containerName": "db", "condition": "START"}]})
    both = [container("db", ContainerStatus.RUNNING), container("app", ContainerStatus.RUNNING)]
    stopping = task(desired=TaskStatus.STOPPED, status=TaskStatus.STOPPING)
    assert lifecycle.next_step(stopping, wanted, both, 0) == lifecycle.StopContainers(("app",))
    one = [both[0], container("app", ContainerStatus.STOPPED)]
    assert lifecycle.next_step(stopping, wanted, one, 0) == lifecycle.StopContainers(("db",))


def test_a_dependency_may_take_as_long_as_start_timeout_allows() -> None:
    wanted = plan(
        {"name": "app", "startTimeout": 20, "dependsOn": [{"containerName": "init", "condition": "COMPLETE"}]},
        {"name": "init", "essential": False},
    )
    records = [
        container("app", ContainerStatus.PENDING),
        container("init", ContainerStatus.RUNNING, started_at=100.0),
    ]
    starting = task(status=TaskStatus.PENDING)
    assert lifecycle.next_step(starting, wanted, records, 105) == lifecycle.Wait(15)
    step = lifecycle.next_step(starting, wanted, records, 120)
    assert isinstance(step, lifecycle.Halt)
    assert "startTimeout of 20 seconds" in step.reason


def test_removal_waits_for_the_logs_but_not_for_ever() -> None:
    wanted = plan({"name": "app"})
    ended = [container("app", ContainerStatus.STOPPED, logged=False)]
    going = task(desired=TaskStatus.STOPPED, status=TaskStatus.DEPROVISIONING, execution_stopped_at=100.0)
    assert lifecycle.next_step(going, wanted, ended, 104) == lifecycle.Wait(6)
    assert lifecycle.next_step(going, wanted, ended, 110) == lifecycle.Remove(("app",))


def test_what_the_engine_shows_is_noted() -> None:
    before = container("app", ContainerStatus.CREATED)
    ports = (PortBinding(80, "127.1.1.1", 4000), PortBinding(80, "::1", 4000))
    seen = ContainerState("e", "n", {}, Phase.RUNNING, started_at=5.0, ports=ports, health=Health.STARTING)
    after = lifecycle.observe(before, seen, 9)
    assert (after.status, after.started_at, after.health) == (ContainerStatus.RUNNING, 5.0, HealthStatus.UNKNOWN)
    assert after.bindings == [{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 4000, "protocol": "tcp"}]
    ended = lifecycle.observe(
        after, ContainerState("e", "n", {}, Phase.EXITED, exit_code=0, out_of_memory=True), 9
    )
    assert (ended.exit_code, ended.reason) == (0, lifecycle.OUT_OF_MEMORY)
    assert ended.bindings == after.bindings, "needed to take the target back"
    gone = lifecycle.observe(after, lifecycle.Gone(), 9)
    assert (gone.status, gone.exit_code, gone.engine_id) == (ContainerStatus.STOPPED, None, "")

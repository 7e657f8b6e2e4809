"""ecs-deploy as pipelines call it: deploy, scale, update, run, diff, and its rollback when a deployment fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from client_cloud import LocalCloud, Tool, environment, until
from client_programs import pypi_program
from client_rows import ROWS, is_version
from portside.testing.engine import EXITS

CLUSTER = "deployed"
LIMIT = ("--timeout", "60")


@pytest.fixture(scope="module")
def ecs_deploy(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    directory = tmp_path_factory.mktemp("ecs-deploy")
    program = pypi_program(directory, "ecs", "ecs_deploy.cli:ecs", f"ecs-deploy=={ROWS['ecs-deploy'].version}")
    made = Tool([str(program)], environment(cloud.url), directory)
    assert is_version("ecs-deploy", made("--version").split()[-1])
    cloud.client("ecs").create_cluster(clusterName=CLUSTER)
    cloud.instance(CLUSTER)
    yield made


@pytest.fixture
def service(cloud: LocalCloud, request: pytest.FixtureRequest) -> Iterator[str]:
    ecs = cloud.client("ecs")
    name = request.node.name.removeprefix("test_").replace("_", "-")
    container = {"name": "app", "image": "app:1", "memory": 64, "environment": [{"name": "A", "value": "1"}]}
    ecs.register_task_definition(family=name, containerDefinitions=[container])
    ecs.create_service(cluster=CLUSTER, serviceName=name, taskDefinition=name, desiredCount=1)
    until(lambda: shown(cloud, name)["runningCount"] == 1)
    yield name
    ecs.delete_service(cluster=CLUSTER, service=name, force=True)


def shown(cloud: LocalCloud, name: str) -> dict[str, object]:
    (found,) = cloud.client("ecs").describe_services(cluster=CLUSTER, services=[name])["services"]
    return found


def image(cloud: LocalCloud, name: str) -> str:
    ecs = cloud.client("ecs")
    described = ecs.describe_task_definition(taskDefinition=shown(cloud, name)["taskDefinition"])
    return str(described["taskDefinition"]["containerDefinitions"][0]["image"])


@pytest.mark.client(
    "ecs-deploy",
    works="`deploy` by tag, with variables; old revisions are deregistered",
)
def test_a_tag_is_deployed(cloud: LocalCloud, ecs_deploy: Tool, service: str) -> None:
    said = ecs_deploy("deploy", CLUSTER, service, "--tag", "2", "--env", "app", "A", "2", *LIMIT)
    assert "Deployment successful" in said and "Successfully deregistered revision: 1" in said
    assert 'Changed image of container "app" to: "app:2"' in said
    assert image(cloud, service) == "app:2"
    assert shown(cloud, service)["runningCount"] == 1
    ecs = cloud.client("ecs")
    assert ecs.describe_task_definition(taskDefinition=f"{service}:1")["taskDefinition"]["status"] == "INACTIVE"


@pytest.mark.client(
    "ecs-deploy", works="`deploy --rollback`: a revision that does not come up is replaced by the one before"
)
def test_what_fails_is_rolled_back(cloud: LocalCloud, ecs_deploy: Tool, service: str) -> None:
    cloud.program("app:broken", EXITS)
    ecs = cloud.client("ecs")
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    ecs.update_service(cluster=CLUSTER, service=service, deploymentConfiguration=breaker)
    said = ecs_deploy("deploy", CLUSTER, service, "--tag", "broken", "--rollback", *LIMIT, refused=True)
    assert "Deployment failed, but service has been rolled back to previous task definition" in said
    assert image(cloud, service) == "app:1"
    assert shown(cloud, service)["runningCount"] == 1


@pytest.mark.client("ecs-deploy", works="a deployment that does not come up is told, and its exit code is not 0")
def test_what_finds_no_room_is_told(cloud: LocalCloud, ecs_deploy: Tool, service: str) -> None:
    said = ecs_deploy("deploy", CLUSTER, service, "--memory", "app", "99999", *LIMIT, refused=True)
    assert "unable to place a task" in said and "Deployment failed" in said


@pytest.mark.client("ecs-deploy", works="`scale`, up and down")
def test_a_service_is_scaled(cloud: LocalCloud, ecs_deploy: Tool, service: str) -> None:
    assert "Scaling successful" in ecs_deploy("scale", CLUSTER, service, "2", *LIMIT)
    assert shown(cloud, service)["runningCount"] == 2
    ecs_deploy("scale", CLUSTER, service, "0", *LIMIT)
    assert shown(cloud, service)["runningCount"] == 0


@pytest.mark.client("ecs-deploy", works="`update`, `diff` and `run` of task definitions")
def test_a_definition_is_updated_compared_and_run(cloud: LocalCloud, ecs_deploy: Tool, service: str) -> None:
    said = ecs_deploy("update", service, "--tag", "3", "--no-deregister")
    assert "Successfully created revision: 2" in said
    assert "app:3" in ecs_deploy("diff", service, "1", "2")
    said = ecs_deploy("run", CLUSTER, service, "2", "--command", "app", "echo hello")
    assert "Successfully started 2 instances of task" in said
    started = [line.removeprefix("- ") for line in said.splitlines() if line.startswith("- arn:")]
    tasks = cloud.client("ecs").describe_tasks(cluster=CLUSTER, tasks=started)["tasks"]
    overridden = [each["overrides"]["containerOverrides"][0]["command"] for each in tasks]
    assert overridden == [["echo", "hello"]] * 2
    assert "Unknown task definition" in ecs_deploy("run", CLUSTER, "none", refused=True)


@pytest.mark.client("ecs-deploy", works="clusters and services that do not exist are told")
def test_what_is_not_there_is_told(ecs_deploy: Tool) -> None:
    assert "Cluster not found" in ecs_deploy("scale", "none", "none", "1", refused=True)
    assert "Service not found" in ecs_deploy("deploy", CLUSTER, "none", refused=True)


@pytest.mark.client(
    "ecs-deploy", works="`cron`: the rule starts the new revision (rules are kept here, and start nothing)"
)
def test_a_rule_gets_the_new_revision(cloud: LocalCloud, ecs_deploy: Tool, service: str) -> None:
    events = cloud.client("events")
    events.put_rule(Name="nightly", ScheduleExpression="rate(1 day)")
    place = f"arn:aws:ecs:us-east-1:000000000000:cluster/{CLUSTER}"
    definition = {"TaskDefinitionArn": str(shown(cloud, service)["taskDefinition"])}
    target = {"Id": "1", "Arn": place, "RoleArn": "arn:aws:iam::000000000000:role/r", "EcsParameters": definition}
    events.put_targets(Rule="nightly", Targets=[target])
    said = ecs_deploy("cron", CLUSTER, service, "nightly", "--tag", "4", "--no-deregister")
    assert "Successfully updated scheduled task nightly" in said
    (target,) = events.list_targets_by_rule(Rule="nightly")["Targets"]
    assert target["EcsParameters"]["TaskDefinitionArn"].endswith(f"/{service}:2")

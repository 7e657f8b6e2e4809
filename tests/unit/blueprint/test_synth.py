"""The templates: repeatable to the byte, accepted by cfn-lint, with the names that other things lean on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portside.blueprint.app import App
from portside.blueprint.settings import Settings, load
from portside.blueprint.synth import every, stacks

EXAMPLE = Path(__file__).parents[3] / "examples" / "helloworld"
EXPECTED = EXAMPLE / "templates"


def documents(environment="staging", **settings):
    app = App(Settings(**({"name": "helloworld"} | settings)))
    return {stack.stack: json.loads(stack.template) for stack in stacks(app, environment)}


def test_the_example_gives_the_templates_beside_it():
    made = every(App(load(EXAMPLE)))
    assert len(made) == 9
    for stack in made:
        assert stack.template == (EXPECTED / f"{stack.stack}.template").read_text(), (
            f"{stack.stack} differs; if that is wanted: make golden"
        )


def test_nothing_else_lies_beside_the_example():
    app = App(load(EXAMPLE))
    names = {f"{stack.stack}.template" for stack in every(app)}
    assert {path.name for path in EXPECTED.iterdir()} == names


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_the_text_does_not_depend_on_the_hash_seed(seed, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "portside", "synth", str(EXAMPLE), "-o", str(tmp_path)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "src"},
    )
    for path in tmp_path.iterdir():
        assert path.read_text() == (EXPECTED / path.name).read_text()


def test_cfn_lint_has_nothing_to_say():
    found = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), *sorted(EXPECTED.glob("*.template"))],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_stack_names():
    assert list(documents("production")) == [
        "helloworld-ecr",
        "production-cluster",
        "production-alb",
        "production-helloworld-service",
    ]


def exports(document):
    return {output["Export"]["Name"]["Fn::Sub"] for output in document["Outputs"].values() if "Export" in output}


def test_the_exports_that_other_stacks_lean_on():
    made = documents()
    assert exports(made["helloworld-ecr"]) == {"${RepoName}-repo"}
    assert exports(made["staging-cluster"]) >= {
        "${AWS::StackName}-id",
        "${AWS::StackName}-vpc-id",
        "${AWS::StackName}-public-subnets",
    }
    assert exports(made["staging-alb"]) == {"${AWS::StackName}-target-group"}
    assert "URL" in made["staging-alb"]["Outputs"]


def test_the_parameters_that_people_pass():
    made = documents()
    assert set(made["helloworld-ecr"]["Parameters"]) == {"RepoName"}
    assert set(made["staging-cluster"]["Parameters"]) >= {"KeyPair", "VpcId", "PublicSubnet"}
    assert "Parameters" not in made["staging-alb"]
    assert set(made["staging-helloworld-service"]["Parameters"]) == {"Tag"}


def test_latest_is_no_tag_to_deploy():
    import re

    pattern = documents()["staging-helloworld-service"]["Parameters"]["Tag"]["AllowedPattern"]
    assert re.fullmatch(pattern, "1be4263ccff941af")
    assert re.fullmatch(pattern, "latest-1")
    assert not re.fullmatch(pattern, "latest")
    assert not re.fullmatch(pattern, "")


def test_settings_reach_the_templates():
    made = documents(
        "production",
        service={"port": 8080, "memory": 512, "environment": {"A": "1"}, "health_check": {"path": "/up"}},
        environments={"production": {"count": 3, "instance_type": "m5.large", "environment": {"B": "2"}}},
    )
    service = made["production-helloworld-service"]["Resources"]
    container = service["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    assert container["Memory"] == 512
    assert container["PortMappings"] == [{"ContainerPort": 8080, "HostPort": 0, "Protocol": "tcp"}]
    assert container["Environment"] == [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": "2"}]
    assert service["Service"]["Properties"]["DesiredCount"] == 3
    assert made["production-alb"]["Resources"]["TargetGroup"]["Properties"]["HealthCheckPath"] == "/up"
    launch = made["production-cluster"]["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    assert launch["InstanceType"] == "m5.large"


def test_both_environments_come_from_the_same_templates():
    """But for what portside.toml gives them differently, which here is nothing."""
    same = {"environments": {"staging": {}, "production": {}}}
    staging = list(documents("staging", **same).values())
    assert staging == list(documents("production", **same).values())


def test_no_more_rights_than_needed():
    for name, document in documents().items():
        text = json.dumps(document)
        assert "AdministratorAccess" not in text, name
        assert '"iam:' not in text, name
        for resource in document["Resources"].values():
            for rule in resource.get("Properties", {}).get("SecurityGroupIngress", []):
                assert rule["FromPort"] == rule["ToPort"], f"{name} opens a range to the world"


def test_copies_follow_the_load_only_if_asked():
    assert "ScalableTarget" not in json.dumps(documents())
    scaling = {"min": 2, "max": 6, "cpu": 50, "requests": 600}
    made = documents(service={"scaling": scaling})
    resources = made["staging-helloworld-service"]["Resources"]
    assert "DesiredCount" not in resources["Service"]["Properties"], "an update must not put the count back"
    target = resources["ScalableTarget"]["Properties"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 6)
    tracked = {
        name: resources[name]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
        for name in ("ScaleByCpu", "ScaleByRequests")
    }
    assert [each["TargetValue"] for each in tracked.values()] == [50, 600]
    label = tracked["ScaleByRequests"]["PredefinedMetricSpecification"]["ResourceLabel"]
    assert "alb-load-balancer" in json.dumps(label)
    exported = [each.get("Export") for each in made["staging-alb"]["Outputs"].values()]
    assert {"Name": {"Fn::Sub": "${AWS::StackName}-load-balancer"}} in exported


def test_cfn_lint_has_nothing_to_say_of_scaling(tmp_path):
    for name, document in documents(service={"scaling": {"requests": 600}}).items():
        (tmp_path / f"{name}.template").write_text(json.dumps(document))
    found = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), *sorted(tmp_path.glob("*.template"))],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout) == (0, "")

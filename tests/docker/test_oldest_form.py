"""Delivery as it was written in 2018, on a real engine: its image's engine comes without privilegedMode."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import WaiterError
from test_codebuild_docker import LIMIT, Cloud
from test_main_job import Person, fetch, people

from oldest import CODEBUILD, CODEPIPELINE
from portside.image import debian

__all__ = ["people"]

REPOSITORY = {
    "Resources": {"R": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "helloworld"}}},
    "Outputs": {"Name": {"Value": {"Ref": "R"}, "Export": {"Name": "helloworld-repo"}}},
}
SPEC = """version: 0.1
phases:
  build:
    commands:
      - $(aws ecr get-login --no-include-email)
      - docker version --format {{.Server.Version}}
"""


@pytest.mark.docker
def test_the_oldest_build_stack_is_created_and_its_project_drives_an_engine(host, tmp_path, monkeypatch):
    monkeypatch.setattr("test_codebuild_docker.ADDRESS", "127.0.0.83")
    cloud = Cloud(tmp_path / "home")
    try:
        stacks, builds = cloud.client("cloudformation"), cloud.client("codebuild")
        for name, body in (("helloworld-ecr", REPOSITORY), ("helloworld-codebuild", CODEBUILD)):
            stacks.create_stack(StackName=name, TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_IAM"])
            stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        started = builds.start_build(
            projectName="HelloWorldContainer",
            sourceTypeOverride="NO_SOURCE",
            artifactsOverride={"type": "NO_ARTIFACTS"},
            buildspecOverride=SPEC,
        )
        deadline = time.monotonic() + LIMIT
        while True:
            build = builds.batch_get_builds(ids=[started["build"]["id"]])["builds"][0]
            if build["buildStatus"] != "IN_PROGRESS":
                break
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    finally:
        cloud.portside("cloud", "stop")


class Delivery:
    """A repository, both environments with another image, and the two stacks of 2018."""

    def __init__(self, person: Person) -> None:
        self.person = person
        app = person.app
        dockerfile = app / "Dockerfile"
        text = dockerfile.read_text()
        dockerfile.write_text(text.replace("node:24-slim", debian.reference()))
        settings = (app / "portside.toml").read_text()
        (app / "portside.toml").write_text(settings.partition("# Commits to this branch")[0])
        person.run("synth", "-o", "templates")
        for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "begin")):
            who = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
            subprocess.run(["git", *who, *words], cwd=app, check=True, timeout=60)
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=app, check=True, capture_output=True, text=True)
        self.commit = done.stdout.strip()
        self.urls = {each: person.run("up", "--env", each).stdout.strip() for each in ("staging", "production")}
        person.run("connect", "ToBeConfiguredLater/ToBeConfiguredLater", str(app))
        record = person.record()
        self.address = str(record["address"])
        self.keys = {
            "endpoint_url": f"http://{record['address']}:{record['port']}",
            "region_name": str(record["region"]),
            "aws_access_key_id": "a",
            "aws_secret_access_key": "b",
        }

    def client(self, name: str) -> Any:
        return boto3.client(name, **self.keys)

    def stack(self, name: str, body: dict[str, Any]) -> dict[str, str]:
        stacks = self.client("cloudformation")
        stacks.create_stack(StackName=name, TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_NAMED_IAM"])
        try:
            stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        except WaiterError:
            events = stacks.describe_stack_events(StackName=name)["StackEvents"]
            reasons = [each["ResourceStatusReason"] for each in events if "ResourceStatusReason" in each]
            raise AssertionError(f"{name}: {reasons}") from None
        (made,) = stacks.describe_stacks(StackName=name)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in made.get("Outputs", [])}

    def stage(self, pipeline: str, name: str) -> dict[str, Any]:
        found = self.client("codepipeline").get_pipeline_state(name=pipeline)["stageStates"]
        return next(each for each in found if each["stageName"] == name)

    def until(self, pipeline: str, name: str, status: str) -> dict[str, Any]:
        """The action of a stage, once it has this status; no stage may fail meanwhile."""
        deadline = time.monotonic() + LIMIT
        while True:
            states = self.client("codepipeline").get_pipeline_state(name=pipeline)["stageStates"]
            actions = {
                each["stageName"]: {"name": one["actionName"], **one.get("latestExecution", {})}
                for each in states
                for one in each["actionStates"]
            }
            assert "Failed" not in {each.get("status") for each in actions.values()}, actions
            if actions[name].get("status") == status:
                return actions[name]
            assert time.monotonic() < deadline, actions
            time.sleep(0.2)

    def image(self, environment: str) -> str:
        shown = json.loads(self.person.run("status", "--env", environment, "--json").stdout)
        return str(shown["service"]["image"]).rsplit(":", 1)[1]


@pytest.mark.docker
def test_the_delivery_of_2018_runs_unchanged(people):
    delivery = Delivery(people("oldest", "127.0.0.84"))
    delivery.stack("helloworld-codebuild", CODEBUILD)
    pipeline = delivery.stack("helloworld-codepipeline", CODEPIPELINE)["Pipeline"]
    waiting = delivery.until(pipeline, "Approval", "InProgress")
    assert delivery.image("staging") == delivery.commit
    assert delivery.image("production") != delivery.commit
    delivery.client("codepipeline").put_approval_result(
        pipelineName=pipeline,
        stageName="Approval",
        actionName="Approval",
        token=waiting["token"],
        result={"status": "Approved", "summary": "as ever"},
    )
    delivery.until(pipeline, "Production", "Succeeded")
    assert delivery.image("production") == delivery.commit
    images = delivery.client("ecr").describe_images(repositoryName="helloworld")["imageDetails"]
    (built,) = [each for each in images if delivery.commit in each.get("imageTags", [])]
    assert sorted(built["imageTags"]) == sorted([delivery.commit, "latest"])
    for url in delivery.urls.values():
        parts = urlsplit(url)
        assert fetch(f"http://{delivery.address}:{parts.port}/", parts.netloc) == "Hello World\n"

"""The build stack of 2018 on a real engine: its image's engine comes without privilegedMode."""

from __future__ import annotations

import json
import time

import pytest
from test_codebuild_docker import LIMIT, Cloud

from oldest import CODEBUILD

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

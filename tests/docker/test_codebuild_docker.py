"""Builds in real containers, with the guarded engine socket, through unmodified clients."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from portside.image import buildimage

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.72"
ACCOUNT = "000000000000"
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/build"
LIMIT = 120
pytestmark = pytest.mark.docker


def policy(action, **more):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, **more}]})


class Cloud:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))} | {
            "PORTSIDE_HOME": str(home),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": ADDRESS,
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.start()
        iam = self.client("iam")
        trust = policy("sts:AssumeRole", Principal={"Service": "codebuild.amazonaws.com"})
        iam.create_role(RoleName="build", AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName="build", PolicyName="all", PolicyDocument=policy("*", Resource="*"))

    def portside(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "portside", *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        self.portside("cloud", "start")
        for line in self.portside("cloud", "env").splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.environ[name] = shlex.split(value)[0]
        # A cloud that is started again keeps its port, as it does with the usual one.
        self.environ["PORTSIDE_PORT"] = self.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]

    def identifier(self) -> str:
        """The id that this cloud's containers and images are known by."""
        return json.loads((self.home / "cloud" / "running.json").read_text())["id"]

    def kill(self) -> None:
        os.kill(json.loads((self.home / "cloud" / "running.json").read_text())["pid"], signal.SIGKILL)

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.environ["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def begin(self, spec: str, image: str = "aws/codebuild/standard:7.0", **more) -> str:
        codebuild = self.client("codebuild")
        codebuild.create_project(
            name="app",
            source={"type": "NO_SOURCE", "buildspec": spec},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": "LINUX_CONTAINER", "image": image, "computeType": "BUILD_GENERAL1_SMALL", **more,
            },
            serviceRole=ROLE,
        )  # fmt: skip
        return codebuild.start_build(projectName="app")["build"]["id"]

    def get(self, identifier: str):
        return self.client("codebuild").batch_get_builds(ids=[identifier])["builds"][0]

    def finished(self, identifier: str):
        deadline = time.monotonic() + LIMIT
        while not (found := self.get(identifier))["buildComplete"]:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found

    def lines(self, build) -> list[str]:
        found = self.client("logs").get_log_events(
            logGroupName="/aws/codebuild/app", logStreamName=build["id"].split(":")[1], startFromHead=True
        )
        return [event["message"].rstrip("\n") for event in found["events"]]


@pytest.fixture
def build_image(host):
    """Made once, which takes minutes; it stays for the next run."""
    import asyncio

    from portside.image.builder import Builder

    async def make() -> str:
        async with Builder(host) as builder:
            return await buildimage.ensure(builder, print)

    return asyncio.run(make())


@pytest.fixture
def cloud(host, tmp_path):
    made = Cloud(tmp_path / "home")
    identity = json.loads((made.home / "cloud" / "running.json").read_text())["id"]
    yield made
    made.portside("cloud", "stop")
    listed = docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    left = [each for each in listed if each.startswith(f"portside.invalid/{identity}")]
    if left:
        docker("rmi", *left)
    assert all(each.startswith(f"portside.invalid/{identity}-cache/") for each in left)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=LIMIT).stdout


SPEC = f"""
version: 0.2
env:
  exported-variables: [TAG]
phases:
  pre_build:
    commands:
      - REGISTRY={REGISTRY}
      - TAG=v1
      - aws ecr get-login-password | docker login --username AWS --password-stdin $REGISTRY
  build:
    commands:
      - printf 'FROM portside-test/busybox:debian\\nCOPY x /x\\n' > Dockerfile; echo content > x
      - docker build -t $REGISTRY/app:$TAG .
      - docker tag $REGISTRY/app:$TAG other:1
      - docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | sort
  post_build:
    commands:
      - docker push $REGISTRY/app:$TAG
      - MANIFEST=$(aws ecr batch-get-image --repository-name app --image-ids imageTag=$TAG --query 'images[0].imageManifest' --output text)
      - aws ecr put-image --repository-name app --image-tag latest --image-manifest "$MANIFEST" > /dev/null
      - docker rmi $REGISTRY/app:$TAG other:1 > /dev/null
      - printf "FROM $REGISTRY/app:latest\\nRUN /bin/cat /x\\n" | docker build -t second -
      - docker run second || echo refused-run
      - docker run -v /:/host second || echo refused-bind
      - docker ps || echo refused-ps
      - docker exec x sh || echo refused-exec
      - docker build --network host . || echo refused-network
      - docker pull 111111111111.dkr.ecr.us-east-1.amazonaws.com/x:1 || echo unknown-host
      - docker inspect portside-test/busybox:debian || echo not-mine
"""


def test_a_build_logs_in_builds_tags_pushes_and_may_do_nothing_else(cloud, busybox, build_image):
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName="app")
    build = cloud.finished(cloud.begin(SPEC, privilegedMode=True))
    lines = cloud.lines(build)
    assert build["buildStatus"] == "SUCCEEDED", "\n".join(lines)
    assert build["exportedEnvironmentVariables"] == [{"name": "TAG", "value": "v1"}]
    images = {
        tag: image["imageDigest"]
        for image in ecr.describe_images(repositoryName="app")["imageDetails"]
        for tag in image["imageTags"]
    }
    assert set(images) == {"v1", "latest"}
    assert images["v1"] == images["latest"]
    assert f"v1: digest: {images['v1']}" in "\n".join(lines)
    assert f"Successfully tagged {REGISTRY}/app:v1" in lines
    assert lines[lines.index("other:1") - 1] == f"{REGISTRY}/app:v1"
    assert "Login Succeeded" in lines
    assert "content" in lines
    for word in ("run", "bind", "ps", "exec", "network"):
        assert f"refused-{word}" in lines
    assert "unknown-host" in lines
    assert "not-mine" in lines
    assert not any("portside.invalid" in line for line in lines)


def test_a_build_without_privileges_has_no_engine_and_br_66_a_push_to_nowhere_fails_its_phase(
    cloud, busybox, build_image
):
    spec = "version: 0.2\nphases:\n  build: {commands: ['docker ps 2>&1']}\n"
    build = cloud.finished(cloud.begin(spec))
    text = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    assert any(text in line for line in cloud.lines(build))
    cloud.client("codebuild").delete_project(name="app")
    spec = f"""
version: 0.2
phases:
  build:
    commands:
      - aws ecr get-login-password | docker login -u AWS --password-stdin {REGISTRY}
      - printf 'FROM portside-test/busybox:debian\\n' | docker build -t {REGISTRY}/none:1 -
  post_build: {{commands: ['docker push {REGISTRY}/none:1']}}
"""
    build = cloud.finished(cloud.begin(spec, privilegedMode=True))
    (pushed,) = [phase for phase in build["phases"] if phase["phaseType"] == "POST_BUILD"]
    assert (build["buildStatus"], pushed["phaseStatus"]) == ("FAILED", "FAILED")
    assert "docker push" in pushed["contexts"][0]["message"]
    assert any("The repository with name 'none' does not exist" in line for line in cloud.lines(build))


def test_a_build_specification_of_2018_runs_unchanged(cloud, busybox, build_image):
    cloud.client("ecr").create_repository(repositoryName="app")
    spec = f"""
version: 0.1
environment_variables:
  plaintext:
    IMAGE: {REGISTRY}/app
phases:
  pre_build:
    commands:
      - $(aws ecr get-login --region us-east-1)
      - echo -n "tag-$CODEBUILD_BUILD_NUMBER" > tag.txt
      - cd /tmp
  build:
    commands:
      - printf 'FROM portside-test/busybox:debian\\nCMD true\\n' | docker build -t $IMAGE:$(cat tag.txt) -
  post_build:
    commands:
      - docker push $IMAGE:$(cat tag.txt)
"""
    build = cloud.finished(cloud.begin(spec, "aws/codebuild/docker:1.12.1", privilegedMode=True))
    assert build["buildStatus"] == "SUCCEEDED", "\n".join(cloud.lines(build))
    (image,) = cloud.client("ecr").describe_images(repositoryName="app")["imageDetails"]
    assert image["imageTags"] == ["tag-1"]


def test_a_stopped_build_ends_the_image_build_too(cloud, busybox, build_image):
    spec = """
version: 0.2
phases: {build: {commands: ["printf 'FROM portside-test/busybox:debian\\nRUN sleep 3123\\n' | docker build -t slow -"]}}
"""
    identifier = cloud.begin(spec, privilegedMode=True)
    wait_for(lambda: "sleep 3123" in docker("ps", "--no-trunc", "--format", "{{.Command}}"))
    cloud.client("codebuild").stop_build(id=identifier)
    assert cloud.finished(identifier)["buildStatus"] == "STOPPED"
    wait_for(lambda: "sleep 3123" not in docker("ps", "-a", "--no-trunc", "--format", "{{.Command}}"))
    # A build is complete before its container is taken away.
    wait_for(lambda: identifier.replace(":", "-") not in docker("ps", "-a", "--format", "{{.Names}}"))


def test_kill_minus_9_in_mid_build_loses_and_doubles_nothing(cloud, busybox, build_image):
    spec = """
version: 0.2
phases:
  build:
    commands:
      - for i in 1 2 3 4 5 6; do echo line $i; sleep 0.7; done
      - printf 'FROM portside-test/busybox:debian\\nRUN echo built\\n' | docker build -t quick -
"""
    identifier = cloud.begin(spec, privilegedMode=True)
    wait_for(lambda: "line 2" in cloud.lines({"id": identifier}), ignoring=Exception)
    cloud.kill()
    cloud.start()
    build = cloud.finished(identifier)
    lines = cloud.lines(build)
    assert build["buildStatus"] == "SUCCEEDED", "\n".join(lines)
    assert [line for line in lines if line.startswith("line ")] == [f"line {i}" for i in range(1, 7)]
    assert "built" in lines


def test_a_docker_build_that_a_killed_cloud_cut_off_is_done_again(cloud, busybox, build_image):
    spec = """
version: 0.2
phases:
  build:
    commands:
      - mkdir slow
      - printf 'FROM portside-test/busybox:debian\\nRUN echo began && sleep 6 && echo ended\\n' > slow/Dockerfile
      - docker build --no-cache -t slow slow
"""
    identifier = cloud.begin(spec, privilegedMode=True)
    wait_for(lambda: "began" in cloud.lines({"id": identifier}), ignoring=Exception)
    cloud.kill()
    cloud.start()
    build = cloud.finished(identifier)
    lines = cloud.lines(build)
    assert build["buildStatus"] == "SUCCEEDED", "\n".join(lines)
    assert "The local cloud was started again: docker build is done again" in lines
    assert (lines.count("began"), lines.count("ended")) == (2, 1)

    def cached():
        command = ["docker", "images", "--format", "{{.Repository}}"]
        names = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
        return [name for name in names if name.startswith(f"portside.invalid/{cloud.identifier()}-cache/")]

    wait_for(cached)
    cloud.client("codebuild").delete_project(name="app")
    wait_for(lambda: not cached())


def wait_for(reached, ignoring: type[BaseException] | tuple[()] = ()) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if reached():
                return
        except ignoring:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)

"""`--target aws` against an endpoint that is not ours: moto's own server, named by AWS_ENDPOINT_URL.

It proves that `deploy` leans on the AWS API alone. It goes as far as moto does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from portside.deploy import deployment, status
from portside.deploy.api import Aws, Target, Time
from portside.deploy.changeset import Change
from portside.deploy.deployment import Progress, Stack
from portside.deploy.errors import NotAccepted, Unreachable

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "helloworld"
START_LIMIT = 60


@pytest.fixture(scope="module")
def foreign():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-p", str(port)],
        env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "moto's server did not start"
        yield endpoint
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def environ(foreign, tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
    return kept | {
        "AWS_ENDPOINT_URL": foreign,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "PORTSIDE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT / "src"),
    }


def portside(environ, *words):
    return subprocess.run(
        [sys.executable, "-m", "portside", *words],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def aws(foreign):
    return Aws(Target("moto", foreign, "eu-west-1", "a", "b", poll=0.0), Time(sleep=lambda seconds: None))


def test_up_status_and_down_at_the_endpoint_that_boto3_names(foreign, environ):
    shown = portside(environ, "status", str(EXAMPLE), "--target", "aws", "--json")
    assert (shown.returncode, json.loads(shown.stdout)["stacks"][0]["status"]) == (9, "absent")

    # moto does not find the cluster's exports, which is how far it goes; the error arrives in its words.
    up = portside(environ, "up", str(EXAMPLE), "--target", "aws")
    assert up.returncode == NotAccepted.exit_code
    assert "helloworld-ecr, repository stack: created (" in up.stderr
    assert "staging-cluster, cluster stack: created (" in up.stderr
    assert (
        "Error: staging-alb cannot be deployed\n  Why:  No export named staging-cluster-vpc-id found." in up.stderr
    )

    # What is there is left alone: moto refuses an update without changes outright, AWS fails the change set.
    again = portside(environ, "up", str(EXAMPLE), "--target", "aws")
    assert "helloworld-ecr, repository stack: unchanged (" in again.stderr
    assert "staging-cluster, cluster stack: unchanged (" in again.stderr
    session = aws(foreign)
    found = status.read(
        session, ["helloworld-ecr", "staging-cluster"], "staging-helloworld-service", "staging-alb"
    )
    assert [each.status for each in found.stacks] == ["CREATE_COMPLETE", "CREATE_COMPLETE"]
    assert not found.healthy

    down = portside(environ, "down", str(EXAMPLE), "--target", "aws", "--yes")
    assert down.returncode == 0, down.stderr
    for stack in ("staging-cluster", "helloworld-ecr"):
        assert f"{stack}, stack: deleted" in down.stderr
        assert deployment.find(session, stack) is None


def test_a_change_set_is_told_before_it_is_executed(foreign):
    session = aws(foreign)
    text = (EXAMPLE / "templates" / "helloworld-ecr.template").read_text()
    planned = []
    progress = Progress(planned=lambda *news: planned.append(news))
    wanted = Stack("other-ecr", text, {"RepoName": "other"})
    assert deployment.deploy(session, wanted, progress, token="one").action == "created"
    assert planned == [("other-ecr", True, (Change("Add", "Repository", "AWS::ECR::Repository"),))]
    assert deployment.deploy(session, wanted, progress, token="two").action == "unchanged"
    assert deployment.delete(session, "other-ecr", progress).action == "deleted"
    assert deployment.delete(session, "other-ecr", progress).action == "absent"


def test_what_the_endpoint_refuses_is_told_in_its_words(foreign):
    session = aws(foreign)
    with pytest.raises(NotAccepted) as caught:
        text = (EXAMPLE / "templates" / "helloworld-ecr.template").read_text()
        deployment.deploy(session, Stack("bad", text), Progress(), token="one")
    assert caught.value.what == "bad cannot be deployed"
    assert "RepoName" in caught.value.why


def test_an_endpoint_that_is_not_there(environ):
    environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = portside(environ, "status", str(EXAMPLE), "--target", "aws")
    assert done.returncode == Unreachable.exit_code
    assert "Error: helloworld-ecr cannot be looked up" in done.stderr
    assert "Next: " in done.stderr


def test_no_credentials(environ, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        environ.pop(name)
    environ |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    done = portside(environ, "status", str(EXAMPLE), "--target", "aws")
    assert done.returncode == Unreachable.exit_code
    assert "there are no AWS credentials" in done.stderr

"""awslocal, which is told nothing: it finds the cloud at its usual port, and at another by its own variable."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from client_cloud import LocalCloud, Tool, environment
from client_programs import awscli2, from_pypi, script
from client_rows import ROWS

PACKAGE = f"awscli-local=={ROWS['awslocal'].version}"
USUAL = 4566


def awslocal(directory: Path, aws: Path) -> Tool:
    """It starts the `aws` that it finds on the PATH, whose Python modules are none of its own."""
    packages = from_pypi(PACKAGE, "boto3")
    program = script(
        directory / "awslocal", f'PYTHONPATH="{packages}" exec {sys.executable} -S {packages}/bin/awslocal "$@"'
    )
    environ = environment()
    environ["PATH"] = f"{aws.parent}:{environ['PATH']}"
    return Tool([str(program)], environ, directory)


def aws1(directory: Path) -> Path:
    """AWS CLI 1 under the name that awslocal starts. The modules of awslocal are not for it."""
    return script(directory / "cli1/aws", f'unset PYTHONPATH; exec {Path(sys.executable).with_name("aws")} "$@"')


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.client(
    "awslocal",
    works="at port 4566 without any setting: `sts`, `s3`, `ecr`, `cloudformation`, upon AWS CLI 1 and 2",
)
def test_at_the_usual_port_without_any_setting(tmp_path: Path) -> None:
    if not is_free(USUAL):
        pytest.skip(f"something else answers at port {USUAL}")
    tools = [awslocal(tmp_path, aws1(tmp_path)), awslocal(tmp_path, awscli2(tmp_path / "cli2"))]
    cloud = LocalCloud(tmp_path / "cloud", "127.0.0.1", USUAL)
    cloud.start()
    try:
        for number, run in enumerate(tools):
            assert run.asked("sts", "get-caller-identity")["Account"] == "000000000000"
            run("s3", "mb", f"s3://local-{number}")
            assert f"local-{number}" in run("s3", "ls")
            run("ecr", "create-repository", "--repository-name", f"local-{number}")
            assert run.asked("cloudformation", "list-stacks") == {"StackSummaries": []}
    finally:
        cloud.stop()


@pytest.mark.client(
    "awslocal", works="at another port by `LOCALSTACK_HOST` or `AWS_ENDPOINT_URL`, upon AWS CLI 1 and 2"
)
def test_at_another_port(cloud: LocalCloud, tmp_path: Path) -> None:
    place = cloud.url.removeprefix("http://")
    for aws in (aws1(tmp_path), awscli2(tmp_path / "cli2")):
        run = awslocal(tmp_path, aws)
        named = {"LOCALSTACK_HOST": place}
        assert "000000000000" in run("sts", "get-caller-identity", **named)
        assert "000000000000" in run("sts", "get-caller-identity", AWS_ENDPOINT_URL=cloud.url)
        run("ssm", "put-parameter", "--name", "/local", "--value", "x", "--type", "String", "--overwrite", **named)
        said = run("ssm", "get-parameter", "--name", "/absent", refused=True, **named)
        assert "(ParameterNotFound)" in said

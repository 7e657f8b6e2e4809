"""What `portside cloud env` prints, read by a real shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import botocore.session
import pytest

from portside.cli import background, variables
from portside.cloud.process import Running

RUNNING = Running(1, "cloud", "127.0.0.92", 4566, "us-east-1", "000000000000", 0.0)
ENDPOINT = "http://127.0.0.92:4566"
DOCKER = "unix:///home/u/.portside/cloud/portside.sock"


def evaluated(environ: dict[str, str], docker: str = "", engine: str = "") -> dict[str, str]:
    """The environment of a shell that had `environ` and evaluated the lines."""
    script = "\n".join([*variables.lines(RUNNING, environ, docker, engine), "env -0"])
    done = subprocess.run(["/bin/sh", "-ec", script], env=environ, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_clients_find_the_cloud_whatever_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "config"
    configuration.write_text(
        "[default]\nregion = eu-west-1\nignore_configured_endpoint_urls = true\nservices = other\n"
        "endpoint_url = http://profile.invalid\n[services other]\necs =\n  endpoint_url = http://service.invalid\n"
        "[profile mine]\nrole_arn = arn:aws:iam::111111111111:role/x\nsource_profile = default\n"
    )
    before = {
        "PATH": "/usr/bin:/bin",
        "AWS_CONFIG_FILE": str(configuration),
        "AWS_PROFILE": "mine",
        "AWS_DEFAULT_PROFILE": "mine",
        "AWS_SESSION_TOKEN": "token",
        "AWS_CA_BUNDLE": "/nowhere.pem",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_ENDPOINT_URL_ECS": "http://elsewhere.invalid",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "HTTP_PROXY": "http://proxy.invalid:3128",
        "NO_PROXY": "internal.example",
    }
    after = evaluated(before)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in after.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.Session().create_client("ecs")
    assert client.meta.endpoint_url == ENDPOINT
    assert client.meta.region_name == "us-east-1"
    credentials = client._request_signer._credentials.get_frozen_credentials()
    assert (credentials.access_key, credentials.token) == ("portside", None)
    assert "AWS_CA_BUNDLE" not in after
    assert after["NO_PROXY"] == after["no_proxy"] == "internal.example,127.0.0.92,127.0.0.1,localhost,.localhost"
    assert after["HTTP_PROXY"] == before["HTTP_PROXY"]


def test_a_shell_without_anything_set_gets_no_more_than_it_needs() -> None:
    assert set(evaluated({})) - {"PWD", "OLDPWD", "_", "SHLVL"} == {
        "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_EC2_METADATA_DISABLED",
    }  # fmt: skip


def test_docker_is_led_to_the_cloud_and_portside_to_the_engine() -> None:
    before = {"DOCKER_HOST": "unix:///run/user/7/docker.sock", "DOCKER_CONTEXT": "far", "DOCKER_TLS_VERIFY": "1"}
    engine = variables.named_engine(before, "")
    after = evaluated(before, DOCKER, engine)
    assert after["DOCKER_HOST"] == DOCKER
    assert after["PORTSIDE_ENGINE"] == "unix:///run/user/7/docker.sock"
    assert "DOCKER_CONTEXT" not in after and "DOCKER_TLS_VERIFY" not in after
    # Once more in the same shell: the engine stays what it was.
    assert variables.named_engine(after, after["PORTSIDE_ENGINE"]) == "unix:///run/user/7/docker.sock"
    # Nobody names one: portside goes on searching.
    assert "PORTSIDE_ENGINE" not in evaluated({"DOCKER_HOST": DOCKER}, DOCKER, "")


def test_a_shell_gets_back_to_the_engine_when_the_cloud_has_stopped() -> None:
    assert variables.leave_docker({"DOCKER_HOST": DOCKER}) == ["unset DOCKER_HOST"]
    led = {"DOCKER_HOST": DOCKER, "PORTSIDE_ENGINE": "unix:///run/user/7/docker.sock"}
    assert variables.leave_docker(led) == ["export DOCKER_HOST=unix:///run/user/7/docker.sock"]
    assert variables.leave_docker({"DOCKER_HOST": "unix:///var/run/docker.sock"}) == []
    assert variables.leave_docker({}) == []
    assert evaluated({"DOCKER_HOST": DOCKER}).get("DOCKER_HOST") is None


@pytest.mark.parametrize(("length", "told"), [(40, False), (100, True)])
def test_it_is_said_where_docker_cannot_be_led_to_the_cloud(
    length: int, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a socket docker would look for AWS itself, and tell that there is no such host."""
    home = Path("/nowhere") / ("h" * length)
    monkeypatch.setenv("PORTSIDE_HOME", str(home))
    monkeypatch.setattr(background.process, "find", lambda place: RUNNING)
    assert background.env()
    shown = capsys.readouterr()
    assert f"AWS_ENDPOINT_URL={ENDPOINT}" in shown.out and "DOCKER_HOST" not in shown.out
    said = " ".join(shown.err.split())
    assert ("docker is not pointed at the local cloud" in said) == told
    assert ("Set PORTSIDE_HOME to a shorter one" in said) == told

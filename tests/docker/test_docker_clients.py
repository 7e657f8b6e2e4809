"""docker's clients, old and new, and its SDK for Python: what they do alike with the account's registry.

test_docker_names.py goes further with the client that the machine has.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_programs import docker_of
from client_rows import is_version
from docker_fixtures import IMAGE

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.98"
LIMIT = 180
HOST = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
CLIENTS = ("docker12", "docker13", "docker-now")


class Shell:
    """A shell in which `eval "$(portside cloud env)"` was run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_", "DOCKER_"))}
        self.environ = kept | {
            "PORTSIDE_HOME": str(directory / "home"),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": ADDRESS,
            "PYTHONPATH": str(ROOT / "src"),
            "DOCKER_CONFIG": str(directory / "docker"),
        }
        self.plain = dict(self.environ)
        self.portside("start")
        for line in self.portside("env").splitlines():
            word, *rest = shlex.split(line)
            if word == "export":
                self.environ |= dict([each.split("=", 1) for each in rest])

    def portside(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "portside", "cloud", *words)

    def run(self, *words: str | Path, stdin: str = "", refused: bool = False) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environ, cwd=self.directory, input=stdin, capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert (done.returncode != 0) == refused, f"{words}: {done.returncode}\n{text}"
        return text

    def aws(self, *words: str) -> str:
        return self.run(Path(sys.executable).with_name("aws"), *words, "--output", "text").strip()


@pytest.fixture(scope="module")
def shell(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("clients"))
    try:
        yield made
    finally:
        made.environ = made.plain
        made.portside("stop")


@pytest.fixture
def repository(shell: Shell) -> str:
    name = f"portside-test/clients-{uuid.uuid4().hex[:8]}"
    shell.aws("ecr", "create-repository", "--repository-name", name)
    return name


@pytest.mark.client(
    "docker12",
    "docker13",
    "docker-now",
    works="`login`, `tag`, `push`, `rmi`, `pull`, `run`, `build`, `inspect`, `logout` by names as on AWS",
)
@pytest.mark.parametrize("row", CLIENTS)
def test_a_docker_client(shell: Shell, repository: str, row: str) -> None:
    docker = docker_of(row)
    said = shell.run(docker, "version", "--format", "{{.Client.Version}}").strip()
    assert is_version(row, said.partition("+")[0])
    image = f"{HOST}/{repository}:v1"
    login = (docker, "login", "--username", "AWS", "--password-stdin", HOST)
    assert "Login Succeeded" in shell.run(*login, stdin=shell.aws("ecr", "get-login-password"))
    shell.run(docker, "tag", IMAGE, image)
    try:
        digest = shell.run(docker, "push", image).partition("v1: digest: ")[2].split()[0]
        query = ("--query", "imageDetails[0].imageDigest")
        assert shell.aws("ecr", "describe-images", "--repository-name", repository, *query) == digest
        shell.run(docker, "rmi", image)
        shell.run(docker, "pull", image)
        assert shell.run(docker, "run", "--rm", image, "echo", "hello") == "hello\n"
        shown = shell.run(docker, "inspect", "-f", "{{index .RepoTags}} {{.RepoDigests}}", image)
        assert f"{HOST}/{repository}@{digest}" in shown
        shell.environ["DOCKER_BUILDKIT"] = "0"
        (shell.directory / "Dockerfile").write_text(f"FROM {image}\nCMD echo built\n")
        shell.run(docker, "build", "-t", f"{HOST}/{repository}:v2", ".")
        assert shell.run(docker, "run", "--rm", f"{HOST}/{repository}:v2") == "built\n"
        shell.run(docker, "push", f"{HOST}/{repository}:v2")
        shell.run(docker, "logout", HOST)
        said = shell.run(docker, "push", f"{HOST}/{repository}:v2", refused=True)
        assert "no basic auth credentials" in said
    finally:
        shell.environ.pop("DOCKER_BUILDKIT", None)
        for tag in ("v2", "v1"):
            subprocess.run(
                [str(docker), "rmi", f"{HOST}/{repository}:{tag}"], env=shell.environ, capture_output=True
            )


@pytest.mark.client(
    "docker-py", works="`login`, `tag`, `push`, `pull`, `containers.run`, `images.build`, by names as on AWS"
)
def test_the_sdk_for_python(shell: Shell, repository: str) -> None:
    docker = pytest.importorskip("docker")
    assert is_version("docker-py", docker.__version__)
    client = docker.DockerClient(base_url=shell.environ["DOCKER_HOST"], timeout=LIMIT)
    name = f"{HOST}/{repository}"
    login = {"username": "AWS", "password": shell.aws("ecr", "get-login-password")}
    try:
        assert client.ping()
        assert client.login(registry=HOST, **login)["Status"] == "Login Succeeded"
        assert client.images.get(IMAGE).tag(name, "v1")
        said = list(client.images.push(name, "v1", auth_config=login, stream=True, decode=True))
        assert not [each for each in said if "error" in each], said
        client.images.remove(f"{name}:v1")
        pulled = client.images.pull(name, "v1", auth_config=login)
        assert f"{name}:v1" in pulled.tags
        assert client.containers.run(f"{name}:v1", ["echo", "hello"], remove=True) == b"hello\n"
        (shell.directory / "Dockerfile").write_text(f"FROM {name}:v1\nCMD echo built\n")
        client.images.build(path=str(shell.directory), dockerfile="Dockerfile", tag=f"{name}:v2", rm=True)
        assert client.containers.run(f"{name}:v2", remove=True) == b"built\n"
        client.images.remove(f"{name}:v2")
        with pytest.raises(docker.errors.NotFound, match="manifest"):
            client.images.pull(name, "none", auth_config=login)
        client.images.remove(f"{name}:v1")
    finally:
        client.close()

"""docker, skopeo and podman as people have them, with the registry's names as on AWS."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_rows import is_version
from docker_fixtures import IMAGE

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
AWS = Path(sys.executable).with_name("aws")
ADDRESS = "127.0.0.92"
LIMIT = 180
HOST = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
WEST = "000000000000.dkr.ecr.eu-west-1.amazonaws.com"
MEGABYTE = 2**20


class Shell:
    """A shell of a user, before and after `eval "$(portside cloud env)"`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        left = ("AWS_", "PORTSIDE_", "DOCKER_")
        self.plain = {k: v for k, v in os.environ.items() if not k.startswith(left)} | {
            "PORTSIDE_HOME": str(directory / "home"),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": ADDRESS,
            "PYTHONPATH": str(ROOT / "src"),
            "DOCKER_CONFIG": str(directory / "docker"),
            "DOCKER_BUILDKIT": "0",
            "REGISTRY_AUTH_FILE": str(directory / "auth.json"),
        }
        self.environ = dict(self.plain)

    def start(self) -> None:
        self.environ = dict(self.plain)
        self.portside("start")
        self.evaluate()

    def portside(self, *words: str, refused: bool = False) -> str:
        return self.run(sys.executable, "-m", "portside", "cloud", *words, refused=refused)

    def evaluate(self, *, refused: bool = False) -> None:
        said = self._done(sys.executable, "-m", "portside", "cloud", "env")
        assert (said.returncode != 0) == refused, said.stderr
        for line in said.stdout.splitlines():
            word, *rest = shlex.split(line)
            for each in rest:
                name, _, value = each.partition("=")
                if word == "export":
                    self.environ[name] = value
                else:
                    self.environ.pop(name, None)

    def run(self, *words: str, stdin: str = "", refused: bool = False) -> str:
        """All that it printed."""
        done = self._done(*words, stdin=stdin)
        text = done.stdout + done.stderr
        assert (done.returncode != 0) == refused, f"{words}: {done.returncode}\n{text}"
        return text

    def _done(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=self.environ, cwd=self.directory, input=stdin, capture_output=True, text=True, timeout=LIMIT
        )

    def docker(self, *words: str, stdin: str = "", refused: bool = False) -> str:
        return self.run("docker", *words, stdin=stdin, refused=refused)

    def past(self, *words: str) -> str:
        """docker with the engine itself."""
        kept = self.environ
        self.environ = {k: v for k, v in kept.items() if k != "DOCKER_HOST"}
        try:
            return self.docker(*words)
        finally:
            self.environ = kept

    def aws(self, *words: str) -> str:
        return self.run(str(AWS), *words)

    def password(self) -> str:
        return self.aws("ecr", "get-login-password").strip()

    def login(self, host: str = HOST) -> str:
        return self.docker("login", "--username", "AWS", "--password-stdin", host, stdin=self.password())

    def typed(self, *words: str, keys: str) -> str:
        """What a terminal shows when `keys` are typed into it."""
        master, slave = pty.openpty()
        process = subprocess.Popen(words, env=self.environ, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        seen = b""
        deadline = time.monotonic() + LIMIT
        try:
            while time.monotonic() < deadline:
                if not select.select([master], [], [], 1)[0]:
                    continue
                try:
                    piece = os.read(master, 65536)
                except OSError:
                    break
                if not piece:
                    break
                seen += piece
                if keys and b"# " in seen:
                    os.write(master, keys.encode())
                    keys = ""
        finally:
            os.close(master)
        assert process.wait(30) == 0, seen
        return seen.decode()

    @property
    def record(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.directory / "home/cloud/running.json").read_text())
        return found

    @property
    def endpoint(self) -> str:
        return f"{ADDRESS}:{self.record['port']}"


@pytest.fixture(scope="module")
def shell(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("names"))
    made.start()
    try:
        yield made
    finally:
        made.environ = dict(made.plain)
        made.portside("stop")


@pytest.fixture
def repository(shell: Shell) -> Iterator[str]:
    name = f"portside-test/names-{uuid.uuid4().hex[:8]}"
    shell.aws("ecr", "create-repository", "--repository-name", name)
    shell.login()
    yield name
    # By names only: the image itself is that of all tests.
    shown = shell.past("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}")
    for repo, tag, digest in (line.split() for line in shown.splitlines() if name in line):
        names = [f"{repo}@{digest}" if digest != "<none>" else "", f"{repo}:{tag}" if tag != "<none>" else ""]
        for each in filter(None, names):
            with contextlib.suppress(AssertionError):  # gone with the one before
                shell.past("rmi", each)


def digests(shell: Shell, repository: str, region: str = "us-east-1") -> dict[str, str]:
    """Of the tags, as the API tells them."""
    words = ("ecr", "list-images", "--repository-name", repository, "--region", region, "--output", "json")
    return {each["imageTag"]: each["imageDigest"] for each in json.loads(shell.aws(*words))["imageIds"]}


def test_tag_push_remove_pull_and_run(shell: Shell, repository: str) -> None:
    assert "Login Succeeded" in shell.login()
    image = f"{HOST}/{repository}:v1"
    shell.docker("tag", IMAGE, image)
    said = shell.docker("push", image)
    assert f"The push refers to repository [{HOST}/{repository}]" in said
    digest = digests(shell, repository)["v1"]
    assert f"v1: digest: {digest} size:" in said
    by_digest = f"{HOST}/{repository}@{digest}"
    assert by_digest in json.loads(shell.docker("inspect", "-f", "{{json .RepoDigests}}", image))

    assert f"Untagged: {image}" in shell.docker("rmi", image)
    assert repository not in shell.past("images", "--digests")
    said = shell.docker("pull", image)
    assert f"v1: Pulling from {repository}\n" in said
    assert f"Digest: {digest}\n" in said
    assert f"Status: Downloaded newer image for {image}\n" in said
    assert f"Status: Image is up to date for {image}\n" in shell.docker("pull", image)
    shown = shell.docker("images", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
    assert [line for line in shown.splitlines() if repository in line] == [f"{image} {digest}"]

    # `docker run` pulls what is not there, by tag and by digest.
    shell.docker("rmi", image)
    assert shell.docker("run", "--rm", image, "echo", "by tag").startswith("by tag\n")
    assert shell.docker("run", "--rm", by_digest, "echo", "by digest") == "by digest\n"
    shell.docker("rmi", image)
    assert shell.docker("run", "--rm", by_digest, "echo", "once more").startswith("once more\n")
    assert by_digest in shell.docker("rmi", by_digest)
    assert repository not in shell.past("images", "--digests")


def test_only_a_pull_that_somebody_asked_for_is_recorded(shell: Shell, repository: str) -> None:
    image = f"{HOST}/{repository}:v1"
    shell.docker("tag", IMAGE, image)
    shell.docker("push", image)
    words = ("ecr", "describe-images", "--repository-name", repository, "--output", "json")
    assert "lastRecordedPullTime" not in json.loads(shell.aws(*words))["imageDetails"][0]
    shell.docker("pull", image)
    assert "lastRecordedPullTime" in json.loads(shell.aws(*words))["imageDetails"][0]


def test_another_region_has_repositories_of_its_own(shell: Shell, repository: str) -> None:
    image = f"{WEST}/{repository}:west"
    shell.login(WEST)
    shell.docker("tag", IMAGE, image)
    assert "does not exist in the registry" in shell.docker("push", image, refused=True)
    shell.aws("ecr", "create-repository", "--repository-name", repository, "--region", "eu-west-1")
    shell.docker("push", image)
    assert list(digests(shell, repository, "eu-west-1")) == ["west"]
    assert digests(shell, repository) == {}
    shell.docker("rmi", image)
    shell.docker("pull", image)


def test_all_tags_at_once(shell: Shell, repository: str) -> None:
    for tag in ("a", "b"):
        shell.docker("tag", IMAGE, f"{HOST}/{repository}:{tag}")
    shell.docker("push", "--all-tags", f"{HOST}/{repository}")
    assert sorted(digests(shell, repository)) == ["a", "b"]
    shell.docker("rmi", f"{HOST}/{repository}:a", f"{HOST}/{repository}:b")
    shell.docker("pull", "--all-tags", f"{HOST}/{repository}")
    shown = shell.docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert sorted(each for each in shown if repository in each) == [f"{HOST}/{repository}:{t}" for t in "ab"]


def test_a_build_from_the_registry_and_for_it(shell: Shell, repository: str) -> None:
    base, built = f"{HOST}/{repository}:base", f"{HOST}/{repository}:built"
    shell.docker("tag", IMAGE, base)
    shell.docker("push", base)
    digest = digests(shell, repository)["base"]
    shell.docker("rmi", base)
    context = shell.directory / "context"
    context.mkdir()
    (context / "filler").write_bytes(os.urandom(MEGABYTE))
    for named in (base, f"{HOST}/{repository}@{digest}"):
        (context / "Dockerfile").write_text(
            f"ARG base={named}\nFROM $base\nCOPY filler /filler\nCMD wc -c < /filler; echo built\n"
        )
        shell.docker("build", "--no-cache", "-t", built, str(context))
        assert shell.docker("run", "--rm", built).endswith("built\n")
    # --pull: the newest of a tag, whatever is here under its name.
    (context / "Dockerfile").write_text(f"FROM {base}\nRUN echo again\n")
    shell.docker("build", "--pull", "-t", built, str(context))
    shell.docker("push", built)
    assert set(digests(shell, repository)) == {"base", "built"}
    (context / "Dockerfile").write_text(f"FROM {HOST}/{repository}:absent\n")
    assert f"{HOST}/{repository}:absent not found" in shell.docker("build", str(context), refused=True)
    # A Dockerfile from standard input, which has no context.
    shell.docker("build", "-t", built, "-", stdin=f"FROM {base}\nCMD echo from stdin\n")
    assert shell.docker("run", "--rm", built) == "from stdin\n"


def test_terminals_streams_and_exit_codes(shell: Shell, repository: str) -> None:
    image = f"{HOST}/{repository}:v1"
    shell.docker("tag", IMAGE, image)
    shown = shell.typed("docker", "run", "--rm", "-it", image, "sh", keys="echo typed $((2+3)); exit\r")
    assert "typed 5" in shown
    assert shell.docker("run", "--rm", "-i", image, "cat", stdin="in and out") == "in and out"
    done = shell._done("docker", "run", "--rm", image, "sh", "-c", "exit 7")
    assert done.returncode == 7
    loop = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done"
    container = shell.docker("run", "-d", image, "sh", "-c", loop).strip()
    try:
        assert "typed 6" in shell.typed(
            "docker", "exec", "-it", container, "sh", keys="echo typed $((3+3)); exit\r"
        )
        follow = subprocess.Popen(
            ["docker", "logs", "-f", container], env=shell.environ, stdout=subprocess.PIPE, text=True
        )
        assert follow.stdout is not None
        assert [follow.stdout.readline() for _ in range(20)] == [f"line {number}\n" for number in range(20)]
        follow.terminate()
        follow.wait(10)
        follow.stdout.close()
        assert len(shell._done("docker", "cp", f"{container}:/bin/echo", "-").stdout) > 0
    finally:
        shell.docker("rm", "-f", container)


def test_what_is_wrong_is_told_in_the_users_names(shell: Shell, repository: str) -> None:
    image = f"{HOST}/{repository}:none"
    said = shell.docker("pull", image, refused=True)
    assert f"manifest for {image} not found" in said and "127." not in said
    assert f"does not exist locally with the tag: {HOST}/{repository}" in shell.docker("push", image, refused=True)
    said = shell.docker("login", "-u", "AWS", "-p", "wrong", HOST, refused=True)
    assert f"login attempt to https://{HOST}/v2/ failed with status: 401 Unauthorized" in said
    shell.login()
    shell.docker("logout", HOST)
    said = shell.docker("pull", f"{HOST}/{repository}:v1", refused=True)
    assert "no basic auth credentials" in said and "127." not in said


def test_a_kill_in_the_middle_of_a_push(shell: Shell, repository: str) -> None:
    image = f"{HOST}/{repository}:large"
    (shell.directory / "large").write_bytes(os.urandom(120 * MEGABYTE))
    made = subprocess.run(["tar", "-c", "-C", str(shell.directory), "large"], capture_output=True, check=True)
    subprocess.run(["docker", "import", "-", image], input=made.stdout, env=shell.environ, check=True)
    push = subprocess.Popen(
        ["docker", "push", image], env=shell.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    uploads = shell.directory / "home/cloud/blobs/uploads"
    deadline = time.monotonic() + LIMIT
    while not any(path.stat().st_size > 4 * MEGABYTE for path in uploads.iterdir()):
        assert push.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(int(str(shell.record["pid"])), signal.SIGKILL)
    said, _ = push.communicate(timeout=LIMIT)
    assert push.returncode != 0, said
    # Nobody is at the socket: docker says so, and names it.
    assert "portside.sock" in shell.docker("images", refused=True)
    shell.start()
    assert digests(shell, repository) == {}
    assert "large: digest: sha256:" in shell.docker("push", image)
    assert list(digests(shell, repository)) == ["large"]
    shell.docker("rmi", image)
    shell.docker("pull", image)
    # The name that the first push was lent is not seen, and goes with the user's.
    shown = shell.docker("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert [each for each in shown if repository in each] == [image]
    shell.docker("rmi", image)
    assert repository not in shell.past("images", "--digests")


def test_without_the_socket_there_is_the_registrys_address(shell: Shell, repository: str) -> None:
    image = f"{shell.endpoint}/{repository}:plain"
    shell.docker("login", "--username", "AWS", "--password-stdin", shell.endpoint, stdin=shell.password())
    shell.past("tag", IMAGE, image)
    shell.past("push", image)
    shell.past("rmi", image)
    shell.past("pull", image)
    assert list(digests(shell, repository)) == ["plain"]


def test_a_shell_that_outlives_the_cloud(shell: Shell) -> None:
    assert shell.environ["DOCKER_HOST"].endswith("/portside.sock")
    # portside itself never goes that way.
    assert "/portside.sock" not in shell.run(sys.executable, "-m", "portside", "doctor")
    assert "`unset DOCKER_HOST`" in shell.portside("stop")
    try:
        shell.evaluate(refused=True)
        assert "DOCKER_HOST" not in shell.environ
        shell.docker("images")
    finally:
        shell.start()


@pytest.mark.client(
    "skopeo",
    works="`login`, `copy` from, to and within the registry, `inspect`, by `localhost` and by names as on AWS",
)
def test_skopeo(shell: Shell, repository: str) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    assert is_version("skopeo", shell.run("skopeo", "--version").split()[2])
    shell.docker("tag", IMAGE, f"{HOST}/{repository}:v1")
    shell.docker("push", f"{HOST}/{repository}:v1")
    # By the registry's address.
    place = f"docker://{shell.endpoint}/{repository}"
    login = ("skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin")
    shell.run(*login, shell.endpoint, stdin=shell.password())
    both = ("--src-tls-verify=false", "--dest-tls-verify=false")
    shell.run("skopeo", "copy", *both, f"{place}:v1", f"{place}:copied")
    shell.run("skopeo", "copy", *both, f"{place}:copied", f"oci:{shell.directory}/oci:x")
    # By its name, with the cloud as the way to it.
    proxied = ("env", f"HTTP_PROXY=http://{shell.endpoint}", f"HTTPS_PROXY=http://{shell.endpoint}")
    shell.run(*proxied, *login, HOST, stdin=shell.password())
    named = f"docker://{HOST}/{repository}"
    shell.run(*proxied, "skopeo", "copy", *both, f"oci:{shell.directory}/oci:x", f"{named}:named")
    shown = json.loads(shell.run(*proxied, "skopeo", "inspect", "--tls-verify=false", f"{named}:named"))
    assert shown["Name"] == f"{HOST}/{repository}"
    assert set(digests(shell, repository)) == {"v1", "copied", "named"}


@pytest.mark.client("podman", works="`login`, `push`, `pull`, `tag`, `rmi`, by `localhost` and by names as on AWS")
def test_podman(shell: Shell, repository: str, short: Path) -> None:
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    assert is_version("podman", shell.run("podman", "--version").split()[2])
    shell.docker("tag", IMAGE, f"{HOST}/{repository}:v1")
    shell.docker("push", f"{HOST}/{repository}:v1")
    # podman takes no longer path than 50 characters for it.
    storage = ("--root", f"{shell.directory}/storage", "--runroot", str(short))
    podman = ("podman", *storage, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs")
    insecure = "--tls-verify=false"
    login = (*podman, "login", insecure, "--username", "AWS", "--password-stdin")
    shell.run(*login, shell.endpoint, stdin=shell.password())
    shell.run(*podman, "pull", insecure, f"{shell.endpoint}/{repository}:v1")
    shell.run(*podman, "tag", f"{shell.endpoint}/{repository}:v1", f"{HOST}/{repository}:named")
    shell.run(*podman, "push", insecure, f"{HOST}/{repository}:named", f"{shell.endpoint}/{repository}:addressed")
    proxied = ("env", f"HTTP_PROXY=http://{shell.endpoint}", f"HTTPS_PROXY=http://{shell.endpoint}")
    shell.run(*proxied, *login, HOST, stdin=shell.password())
    shell.run(*proxied, *podman, "push", insecure, f"{HOST}/{repository}:named")
    shell.run(*podman, "rmi", f"{HOST}/{repository}:named")
    shell.run(*proxied, *podman, "pull", insecure, f"{HOST}/{repository}:named")
    assert set(digests(shell, repository)) == {"v1", "addressed", "named"}

"""Each of the four stacks with clients that people already have: the AWS CLI, docker and curl's kind of request."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
AWS = Path(sys.executable).with_name("aws")
ADDRESS = "127.0.0.31"
LIMIT = 180


class Terminal:
    """A shell in which `eval "$(portside cloud env)"` was run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
        self.environ = kept | {
            "PORTSIDE_HOME": str(directory / "home"),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": ADDRESS,
            "PYTHONPATH": str(ROOT / "src"),
            "DOCKER_CONFIG": str(directory / "docker"),
        }
        self.run(sys.executable, "-m", "portside", "cloud", "start")
        for line in self.run(sys.executable, "-m", "portside", "cloud", "env").splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.environ[name] = shlex.split(value)[0]

    def run(self, *words: str | Path, stdin: str = "", refused: bool = False) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environ,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert (done.returncode != 0) == refused, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if refused else done.stdout

    def aws(self, *words: str, refused: bool = False) -> str:
        return self.run(AWS, *words, refused=refused)

    def asked(self, *words: str) -> object:
        return json.loads(self.aws(*words, "--output", "json"))

    def create(self, stack: str, *more: str) -> None:
        body = f"file://{self.directory}/templates/{stack}.template"
        self.aws("cloudformation", "create-stack", "--stack-name", stack, "--template-body", body, *more)
        assert self.settled(stack) == "CREATE_COMPLETE"

    def settled(self, stack: str) -> str:
        """The status in which the stack comes to rest. The CLI's own waiters look every 30 s only."""
        deadline = time.monotonic() + LIMIT
        while True:
            words = ["cloudformation", "describe-stacks", "--stack-name", stack, "--output", "text"]
            status = self.aws(*words, "--query", "Stacks[0].StackStatus").strip()
            if not status.endswith("_IN_PROGRESS"):
                return status
            assert time.monotonic() < deadline, status

    def delete(self, stack: str) -> None:
        self.aws("cloudformation", "delete-stack", "--stack-name", stack)
        self.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", stack)


@pytest.fixture
def terminal(host, busybox, tmp_path):
    made = Terminal(tmp_path)
    yield made
    subprocess.run(
        [sys.executable, "-m", "portside", "cloud", "stop"], env=made.environ, capture_output=True, timeout=120
    )


@pytest.mark.docker
def test_each_stack_is_created_described_and_deleted(terminal, busybox):
    terminal.run(sys.executable, "-m", "portside", "synth", ROOT / "examples" / "helloworld", "-o", "templates")

    terminal.create("helloworld-ecr", "--parameters", "ParameterKey=RepoName,ParameterValue=helloworld")
    exports = terminal.asked("cloudformation", "list-exports")
    assert {(e["Name"], e["Value"]) for e in exports["Exports"]} == {("helloworld-repo", "helloworld")}

    server = f"{ADDRESS}:{urlsplit(terminal.environ['AWS_ENDPOINT_URL']).port}"
    (terminal.directory / "Dockerfile").write_text(
        f"FROM {busybox}\n"
        'RUN ["/bin/busybox", "mkdir", "-p", "/www"]\n'
        'RUN ["/bin/busybox", "sh", "-c", "echo Hello World > /www/index.html"]\n'
        'ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "3000", "-h", "/www"]\n'
    )
    image = f"{server}/helloworld:abc123"
    terminal.run("docker", "build", "-q", "-t", image, ".")
    try:
        terminal.run("docker", "push", "-q", image, refused=True)  # not logged in
        password = terminal.aws("ecr", "get-login-password")
        terminal.run("docker", "login", "--username", "AWS", "--password-stdin", server, stdin=password)
        terminal.run("docker", "push", "-q", image)
        described = terminal.asked("ecr", "describe-images", "--repository-name", "helloworld")
        assert described["imageDetails"][0]["imageTags"] == ["abc123"]

        vpc = terminal.aws("ec2", "describe-vpcs", "--query", "Vpcs[0].VpcId", "--output", "text").strip()
        subnets = terminal.asked("ec2", "describe-subnets", "--query", "Subnets[].SubnetId")
        # As the CLI's shorthand wants it: a comma inside a value is escaped.
        terminal.create(
            "staging-cluster",
            "--capabilities",
            "CAPABILITY_IAM",
            "--parameters",
            f"ParameterKey=VpcId,ParameterValue={vpc}",
            "ParameterKey=PublicSubnet,ParameterValue=" + "\\,".join(subnets[:2]),
        )
        terminal.create("staging-alb")
        terminal.create(
            "staging-helloworld-service",
            "--capabilities",
            "CAPABILITY_IAM",
            "--parameters",
            "ParameterKey=Tag,ParameterValue=abc123",
        )
        resources = terminal.asked(
            "cloudformation", "describe-stack-resources", "--stack-name", "staging-helloworld-service"
        )
        assert {r["ResourceStatus"] for r in resources["StackResources"]} == {"CREATE_COMPLETE"}
        url = terminal.aws(
            "cloudformation", "describe-stacks", "--stack-name", "staging-alb", "--output", "text",
            "--query", "Stacks[0].Outputs[?OutputKey=='URL'].OutputValue",
        ).strip()  # fmt: skip
        request = urllib.request.Request(f"http://{ADDRESS}:3000/", headers={"Host": urlsplit(url).netloc})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == b"Hello World\n"

        # What others import can not be taken away, and the reason is in the newest event.
        terminal.aws("cloudformation", "delete-stack", "--stack-name", "staging-alb")
        events = terminal.asked("cloudformation", "describe-stack-events", "--stack-name", "staging-alb")
        assert "staging-alb-target-group as it is in use by staging-helloworld-service" in json.dumps(
            events["StackEvents"][0]
        )
        assert terminal.settled("staging-alb") == "CREATE_COMPLETE"

        for stack in ("staging-helloworld-service", "staging-alb", "staging-cluster"):
            terminal.delete(stack)
        terminal.aws(
            "ecr", "batch-delete-image", "--repository-name", "helloworld", "--image-ids", "imageTag=abc123"
        )
        terminal.delete("helloworld-ecr")
        refused = terminal.aws("cloudformation", "describe-stacks", "--stack-name", "staging-alb", refused=True)
        assert "Stack with id staging-alb does not exist" in refused
    finally:
        subprocess.run(["docker", "rmi", "-f", image], capture_output=True, timeout=LIMIT)


@pytest.mark.docker
def test_a_missing_capability_and_a_missing_export_are_refused_as_on_aws(terminal):
    terminal.run(sys.executable, "-m", "portside", "synth", ROOT / "examples" / "helloworld", "-o", "templates")
    body = f"file://{terminal.directory}/templates/staging-helloworld-service.template"
    words = [
        "cloudformation",
        "create-stack",
        "--stack-name",
        "staging-helloworld-service",
        "--template-body",
        body,
    ]
    tag = ["--parameters", "ParameterKey=Tag,ParameterValue=abc"]
    assert "(InsufficientCapabilitiesException)" in terminal.aws(*words, *tag, refused=True)
    assert "Parameters: [Tag] must have values" in terminal.aws(
        *words, "--capabilities", "CAPABILITY_IAM", refused=True
    )
    terminal.aws(*words, *tag, "--capabilities", "CAPABILITY_IAM")
    assert terminal.settled("staging-helloworld-service") == "ROLLBACK_COMPLETE"
    events = terminal.aws("cloudformation", "describe-stack-events", "--stack-name", "staging-helloworld-service")
    assert "No export named helloworld-repo found" in events

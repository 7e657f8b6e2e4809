"""The main job, as a person does it at a terminal: up, curl, up again, status, logs, down; two clouds side by side.

Runs the installed command line against a cloud in a home of its own, with the base image made of Debian packages.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "helloworld"
LIMIT = 600


class Person:
    """Somebody with a home, an app and a terminal."""

    def __init__(self, home: Path, app: Path, address: str) -> None:
        self.home, self.app = home, app
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
        self.environ = kept | {
            "PORTSIDE_HOME": str(home),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": address,
            "PYTHONPATH": str(ROOT / "src"),
        }

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "portside", *words],
            env=self.environ,
            cwd=self.app,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def record(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.home / "cloud" / "running.json").read_text())
        return found

    def containers(self) -> list[str]:
        cloud = self.record()["id"]
        done = subprocess.run(
            ["docker", "ps", "-aq", "--filter", f"label=portside.cloud={cloud}"], capture_output=True, text=True
        )
        return done.stdout.split()


def fetch(url: str, name: str | None = None) -> str:
    """GET; `name` is sent as the host, for clients that cannot resolve *.localhost."""
    request = urllib.request.Request(url, headers={"Host": name} if name else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def ours(home: Path) -> list[str]:
    """Processes that name this home in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(home).encode() in word for word in words) and int(path.parent.name) != os.getpid():
            found.append(b" ".join(words).decode())
    return found


@pytest.fixture
def people(host, tmp_path):
    """Makes people; whatever their clouds leave is taken away."""
    made: list[Person] = []

    def make(name: str, address: str) -> Person:
        app = tmp_path / name / "helloworld"
        shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns("templates"))
        made.append(Person(tmp_path / name / "home", app, address))
        return made[-1]

    yield make
    for person in made:
        subprocess.run(
            [sys.executable, "-m", "portside", "cloud", "stop"],
            env=person.environ,
            capture_output=True,
            timeout=120,
        )


@pytest.mark.docker
def test_from_a_dockerfile_to_a_url_and_back(people):
    person = people("ada", "127.0.0.21")
    first = person.run("up")
    url = first.stdout.strip()
    parts = urlsplit(url)
    assert parts.port == 3000
    assert parts.hostname is not None
    assert parts.hostname.endswith(".us-east-1.elb.localhost")
    # The answer comes out of a real container, by name and by the load balancer's own address.
    assert fetch("http://127.0.0.21:3000/", parts.netloc) == "Hello World\n"
    # Browsers send the name in lower case.
    assert fetch("http://127.0.0.21:3000/", parts.netloc.lower()) == "Hello World\n"
    shown = json.loads(person.run("status", "--json").stdout)
    assert shown["healthy"] is True
    assert shown["url"] == url
    assert fetch(shown["also"] + "/") == "Hello World\n"
    assert len(person.containers()) == 1
    assert "Server running" in person.run("logs").stdout

    # Progress without a terminal: one line per change, in words, with seconds.
    assert "staging-cluster, cluster stack: created (" in first.stderr
    assert "  Repository, ECR repository: created (" in first.stderr

    # Again: nothing changes, and it says so.
    before = person.containers()
    second = person.run("up")
    assert "Nothing to change" in second.stderr
    assert second.stdout.strip() == url
    assert person.containers() == before

    # A change: the new answer at the same URL.
    source = person.app / "helloworld.js"
    source.write_text(source.read_text().replace("Hello World", "Hello again"))
    assert person.run("up").stdout.strip() == url
    assert fetch("http://127.0.0.21:3000/", parts.netloc) == "Hello again\n"

    # Killed, the cloud comes back with everything, and the containers are adopted.
    before = person.containers()
    record = person.record()
    os.kill(int(str(record["pid"])), signal.SIGKILL)
    assert fetch("http://127.0.0.21:3000/", parts.netloc) == "Hello again\n"
    third = person.run("up")
    assert "Nothing to change" in third.stderr
    assert person.record()["id"] == record["id"]
    assert person.containers() == before

    # Away with it.
    containers = before
    done = person.run("down")
    assert "The local cloud is stopped." in done.stderr
    left = subprocess.run(["docker", "ps", "-aq", "--no-trunc"], capture_output=True, text=True).stdout
    assert not [each for each in containers if each in left]
    assert ours(person.home) == []
    networks = subprocess.run(["docker", "network", "ls", "--format", "{{.Name}}"], capture_output=True, text=True)
    assert [name for name in networks.stdout.split() if "portside" in name] == []


@pytest.mark.docker
def test_two_clouds_and_two_environments_side_by_side(people):
    ada, bob = people("ada", "127.0.0.22"), people("bob", "127.0.0.23")
    ada_url, bob_url = ada.run("up").stdout.strip(), bob.run("up").stdout.strip()
    # Staging and production of one cloud listen on the same port at the same time.
    production = ada.run("up", "--env", "production").stdout.strip()
    names = {urlsplit(ada_url).netloc, urlsplit(production).netloc}
    assert len(names) == 2
    for name in names:
        assert fetch("http://127.0.0.22:3000/", name) == "Hello World\n"
    assert fetch("http://127.0.0.23:3000/", urlsplit(bob_url).netloc) == "Hello World\n"
    # Production asked for two copies.
    shown = json.loads(ada.run("status", "--env", "production", "--json").stdout)
    assert (shown["service"]["running"], shown["healthy"]) == (2, True)
    # What one takes away leaves the other alone, and the repository stays while production uses it.
    kept = bob.containers()
    away = ada.run("down")
    assert "helloworld-ecr, stack: kept" in away.stderr
    assert bob.containers() == kept
    assert fetch("http://127.0.0.23:3000/", urlsplit(bob_url).netloc) == "Hello World\n"
    assert fetch("http://127.0.0.22:3000/", urlsplit(production).netloc) == "Hello World\n"


@pytest.mark.docker
def test_an_app_that_exits_at_once_fails_with_its_reason_and_the_next_command(people):
    person = people("eve", "127.0.0.24")
    (person.app / "helloworld.js").write_text("console.log('no luck'); process.exit(3);\n")
    began = time.monotonic()
    done = person.run("up", expect=3)
    assert time.monotonic() - began < LIMIT
    assert "staging-helloworld-service ended in ROLLBACK_COMPLETE" in done.stderr
    assert "Circuit Breaker" in done.stderr
    assert "exited with 3" in done.stderr
    assert "Next: " in done.stderr
    # The rest stays as it was, and a good version goes through.
    shutil.copy(EXAMPLE / "helloworld.js", person.app / "helloworld.js")
    assert person.run("up").stdout.startswith("http://")

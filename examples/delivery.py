"""Continuous delivery, told as it happens: `make demo`.

Clones this checkout into a directory of its own, brings the example up on a local cloud of its own, and then does
what developers do: commits that change the greeting, are refused, break the build, crash, fail their health check,
and come two at a time. Both environments are asked for their greeting all the while; a request that fails is
counted. At the end everything is taken away again. The same steps are a test (tests/docker/test_delivery.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
APP = "examples/helloworld"
COMMAND_LIMIT = 900
WAIT_LIMIT = 600
FAILED = 10
SECONDS_BETWEEN_REQUESTS = 0.05


class Unexpected(Exception):
    """Something was not as the story goes."""


class Asking(threading.Thread):
    """Asks one URL over and over, and remembers what it was told."""

    def __init__(self, address: str, url: str) -> None:
        super().__init__(daemon=True)
        parts = urlsplit(url)
        self._url = f"http://{address}:{parts.port}/"
        self._host = parts.netloc
        self._end = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self.greeting = ""

    def once(self) -> str:
        request = urllib.request.Request(self._url, headers={"Host": self._host})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode()).strip()

    def run(self) -> None:
        while not self._end.wait(SECONDS_BETWEEN_REQUESTS):
            try:
                self.greeting = self.once()
                self.answers += 1
            except (OSError, urllib.error.URLError) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {error}")

    def end(self) -> None:
        self._end.set()
        self.join(15)


class Story:
    """A developer with a clone, a cloud of their own, and both URLs under constant load."""

    def __init__(self, scratch: Path, address: str, say: Callable[[str], None] = print) -> None:
        self.scratch, self.address, self._say = scratch, address, say
        self.clone = scratch / "clone"
        self.app = self.clone / APP
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_"))}
        self.environ = kept | {
            "PORTSIDE_HOME": str(scratch / "home"),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": address,
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "100",
        }
        self.asking: dict[str, Asking] = {}
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        self._say(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def quote(self, text: str) -> None:
        for line in text.splitlines():
            self._say(f"          | {line}")

    # Tools

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, *words], cwd=self.clone, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    def portside(self, *words: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "portside", *words],
            env=self.environ,
            cwd=self.app,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
        )
        if expect is not None and done.returncode != expect:
            raise Unexpected(f"portside {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def aws(self, *words: str) -> Any:
        """The local cloud's answer to the AWS CLI."""
        record = json.loads((self.scratch / "home" / "cloud" / "running.json").read_text())
        environ = self.environ | {
            "AWS_ENDPOINT_URL": f"http://{record['address']}:{record['port']}",
            "AWS_DEFAULT_REGION": record["region"],
            "AWS_ACCESS_KEY_ID": "portside",
            "AWS_SECRET_ACCESS_KEY": "portside",
        }
        done = subprocess.run(
            [Path(sys.executable).with_name("aws"), *words, "--output", "json"],
            env=environ, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        done = self.portside("pipeline", "status", "--json", expect=None)
        if not done.stdout:
            raise Unexpected(done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def wait(self, what: str, ready: Callable[[], bool]) -> float:
        began = time.monotonic()
        while not ready():
            if time.monotonic() - began > WAIT_LIMIT:
                raise Unexpected(f"{what}: not within {WAIT_LIMIT} s\n{json.dumps(self.status(), indent=1)}")
            time.sleep(0.1)
        return time.monotonic() - began

    def until_asked(self, commit: str, stage: str = "Approval") -> None:
        """Until a commit waits for a person."""

        def ready() -> bool:
            found = self.status()
            newest = found["executions"][0]["status"] if found["executions"] else ""
            # One that fails in its source has no commit yet.
            if {self.of(found, commit), newest} & {"Failed", "Stopped"}:
                raise Unexpected(self.portside("pipeline", "status", expect=None).stdout)
            row = next(each for each in found["stages"] if each["name"] == stage)
            here = {each["id"]: each["commit"]["id"] for each in found["executions"]}
            return found["waits_for_approval"] == stage and here.get(row["execution"]) == commit

        self.wait(f"{commit[:8]} waits at {stage}", ready)

    @staticmethod
    def of(found: dict[str, Any], commit: str) -> str:
        """How the execution of a commit stands."""
        return next((str(e["status"]) for e in found["executions"] if e["commit"]["id"] == commit), "")

    def until_failed(self, commit: str) -> dict[str, Any]:
        self.wait(f"{commit[:8]} fails", lambda: self.of(self.status(), commit) == "Failed")
        return self.status()

    def until_greeted(self, environment: str, greeting: str) -> float:
        asking = self.asking[environment]
        return self.wait(f"{environment} greets with {greeting}", lambda: asking.greeting == greeting)

    def commit(self, message: str, edit: Callable[[str], str], file: str = "helloworld.js") -> str:
        path = self.app / file
        path.write_text(edit(path.read_text()))
        self.git("commit", "-q", "-am", message)
        made = self.git("rev-parse", "HEAD")
        self.say(f"commit {made[:8]}: {message}")
        return made

    def greet(self, greeting: str) -> str:
        """A commit that is good and says something new, whatever was broken before."""
        self.git("checkout", "-q", self.good, "--", str(self.app))
        return self.commit(f"greet with {greeting}", lambda text: text.replace(self.greeting_there(), greeting))

    def greeting_there(self) -> str:
        return (self.app / "helloworld.js").read_text().split('response.end("', 1)[1].split("\\n", 1)[0]

    def ask(self, environment: str) -> None:
        url = self.portside("status", "--env", environment, "--json", expect=None).stdout
        asking = Asking(self.address, json.loads(url)["url"])
        self.wait(f"{environment} answers", lambda: self._answers(asking))
        asking.start()
        self.asking[environment] = asking

    @staticmethod
    def _answers(asking: Asking) -> bool:
        try:
            asking.greeting = asking.once()
        except (OSError, urllib.error.URLError):
            return False
        return True

    def unchanged(self, **greetings: str) -> None:
        for environment, greeting in greetings.items():
            there = self.asking[environment].once()
            if there != greeting:
                raise Unexpected(f"{environment} greets with {there!r}, not with {greeting!r}")
            self.say(f"{environment} still greets with {greeting!r}")

    def fails_at(self, commit: str, stage: str, *told: str) -> None:
        """The commit stops at a stage, and the status says why."""
        found = self.until_failed(commit)
        execution = next(e["id"] for e in found["executions"] if e["commit"]["id"] == commit)
        rows = [row for row in found["stages"] if row["execution"] == execution]
        failed = [row["name"] for row in rows if row["status"] == "Failed"]
        if failed != [stage]:
            raise Unexpected(f"{commit[:8]} failed at {failed}, not at {stage}")
        shown = self.portside("pipeline", "status", expect=FAILED).stdout
        self.say(f"it stops at {stage}, and `portside pipeline status` says why:")
        self.quote(shown[shown.index(f"{stage} failed") :])
        for text in told:
            if text not in shown:
                raise Unexpected(f"the status does not say {text!r}:\n{shown}")

    def digest(self, tag: str) -> str:
        found = self.aws(
            "ecr", "describe-images", "--repository-name", "helloworld", "--image-ids", f"imageTag={tag}"
        )
        return str(found["imageDetails"][0]["imageDigest"])

    def image(self, environment: str) -> str:
        found = json.loads(self.portside("status", "--env", environment, "--json", expect=None).stdout)
        return str(found["service"]["image"]).rsplit(":", 1)[1]

    # The steps

    def begin(self) -> None:
        subprocess.run(
            ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(self.clone)], check=True, timeout=120
        )
        self.git("checkout", "-q", "-B", "main")
        self.good = self.git("rev-parse", "HEAD")
        self.say(f"cloned {ROOT.name} at {self.good[:8]}; bringing {APP} up")
        done = self.portside("up")
        if "pipeline status" not in done.stderr:
            raise Unexpected(done.stderr)
        self.ask("staging")
        self.say(f"staging greets with {self.asking['staging'].greeting!r} at {done.stdout.strip()}")

    def first(self) -> None:
        self.say("the pipeline's first execution takes the commit that is there already")
        self.until_asked(self.good)
        self.say("it waits for a person; what approving would change:")
        self.quote(self.portside("pipeline", "approve", "--yes", "--comment", "the first").stderr)
        self.wait("the first execution succeeds", lambda: self.of(self.status(), self.good) == "Succeeded")
        self.ask("production")
        self.say(f"production greets with {self.asking['production'].greeting!r}")
        again = self.portside("up")
        if "Nothing to change" not in again.stderr:
            raise Unexpected(again.stderr)
        self.say("`portside up` finds nothing to change: what the pipeline brought is what lies here")

    def a_new_greeting(self) -> None:
        before = self.asking["production"].greeting
        commit = self.greet("Hello Delivery")
        seconds = self.until_greeted("staging", "Hello Delivery")
        self.say(f"staging greets with 'Hello Delivery' {seconds:.1f} s after the commit")
        self.until_asked(commit)
        self.unchanged(production=before)
        self.say("what approving would change:")
        self.quote(self.portside("pipeline", "approve", "--yes", "--comment", "looked at it").stderr)
        self.until_greeted("production", "Hello Delivery")
        self.say("production greets with 'Hello Delivery'")
        self.wait("the execution succeeds", lambda: self.of(self.status(), commit) == "Succeeded")
        images = {self.image("staging"), self.image("production")}
        if images != {commit} or self.digest(commit) != self.digest("latest"):
            raise Unexpected(f"both should run {commit}, and latest be the same: {images}")
        self.say(f"built once: both run {self.digest(commit)[:19]}, and `latest` is the same")

    def a_refusal(self) -> None:
        commit = self.greet("Hello Nobody")
        self.until_greeted("staging", "Hello Nobody")
        self.until_asked(commit)
        self.portside("pipeline", "reject", "--comment", "nobody is not a person")
        self.fails_at(commit, "Approval", "nobody is not a person")
        self.unchanged(staging="Hello Nobody", production="Hello Delivery")

    def a_broken_build(self) -> None:
        def broken(text: str) -> str:
            return text.replace("RUN npm ci", "RUN echo the moon is not in the registry >&2; exit 3; npm ci")

        commit = self.commit("break the build", broken, "Dockerfile")
        self.fails_at(commit, "Build", "phase BUILD", "the moon is not in the registry")
        self.unchanged(staging="Hello Nobody", production="Hello Delivery")

    def a_crash(self) -> None:
        self.git("checkout", "-q", self.good, "--", str(self.app))
        crash = 'throw new Error("no greeting to be found");\n'
        commit = self.commit("crash at start", lambda text: crash + text)
        self.fails_at(commit, "Staging", "no greeting to be found", "exited with 1")
        self.unchanged(staging="Hello Nobody", production="Hello Delivery")

    def failed_health_checks(self) -> None:
        self.git("checkout", "-q", self.good, "--", str(self.app))
        commit = self.commit("answer with 500", lambda text: text.replace("writeHead(200", "writeHead(500"))
        self.fails_at(commit, "Staging", "health checks")
        self.unchanged(staging="Hello Nobody", production="Hello Delivery")

    def two_at_once(self) -> None:
        one = self.greet("Hello One")
        # Commits that are seen at one look are one push, which starts one execution.
        self.wait("the first of two is taken", lambda: self.of(self.status(), one) != "")
        two = self.greet("Hello Two")
        self.until_greeted("staging", "Hello Two")
        self.until_asked(one)
        self.say("queued: the first waits for a person, the second behind it")
        self.portside("pipeline", "approve", "--yes")
        self.until_greeted("production", "Hello One")
        self.say("production greets with 'Hello One'")
        self.until_asked(two)
        self.portside("pipeline", "approve", "--yes")
        self.until_greeted("production", "Hello Two")
        self.say("production greets with 'Hello Two'")
        self.wait("the last execution succeeds", lambda: self.of(self.status(), two) == "Succeeded")
        self.quote(self.portside("pipeline", "history").stdout)

    def count(self) -> None:
        for environment, asking in self.asking.items():
            asking.end()
            self.say(f"{environment}: {asking.answers} answers, {len(asking.failures)} failed requests")
        if failures := [failure for asking in self.asking.values() for failure in asking.failures]:
            raise Unexpected(f"requests failed: {failures[:10]}")

    def end(self) -> None:
        done = self.portside("down")
        if "The local cloud is stopped." not in done.stderr:
            raise Unexpected(done.stderr)
        self.say("taken away again")

    def tell(self) -> None:
        for step in (
            self.begin,
            self.first,
            self.a_new_greeting,
            self.a_refusal,
            self.a_broken_build,
            self.a_crash,
            self.failed_health_checks,
            self.two_at_once,
            self.count,
            self.end,
        ):
            step()

    def clean(self) -> None:
        for asking in self.asking.values():
            asking.end()
        self.portside("cloud", "stop", expect=None)


def main() -> int:
    scratch = Path(tempfile.mkdtemp(prefix="portside-demo-"))
    story = Story(scratch, os.environ.get("PORTSIDE_ADDRESS", "127.0.0.61"), lambda text: print(text, flush=True))
    try:
        story.tell()
    except Unexpected as error:
        print(f"This is not how it should go: {error}", file=sys.stderr)
        print(f"The cloud's log: {scratch / 'home' / 'cloud.log'}", file=sys.stderr)
        return 1
    finally:
        story.clean()
    shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Executes docs/walkthrough.md: reads its commands, types them into one shell, compares or rewrites what they print.

Run as a program (`make walkthrough`) it writes the page's output anew, from a real run. tests/docker/test_walkthrough.py
runs the same commands and compares. The page is plain Markdown: in its console blocks a line that starts with `$ ` is a
command, `> ` goes on with it, and all else is what was printed. The shell has a home, a cloud and a loopback address of
its own, and a copy of the example to work on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from portside import engines
from portside.image import debian
from portside.image.builder import Builder, base_of
from portside.image.errors import ImageError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "walkthrough.md"
EXAMPLE = "examples/helloworld"
LABEL = "walk=helloworld"
IMAGE = "helloworld:first"
COMMAND_LIMIT = 420
CLEAN_LIMIT = 120
# The scratch home and the cloud's own address, as the page shows them: as a user has them.
SHOWN_HOME = "/home/you"
SHOWN_ENDPOINT = "127.0.0.1:4566"

# What docker remarks about itself. It depends on its version, and the page leaves it out.
REMARKS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^(WARNING|DEPRECATED): .*\n(?:[ \t]+.*\n)*\n?",
        r"^\n?WARNING! Your .*\nConfigure a credential helper.*\n(?:https://\S+\n)?\n?",
    )
)

# What differs from run to run or from client to client. Page and output go through the same filters.
FILTERS = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"\bsha256:[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{64}\b", "CONTAINER"),
        (r"\b[0-9a-f]{40}\b", "COMMIT"),
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
        (r"\b(vpc|subnet|sg|i)-[0-9a-f]+\b", r"\1-ID"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "TIME"),
        (r'("imagePushedAt": |"approvedAt": |"lastRecordedPullTime": )[^,\n]+', r"\1TIME"),
        (r'("imageSizeInBytes": )\d+', r"\1SIZE"),
        (r"\b(\w{1,5}-\w{1,5})-[0-9A-Z]+-\d+(\.[a-z0-9-]+\.elb\.localhost)", r"\1-ID\2"),
        (r"^(Total reclaimed space: ).*", r"\1SIZE"),
        (r"\(\d+(?:\.\d+)? s\)", "(SECONDS)"),
        (r"\b\d+(?:\.\d+)? s\b", "SECONDS"),
        (r"[ \t]+$", ""),
    )
)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page and what it printed; `first` and `last` are the lines of that output in the page."""

    command: str
    output: str
    first: int
    last: int


class Differs(Exception):
    """A command did not do what the page shows."""


def steps(page: str) -> list[Step]:
    """The commands of a page's console blocks, in order."""
    found = []
    for token in MarkdownIt("commonmark").parse(page):
        if token.type != "fence" or token.info.strip() != "console" or token.map is None:
            continue
        lines = token.content.splitlines()
        begin = token.map[0] + 1
        at = 0
        while at < len(lines):
            if not lines[at].startswith("$ "):
                raise Differs(f"line {begin + at + 1} is printed by no command: {lines[at]}")
            command = [lines[at][2:]]
            at += 1
            while at < len(lines) and lines[at].startswith("> "):
                command.append(lines[at][2:])
                at += 1
            first = at
            while at < len(lines) and not lines[at].startswith("$ "):
                at += 1
            output = "".join(f"{line}\n" for line in lines[first:at])
            found.append(Step("\n".join(command), output, begin + first, begin + at))
    return found


def filtered(text: str) -> str:
    for pattern, replacement in FILTERS:
        text = pattern.sub(replacement, text)
    return text


def rewritten(page: str, walked: Iterable[Step], outputs: Iterable[str]) -> str:
    """The page with other outputs; those that differ in nothing but ids and times stay as they are."""
    lines = page.splitlines()
    for step, output in reversed(list(zip(walked, outputs, strict=True))):
        if filtered(output) != filtered(step.output):
            lines[step.first : step.last] = output.splitlines()
    return "\n".join(lines) + "\n"


class Shell:
    """One bash in which a command after the other is typed."""

    def __init__(self, scratch: Path, address: str, engine: str, base: str | None = None) -> None:
        self.home = scratch / "home"
        self.home.mkdir()
        self._address = address
        self._typed = scratch / "typed"
        self._end = f"--end-of-command-{os.urandom(8).hex()}--"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_", "DOCKER_", "GIT_"))}
        kept.pop("BASE_IMAGE", None)
        self.environ = kept | {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORTSIDE_HOME": str(self.home / ".portside"),
            "PORTSIDE_PORT": "0",
            "PORTSIDE_ADDRESS": address,
            "PYTHONPATH": str(ROOT / "src"),
            "DOCKER_HOST": engine,
            "COLUMNS": "120",
            "LC_ALL": "C.UTF-8",
        }
        if base is not None:
            self.environ["BASE_IMAGE"] = base
        (self.home / ".gitconfig").write_text("[user]\n\tname = You\n\temail = you@localhost\n")
        # *.localhost is 127.0.0.1 to curl, and there somebody else's cloud may listen.
        (self.home / ".curlrc").write_text(f'connect-to = ":3000:{address}:3000"\n')
        checkout = self.home / "portside"
        shutil.copytree(
            ROOT / EXAMPLE, checkout / EXAMPLE, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
        )
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            env=self.environ,
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, command: str, limit: float = COMMAND_LIMIT) -> tuple[str, int]:
        """What a command prints, and how it ends."""
        self._typed.write_text(command + "\n")
        assert self._bash.stdin is not None
        # Read from a file, so that nothing which reads its input eats the commands to come.
        self._bash.stdin.write(f". '{self._typed}' < /dev/null; echo \"{self._end} $?\"\n".encode())
        self._bash.stdin.flush()
        text = self._until_end(command, limit)
        output, _, code = text.rpartition(f"{self._end} ")
        if output and not output.endswith("\n"):
            output += "\n"
        return self._shown(output), int(code)

    def _shown(self, output: str) -> str:
        for remark in REMARKS:
            output = remark.sub("", output)
        output = re.sub(rf"\b{re.escape(self._address)}:\d+", SHOWN_ENDPOINT, output)
        return output.replace(str(self.home), SHOWN_HOME)

    def _until_end(self, command: str, limit: float) -> str:
        assert self._bash.stdout is not None
        ending = re.compile(rf"{self._end} \d+\n\Z")
        deadline = time.monotonic() + limit
        read = b""
        while not ending.search(text := read.decode("utf-8", "replace")):
            left = deadline - time.monotonic()
            ready = select.select([self._bash.stdout], [], [], max(left, 0))[0]
            if not ready:
                raise Differs(f"not within {limit:g} s: {command}\n{text}")
            more = os.read(self._bash.stdout.fileno(), 65536)
            if not more:
                raise Differs(f"the shell ended: {command}\n{text}")
            read += more
        return text

    def close(self) -> None:
        """Ends the shell and takes away what a walk that was broken off has left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)
        self._bash.wait(CLEAN_LIMIT)
        for stream in (self._bash.stdin, self._bash.stdout):
            if stream is not None:
                stream.close()
        self._after(sys.executable, "-m", "portside", "cloud", "stop")
        left = self._after("docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
        if left:
            self._after("docker", "rm", "--force", *left)

    def _after(self, *words: str) -> str:
        with contextlib.suppress(FileNotFoundError):  # no docker, so nothing of it is left
            done = subprocess.run(words, env=self.environ, capture_output=True, text=True, timeout=CLEAN_LIMIT)
            return done.stdout
        return ""


def base_image(engine: str) -> str | None:
    """Another base image, if the Dockerfile's own is not to be had here."""
    return asyncio.run(_base_image(engine))


async def _base_image(engine: str) -> str | None:
    async with Builder(engine) as builder:
        public = base_of((ROOT / EXAMPLE / "Dockerfile").read_text(), "BASE_IMAGE")
        if await builder.present(public):
            return None
        try:
            await builder.pull(public)
        except ImageError:
            return await debian.ensure(builder)
        return None


def main() -> int:
    """Walks the page and writes its output anew."""
    engine = engines.find(os.environ, Path.home())
    if engine is None:
        print("No container engine answers. Run `portside engine --install`.", file=sys.stderr)
        return 1
    page = PAGE.read_text()
    walked = steps(page)
    outputs: list[str] = []
    scratch = Path(tempfile.mkdtemp(prefix="portside-walk-"))
    shell = Shell(scratch, os.environ.get("PORTSIDE_ADDRESS", "127.0.0.93"), engine, base_image(engine))
    began = time.monotonic()
    try:
        for step in walked:
            output, code = shell.type(step.command)
            print(f"{time.monotonic() - began:6.1f} s  $ {step.command}\n{output}", end="", flush=True)
            if code:
                print(f"It ended with {code}; the page stays as it is.", file=sys.stderr)
                return 1
            outputs.append(output)
    except Differs as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shell.close()
        shutil.rmtree(scratch, ignore_errors=True)
    PAGE.write_text(rewritten(page, walked, outputs))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How long a commit takes to be answered at staging, beside what cannot be saved. Needs a container engine.

Measured is from the commit until ECS makes the new task; what comes after it, the container's own start and its
health checks, is its own. The peer is a plain build and push of the same change through the engine. What is left
is what delivery itself costs: noticing the commit, source, build container, registry calls, pipeline and stack.
Prints lines of JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "src")]

from delivery import APP, Story  # noqa: E402

from portside import engines  # noqa: E402
from portside.image import debian  # noqa: E402
from portside.image.builder import Builder, Login  # noqa: E402
from portside.image.context import Context  # noqa: E402

RUNS = 5
ADDRESS = "127.0.0.62"


class Alone(Story):
    """With the example in a repository of its own, as most people's apps are."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.app = self.clone

    def begin(self) -> None:
        shutil.copytree(ROOT / APP, self.clone)
        settings = self.clone / "portside.toml"
        settings.write_text(settings.read_text().replace(f'directory = "{APP}"\n', ""))
        self.portside("synth", "-o", "templates")
        self.git("init", "-q", "-b", "main")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "begin")
        self.good = self.git("rev-parse", "HEAD")
        self.portside("up")
        self.ask("staging")


class Measured:
    def __init__(self, story: Story) -> None:
        self.story = story
        record = json.loads((story.scratch / "home" / "cloud" / "running.json").read_text())
        self.server = f"{record['address']}:{record['port']}"
        self.endpoint = f"http://{self.server}"
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": record["region"]}
        self.ecs = boto3.client("ecs", endpoint_url=self.endpoint, **keys)
        self.ecr = boto3.client("ecr", endpoint_url=self.endpoint, **keys)

    def newest_task(self) -> float:
        """When the newest task of staging was made, in epoch seconds."""
        clusters = self.ecs.list_clusters()["clusterArns"]
        staging = next(each for each in clusters if "staging" in each)
        arns = self.ecs.list_tasks(cluster=staging)["taskArns"]
        tasks = self.ecs.describe_tasks(cluster=staging, tasks=arns)["tasks"]
        return max(each["createdAt"].timestamp() for each in tasks)

    def delivered(self, number: int) -> tuple[float, float]:
        """Seconds from a commit to its task, and to its answer."""
        # Never built before, or the engine would have its layers already.
        greeting = f"Hello {number} at {time.time_ns()}"
        self.story.greet(greeting)
        began = time.time()
        asking = self.story.asking["staging"]
        while asking.greeting != greeting:
            time.sleep(0.02)
            if time.time() - began > 120:
                raise RuntimeError(f"{greeting} was not answered within 120 s")
        answered = time.time() - began
        return self.newest_task() - began, answered

    async def plain(self, number: int) -> float:
        """Seconds for a build and a push without any of it."""
        source = self.story.app / "helloworld.js"
        before = source.read_text()
        source.write_text(before.replace(self.story.greeting_there(), f"Plain {time.time_ns()}"))
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        name, tag = f"{self.server}/helloworld", f"plain{number}"
        try:
            async with Builder(engines.find({}, Path.home()) or "") as builder:
                context = Context(self.story.app, "Dockerfile")
                began = time.time()
                await builder.build(
                    context.archive(),
                    "Dockerfile",
                    f"{name}:{tag}",
                    {"BASE_IMAGE": debian.reference()},
                    lambda _: None,
                )
                await builder.push(name, tag, Login(user, password, self.server))
                return time.time() - began
        finally:
            source.write_text(before)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="portside-bench-") as name:
        story = Alone(Path(name), ADDRESS, lambda text: print(text, file=sys.stderr, flush=True))
        try:
            story.begin()
            story.until_asked(story.good)
            measured = Measured(story)
            rows = []
            for number in range(RUNS + 1):
                to_task, to_answer = measured.delivered(number)
                # Until the old task is gone, the machine has other things to do.
                time.sleep(8)
                rows.append((to_task, to_answer, asyncio.run(measured.plain(number))))
                time.sleep(1)
        finally:
            story.clean()
    # The first one fills the build's cache of layers.
    rows = rows[1:]
    whole = statistics.median(row[1] for row in rows)
    plain = statistics.median(row[2] for row in rows)
    own = statistics.median(row[0] - row[2] for row in rows)
    for text, ours in (
        ("commit to the new answer (peer: plain build and push)", whole),
        ("what delivery adds before the task is made (peer: plain build and push)", own),
    ):
        print(
            json.dumps(
                {
                    "name": text,
                    "ours": round(ours, 2),
                    "peer": round(plain, 2),
                    "ratio": round(ours / plain, 2),
                    "unit": "s",
                    "runs": RUNS,
                }
            )
        )


if __name__ == "__main__":
    main()

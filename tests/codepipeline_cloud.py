"""A whole cloud in this process, with a git checkout beside it: real clients, real roles, real time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from portside.cloud.app import Cloud
from portside.cloud.settings import CloudSettings, Home

LIMIT = 30.0
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Running:
    def __init__(self, cloud: Cloud, directory: Path) -> None:
        self.cloud = cloud
        self.url = f"http://127.0.0.1:{cloud.server.port}"
        self.checkout = directory / "checkout"
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, region: str = "us-east-1") -> Any:
        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=region,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(read_timeout=15, retries={"total_max_attempts": 1}),
            )
        return self._clients[service, region]

    async def do(self, service: str, operation: str, **params: Any) -> Any:
        return await asyncio.to_thread(getattr(self.client(service), operation), **params)

    async def refused(self, service: str, operation: str, **params: Any) -> tuple[str, str]:
        with pytest.raises(ClientError) as failure:
            await self.do(service, operation, **params)
        error = failure.value.response["Error"]
        return error["Code"], error["Message"]

    async def page(self, method: str, below: str = "", headers: dict[str, str] | None = None, **body: Any) -> Any:
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                method, f"{self.url}/_portside/repositories{below}", json=body or None, headers=headers
            ) as answer,
        ):
            return answer.status, await answer.json()

    async def until(self, reached: Callable[[], Any], limit: float = LIMIT) -> Any:
        """Poll until a call in a thread answers something true."""
        end = time.monotonic() + limit
        while True:
            found = await asyncio.to_thread(reached)
            if found:
                return found
            assert time.monotonic() < end, "not reached in time"
            await asyncio.sleep(0.05)

    async def git(self, *arguments: str) -> str:
        return await asyncio.to_thread(git, self.checkout, *arguments)

    async def commit(self, files: dict[str, bytes], message: str = "A change") -> str:
        return await asyncio.to_thread(commit, self.checkout, files, message)

    async def execution(self, name: str, *statuses: str, number: int = 1) -> Any:
        """The `number`th execution, once it has one of the statuses."""

        def look() -> Any:
            found = self.client("codepipeline").list_pipeline_executions(pipelineName=name)
            oldest = list(reversed(found["pipelineExecutionSummaries"]))
            if len(oldest) < number or oldest[number - 1]["status"] not in statuses:
                return None
            return oldest[number - 1]

        return await self.until(look)

    async def token(self, name: str, stage: str, action: str) -> str:
        def look() -> Any:
            for each in self.client("codepipeline").get_pipeline_state(name=name)["stageStates"]:
                for one in each["actionStates"]:
                    if (each["stageName"], one["actionName"]) == (stage, action):
                        return one.get("latestExecution", {}).get("token")
            return None

        return await self.until(look)

    async def role(self, name: str, service: str, *actions: str) -> str:
        made = await self.do("iam", "create_role", RoleName=name, AssumeRolePolicyDocument=trust(service))
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        await self.do("iam", "put_role_policy", RoleName=name, PolicyName="all", PolicyDocument=policy)
        return str(made["Role"]["Arn"])

    async def bucket(self, name: str) -> str:
        await self.do("s3", "create_bucket", Bucket=name)
        await self.do("s3", "put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(path), *arguments],
        env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=30,
    ).stdout.strip()  # fmt: skip


def commit(path: Path, files: dict[str, bytes], message: str) -> str:
    if not path.exists():
        path.mkdir()
        git(path, "init", "-q", "-b", "main")
    for name, content in files.items():
        (path / name).write_bytes(content)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", message)
    return git(path, "rev-parse", "HEAD")


@asynccontextmanager
async def cloud(directory: Path) -> AsyncIterator[Running]:
    home = Home(Path("home"))
    home.state.mkdir(parents=True, exist_ok=True)
    async with Cloud(home, CloudSettings(port=0)) as made:
        running = Running(made, directory)
        yield running
        for each in running._clients.values():
            each.close()

"""A whole cloud with a machine that has every image, in a thread of its own, for tests that are a person's scripts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import WaiterError

from portside.cloud.app import Cloud
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.settings import CloudSettings, Home
from portside.testing.machine import FakeMachine

LIMIT = 60
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
FAST = {"Delay": 0.1, "MaxAttempts": 600}


class Account:
    """What scripts see of the cloud: boto3's clients."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(read_timeout=30, retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def close(self) -> None:
        for each in self._clients.values():
            each.close()

    def create(self, name: str, template: Any, **parameters: str) -> dict[str, str]:
        """A stack as a person makes one: create, wait, read the outputs."""
        self.begin(name, template, **parameters)
        return self.created(name)

    def begin(self, name: str, template: Any, **parameters: str) -> None:
        self.client("cloudformation").create_stack(
            StackName=name,
            TemplateBody=template if isinstance(template, str) else json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )

    def created(self, name: str) -> dict[str, str]:
        try:
            self.client("cloudformation").get_waiter("stack_create_complete").wait(
                StackName=name, WaiterConfig=FAST
            )
        except WaiterError:
            raise AssertionError(f"{name}: {self.reasons(name)}") from None
        (stack,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}

    def failed(self, name: str) -> list[str]:
        """The reasons of a stack that does not come to be."""
        stacks = self.client("cloudformation")

        def status() -> str | None:
            found: str = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            return None if found.endswith("_IN_PROGRESS") else found

        assert self.until(status) in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"), self.reasons(name)
        return self.reasons(name)

    def deleted(self, name: str) -> None:
        stacks = self.client("cloudformation")
        (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
        stacks.delete_stack(StackName=name)
        try:
            stacks.get_waiter("stack_delete_complete").wait(StackName=stack["StackId"], WaiterConfig=FAST)
        except WaiterError:
            raise AssertionError(f"{name}: {self.reasons(stack['StackId'])}") from None

    def reasons(self, name: str) -> list[str]:
        events = self.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
        return [
            f"{each['LogicalResourceId']} {each['ResourceStatus']} {each['ResourceStatusReason']}"
            for each in reversed(events)
            if each.get("ResourceStatusReason")
        ]

    def push(self, repository: str, tag: str) -> None:
        """An image of one empty layer, by the registry's API."""
        ecr = self.client("ecr")
        blobs = [(CONFIG, b"{}"), (LAYER, b"a layer")]
        described = []
        for kind, content in blobs:
            upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
            ecr.upload_layer_part(
                repositoryName=repository,
                uploadId=upload,
                partFirstByte=0,
                partLastByte=len(content) - 1,
                layerPartBlob=content,
            )
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
            described.append({"mediaType": kind, "size": len(content), "digest": digest})
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": described[0],
            "layers": described[1:],
        }
        ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag)

    def until(self, reached: Callable[[], Any]) -> Any:
        """Ask until a call answers something true."""
        end = time.monotonic() + LIMIT
        while not (found := reached()):
            assert time.monotonic() < end, "not reached in time"
            time.sleep(0.05)
        return found

    def physical(self, stack: str, logical: str) -> str:
        found = self.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=logical)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])


@contextmanager
def account(directory: Path) -> Iterator[Account]:
    """`directory` has to be the working directory: the endpoint's socket lies in it, and its name may be too long."""
    loop = asyncio.new_event_loop()
    ready: list[str] = []
    started, over = threading.Event(), asyncio.Event()
    failure: list[BaseException] = []

    async def live() -> None:
        home = Home(Path("home"))
        home.state.mkdir(parents=True, exist_ok=True)
        settings = CloudSettings(port=0, address="127.0.0.88")
        async with Cloud(home, settings, FakeMachine(SystemClock())) as cloud:
            ready.append(f"http://127.0.0.88:{cloud.server.port}")
            started.set()
            await over.wait()

    def run() -> None:
        try:
            loop.run_until_complete(live())
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, name="cloud")
    thread.start()
    try:
        assert started.wait(LIMIT)
        if ready:
            made = Account(ready[0])
            try:
                yield made
            finally:
                made.close()
    finally:
        if not failure:
            loop.call_soon_threadsafe(over.set)
        thread.join(LIMIT)
        assert not thread.is_alive()
    if failure:
        raise failure[0]

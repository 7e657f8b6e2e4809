"""A whole cloud for other people's clients: in this process, on a port of its own, its containers played.

It runs in a thread, so that tests may wait for programs. Its address is not the usual one: the bridge, its names and
port 4566 are left to others.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from ecr_cloud import sample
from portside.cloud.app import Cloud
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.settings import CloudSettings, Home
from portside.testing.engine import FakeEngine, Program
from portside.testing.machine import FakeMachine

LIMIT = 120.0


class LocalCloud:
    """Where it is, and the means to see what clients have brought about."""

    def __init__(self, directory: Path, address: str, port: int = 0) -> None:
        self._directory = directory
        self._settings = CloudSettings(port=port, address=address)
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cloud")
        self.url = ""
        self.engine: FakeEngine

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(LIMIT)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        home = Home(self._directory)
        home.state.mkdir(parents=True, exist_ok=True)
        machine = FakeMachine(SystemClock())
        self.engine = machine.engine()
        async with Cloud(home, self._settings, machine) as cloud:
            self.url = f"http://{self._settings.address}:{cloud.server.port}"
            self._up.set()
            await self._end.wait()
            await cloud.stop()

    def program(self, image: str, program: Program) -> None:
        """What that image does from now on; all others run for ever."""
        self.engine.remote[image] = program

    def client(self, service: str, region: str = "us-east-1", **more: Any) -> Any:
        named = {"endpoint_url": self.url, "aws_access_key_id": "portside", "aws_secret_access_key": "portside"}
        return boto3.client(service, region_name=region, **named | more)

    def say(self, group: str, region: str) -> None:
        """Three lines of output in a new log group."""
        logs, now = self.client("logs", region), int(time.time() * 1000)
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="one")
        lines = [{"timestamp": now + number, "message": f"line {number}"} for number in range(3)]
        logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=lines)

    def settled(self, stack: str, region: str = "us-east-1") -> str:
        """The status in which the stack comes to rest. The CLI's own waiters look every 30 s only."""
        cloudformation = self.client("cloudformation", region)

        def status() -> str:
            found: str = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
            return "" if found.endswith("_IN_PROGRESS") else found

        return until(status)

    def instance(self, cluster: str) -> None:
        """An instance for containers, by an Auto Scaling group whose user data names the cluster."""
        groups, ec2 = self.client("autoscaling"), self.client("ec2")
        data = base64.b64encode(
            f"#!/bin/bash\necho ECS_CLUSTER={cluster} >> /etc/ecs/ecs.config\n".encode()
        ).decode()
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        groups.create_launch_configuration(
            LaunchConfigurationName=cluster, ImageId=image, InstanceType="t3.large", UserData=data
        )
        groups.create_auto_scaling_group(
            AutoScalingGroupName=cluster,
            LaunchConfigurationName=cluster,
            MinSize=1,
            MaxSize=1,
            AvailabilityZones=["us-east-1a"],
        )
        ecs = self.client("ecs")
        until(lambda: ecs.list_container_instances(cluster=cluster)["containerInstanceArns"])

    def bucket(self, name: str, region: str = "us-east-1") -> None:
        more = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.client("s3", region).create_bucket(Bucket=name, **more)

    def failures(self, stack: str, region: str = "us-east-1") -> list[str]:
        events = self.client("cloudformation", region).describe_stack_events(StackName=stack)["StackEvents"]
        return [each["ResourceStatusReason"] for each in events if each["ResourceStatus"].endswith("_FAILED")]

    def push(self, repository: str, tag: str, region: str = "us-east-1") -> None:
        """An image by the API's own layer operations."""
        ecr, image = self.client("ecr", region), sample(f"{repository}:{tag}".encode())
        for blob in (image.layer, image.config):
            upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
            ecr.upload_layer_part(
                repositoryName=repository, uploadId=upload, partFirstByte=0, partLastByte=len(blob) - 1,
                layerPartBlob=blob,
            )  # fmt: skip
            ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[_digest(blob)])
        ecr.put_image(repositoryName=repository, imageTag=tag, imageManifest=image.manifest.decode())


def _digest(data: bytes) -> str:
    import hashlib

    return "sha256:" + hashlib.sha256(data).hexdigest()


def until(look: Callable[[], Any]) -> Any:
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + LIMIT
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


class Tool:
    """A client program in a user's shell, with what it printed."""

    def __init__(self, words: list[str], environ: dict[str, str], directory: Path) -> None:
        self.words = words
        self.environ = environ
        self.directory = directory

    def __call__(self, *words: str, stdin: str = "", refused: bool = False, **environ: str) -> str:
        done = subprocess.run(
            [*self.words, *words],
            env=self.environ | environ,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert (done.returncode != 0) == refused, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if refused else done.stdout

    def asked(self, *words: str) -> Any:
        return json.loads(self(*words, "--output", "json"))


def environment(url: str = "") -> dict[str, str]:
    """A user's shell after `eval "$(portside cloud env)"`, without the user's own settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PORTSIDE_", "PYTHON"))}
    if not url:
        return kept
    return kept | {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "portside",
        "AWS_SECRET_ACCESS_KEY": "portside",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    }

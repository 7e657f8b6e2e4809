"""What a person's scripts do with the cloud of `client_cloud.py`: make a stack, wait, read its outputs, by boto3 alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import WaiterError

from client_cloud import LocalCloud

LIMIT = 60
FAST = {"Delay": 0.1, "MaxAttempts": 600}


class Account:
    """What scripts see of the cloud: boto3's clients."""

    def __init__(self, local: LocalCloud) -> None:
        self._local = local
        self.url = local.url
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
        self._local.push(repository, tag)

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
    local = LocalCloud(directory, "127.0.0.88")
    local.start()
    made = Account(local)
    try:
        yield made
    finally:
        made.close()
        local.stop()

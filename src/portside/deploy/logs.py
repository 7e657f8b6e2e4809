"""The app's output, from CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from portside.deploy import deployment
from portside.deploy.api import Aws
from portside.deploy.errors import DeployError

# How long a line may take from its container to CloudWatch; looked back over, so that none is missed.
LATE_MILLISECONDS = 5_000


@dataclass(frozen=True, slots=True)
class Line:
    """`at` in milliseconds since 1970; `stream` ends in the task's id."""

    id: str
    at: int
    stream: str
    text: str

    @property
    def task(self) -> str:
        return self.stream.rsplit("/", 1)[-1]


def group(aws: Aws, service_stack: str) -> str:
    """The log group that the service stack made."""
    record = deployment.find(aws, service_stack)
    if record is None:
        raise DeployError(f"there is no stack {service_stack}", "", "Deploy it with `portside up`.")
    name = deployment.outputs(record).get("LogGroup", "")
    if name:
        return name
    with aws.errors(f"{service_stack} cannot be read"):
        rows = aws.client("cloudformation").describe_stack_resources(StackName=service_stack)["StackResources"]
    for row in rows:
        if row["ResourceType"] == "AWS::Logs::LogGroup" and row.get("PhysicalResourceId"):
            return str(row["PhysicalResourceId"])
    raise DeployError(f"{service_stack} has no log group yet", "", "See `portside status`.")


def read(aws: Aws, log_group: str, since: int) -> list[Line]:
    """Every line since a moment (milliseconds), oldest first."""
    pages = aws.client("logs").get_paginator("filter_log_events").paginate(logGroupName=log_group, startTime=since)
    found = []
    with aws.errors("the output cannot be read"):
        for page in pages:
            found += [
                Line(row["eventId"], row["timestamp"], row["logStreamName"], row["message"].rstrip("\n"))
                for row in page["events"]
            ]
    return sorted(found, key=lambda line: line.at)


def follow(aws: Aws, log_group: str, since: int) -> Iterator[Line]:
    """Every line since a moment, and then each new one, for ever."""
    seen: dict[str, int] = {}
    while True:
        newest = since
        for line in read(aws, log_group, since):
            newest = max(newest, line.at)
            if line.id not in seen:
                seen[line.id] = line.at
                yield line
        since = max(since, newest - LATE_MILLISECONDS)
        seen = {key: at for key, at in seen.items() if at >= since}
        aws.clock.sleep(aws.target.poll)

"""Stack events in the order in which they happened, each seen once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portside.deploy.api import Aws


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One row of DescribeStackEvents."""

    id: str
    stack: str
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str
    at: datetime | None = None

    @property
    def about_stack(self) -> bool:
        return self.type == "AWS::CloudFormation::Stack" and self.logical_id == self.stack

    @property
    def failed(self) -> bool:
        return self.status.endswith("_FAILED")


class EventReader:
    """Remembers what has been seen of one stack's events."""

    def __init__(self, aws: Aws, stack_id: str) -> None:
        self._aws = aws
        self._stack_id = stack_id
        self._seen: set[str] = set()

    def skip_present(self) -> None:
        """Whatever has happened until now is not news."""
        self.new()

    def new(self) -> list[StackEvent]:
        """What happened since the last call, oldest first."""
        found: list[StackEvent] = []
        paginator = self._aws.client("cloudformation").get_paginator("describe_stack_events")
        with self._aws.errors("the stack's events cannot be read"):
            for page in paginator.paginate(StackName=self._stack_id):
                fresh = [event for event in page["StackEvents"] if event["EventId"] not in self._seen]
                found += [_event(event) for event in fresh]
                if len(fresh) < len(page["StackEvents"]):
                    break  # newest first: from here on everything is known
        self._seen |= {event.id for event in found}
        return list(reversed(found))


def _event(row: dict[str, Any]) -> StackEvent:
    return StackEvent(
        row["EventId"],
        row["StackName"],
        row.get("LogicalResourceId", ""),
        row.get("PhysicalResourceId", ""),
        row.get("ResourceType", ""),
        row.get("ResourceStatus", ""),
        row.get("ResourceStatusReason", ""),
        row.get("Timestamp"),
    )

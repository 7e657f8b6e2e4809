"""Change sets: what an update would do, before it does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portside.deploy.api import Aws
from portside.deploy.errors import NotAccepted, TimedOut

PREFIX = "portside-"
CREATE_LIMIT = 300.0

# What CloudFormation answers when there is nothing to do; the second where a template has transforms.
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that execution will touch. `replaces` is CloudFormation's True, False or Conditional."""

    action: str
    logical_id: str
    type: str
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """`id` is empty when there is nothing to change."""

    id: str
    stack_id: str
    changes: tuple[Change, ...] = ()


def create(aws: Aws, request: dict[str, Any], *, new: bool, name: str) -> ChangeSet:
    """Create a change set and wait until it is ready. `request` as for CreateStack, without its name parts."""
    client = aws.client("cloudformation")
    stack = request["StackName"]
    try:
        with aws.errors(f"{stack} cannot be deployed"):
            kind = "CREATE" if new else "UPDATE"
            made = client.create_change_set(**request, ChangeSetName=name, ChangeSetType=kind)
    except NotAccepted as error:
        if says_unchanged(error.why):  # some endpoints say so at once
            return ChangeSet("", "")
        raise
    deadline = aws.clock.now() + CREATE_LIMIT
    while True:
        with aws.errors(f"{stack} cannot be deployed"):
            found = client.describe_change_set(ChangeSetName=made["Id"])
        status = found["Status"]
        if status == "CREATE_COMPLETE":
            return ChangeSet(made["Id"], made["StackId"], _changes(aws, made["Id"], found))
        if status == "FAILED":
            reason = found.get("StatusReason", "")
            with aws.errors(f"{stack}: the change set cannot be deleted"):
                client.delete_change_set(ChangeSetName=made["Id"])
            if says_unchanged(reason):
                return ChangeSet("", made["StackId"])
            raise NotAccepted(f"{stack} cannot be deployed", reason)
        if aws.clock.now() > deadline:
            raise TimedOut(f"{stack} cannot be deployed", f"its change set is still {status}")
        aws.clock.sleep(min(aws.target.poll, 1.0))


def says_unchanged(reason: str) -> bool:
    return any(text in reason for text in NO_CHANGES)


def _changes(aws: Aws, name: str, first: dict[str, Any]) -> tuple[Change, ...]:
    rows = list(first.get("Changes", []))
    token = first.get("NextToken")
    while token:
        with aws.errors("the change set cannot be read"):
            page = aws.client("cloudformation").describe_change_set(ChangeSetName=name, NextToken=token)
        rows += page.get("Changes", [])
        token = page.get("NextToken")
    return tuple(
        Change(
            row["ResourceChange"]["Action"],
            row["ResourceChange"]["LogicalResourceId"],
            row["ResourceChange"]["ResourceType"],
            row["ResourceChange"].get("Replacement", ""),
        )
        for row in rows
    )

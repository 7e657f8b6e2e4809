"""Making a stack so: the story of one deployment on one page.

A change set shows what would change; if nothing would, nothing is done. Otherwise it is executed, its events are
reported as they happen, and the outcome is the stack's own: anything but a complete state is a failure, whose
cause `diagnose.py` looks for. `events.py` reads events, `changeset.py` makes change sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from portside.deploy import changeset
from portside.deploy.api import Aws
from portside.deploy.diagnose import cause, next_step, waiting
from portside.deploy.errors import NotAccepted, StackFailed, TimedOut
from portside.deploy.events import EventReader, StackEvent

# CloudFormation itself gives an ECS service three hours to become stable.
OPERATION_LIMIT = 3.25 * 3600
# Ours to take away: an attempt to create that left nothing behind, or a review that nobody executed.
UNBORN = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED")


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that should exist."""

    name: str
    template: str
    parameters: dict[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`action` is created, updated, unchanged or deleted. `outputs` of the stack as it is now."""

    stack: str
    action: str
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where news goes: `planned` with the changes to come, `happened` with each event."""

    planned: Callable[[str, bool, tuple[changeset.Change, ...]], None] = lambda stack, new, changes: None
    happened: Callable[[StackEvent], None] = lambda event: None


def deploy(aws: Aws, stack: Stack, progress: Progress, *, token: str) -> Outcome:
    """Create or update `stack`. Raises StackFailed, NotAccepted, Unreachable or TimedOut."""
    present = find(aws, stack.name)
    if present is not None and present["StackStatus"] in UNBORN:
        delete(aws, stack.name, progress)
        present = None
    if present is not None and present["StackStatus"].endswith("_IN_PROGRESS"):
        present = settle(aws, present, progress)
    new = present is None
    request = {
        "StackName": stack.name,
        "TemplateBody": stack.template,
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(stack.parameters.items())],
        "Capabilities": list(stack.capabilities),
        "Tags": [{"Key": k, "Value": v} for k, v in sorted(stack.tags.items())],
    }
    made = changeset.create(aws, request, new=new, name=f"{changeset.PREFIX}{token}")
    if not made.id:
        return Outcome(stack.name, "unchanged", outputs(present or {}))
    progress.planned(stack.name, new, made.changes)
    reader = EventReader(aws, made.stack_id)
    reader.skip_present()
    with aws.errors(f"{stack.name} cannot be deployed"):
        aws.client("cloudformation").execute_change_set(ChangeSetName=made.id)
    final = follow(aws, made.stack_id, reader, progress)
    return Outcome(stack.name, "created" if new else "updated", outputs(final))


def delete(aws: Aws, name: str, progress: Progress) -> Outcome:
    """Delete a stack; one that does not exist counts as deleted."""
    present = find(aws, name)
    if present is None:
        return Outcome(name, "absent")
    if present["StackStatus"].endswith("_IN_PROGRESS") and present["StackStatus"] != "REVIEW_IN_PROGRESS":
        present = settle(aws, present, progress)
    reader = EventReader(aws, present["StackId"])
    reader.skip_present()
    with aws.errors(f"{name} cannot be deleted"):
        aws.client("cloudformation").delete_stack(StackName=present["StackId"])
    follow(aws, present["StackId"], reader, progress, deleting=True)
    return Outcome(name, "deleted")


def find(aws: Aws, name: str) -> dict[str, Any] | None:
    """The stack's record, None where there is no such stack."""
    client = aws.client("cloudformation")
    try:
        with aws.errors(f"{name} cannot be looked up"):
            stacks = client.describe_stacks(StackName=name)["Stacks"]
    except NotAccepted as error:
        if "does not exist" in error.why:
            return None
        raise
    found: dict[str, Any] = stacks[0]
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def settle(aws: Aws, present: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Wait for an operation that somebody else began."""
    reader = EventReader(aws, present["StackId"])
    reader.skip_present()
    return follow(aws, present["StackId"], reader, progress, ours=False)


def follow(
    aws: Aws,
    stack_id: str,
    reader: EventReader,
    progress: Progress,
    *,
    deleting: bool = False,
    ours: bool = True,
) -> dict[str, Any]:
    """Report events until the stack rests; its record, or StackFailed if it did not get where it should."""
    deadline = aws.clock.now() + OPERATION_LIMIT
    happened: list[StackEvent] = []
    while True:
        # The status is read before the events, so that a stack seen at rest has had all its events reported.
        with aws.errors(f"{stack_id} cannot be looked up"):
            record: dict[str, Any] = aws.client("cloudformation").describe_stacks(StackName=stack_id)["Stacks"][0]
        for event in reader.new():
            happened.append(event)
            progress.happened(event)
        status = record["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
            break
        if aws.clock.now() > deadline:
            raise TimedOut(
                f"{record['StackName']} is still {status}",
                waiting(aws, happened),
                f"Look at `aws cloudformation describe-stack-events --stack-name {record['StackName']}`.",
            )
        aws.clock.sleep(aws.target.poll)
    good = ("DELETE_COMPLETE",) if deleting else ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    if ours and status not in good:
        why = cause(aws, record, happened)
        raise StackFailed(f"{record['StackName']} ended in {status}", why, next_step(aws, record, happened))
    return record


def outputs(record: dict[str, Any]) -> dict[str, str]:
    return {row["OutputKey"]: row["OutputValue"] for row in record.get("Outputs", [])}


def parameters(record: dict[str, Any]) -> dict[str, str]:
    return {row["ParameterKey"]: row.get("ParameterValue", "") for row in record.get("Parameters", [])}


def tags(record: dict[str, Any]) -> dict[str, str]:
    return {row["Key"]: row["Value"] for row in record.get("Tags", [])}

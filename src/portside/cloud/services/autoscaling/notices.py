"""What the topics of an Auto Scaling group are told, word by word, and the targets of its lifecycle hooks.

Pure. Source: the EC2 Auto Scaling User Guide, "Amazon SNS notification options", "Add lifecycle hooks" and "Events
from Amazon EC2 Auto Scaling".
"""

from __future__ import annotations

import json
from enum import StrEnum

from portside.cloud.protocol.serialise import iso
from portside.cloud.services.autoscaling.hook_rules import LAUNCHING
from portside.cloud.services.calls import Params

SERVICE = "AWS Auto Scaling"
HEALTH = "an instance was taken out of service in response to an EC2 health check indicating it has been " + (
    "terminated or stopped"
)


class Kind(StrEnum):
    LAUNCH = "autoscaling:EC2_INSTANCE_LAUNCH"
    LAUNCH_ERROR = "autoscaling:EC2_INSTANCE_LAUNCH_ERROR"
    TERMINATE = "autoscaling:EC2_INSTANCE_TERMINATE"
    TERMINATE_ERROR = "autoscaling:EC2_INSTANCE_TERMINATE_ERROR"
    TEST = "autoscaling:TEST_NOTIFICATION"


_SUBJECTS = {
    Kind.LAUNCH: "launch",
    Kind.LAUNCH_ERROR: "failed launch",
    Kind.TERMINATE: "termination",
    Kind.TERMINATE_ERROR: "failed termination",
    Kind.TEST: "test notification",
}


def subject(kind: Kind, group: str) -> str:
    return f'Auto Scaling: {_SUBJECTS[kind]} for group "{group}"'


def test(account: str, name: str, arn: str, request: str, now: float) -> str:
    return json.dumps(
        {
            "AccountId": account,
            "RequestId": request,
            "AutoScalingGroupARN": arn,
            "AutoScalingGroupName": name,
            "Service": SERVICE,
            "Event": Kind.TEST,
            "Time": iso(now),
        }
    )


def activity(
    kind: Kind,
    *,
    account: str,
    name: str,
    arn: str,
    activity: str,
    now: float,
    cause: str,
    instance: str = "",
    details: Params | None = None,
    error: str = "",
) -> str:
    """The end of an activity. Without `error` it succeeded."""
    launches = kind in (Kind.LAUNCH, Kind.LAUNCH_ERROR)
    what = "Launching a new EC2 instance" if launches else "Terminating EC2 instance"
    description = f"{what}: {instance}" if instance else what
    if error:
        failing = "Launching EC2 instance failed." if launches else "Terminating EC2 instance failed."
        description += f".  Status Reason: {error} {failing}"
    return json.dumps(
        {
            "Origin": "EC2" if launches else "AutoScalingGroup",
            "Destination": "AutoScalingGroup" if launches else "EC2",
            "Progress": 100 if error else 50,
            "AccountId": account,
            "Description": description,
            "RequestId": activity,
            "EndTime": iso(now),
            "AutoScalingGroupARN": arn,
            "ActivityId": activity,
            "StartTime": iso(now),
            "Service": SERVICE,
            "Time": iso(now),
            "EC2InstanceId": instance,
            "StatusCode": "Failed" if error else "InProgress",
            "StatusMessage": error,
            "Details": details or {},
            "AutoScalingGroupName": name,
            "Cause": f"At {iso(now)} {cause}.",
            "Event": kind,
        }
    )


def started(before: int, after: int) -> str:
    return (
        "an instance was started in response to a difference between desired and actual capacity, increasing the "
        f"capacity from {before} to {after}"
    )


def taken(before: int, after: int) -> str:
    return (
        "an instance was taken out of service in response to a difference between desired and actual capacity, "
        f"shrinking the capacity from {before} to {after}"
    )


def asked(instance: str) -> str:
    return f"instance {instance} was taken out of service in response to a user request"


def abandoned(token: str, reason: str) -> str:
    return (
        "Instance failed to complete user's Lifecycle Action: "
        f"Lifecycle Action with token {token} was abandoned: {reason}"
    )


# Lifecycle actions


def lifecycle(*, token: str, group: str, hook: str, instance: str, transition: str, metadata: str) -> Params:
    """What is said of an action, to targets and rules alike."""
    launches = transition == LAUNCHING
    return {
        "LifecycleActionToken": token,
        "AutoScalingGroupName": group,
        "LifecycleHookName": hook,
        "EC2InstanceId": instance,
        "LifecycleTransition": transition,
        **({"NotificationMetadata": metadata} if metadata else {}),
        "Origin": "EC2" if launches else "AutoScalingGroup",
        "Destination": "AutoScalingGroup" if launches else "EC2",
    }


def lifecycle_message(account: str, request: str, said: Params, now: float) -> str:
    return json.dumps(
        {"Service": SERVICE, "Time": iso(now), "RequestId": request, "AccountId": account} | said,
    )


def lifecycle_subject(transition: str, instance: str) -> str:
    kind = transition.rpartition("_")[2]
    return f"Auto Scaling:  Lifecycle action '{kind}' for instance {instance} in progress."


def lifecycle_event(transition: str, arn: str, said: Params, now: float) -> str:
    """An entry of PutEvents."""
    kind = "launch" if transition == LAUNCHING else "terminate"
    return json.dumps(
        {
            "Source": "aws.autoscaling",
            "DetailType": f"EC2 Instance-{kind} Lifecycle Action",
            "Time": now,
            "Resources": [arn],
            "Detail": json.dumps(said),
        }
    )

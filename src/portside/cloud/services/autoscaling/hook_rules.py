"""Lifecycle hooks of Auto Scaling groups: what one may look like, and how long an action may wait.

Pure. Source: the EC2 Auto Scaling API Reference, "PutLifecycleHook", and the User Guide, "Amazon EC2 Auto Scaling
lifecycle hooks".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
TRANSITIONS = (LAUNCHING, TERMINATING)
CONTINUE = "CONTINUE"
ABANDON = "ABANDON"
RESULTS = (CONTINUE, ABANDON)

HOOKS = 50
HEARTBEAT = 3600
SHORTEST, LONGEST = 30, 7200
HEARTBEATS = 100
LONGEST_WAIT = 48 * 3600

_TARGET = re.compile(r"arn:aws[a-z-]*:(sns|sqs):[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?")


@dataclass(frozen=True, slots=True)
class Hook:
    """`timeout`: seconds that an action may wait without a heartbeat. `result`: what it ends with after that.
    `target` is told of every action, by `role`."""

    name: str
    transition: str
    timeout: int = HEARTBEAT
    result: str = ABANDON
    target: str = ""
    role: str = ""
    metadata: str = ""

    @property
    def limit(self) -> int:
        """Seconds after which no heartbeat helps any more."""
        return min(LONGEST_WAIT, HEARTBEATS * self.timeout)


def merged(old: Hook | None, params: Params) -> Hook:
    """The hook that PutLifecycleHook asks for: what it leaves out stays as it was. Raises AwsError."""
    transition = params.get("LifecycleTransition") or (old.transition if old else "")
    if not transition:
        raise invalid("LifecycleTransition is required for a new lifecycle hook.")
    if transition not in TRANSITIONS:
        raise invalid(f"{transition} is not a lifecycle transition; choose from {', '.join(TRANSITIONS)}.")
    before = old or Hook(params["LifecycleHookName"], transition)
    timeout = params.get("HeartbeatTimeout")
    target = params.get("NotificationTargetARN")
    target = before.target if target is None else target  # an empty one takes the old one away
    hook = Hook(
        params["LifecycleHookName"],
        transition,
        timeout=before.timeout if timeout is None else int(timeout),
        result=params.get("DefaultResult") or before.result,
        target=target,
        role=(params.get("RoleARN") or before.role) if target else "",
        metadata=params.get("NotificationMetadata") or before.metadata,
    )
    if not SHORTEST <= hook.timeout <= LONGEST:
        raise invalid(f"HeartbeatTimeout must be between {SHORTEST} and {LONGEST} seconds, not {hook.timeout}.")
    check_result(hook.result, "DefaultResult")
    if hook.target:
        _check_target(hook)
    return hook


def check_result(result: str, name: str) -> None:
    if result not in RESULTS:
        raise invalid(f"{name} must be {' or '.join(RESULTS)}, not {result}.")


def _check_target(hook: Hook) -> None:
    found = _TARGET.fullmatch(hook.target)
    if found is None:
        raise invalid(f"NotificationTargetARN must be the ARN of an SNS topic or an SQS queue, not {hook.target}.")
    if found.group(2):
        raise invalid(f"Lifecycle hooks do not notify FIFO topics and queues: {hook.target}.")
    if not hook.role:
        raise invalid("RoleARN is required for a lifecycle hook with a NotificationTargetARN.")


def shown(hook: Hook, group: str) -> Params:
    found: Params = {
        "LifecycleHookName": hook.name,
        "AutoScalingGroupName": group,
        "LifecycleTransition": hook.transition,
        "HeartbeatTimeout": hook.timeout,
        "GlobalTimeout": hook.limit,
        "DefaultResult": hook.result,
    }
    for key, value in (
        ("NotificationTargetARN", hook.target),
        ("RoleARN", hook.role),
        ("NotificationMetadata", hook.metadata),
    ):
        if value:
            found[key] = value
    return found


def invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)

"""A rolling update of an Auto Scaling group: how many instances at a time, and what is said about it.

Pure. Owns the arithmetic of batches and the texts of AWS's events; the calls are made by `rolling_steps.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.policies import RollingUpdate


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a group had before it was touched."""

    least: int
    most: int
    desired: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The instances to terminate next, and how many come in their place."""

    instances: tuple[str, ...]
    replaced: int

    @property
    def fewer(self) -> int:
        return len(self.instances) - self.replaced


def impossible(policy: RollingUpdate, sizes: Sizes) -> str:
    if policy.in_service >= sizes.most:
        return "MinInstancesInService must be less than the autoscaling group's MaxSize"
    return ""


def widened(policy: RollingUpdate, sizes: Sizes, obsolete: int) -> int:
    """The capacity during the update: a whole batch can go while enough instances stay in service."""
    batch = min(policy.batch, obsolete)
    return min(sizes.most, max(sizes.desired, policy.in_service + batch))


def next_batch(
    policy: RollingUpdate, sizes: Sizes, obsolete: Sequence[str], serving: int, renewed: int
) -> Batch | None:
    """None while nothing may go. `serving` counts all that serve, `renewed` the new ones among the group."""
    spare = serving - policy.in_service
    count = min(policy.batch, len(obsolete), spare)
    if count <= 0:
        return None
    return Batch(tuple(obsolete[:count]), min(count, max(0, sizes.desired - renewed)))


def outdated(group: Params, instance: Params, version: str) -> bool:
    """Whether an instance was launched from something else than what the group launches from now. `version` is
    the number of the launch template's version that the group names."""
    configuration = group.get("LaunchConfigurationName")
    if configuration:
        return bool(instance.get("LaunchConfigurationName") != configuration)
    wanted, has = template_of(group), instance.get("LaunchTemplate") or {}
    if not wanted:
        return False
    same = any(
        wanted.get(key) and wanted.get(key) == has.get(key) for key in ("LaunchTemplateId", "LaunchTemplateName")
    )
    return not same or str(has.get("Version", "")) != version


def template_of(group: Params) -> dict[str, Any]:
    mixed = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    found: dict[str, Any] = group.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification") or {}
    return found


def renews(before: Params, after: Params) -> bool:
    """Whether a change of a group's properties is one that its instances have to follow."""
    names = ("LaunchConfigurationName", "LaunchTemplate", "MixedInstancesPolicy", "VPCZoneIdentifier")
    return any(before.get(name) != after.get(name) for name in names)


def enough(policy: RollingUpdate, bad: int, total: int) -> bool:
    """Whether the percentage can still be reached with so many failures."""
    least = math.ceil(total * round(policy.percent, 1) / 100 - 1e-9)
    return bad <= total - least


# What AWS says


def initiated(policy: RollingUpdate, obsolete: int) -> str:
    text = (
        f"Rolling update initiated. Terminating {obsolete} obsolete instance(s) in batches of "
        f"{min(policy.batch, obsolete)}, while keeping at least {policy.in_service} instance(s) in service."
    )
    if policy.waits:
        return (
            f"{text} Waiting on resource signals with a timeout of {policy.shown} when new instances are added to "
            "the autoscaling group."
        )
    if policy.pause:
        return f"{text} Pausing for {policy.shown} when new instances are added to the autoscaling group."
    return text


def resized(capacity: int) -> str:
    return f"Temporarily setting autoscaling group MinSize and DesiredCapacity to {capacity}."


def added(policy: RollingUpdate, count: int) -> str:
    if policy.waits:
        return (
            f"New instance(s) added to autoscaling group - Waiting on {count} resource signal(s) with a timeout "
            f"of {policy.shown}."
        )
    return f"New instance(s) added to autoscaling group - Pausing for {policy.shown}."


def terminating(batch: Batch) -> str:
    shown = ",".join(batch.instances)
    return f"Terminating instance(s) [{shown}]; replacing with {batch.replaced} new instance(s)."


def terminated(instances: Collection[str], gone: int, total: int) -> str:
    percent = round(100 * gone / total)
    return f"Successfully terminated instance(s) [{','.join(instances)}] (Progress {percent}%)."


def missed(count: int) -> str:
    return (
        f"Failed to receive {count} resource signal(s) for the current batch.  Each resource signal timeout is "
        "counted as a FAILURE."
    )


def unsatisfied(policy: RollingUpdate, good: int, bad: int, total: int) -> str:
    shown = f"{good} SUCCESS" if bad == 0 or good == 0 else f"{bad} FAILURE"
    return (
        f"Received {shown} signal(s) out of {total}.  Unable to satisfy {policy.percent:g}% "
        "MinSuccessfulInstancesPercent requirement"
    )

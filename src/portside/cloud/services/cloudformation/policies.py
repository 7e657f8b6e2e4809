"""What CreationPolicy, UpdatePolicy and DeletionPolicy say, with AWS's defaults and limits.

Pure. Reads evaluated attributes of a resource; what is wrong with them as far as it can be told from the template
is refused before an operation starts. Waiting for signals is `signals.py`, replacing instances `rolling.py`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.template import Template

GROUP = "AWS::AutoScaling::AutoScalingGroup"
INSTANCE = "AWS::EC2::Instance"
WAIT_CONDITION = "AWS::CloudFormation::WaitCondition"
SIGNALLED = frozenset({GROUP, INSTANCE, WAIT_CONDITION, "AWS::AppStream::Fleet"})
SNAPSHOTS = frozenset(
    {
        "AWS::DocDB::DBCluster", "AWS::EC2::Volume", "AWS::ElastiCache::CacheCluster",
        "AWS::ElastiCache::ReplicationGroup", "AWS::Neptune::DBCluster", "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance", "AWS::Redshift::Cluster",
    }
)  # fmt: skip
LONGEST_WAIT = 12 * 3600.0
LONGEST_PAUSE = 3600.0
_DURATION = re.compile(r"PT?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SignalsWanted:
    """`shown` is the time-out as it was written. `percent`: how many of the signals must be successes."""

    count: int
    seconds: float
    shown: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class RollingUpdate:
    batch: int = 1
    in_service: int = 0
    percent: float = 100.0
    pause: float = 0.0
    shown: str = "PT0S"
    waits: bool = False
    suspended: tuple[str, ...] = ()


def seconds(text: Any) -> float | None:
    """An ISO 8601 duration of hours, minutes and seconds; None if it is none."""
    found = _DURATION.fullmatch(str(text).strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, rest = (int(each or 0) for each in found.groups())
    return float(hours * 3600 + minutes * 60 + rest)


def signals_wanted(creation_policy: dict[str, Any]) -> SignalsWanted | None:
    """None if creation waits for no signals. ValueError for what is not well-formed."""
    if "ResourceSignal" not in creation_policy:
        return None
    given = part(creation_policy, "ResourceSignal")
    shown = str(given.get("Timeout", "PT5M"))
    limit = seconds(shown)
    if limit is None or limit > LONGEST_WAIT:
        raise ValueError(f"Invalid ResourceSignal Timeout {shown}: a duration of at most PT12H is wanted")
    group = part(creation_policy, "AutoScalingCreationPolicy")
    percent = _number(group.get("MinSuccessfulInstancesPercent", 100), "MinSuccessfulInstancesPercent")
    count = _number(given.get("Count", 1), "ResourceSignal Count")
    return SignalsWanted(int(count), limit, shown, percent)


def rolling_update(update_policy: dict[str, Any]) -> RollingUpdate | None:
    """None if instances are not replaced by updates. ValueError for what is not well-formed."""
    if "AutoScalingRollingUpdate" not in update_policy:
        return None
    given = part(update_policy, "AutoScalingRollingUpdate")
    waits = str(given.get("WaitOnResourceSignals", False)).lower() == "true"
    shown = str(given.get("PauseTime", "PT5M" if waits else "PT0S"))
    pause = seconds(shown)
    if pause is None or pause > LONGEST_PAUSE:
        raise ValueError(f"Invalid PauseTime {shown}: a duration of at most PT1H is wanted")
    suspended = given.get("SuspendProcesses") or []
    if not isinstance(suspended, list):
        raise ValueError("SuspendProcesses must be a list")
    return RollingUpdate(
        batch=max(1, int(_number(given.get("MaxBatchSize", 1), "MaxBatchSize"))),
        in_service=int(_number(given.get("MinInstancesInService", 0), "MinInstancesInService")),
        percent=_number(given.get("MinSuccessfulInstancesPercent", 100), "MinSuccessfulInstancesPercent"),
        pause=pause,
        shown=shown,
        waits=waits,
        suspended=tuple(str(each) for each in suspended),
    )


def keeps_sizes(update_policy: dict[str, Any]) -> bool:
    """Whether sizes of a group that the template did not change are left as they are."""
    return _says(update_policy, "AutoScalingScheduledAction", "IgnoreUnmodifiedGroupSizeProperties")


def replaces_group(update_policy: dict[str, Any]) -> bool:
    """Whether an update of a group builds another one."""
    return _says(update_policy, "AutoScalingReplacingUpdate", "WillReplace")


def _says(policy: dict[str, Any], name: str, flag: str) -> bool:
    found = policy.get(name)
    return isinstance(found, dict) and str(found.get(flag, False)).lower() == "true"


def part(policy: dict[str, Any], name: str) -> dict[str, Any]:
    """One part of a policy, empty where it is not there. ValueError for what is no object."""
    found = policy.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be an object")
    return found


def _number(value: Any, name: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise ValueError(f"{name} must be a number")
    if found < 0:
        raise ValueError(f"{name} must not be negative")
    return found


def refuse_impossible(template: Template) -> None:
    """Attributes that AWS refuses when the template is handed in."""
    for each in template.resources.values():
        if "Snapshot" in (each.deletion_policy, each.replace_policy) and each.type not in SNAPSHOTS:
            raise invalid(f"Template error: resource type {each.type} does not support deletion policy Snapshot")
        if each.creation_policy and each.type not in SIGNALLED:
            raise invalid(
                f"Template error: resource type {each.type} does not support the CreationPolicy attribute"
            )

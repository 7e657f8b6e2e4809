"""What an alarm hands over when it calls for a scaling policy of Application Auto Scaling.

Owns the vocabulary between the two services. AWS has no public operation that executes such a policy, so the
composition root hands CloudWatch a `ServicePolicies` (docs/decisions/0020-metrics-and-scaling.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Trigger:
    """`policy` is an ARN. `value` is the newest of the alarm's metric and `threshold` the alarm's; None where
    there is none, as after SetAlarmState."""

    region: str
    policy: str
    alarm: str
    state: str
    value: float | None
    threshold: float | None


class ServicePolicies(Protocol):
    async def execute(self, trigger: Trigger) -> None:
        """Raises AwsError if there is no such policy."""
        ...

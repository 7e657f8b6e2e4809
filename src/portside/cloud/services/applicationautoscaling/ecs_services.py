"""The services of ECS, as far as scaling is concerned: how many tasks there are, and how many there should be.

Owns the calls to ECS. The caller is the account itself, as the service-linked role is on AWS.
"""

from __future__ import annotations

from dataclasses import dataclass

from portside.cloud.services.applicationautoscaling.records import Target
from portside.cloud.services.calls import Caller, Calls


@dataclass(frozen=True, slots=True)
class Counts:
    """`deploying`: a deployment of the service is in progress."""

    running: int
    desired: int
    deploying: bool


class EcsServices:
    def __init__(self, calls: Calls, account: str) -> None:
        self._calls = calls
        self._account = account

    def caller(self, region: str) -> Caller:
        return Caller.root(self._account, region)

    async def counts(self, region: str, cluster: str, service: str) -> Counts | None:
        """None for a service that is not there, or not any more. AwsError if the cluster is not."""
        params = {"cluster": cluster, "services": [service]}
        answer = await self._calls("ecs", "DescribeServices", params, self.caller(region))
        found = [each for each in answer.get("services") or [] if each.get("status") == "ACTIVE"]
        if not found:
            return None
        shown = found[0]
        deploying = any(each.get("rolloutState") == "IN_PROGRESS" for each in shown.get("deployments") or [])
        return Counts(int(shown["runningCount"]), int(shown["desiredCount"]), deploying)

    async def set_desired(self, target: Target, count: int) -> None:
        params = {"cluster": target.cluster, "service": target.service, "desiredCount": count}
        await self._calls("ecs", "UpdateService", params, self.caller(target.region))

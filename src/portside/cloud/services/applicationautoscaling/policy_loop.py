"""The alarms of policies that track a target: made with the policy, and gone with it.

One key per policy. The names of the alarms are decided when the policy is put; here CloudWatch is brought in line,
also after a crash between the two.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.applicationautoscaling import metrics, records
from portside.cloud.services.applicationautoscaling.ecs_services import EcsServices
from portside.cloud.services.applicationautoscaling.records import Policy
from portside.cloud.services.calls import Calls
from portside.cloud.services.scaling import tracking


class PolicyLoop:
    def __init__(self, *, database: Database, clock: Clock, calls: Calls, services: EcsServices, log: Log) -> None:
        self._db = database
        self._calls = calls
        self._services = services
        self.loop = Loop("application-autoscaling.policy", self.turn, clock, log)

    def resume(self) -> None:
        for each in records.unsettled_policies(self._db):
            self.loop.wake(each.arn)

    async def turn(self, key: str) -> TurnResult:
        policy = records.policy(self._db, key)
        if policy is None or policy.settled:
            return Done()
        if policy.deleted:
            for name in policy.alarms:
                await self._delete(policy, name)
            with self._db.write() as tx:
                records.drop_policy(tx, policy.arn)
            return Done()
        given = policy.configuration
        metric = metrics.tracked(given, policy.target.partition("/")[2])
        wanted = policy.alarms[: 1 if given.get("DisableScaleIn") else 2]
        for number, name in enumerate(policy.alarms):
            if name in wanted:
                target = float(given["TargetValue"])
                params = tracking.alarm(name, policy.arn, metric, target, high=number == 0)
                await self._calls("cloudwatch", "PutMetricAlarm", params, self._services.caller(policy.region))
            else:
                await self._delete(policy, name)
        with self._db.write() as tx:
            present = records.policy(tx, policy.arn)
            # It may have been put again meanwhile.
            if present is not None and present.spec == policy.spec and not present.deleted:
                records.save_policy(tx, replace(present, settled=True))
        return Done()

    async def _delete(self, policy: Policy, name: str) -> None:
        caller = self._services.caller(policy.region)
        try:
            await self._calls("cloudwatch", "DeleteAlarms", {"AlarmNames": [name]}, caller)
        except AwsError as error:
            if not error.code.startswith("ResourceNotFound"):
                raise

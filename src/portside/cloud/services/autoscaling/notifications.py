"""Notifications of Auto Scaling groups: who is told of what, and what is written down for them.

Owns the four operations, and what the other parts of the service note here: why an instance is about to go, what
failed, that a group is gone. `notifications_loop.py` sees instances come and go, and publishes.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import group_view, notices
from portside.cloud.services.autoscaling import notification_records as records
from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.autoscaling.notices import Kind
from portside.cloud.services.autoscaling.notification_records import Notification, Told
from portside.cloud.services.autoscaling.notifications_loop import NotificationsLoop, details, group_of, write
from portside.cloud.services.calls import Caller, Calls, Params, Roles, operation

TOPICS = 10
PAGE = 50
PAGE_LIMIT = 100


class Notifications:
    """`ancillary` has the groups, `calls` reaches the topics."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        ancillary: Calls,
        log: Log,
        roles: Roles | None = None,
    ) -> None:
        database.migrate("autoscaling-notifications", records.MIGRATIONS)
        self._db = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._ask = ancillary
        self.telling = NotificationsLoop(
            database=database, ids=ids, clock=clock, calls=calls, ancillary=ancillary, log=log, roles=roles
        )

    @operation("PutNotificationConfiguration")
    async def put_notification_configuration(self, caller: Caller, params: Params) -> Params:
        name, topic = params["AutoScalingGroupName"], params["TopicARN"]
        for each in params["NotificationTypes"]:
            if each not in list(Kind):
                raise _invalid(f'"{each}" is not a valid Notification Type.')
        group = await self._group(caller, name)
        try:
            await self._calls("sns", "GetTopicAttributes", {"TopicArn": topic}, caller)
        except AwsError as error:
            if error.status >= 500:
                raise
            raise _invalid(
                f"Unable to publish test message to notification target {topic}. Please check your target "
                "configuration and try to put notification configuration again."
            ) from None
        key = Key(caller.region, group["AutoScalingGroupName"])
        instances = group.get("Instances") or []
        described = await details(self._ask, caller, [each["InstanceId"] for each in instances])
        with self._db.write() as tx:
            before = records.notifications(tx, *key)
            if len({each.topic for each in before} | {topic}) > TOPICS:
                raise AwsError("LimitExceeded", f"Only {TOPICS} SNS topics are allowed per Auto Scaling group.")
            if not before:
                # Whoever is the first to be told is told of what comes and goes from now on.
                unserved = group_view.unserved(tx, key)
                for each in instances:
                    if unserved(each["InstanceId"]):
                        continue
                    found = described.get(each["InstanceId"])
                    records.save_told(tx, Told(*key, each["InstanceId"], found.details if found else {}))
            records.put(tx, Notification(*key, topic, tuple(dict.fromkeys(params["NotificationTypes"]))))
            arn = group["AutoScalingGroupARN"]
            text = notices.test(_account(arn), key.name, arn, self._ids.uuid(), self._clock.now())
            records.add(tx, key, topic, notices.subject(Kind.TEST, key.name), text)
            tx.after_commit(lambda: self.telling.wake(key))
        return {}

    @operation("DescribeNotificationConfigurations")
    def describe_notification_configurations(self, caller: Caller, params: Params) -> Params:
        wanted = params.get("AutoScalingGroupNames")
        found = [
            {"AutoScalingGroupName": each.name, "TopicARN": each.topic, "NotificationType": kind}
            for each in records.notifications(self._db, caller.region)
            for kind in each.types
            if not wanted or each.name in wanted
        ]
        size = params.get("MaxRecords") or PAGE
        if not 1 <= size <= PAGE_LIMIT:
            raise _invalid(f"MaxRecords must be between 1 and {PAGE_LIMIT}.")
        token = params.get("NextToken") or "0"
        if not token.isdigit():
            raise AwsError("InvalidNextToken", "The token is invalid")
        start = int(token)
        more = {"NextToken": str(start + size)} if start + size < len(found) else {}
        return {"NotificationConfigurations": found[start : start + size]} | more

    @operation("DeleteNotificationConfiguration")
    async def delete_notification_configuration(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        with self._db.write() as tx:
            records.remove(tx, Key(caller.region, group["AutoScalingGroupName"]), params["TopicARN"])
        return {}

    @operation("DescribeAutoScalingNotificationTypes")
    def describe_auto_scaling_notification_types(self, caller: Caller, params: Params) -> Params:
        return {"AutoScalingNotificationTypes": [str(each) for each in Kind]}

    # What the rest of the service has to say

    def because(self, tx: Transaction, key: Key, instance: str, cause: str) -> None:
        """An instance is about to go, and this is why."""
        records.because(tx, key.region, instance, cause)

    def failed(self, key: Key, group: Params, error: AwsError, *, instance: str = "") -> None:
        """An instance could not be launched, or `instance` could not be terminated."""
        if error.status >= 500:
            return  # not AWS's answer: somebody could not be reached, and it will be tried again
        kind = Kind.TERMINATE_ERROR if instance else Kind.LAUNCH_ERROR
        here = len(group.get("Instances") or [])
        with self._db.write() as tx:
            told = records.told(tx, key).get(instance)
            cause = notices.started(here, here + 1) if not instance else notices.taken(here, here - 1)
            if told is not None and told.cause:
                cause = told.cause
            self._write(tx, key, group, kind, cause, told, instance=instance, error=error.message)
            tx.after_commit(lambda: self.telling.wake(key))

    def abandoned(self, tx: Transaction, key: Key, group: Params, instance: str, reason: str) -> None:
        """A lifecycle hook has kept an instance from coming into service."""
        here = len(group.get("Instances") or [])
        cause = notices.started(here - 1, here)
        self._write(tx, key, group, Kind.LAUNCH_ERROR, cause, None, instance=instance, error=reason)
        tx.after_commit(lambda: self.telling.wake(key))

    def ended(self, tx: Transaction, key: Key, group: Params) -> None:
        """A group has been deleted, with the instances that it had."""
        there = records.told(tx, key)
        for number, each in enumerate(group.get("Instances") or []):
            told = there.get(each["InstanceId"])
            left = len(group["Instances"]) - number
            cause = notices.taken(left, left - 1)
            self._write(tx, key, group, Kind.TERMINATE, cause, told, instance=each["InstanceId"])
        records.forget_group(tx, key)
        tx.after_commit(lambda: self.telling.wake(key))

    def _write(
        self,
        tx: Transaction,
        key: Key,
        group: Params,
        kind: Kind,
        cause: str,
        told: Told | None,
        *,
        instance: str,
        error: str = "",
    ) -> None:
        text = notices.activity(
            kind,
            account=_account(group["AutoScalingGroupARN"]),
            name=key.name,
            arn=group["AutoScalingGroupARN"],
            activity=self._ids.uuid(),
            now=self._clock.now(),
            cause=cause,
            instance=instance,
            details=told.details if told is not None else {},
            error=error,
        )
        write(tx, key, kind, text)

    async def _group(self, caller: Caller, name: str) -> Params:
        found = await group_of(self._ask, caller, name)
        if found is None:
            raise _invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return found


def _account(arn: str) -> str:
    return arn.split(":")[4]


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)

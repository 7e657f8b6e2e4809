"""Tells topics of the instances that their Auto Scaling groups launched and terminated, and sends what hooks say.

Sees what has changed by comparing a group with what was last noted of it, whoever changed it. The messages are
written down with the new state in one commit, and each is forgotten once its topic has taken it: a crash in
between repeats one rather than losing it. An instance that left its group and lives on was detached, of which
nobody is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import deliveries, group_view, notices
from portside.cloud.services.autoscaling import notification_records as records
from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.autoscaling.notices import Kind
from portside.cloud.services.autoscaling.notification_records import Message, Told
from portside.cloud.services.calls import Caller, Calls, Params, Roles

# Calls through the cloud wake the loop; another endpoint may change its groups by itself.
LOOKED_AT = 60.0
_GONE = frozenset({"shutting-down", "terminated"})


class NotificationsLoop:
    """Keys are `<region> <group>`."""

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
        self._roles = roles
        self._db = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._ask = ancillary
        self._log = log.bind(service="autoscaling")
        self.loop = Loop("autoscaling.notifications", self.turn, clock, log, workers=4)

    def wake(self, key: Key) -> None:
        self.loop.wake(" ".join(key))

    def changed(self, region: str) -> None:
        """Something happened to groups or instances of a region."""
        for key in records.concerned(self._db, region):
            self.wake(key)

    def resume(self) -> None:
        for key in records.concerned(self._db):
            self.wake(key)

    async def turn(self, shown: str) -> TurnResult:
        region, _, name = shown.partition(" ")
        key = Key(region, name)
        if records.notifications(self._db, *key):
            await self._look(key)
        for each in records.outgoing(self._db, key):
            await self._publish(key, each)
            with self._db.write() as tx:
                records.sent(tx, each)
        return After(LOOKED_AT) if records.notifications(self._db, *key) else Done()

    async def _look(self, key: Key) -> None:
        caller = Caller.root("", key.region)
        group = await group_of(self._ask, caller, key.name)
        if group is None:
            with self._db.write() as tx:
                records.forget_group(tx, key)
            return
        present = [each["InstanceId"] for each in group.get("Instances") or []]
        before = records.told(self._db, key)
        # Topics are told of an instance once it is in service.
        unserved = group_view.unserved(self._db, key)
        new = [each for each in present if each not in before and not unserved(each)]
        gone = [each for each in before if each not in present]
        if not new and not gone:
            return
        described = await details(self._ask, caller, [*new, *gone])
        with self._db.write() as tx:
            if records.notifications(tx, *key):
                self._note(tx, key, group, new, gone, described)

    def _note(
        self,
        tx: Transaction,
        key: Key,
        group: Params,
        new: Sequence[str],
        gone: Sequence[str],
        described: dict[str, Described],
    ) -> None:
        before = records.told(tx, key)
        count = len(before)
        for instance in gone:
            told = before[instance]
            found = described.get(instance)
            records.forget_told(tx, told)
            count -= 1
            if found is None or found.state in _GONE:
                cause = told.cause or notices.HEALTH
                self._write(tx, key, group, Kind.TERMINATE, cause, instance, told.details)
        for instance in new:
            found = described.get(instance)
            where = found.details if found is not None else {}
            records.save_told(tx, Told(*key, instance, where))
            self._write(tx, key, group, Kind.LAUNCH, notices.started(count, count + 1), instance, where)
            count += 1

    def _write(
        self, tx: Transaction, key: Key, group: Params, kind: Kind, cause: str, instance: str, where: Params
    ) -> None:
        arn = group["AutoScalingGroupARN"]
        text = notices.activity(
            kind,
            account=arn.split(":")[4],
            name=key.name,
            arn=arn,
            activity=self._ids.uuid(),
            now=self._clock.now(),
            cause=cause,
            instance=instance,
            details=where,
        )
        write(tx, key, kind, text)

    async def _publish(self, key: Key, each: Message) -> None:
        try:
            await deliveries.deliver(
                self._calls, self._roles, key, each.topic, each.subject, each.message, each.role
            )
        except AwsError as error:
            if error.status >= 500 and error.status != 501:
                raise
            # A target that is gone, or that nobody offers, must not hold up what others are to be told.
            self._log.warning("target not told", target=each.topic, group=key.name, error=error.message)


@dataclass(frozen=True, slots=True)
class Described:
    state: str
    details: Params


async def details(ask: Calls, caller: Caller, instances: Sequence[str]) -> dict[str, Described]:
    """Where instances are, and whether they still are, as EC2 knows it."""
    if not instances:
        return {}
    # A filter: an instance that nobody knows any more is no error.
    asked = {"Filters": [{"Name": "instance-id", "Values": list(instances)}]}
    answer = await ask("ec2", "DescribeInstances", asked, caller)
    return {
        each["InstanceId"]: Described(
            each["State"]["Name"],
            {
                "Subnet ID": each.get("SubnetId") or "",
                "Availability Zone": (each.get("Placement") or {}).get("AvailabilityZone") or "",
            },
        )
        for reservation in answer.get("Reservations") or []
        for each in reservation.get("Instances") or []
    }


async def group_of(ask: Calls, caller: Caller, name: str) -> Params | None:
    """The group as the ancillary services have it."""
    answer = await ask("autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [name]}, caller)
    found: list[Params] = answer.get("AutoScalingGroups") or []
    return found[0] if found else None


def write(tx: Transaction, key: Key, kind: Kind, text: str) -> None:
    """Write a message down for every topic that wants to be told of such events."""
    for each in records.notifications(tx, *key):
        if kind in each.types:
            records.add(tx, key, each.topic, notices.subject(kind, key.name), text)

"""Instances that a group has launched: those that wait for a hook, the abandoned ones, and what replaces them.

An instance is new until a record says otherwise, so that none is taken for serving after a crash in between.
Replacements of abandoned instances come at growing intervals: a hook that always fails must not spin.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import group_records, hook_records, launches
from portside.cloud.services.autoscaling.group_records import Key, Leaving
from portside.cloud.services.autoscaling.group_view import staying
from portside.cloud.services.autoscaling.hook_actions import HookActions
from portside.cloud.services.autoscaling.hook_records import Stage
from portside.cloud.services.autoscaling.hook_rules import LAUNCHING
from portside.cloud.services.autoscaling.notifications import Notifications
from portside.cloud.services.calls import Caller, Calls, Params

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0


def pause(failures: int) -> float:
    """Seconds before a launch is tried again after so many abandoned ones in a row."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))


class Arrivals:
    """The steps of the groups' loop that are about new instances."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        ancillary: Calls,
        actions: HookActions,
        notifications: Notifications,
        log: Log,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._ask = ancillary
        self._actions = actions
        self._notifications = notifications
        self._log = log

    def look(self, key: Key, group: Params, asked: float) -> list[float]:
        """Take note of what is new, and end what is over; `asked` is when `group` was. Seconds until the deadlines
        of those that wait."""
        with self._database.write() as tx:
            known = hook_records.arrivals(tx, key)
            present = {each["InstanceId"] for each in group.get("Instances") or []}
            for instance, arrival in known.items():
                if instance not in present and arrival.since < asked:
                    hook_records.forget_arrival(tx, key, instance)
                    hook_records.forget_actions(tx, key, instance)
            if hook_records.hooks(tx, key, LAUNCHING):
                for each in staying(group, group_records.leaving(tx, key)):
                    if each["InstanceId"] not in known:
                        self._actions.arrive(tx, key, group, each["InstanceId"])
                        self._log.info("instance waits for its hooks", group=key.name, instance=each["InstanceId"])
            left = []
            for instance, arrival in hook_records.arrivals(tx, key).items():
                if arrival.stage is not Stage.WAITING:
                    continue
                self._actions.expire(tx, key, instance)
                wait = self._actions.waiting(tx, key, instance)
                if wait is not None:
                    left.append(wait)
                elif (left_over := hook_records.arrivals(tx, key)[instance]).stage is Stage.WAITING:
                    self._actions.serve(tx, key, left_over)
            self._abandon(tx, key, group)
            if not hook_records.hooks(tx, key, LAUNCHING) and not left:
                # Without hooks everybody serves: there is nothing to remember.
                for instance in hook_records.arrivals(tx, key):
                    hook_records.forget_arrival(tx, key, instance)
        return left

    def _abandon(self, tx: Transaction, key: Key, group: Params) -> None:
        for instance, arrival in hook_records.arrivals(tx, key).items():
            if arrival.stage is not Stage.ABANDONED:
                continue
            leaving = Leaving(key.region, instance, key.name, self._clock.now(), decrement=False, abandoned=True)
            self._actions.leave(tx, group, leaving)
            self._notifications.abandoned(tx, key, group, instance, arrival.reason)
            self._log.info("launch abandoned", group=key.name, instance=instance, reason=arrival.reason)

    def owe(self, key: Key, group: Params) -> None:
        """Note that the group is to have as many instances again as it has now, before one is taken away."""
        with self._database.write() as tx:
            owed = hook_records.owed(tx, key)
            if owed.desired is None:
                hook_records.save_owed(tx, replace(owed, desired=int(group["DesiredCapacity"])))

    def gone(self, tx: Transaction, each: Leaving) -> None:
        """An instance has been terminated."""
        owed = hook_records.owed(tx, Key(each.region, each.name))
        if owed.desired is None:
            return
        if each.decrement:
            hook_records.save_owed(tx, replace(owed, desired=owed.desired - 1))
        elif each.abandoned:
            failures = owed.failures + 1
            due = self._clock.now() + self._pace.wait(pause(failures))
            hook_records.save_owed(tx, replace(owed, failures=failures, due=due))

    async def replace(self, caller: Caller, key: Key) -> float | None:
        """Launch what is owed when its time has come; else the seconds until then."""
        owed = hook_records.owed(self._database, key)
        if owed.desired is None:
            return None
        if owed.due > self._clock.now():
            return owed.due - self._clock.now()
        answer = await self._ask(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [key.name]}, caller
        )
        going = {each.instance for each in group_records.leaving(self._database, key)}
        for group in answer.get("AutoScalingGroups") or []:
            if owed.desired > int(group["DesiredCapacity"]):
                try:
                    await launches.grow(self._ask, caller, group, owed.desired, going)
                except AwsError as error:
                    self._notifications.failed(key, group, error)
                    raise
        with self._database.write() as tx:
            if hook_records.owed(tx, key) == owed:
                hook_records.save_owed(tx, replace(owed, desired=None))
        return 0.0

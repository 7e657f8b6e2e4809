"""Takes instances out of Auto Scaling groups: chooses them, waits for their hooks, has them terminated.

The only code that terminates instances of groups. An instance that waits for a hook shows as Terminating:Wait;
when every hook has been completed, or its time is over, it goes. What was chosen stays chosen over a restart.
Instances that come are looked after in `arrivals.py`, in the same turns.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import group_records, hook_records, notices, termination
from portside.cloud.services.autoscaling.arrivals import Arrivals
from portside.cloud.services.autoscaling.group_records import Key, Leaving
from portside.cloud.services.autoscaling.group_view import staying
from portside.cloud.services.autoscaling.hook_actions import HookActions
from portside.cloud.services.autoscaling.hooks import adopt
from portside.cloud.services.autoscaling.notifications import Notifications
from portside.cloud.services.autoscaling.termination import Member
from portside.cloud.services.calls import Caller, Calls, Params

BLOCKED = 60.0  # while every instance that could go is protected
# Calls through the cloud wake the loop; another endpoint may launch instances by itself.
LOOKED_AT = 60.0


class GroupsLoop:
    """Keys are `<region> <group>`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        pace: Pace,
        ancillary: Calls,
        notifications: Notifications,
        actions: HookActions,
        log: Log,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._ask = ancillary
        self._notifications = notifications
        self._actions = actions
        self._log = log.bind(service="autoscaling")
        self._arrivals = Arrivals(
            database=database,
            clock=clock,
            pace=pace,
            ancillary=ancillary,
            actions=actions,
            notifications=notifications,
            log=self._log,
        )
        self.loop = Loop("autoscaling-groups", self.turn, clock, log, workers=4)

    def wake(self, key: Key) -> None:
        self.loop.wake(" ".join(key))

    def changed(self, region: str) -> None:
        """Something happened to groups or instances of a region."""
        for key in hook_records.watched(self._database, region):
            self.wake(key)

    def resume(self) -> None:
        for key in {*group_records.unfinished(self._database), *hook_records.watched(self._database)}:
            self.wake(key)

    async def turn(self, key: str) -> TurnResult:
        region, _, name = key.partition(" ")
        return await self._advance(Key(region, name))

    async def _advance(self, key: Key) -> TurnResult:
        caller = Caller.root("", key.region)
        asked = self._clock.now()
        group = await self._group(caller, key)
        if group is None:
            with self._database.write() as tx:
                group_records.forget_group(tx, key)
                hook_records.forget_group(tx, key)
            return Done()
        await adopt(self._database, self._ask, caller, key)
        left: list[float] = []
        watched = key in hook_records.watched(self._database, key.region)
        if watched:
            left += [*self._arrivals.look(key, group, asked), LOOKED_AT]
        if await self._choose(caller, key, group):
            left.append(self._pace.wait(BLOCKED))
        for each in group_records.leaving(self._database, key):
            with self._database.write() as tx:
                self._actions.expire(tx, key, each.instance)
            wait = self._actions.waiting(self._database, key, each.instance)
            if wait is not None:
                left.append(wait)
            else:
                await self._terminate(caller, each, group)
        owed = await self._arrivals.replace(caller, key)
        if owed is not None:
            left.append(owed)
        return After(max(0.0, min(left))) if left else Done()

    async def _group(self, caller: Caller, key: Key) -> Params | None:
        answer = await self._ask(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [key.name]}, caller
        )
        groups: list[Params] = answer.get("AutoScalingGroups") or []
        return groups[0] if groups else None

    async def _choose(self, caller: Caller, key: Key, group: Params) -> bool:
        """Note who goes; True when more should than may."""
        goal = group_records.goal(self._database, key)
        if goal is None:
            return False
        leaving = group_records.leaving(self._database, key)
        replaced = sum(1 for each in leaving if not each.decrement)
        serving = staying(group, leaving)
        surplus = len(serving) + replaced - goal
        if surplus > 0 and replaced:
            # Those that go anyway need no replacement now.
            spared = [each for each in leaving if not each.decrement][:surplus]
            with self._database.write() as tx:
                for each in spared:
                    group_records.save_leaving(tx, replace(each, decrement=True))
            return await self._choose(caller, key, group)
        if surplus <= 0:
            if not any(each.decrement for each in leaving):
                with self._database.write() as tx:
                    group_records.set_goal(tx, key, None)
            return False
        now = self._clock.now()
        members = await self._members(caller, group, serving)
        chosen = termination.victims(members, surplus, group.get("TerminationPolicies") or (), now)
        with self._database.write() as tx:
            if group_records.goal(tx, key) != goal:
                return True  # somebody has changed their mind: look again
            capacity = len(serving) + replaced
            for number, victim in enumerate(chosen):
                self._actions.leave(tx, group, Leaving(key.region, victim, key.name, now, decrement=True))
                cause = notices.taken(capacity - number, capacity - number - 1)
                self._notifications.because(tx, key, victim, cause)
        if chosen:
            self._log.info("instances leave their group", group=key.name, instances=chosen)
        return len(chosen) < surplus

    async def _members(self, caller: Caller, group: Params, serving: list[Params]) -> list[Member]:
        ids = [each["InstanceId"] for each in serving]
        answer = await self._ask("ec2", "DescribeInstances", {"InstanceIds": ids}, caller)
        launched = {
            each["InstanceId"]: each.get("LaunchTime") or 0.0
            for reservation in answer.get("Reservations") or []
            for each in reservation.get("Instances") or []
        }
        current = group.get("LaunchConfigurationName")
        members = []
        for number, each in enumerate(serving):
            version = str((each.get("LaunchTemplate") or {}).get("Version") or "")
            members.append(
                Member(
                    id=each["InstanceId"],
                    zone=each.get("AvailabilityZone") or "",
                    protected=bool(each.get("ProtectedFromScaleIn")),
                    # Launch times are whole seconds; within one, the group lists the older one first.
                    launched=_seconds(launched.get(each["InstanceId"])) + number / 1000,
                    outdated=each.get("LaunchConfigurationName") != current,
                    configuration=bool(each.get("LaunchConfigurationName")),
                    version=int(version) if version.isdigit() else 0,
                    key=float(number),
                )
            )
        return members

    async def _terminate(self, caller: Caller, each: Leaving, group: Params) -> None:
        key = Key(each.region, each.name)
        if each.instance in {one["InstanceId"] for one in group.get("Instances") or []}:
            later = each.abandoned and not each.decrement
            if later:
                self._arrivals.owe(key, await self._group(caller, key) or group)
            params = {"InstanceId": each.instance, "ShouldDecrementDesiredCapacity": each.decrement or later}
            try:
                await self._ask("autoscaling", "TerminateInstanceInAutoScalingGroup", params, caller)
            except AwsError as error:
                self._notifications.failed(key, group, error, instance=each.instance)
                raise
            self._log.info("instance terminated", group=each.name, instance=each.instance)
        with self._database.write() as tx:
            group_records.forget_leaving(tx, each)
            self._arrivals.gone(tx, each)
            # What replaces it is to be looked at, and whether the goal has been reached.
            tx.after_commit(lambda: self.wake(key))


def _seconds(moment: object) -> float:
    """Launch times arrive as numbers, or as what the wire format makes of a timestamp."""
    if isinstance(moment, int | float):
        return float(moment)
    stamp = getattr(moment, "timestamp", None)
    return float(stamp()) if stamp is not None else 0.0

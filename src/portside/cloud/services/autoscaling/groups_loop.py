"""Takes instances out of Auto Scaling groups: chooses them, waits for their hooks, has them terminated.

The only code that terminates instances of groups. An instance that waits for a hook shows as Terminating:Wait;
when every hook has been completed, or their time is over, it goes. What was chosen stays chosen over a restart.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import group_records, notices, termination
from portside.cloud.services.autoscaling.group_records import Key, Leaving
from portside.cloud.services.autoscaling.notifications import Notifications
from portside.cloud.services.autoscaling.records import Reader
from portside.cloud.services.autoscaling.termination import Member
from portside.cloud.services.calls import Caller, Calls, Params

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
HEARTBEAT = 3600.0
BLOCKED = 60.0  # while every instance that could go is protected


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
        log: Log,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pace = pace
        self._ask = ancillary
        self._notifications = notifications
        self._log = log.bind(service="autoscaling")
        self.loop = Loop("autoscaling-groups", self.turn, clock, log, workers=4)

    def wake(self, key: Key) -> None:
        self.loop.wake(" ".join(key))

    def resume(self) -> None:
        for key in group_records.unfinished(self._database):
            self.wake(key)

    async def turn(self, key: str) -> TurnResult:
        region, _, name = key.partition(" ")
        return await self._advance(Key(region, name))

    async def _advance(self, key: Key) -> TurnResult:
        caller = Caller.root("", key.region)
        answer = await self._ask(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [key.name]}, caller
        )
        groups: list[Params] = answer.get("AutoScalingGroups") or []
        if not groups:
            with self._database.write() as tx:
                group_records.forget_group(tx, key)
            return Done()
        group = groups[0]
        blocked = await self._choose(caller, key, group)
        left = []
        for each in group_records.leaving(self._database, key):
            if each.waits(self._clock.now()):
                left.append(each.deadline - self._clock.now())
            else:
                await self._terminate(caller, each, group)
        if blocked:
            left.append(self._pace.wait(BLOCKED))
        return After(min(left)) if left else Done()

    async def _choose(self, caller: Caller, key: Key, group: Params) -> bool:
        """Note who goes; True when more should than may."""
        goal = group_records.goal(self._database, key)
        if goal is None:
            return False
        leaving = group_records.leaving(self._database, key)
        replaced = sum(1 for each in leaving if not each.decrement)
        serving = in_service(group, leaving)
        surplus = len(serving) + replaced - goal
        if surplus <= 0:
            if not any(each.decrement for each in leaving):
                with self._database.write() as tx:
                    group_records.set_goal(tx, key, None)
            return False
        now = self._clock.now()
        members = await self._members(caller, group, serving)
        chosen = termination.victims(members, surplus, group.get("TerminationPolicies") or (), now)
        hooks, seconds = await hooks_of(self._ask, caller, key.name)
        with self._database.write() as tx:
            if group_records.goal(tx, key) != goal:
                return True  # somebody has changed their mind: look again
            capacity = len(serving) + replaced
            for number, each in enumerate(chosen):
                deadline = now + self._pace.wait(seconds)
                group_records.save_leaving(tx, Leaving(key.region, each, key.name, now, deadline, True, hooks))
                cause = notices.taken(capacity - number, capacity - number - 1)
                self._notifications.because(tx, key, each, cause)
        if chosen:
            self._log.info("instances leave their group", group=key.name, instances=chosen, hooks=hooks)
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
            params = {"InstanceId": each.instance, "ShouldDecrementDesiredCapacity": each.decrement}
            try:
                await self._ask("autoscaling", "TerminateInstanceInAutoScalingGroup", params, caller)
            except AwsError as error:
                self._notifications.failed(key, group, error, instance=each.instance)
                raise
            self._log.info("instance terminated", group=each.name, instance=each.instance)
        with self._database.write() as tx:
            group_records.forget_leaving(tx, each)
            rest = group_records.leaving(tx, key)
            if not rest:
                tx.after_commit(lambda: self.wake(key))


async def hooks_of(ask: Calls, caller: Caller, group: str) -> tuple[str, float]:
    """The names of a group's hooks for instances that terminate, one a line, and how long they may take."""
    answer = await ask("autoscaling", "DescribeLifecycleHooks", {"AutoScalingGroupName": group}, caller)
    found = [each for each in answer.get("LifecycleHooks") or [] if each.get("LifecycleTransition") == TERMINATING]
    names = "\n".join(each["LifecycleHookName"] for each in found)
    return names, max((float(each.get("HeartbeatTimeout") or HEARTBEAT) for each in found), default=0.0)


def in_service(group: Params, leaving: list[Leaving]) -> list[Params]:
    """The instances of a group that serve and are not on their way out."""
    going = {each.instance for each in leaving}
    return [
        each
        for each in group.get("Instances") or []
        if each.get("LifecycleState") == "InService" and each["InstanceId"] not in going
    ]


def shown(reader: Reader, region: str, group: Params) -> Params:
    """A group of the ancillary services with what is kept here laid over it."""
    key = Key(region, group["AutoScalingGroupName"])
    leaving = group_records.leaving(reader, key)
    goal = group_records.goal(reader, key)
    if goal is None and not leaving:
        return group
    going = {each.instance for each in leaving}
    instances = [
        each | ({"LifecycleState": "Terminating:Wait"} if each["InstanceId"] in going else {})
        for each in group.get("Instances") or []
    ]
    fewer = sum(1 for each in leaving if each.decrement)
    desired = goal if goal is not None else group["DesiredCapacity"] - fewer
    return group | {"Instances": instances, "DesiredCapacity": desired}


def _seconds(moment: object) -> float:
    """Launch times arrive as numbers, or as what the wire format makes of a timestamp."""
    if isinstance(moment, int | float):
        return float(moment)
    stamp = getattr(moment, "timestamp", None)
    return float(stamp()) if stamp is not None else 0.0

"""A group as it is shown: the ancillary's answer with what is kept here laid over it."""

from __future__ import annotations

from collections.abc import Callable

from portside.cloud.services.autoscaling import group_records, hook_records
from portside.cloud.services.autoscaling.group_records import Key, Leaving
from portside.cloud.services.autoscaling.hook_records import Stage
from portside.cloud.services.autoscaling.hook_rules import LAUNCHING
from portside.cloud.services.autoscaling.records import Reader
from portside.cloud.services.calls import Params

IN_SERVICE = "InService"


def staying(group: Params, leaving: list[Leaving]) -> list[Params]:
    """The instances that are a group's capacity: in service or on their way there, and not on their way out."""
    going = {each.instance for each in leaving}
    return [
        each
        for each in group.get("Instances") or []
        if each.get("LifecycleState") == IN_SERVICE and each["InstanceId"] not in going
    ]


def states(reader: Reader, key: Key) -> Callable[[str], str]:
    """The state of each instance that the ancillary services have in service."""
    waiting = {each.instance for each in hook_records.actions(reader, key)}
    going = {each.instance for each in group_records.leaving(reader, key)}
    arrivals = hook_records.arrivals(reader, key)
    hooked = bool(hook_records.hooks(reader, key, LAUNCHING))

    def state(instance: str) -> str:
        arrival = arrivals.get(instance)
        if instance in going or (arrival is not None and arrival.stage is Stage.ABANDONED):
            return "Terminating:Wait" if instance in waiting else "Terminating"
        if arrival is None:
            return "Pending" if hooked else IN_SERVICE
        return "Pending:Wait" if arrival.stage is Stage.WAITING else IN_SERVICE

    return state


def unserved(reader: Reader, key: Key) -> Callable[[str], bool]:
    """Whether an instance has never been in service: it waits for a hook, or one has given it up."""
    gone = {each.instance for each in group_records.leaving(reader, key) if not each.served}
    served = {each.instance for each in group_records.leaving(reader, key) if each.served}
    arrivals = hook_records.arrivals(reader, key)
    hooked = bool(hook_records.hooks(reader, key, LAUNCHING))

    def is_unserved(instance: str) -> bool:
        arrival = arrivals.get(instance)
        if arrival is not None:
            return arrival.stage is not Stage.SERVING
        return instance in gone or (hooked and instance not in served)

    return is_unserved


def desired(reader: Reader, key: Key, group: Params) -> int:
    """The capacity that the group is to have."""
    goal = group_records.goal(reader, key)
    if goal is not None:
        return goal
    owed = hook_records.owed(reader, key).desired
    fewer = sum(1 for each in group_records.leaving(reader, key) if each.decrement)
    return (int(group["DesiredCapacity"]) if owed is None else owed) - fewer


def shown(reader: Reader, region: str, group: Params) -> Params:
    """A group of the ancillary services with what is kept here laid over it."""
    key = Key(region, group["AutoScalingGroupName"])
    state = states(reader, key)
    instances = [overlaid(each, state) for each in group.get("Instances") or []]
    return group | {"Instances": instances, "DesiredCapacity": desired(reader, key, group)}


def overlaid(instance: Params, state: Callable[[str], str]) -> Params:
    if instance.get("LifecycleState") != IN_SERVICE:
        return instance
    return instance | {"LifecycleState": state(instance["InstanceId"])}

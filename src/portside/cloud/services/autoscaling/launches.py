"""Instances launched where a group has fewest.

The ancillary services launch all instances of a group in its first subnet. Here a group grows one instance at a
time, each with the subnet of the emptiest zone in front; the order that the user gave is put back at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from portside.cloud.services.calls import Caller, Calls, Params

SERVICE = "autoscaling"


async def grow(ask: Calls, caller: Caller, group: Params, total: int, going: Collection[str]) -> None:
    """Set the ancillary's desired capacity to `total`, which is not below what is there. `going` do not count when
    zones are balanced."""
    name, given = group["AutoScalingGroupName"], group.get("VPCZoneIdentifier") or ""
    subnets = [each for each in given.split(",") if each]
    missing = total - len(group.get("Instances") or [])
    # An update of the ancillary's takes a mixed policy away if it is not sent again.
    if missing <= 0 or len(subnets) < 2 or group.get("MixedInstancesPolicy"):
        await _set(ask, caller, name, total)
        return
    answer = await ask("ec2", "DescribeSubnets", {"SubnetIds": subnets}, caller)
    zones = {each["SubnetId"]: each["AvailabilityZone"] for each in answer.get("Subnets") or []}
    counts = Counter(
        each.get("AvailabilityZone", "")
        for each in group.get("Instances") or []
        if each["InstanceId"] not in going
    )
    try:
        for number in range(missing):
            first = emptiest(subnets, zones, counts)
            counts[zones.get(first, "")] += 1
            await _order(ask, caller, group, [first, *(each for each in subnets if each != first)])
            await _set(ask, caller, name, total - missing + number + 1)
    finally:
        await _order(ask, caller, group, subnets)


def emptiest(subnets: Sequence[str], zones: Mapping[str, str], counts: Mapping[str, int]) -> str:
    """The subnet for the next instance: in the zone with fewest, and there the first one named."""
    return min(subnets, key=lambda each: (counts.get(zones.get(each, ""), 0), subnets.index(each)))


async def _order(ask: Calls, caller: Caller, group: Params, subnets: Sequence[str]) -> None:
    params: Params = {
        "AutoScalingGroupName": group["AutoScalingGroupName"],
        "VPCZoneIdentifier": ",".join(subnets),
    }
    await ask(SERVICE, "UpdateAutoScalingGroup", params, caller)


async def _set(ask: Calls, caller: Caller, name: str, total: int) -> None:
    await ask(SERVICE, "SetDesiredCapacity", {"AutoScalingGroupName": name, "DesiredCapacity": total}, caller)

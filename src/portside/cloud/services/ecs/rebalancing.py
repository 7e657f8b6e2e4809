"""Availability Zone rebalancing: which task of a service moves to a zone with fewer of them.

Pure. One task at a time: it is marked as one that should leave, so that `rollout.decide` starts its replacement
first and stops it only when that is healthy. Source: the ECS Developer Guide, "Balancing an Amazon ECS service
across Availability Zones".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs.desired import Member, Stage
from portside.cloud.services.ecs.placement import ZONE

SPREAD_ZONES = f"attribute:{ZONE}"


def possible(spec: Params) -> str:
    """Why a service with this spec cannot be rebalanced, empty if it can."""
    if spec.get("schedulingStrategy") == "DAEMON":
        return "Availability Zone rebalancing does not support the daemon scheduling strategy."
    if spec["deploymentConfiguration"]["maximumPercent"] <= 100:
        return "Availability Zone rebalancing does not support a maximumPercent value of 100 or less."
    steps = spec.get("placementStrategy") or []
    if steps and (steps[0].get("type"), steps[0].get("field")) != ("spread", SPREAD_ZONES):
        return (
            "Availability Zone rebalancing needs a placement strategy whose first step spreads over "
            f"{SPREAD_ZONES}."
        )
    return ""


def rebalance(members: Sequence[Member], roomy: Collection[str], desired: int) -> list[Member]:
    """The members, one of them told to leave if another zone has too few. `roomy` are the zones with an instance
    that would take one more task."""
    live = [each for each in members if each.stage is not Stage.STOPPING]
    if len(live) < desired or any(each.evacuate or each.failing for each in live):
        return list(members)
    counts = Counter(each.zone for each in live)
    # Once the replacement has been started it counts already, and needs no room any more.
    started = len(live) > desired
    zones = counts.keys() if started else {*roomy}
    if not zones or not counts:
        return list(members)
    fewest = min(counts[zone] for zone in zones)
    zone, most = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
    if most - fewest < (1 if started else 2):
        return list(members)
    # Always the same one until it has gone.
    mover = min((each for each in live if each.zone == zone), key=lambda each: each.order)
    return [replace(each, evacuate=True) if each.task == mover.task else each for each in members]

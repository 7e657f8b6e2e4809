"""Capacity provider strategies: what is wrong with one, and which provider the next task goes to.

Pure. The base of a strategy is filled first; what comes after it is split by weight. Sources: the ECS API
reference, `CapacityProviderStrategyItem`, and the Developer Guide on capacity providers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from portside.cloud.services.calls import Params

FARGATE = "FARGATE"
FARGATE_SPOT = "FARGATE_SPOT"
BUILT_IN = (FARGATE, FARGATE_SPOT)
MOST_ITEMS = 20
MOST_WEIGHT = 1000
MOST_BASE = 100_000
NOT_ASSOCIATED = (
    "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the "
    "cluster. Associate the capacity provider with the cluster and try again."
)


def normalised(strategy: Sequence[Params]) -> list[Params]:
    """As it is stored and shown: every item with its weight and base."""
    return [
        {
            "capacityProvider": each["capacityProvider"].rpartition("/")[2],
            "weight": each.get("weight") or 0,
            "base": each.get("base") or 0,
        }
        for each in strategy
    ]


def wrong(strategy: Sequence[Params], associated: Collection[str]) -> str | None:
    """What is wrong with a normalised strategy, None if nothing is."""
    names = [each["capacityProvider"] for each in strategy]
    if len(strategy) > MOST_ITEMS:
        return f"A capacity provider strategy can contain a maximum of {MOST_ITEMS} capacity providers."
    if len(set(names)) < len(names):
        return "A capacity provider strategy cannot contain duplicate capacity providers."
    if any(name not in associated for name in names):
        return NOT_ASSOCIATED
    if len({name in BUILT_IN for name in names}) > 1:
        return (
            "A capacity provider strategy cannot contain a mix of capacity providers using Auto Scaling groups "
            "and Fargate providers. Specify one or the other and try again."
        )
    for each in strategy:
        if not 0 <= each["weight"] <= MOST_WEIGHT:
            return f"The weight of a capacity provider must be between 0 and {MOST_WEIGHT}."
        if not 0 <= each["base"] <= MOST_BASE:
            return f"The base of a capacity provider must be between 0 and {MOST_BASE}."
    if sum(1 for each in strategy if each["base"]) > 1:
        return "Only one capacity provider in a capacity provider strategy can have a base defined."
    if len(strategy) > 1 and not any(each["weight"] for each in strategy):
        return "A capacity provider strategy must have at least one capacity provider with a weight above zero."
    return None


def next_provider(strategy: Sequence[Params], counts: Mapping[str, int]) -> str:
    """The provider of the next task, when each has as many as `counts` says."""
    for each in strategy:
        if counts.get(each["capacityProvider"], 0) < each["base"]:
            return str(each["capacityProvider"])
    weighted = [each for each in strategy if each["weight"]] or list(strategy)[:1]

    def burden(each: Params) -> float:
        beyond = counts.get(each["capacityProvider"], 0) - each["base"]
        return float((beyond + 1) / (each["weight"] or 1))

    return str(min(weighted, key=burden)["capacityProvider"])


def split(strategy: Sequence[Params], count: int) -> Counter[str]:
    """How many of `count` tasks each provider gets."""
    found: Counter[str] = Counter()
    for _ in range(count):
        found[next_provider(strategy, found)] += 1
    return found

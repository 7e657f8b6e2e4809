"""One look at a stack: its template, its values, and other resources as they are now.

Owns how an `Evaluator` is put together for a running operation, including what has to be fetched for it
(availability zones). The counterpart for plans is in `proposal.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from portside.cloud.kernel.database import Database
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.cloudformation import parameters, rows
from portside.cloud.services.cloudformation.intrinsics import (
    EvaluationError,
    Evaluator,
    NeedsZones,
    ResourceView,
    Surroundings,
)
from portside.cloud.services.cloudformation.plan import dangling, property_at, refuse_attribute
from portside.cloud.services.cloudformation.records import Resource, Spec, Stack
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.template import Template

Found = TypeVar("Found")


@dataclass(slots=True)
class RowsView:
    """Other resources as their rows tell."""

    rows: Mapping[str, Resource]

    def ref(self, logical_id: str) -> Any:
        return self._find(logical_id).applied.physical_id

    def attribute(self, logical_id: str, name: str) -> Any:
        found = self._find(logical_id)
        refuse_attribute(registry.facts(found.type), found.type, logical_id, name)
        if name in found.applied.attributes:
            return found.applied.attributes[name]
        given = property_at(found.applied.properties, name)
        if given is None:
            raise EvaluationError(f"Attribute '{name}' does not exist for resource {logical_id}")
        return given

    def _find(self, logical_id: str) -> Resource:
        found = self.rows.get(logical_id)
        if found is None or found.status.gone:
            raise dangling(logical_id)
        return found


class Zones:
    """Availability zones by region, fetched once: they do not change while the cloud runs."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.known: dict[str, list[str]] = {}

    async def with_zones(self, caller: Caller, evaluate: Callable[[], Found]) -> Found:
        """Run `evaluate`, fetching the zones it asks for and starting over."""
        while True:
            try:
                return evaluate()
            except NeedsZones as needed:
                there = Caller(caller.account, needed.region, caller.arn, caller.access_key, caller.endpoint)
                found = await self._calls("ec2", "DescribeAvailabilityZones", {}, there)
                self.known[needed.region] = sorted(each["ZoneName"] for each in found["AvailabilityZones"])


def evaluator(
    db: Database,
    stack: Stack,
    spec: Spec,
    template: Template,
    view: ResourceView,
    zones: Mapping[str, list[str]],
    *,
    masked: bool = False,
) -> Evaluator:
    return Evaluator(
        template=template,
        parameters=parameters.values(template, spec.parameters, masked=masked),
        surroundings=Surroundings(stack.account, stack.region, stack.id, stack.name, spec.notifications),
        resources=view,
        exports={name: value for name, value, _ in rows.exports(db, stack.region)},
        zones=zones,
    )


def caller_of(stack: Stack) -> Caller:
    """As whom the stack calls other services: its role if it has one, else who last worked on it."""
    return Caller(
        account=stack.account,
        region=stack.region,
        arn=stack.spec.role or stack.caller_arn or f"arn:aws:iam::{stack.account}:root",
        endpoint=stack.endpoint,
    )

"""One look at a stack: its template, its values, and other resources as they are now.

Owns how an `Evaluator` is put together for a running operation, including what has to be fetched for it
(availability zones). The counterpart for plans is in `proposal.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Roles, RoleSession
from portside.cloud.services.cloudformation import parameters, rows
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.intrinsics import (
    EvaluationError,
    Evaluator,
    NeedsZones,
    ResourceView,
    Surroundings,
)
from portside.cloud.services.cloudformation.parameters import MASK
from portside.cloud.services.cloudformation.plan import Dangling, property_at, refuse_attribute
from portside.cloud.services.cloudformation.records import Resource, Spec, Stack
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.template import Template

Found = TypeVar("Found")


@dataclass(slots=True)
class RowsView:
    """Other resources as their rows tell."""

    rows: Mapping[str, Resource]
    hides: bool = False

    @property
    def secret(self) -> bool:
        """Whether any of them has attributes that are not to be shown."""
        return any(each.applied.hidden for each in self.rows.values())

    def masked(self) -> RowsView:
        """The same with masks in their places."""
        return RowsView(self.rows, hides=True)

    def ref(self, logical_id: str) -> Any:
        return self._find(logical_id).applied.physical_id

    def attribute(self, logical_id: str, name: str) -> Any:
        found = self._find(logical_id)
        refuse_attribute(registry.facts(found.type), found.type, logical_id, name)
        if self.hides and found.applied.hidden:
            return MASK
        given = found.applied.attributes.get(name)
        if given is None:
            given = property_at(found.applied.properties, name)
        if given is None:
            raise EvaluationError(f"Attribute '{name}' does not exist for resource {logical_id}")
        return given

    def _find(self, logical_id: str) -> Resource:
        found = self.rows.get(logical_id)
        if found is None or found.status.gone:
            raise Dangling(logical_id)
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
    look = Evaluator(
        template=template,
        parameters=parameters.values(template, spec.parameters, masked=masked),
        surroundings=Surroundings(stack.account, stack.region, stack.id, stack.name, spec.notifications),
        resources=view,
        exported=partial(rows.export, db, stack.region),
        zones=zones,
    )
    if any(each.unknown for each in spec.parameters):
        known = parameters.assumed(template, spec.parameters, stack.spec.parameters)
        look.assuming = Evaluator(template, known, look.surroundings, zones=zones)
    return look


def caller_of(stack: Stack) -> Caller:
    """Who looks things up for the engine itself: the account."""
    return Caller.root(stack.account, stack.region, endpoint=stack.endpoint)


SERVICE = "cloudformation.amazonaws.com"
SESSION_NAME = "AWSCloudFormation"
SESSION_SECONDS = 3600
# A session is renewed while it has this long to go, so that none expires within a step.
RENEWED_BEFORE = 600.0


class Callers:
    """As whom stacks call other services: their role if they have one, else who last worked on them.

    Of a caller with a role's session only the role is kept: an operation may outlast the session.
    """

    def __init__(self, roles: Roles | None, clock: Clock) -> None:
        self._roles = roles
        self._clock = clock
        self._sessions: dict[tuple[str, str], RoleSession] = {}

    async def verify(self, role: str, stack_id: str, caller: Caller) -> None:
        """Raises ValidationError if CloudFormation may not take on `role`."""
        if role and self._roles is not None:
            try:
                await self._roles.assume(role, SESSION_NAME, SERVICE, caller, SESSION_SECONDS, stack_id)
            except AwsError as error:
                raise invalid(f"Role {role} is invalid or cannot be assumed") from error

    async def of(self, stack: Stack, kind: str = "") -> Caller:
        """For a resource of type `kind`, the role is only asked for what AWS itself would do for it."""
        account = caller_of(stack)
        role = stack.spec.role
        if not role and not stack.caller_role:
            return account
        found = registry.facts(kind).schema.permissions if kind else frozenset()
        if not role:
            return replace(account, arn=stack.caller_arn, role=stack.caller_role, asked=found or None)
        if self._roles is None:
            return account
        key = (role, stack.id)
        session = self._sessions.get(key)
        if session is None or session.expires - self._clock.now() < RENEWED_BEFORE:
            try:
                session = await self._roles.assume(role, SESSION_NAME, SERVICE, account, SESSION_SECONDS, stack.id)
            except AwsError:
                # The role went away after the operation began: every call of the stack's is refused then.
                return replace(account, arn=role, role=role)
            self._sessions[key] = session
        return replace(session.caller(stack.region, stack.endpoint), asked=found or None)

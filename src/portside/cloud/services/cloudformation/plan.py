"""What an update does to each resource, decided before anything is done.

Pure. `decide` compares one resource with what it is to become; `plan` does so for a whole template, in order of
dependency, and carries on what is not known yet. The change set shows a plan (`changes.py`) and the loop calls
the same `decide` with real values, so that execution does what the change set showed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from portside.cloud.services.cloudformation import dynamic, properties
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN, EvaluationError, Evaluator, unknown_inside
from portside.cloud.services.cloudformation.records import Applied, Params, Resource
from portside.cloud.services.cloudformation.schema import Schema
from portside.cloud.services.cloudformation.template import Template

# How the attributes of a nested stack begin.
OUTPUTS = "Outputs."


class Verdict(StrEnum):
    CREATE = "create"
    KEEP = "keep"
    METADATA = "metadata"
    UPDATE = "update"
    REPLACE = "replace"


class Recreation(StrEnum):
    """As `RequiresRecreation` of a change set spells it."""

    NEVER = "Never"
    CONDITIONALLY = "Conditionally"
    ALWAYS = "Always"


@dataclass(frozen=True, slots=True)
class Facts:
    """What planning must know of a resource type.

    `volatile` attributes may change when the resource is updated in place. `name_property` is the one by which
    a user names the physical resource. `replaces` settles what the schema calls conditional.
    """

    schema: Schema
    volatile: frozenset[str] = frozenset()
    name_property: str = ""
    attributes: frozenset[str] = frozenset()
    tagged: bool = False
    replaces: Callable[[Params, Params], bool] = lambda old, new: False

    def has_attribute(self, name: str) -> bool:
        return name in self.attributes or name.split(".")[0] in self.attributes or self.schema.has_attribute(name)

    def is_volatile(self, name: str) -> bool:
        return self.schema.open or name in self.volatile or name.split(".")[0] in self.volatile


@dataclass(frozen=True, slots=True)
class Change:
    """One property that differs. `unknown` says that its new value depends on what does not exist yet."""

    name: str
    recreation: Recreation
    before: Any
    after: Any
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    changes: tuple[Change, ...] = ()
    metadata: bool = False
    tags: bool = False


def decide(
    facts: Facts,
    applied: Applied,
    wanted: Params,
    metadata: Params,
    tags: tuple[tuple[str, str], ...],
    stored: Mapping[str, str] | None = None,
) -> Decision:
    """What turns `applied` into a resource with the properties `wanted` (evaluated and fitted). `stored` is what
    parameters of the store hold by now, which the properties may refer to."""
    changes = tuple(
        _change(facts, name, before, after)
        for name in dict.fromkeys([*wanted, *applied.properties])
        for before, after in [_sides(applied, name, wanted.get(name), stored)]
        if before != after
    )
    other_metadata = applied.metadata != metadata
    other_tags = facts.tagged and applied.tags != tags
    if any(each.recreation is Recreation.ALWAYS for each in changes) or (
        any(each.recreation is Recreation.CONDITIONALLY for each in changes)
        and facts.replaces(applied.properties, wanted)
    ):
        verdict = Verdict.REPLACE
    elif changes or other_tags:
        verdict = Verdict.UPDATE
    elif other_metadata:
        verdict = Verdict.METADATA
    else:
        verdict = Verdict.KEEP
    return Decision(verdict, changes, other_metadata, other_tags)


def _sides(applied: Applied, name: str, after: Any, stored: Mapping[str, str] | None) -> tuple[Any, Any]:
    """A property before and after: as it is written, unless only what it refers to has changed."""
    before = applied.properties.get(name)
    if before != after or not applied.stored or not stored:
        return before, after
    both = applied.stored.keys() & stored.keys()
    return (
        dynamic.filled(before, {each: applied.stored[each] for each in both}),
        dynamic.filled(after, {each: stored[each] for each in both}),
    )


def _change(facts: Facts, name: str, before: Any, after: Any) -> Change:
    return Change(name, _recreation(facts.schema, name, before, after), before, after, unknown_inside(after))


def _recreation(schema: Schema, name: str, before: Any, after: Any) -> Recreation:
    for paths, recreation in (
        (schema.create_only, Recreation.ALWAYS),
        (schema.conditional, Recreation.CONDITIONALLY),
    ):
        for path in paths:
            if path[0] == name and _at(before, path[1:]) != _at(after, path[1:]):
                return recreation
    return Recreation.NEVER


def _at(value: Any, path: tuple[str, ...]) -> Any:
    if value is UNKNOWN or not path:
        return value
    if path[0] == "*":
        return [_at(each, path[1:]) for each in value] if isinstance(value, list) else value
    return _at(value.get(path[0]), path[1:]) if isinstance(value, dict) else None


def custom_named(facts: Facts, applied: Applied, wanted: Params) -> bool:
    """A name that the user chose and did not change stands in the way of a replacement."""
    name = facts.name_property
    return bool(name) and name in wanted and applied.properties.get(name) == wanted.get(name)


@dataclass(slots=True)
class Planned:
    """What a plan says of one resource. `properties` may hold UNKNOWN.

    `wanted` holds what the template says beside the properties, `policies` what of it differs: before and after.
    """

    logical_id: str
    type: str
    decision: Decision
    properties: Params
    applied: Applied | None = None
    wanted: Applied | None = None
    policies: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """`planned` holds the resources of the new template in order of dependency, `removed` those that leave it."""

    planned: dict[str, Planned] = field(default_factory=dict)
    removed: list[Resource] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.removed) or any(
            each.decision.verdict is not Verdict.KEEP for each in self.planned.values()
        )

    def touched(self) -> dict[str, Verdict]:
        return {
            name: each.decision.verdict
            for name, each in self.planned.items()
            if each.decision.verdict is not Verdict.KEEP
        }


@dataclass(slots=True)
class PlannedView:
    """Other resources, as far as the plan has come. `foreseen` holds, by logical id, the outputs of nested stacks
    that will be what they are, where the stacks inside are planned as well."""

    template: Template
    planned: Mapping[str, Planned]
    facts: Callable[[str], Facts]
    foreseen: Mapping[str, Params] = field(default_factory=dict)

    def ref(self, logical_id: str) -> Any:
        found = self._find(logical_id)
        if found.applied is None or found.decision.verdict in (Verdict.CREATE, Verdict.REPLACE):
            return UNKNOWN
        return found.applied.physical_id

    def attribute(self, logical_id: str, name: str) -> Any:
        found = self._find(logical_id)
        facts = self.facts(found.type)
        if logical_id in self.foreseen and name.startswith(OUTPUTS):
            return self.foreseen[logical_id].get(name.removeprefix(OUTPUTS), UNKNOWN)
        if not facts.has_attribute(name):
            # The operation is given up before anybody needs the value (`attributes.py`).
            return UNKNOWN
        given = property_at(found.properties, name)
        if found.applied is None or found.decision.verdict in (Verdict.CREATE, Verdict.REPLACE):
            # AWS takes no attribute of what is not made yet for known, not even that of a property. What a
            # replacement leaves as it was changes nothing elsewhere, though.
            kept = found.applied is not None and given == property_at(found.applied.properties, name)
            return UNKNOWN if given is None or not kept else given
        if given is not None:
            return given
        if found.decision.verdict is Verdict.UPDATE and facts.is_volatile(name):
            return UNKNOWN
        return found.applied.attributes.get(name, UNKNOWN)

    def _find(self, logical_id: str) -> Planned:
        found = self.planned.get(logical_id)
        if found is None:
            raise Dangling(logical_id)
        return found


def property_at(found: Params, name: str) -> Any:
    """A property that GetAtt names, `A.B` for nested ones; None if it was not set."""
    value: Any = found
    for part in name.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


class Dangling(EvaluationError):
    """A reference to a resource whose condition is false."""

    def __init__(self, logical_id: str, block: str = "Resources") -> None:
        super().__init__(
            f"Template format error: Unresolved resource dependencies [{logical_id}] in the {block} "
            "block of the template"
        )
        self.logical_id = logical_id


def refuse_attribute(facts: Facts, kind: str, logical_id: str, name: str) -> None:
    if not facts.has_attribute(name):
        raise EvaluationError(
            f"Template error: resource {logical_id} does not support attribute type {name} in Fn::GetAtt"
        )


def active(evaluator: Evaluator) -> Mapping[str, tuple[str, ...]]:
    """The resources whose conditions hold, in order of dependency, with what each depends on."""
    template = evaluator.template
    return template.order(name for name in template.resources if evaluator.exists(name))


def _policies(before: Applied, after: Applied) -> dict[str, tuple[Any, Any]]:
    pairs = {
        "CreationPolicy": (before.creation_policy, after.creation_policy),
        "DeletionPolicy": (before.deletion_policy, after.deletion_policy),
        "UpdatePolicy": (before.update_policy, after.update_policy),
        "UpdateReplacePolicy": (before.replace_policy, after.replace_policy),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def plan(
    evaluator: Evaluator,
    before: Mapping[str, Resource],
    facts: Callable[[str], Facts],
    tags: tuple[tuple[str, str], ...],
    stored: Mapping[str, str] | None = None,
) -> Plan:
    """The plan that leads from the resources of `before` to the evaluator's template.

    The evaluator must see other resources through a `PlannedView` whose `planned` is the plan's.
    """
    view = evaluator.resources
    assert isinstance(view, PlannedView)
    found = Plan(planned=dict(view.planned))
    view.planned = found.planned
    for logical_id in active(evaluator):
        declared = evaluator.template.resources[logical_id]
        known = facts(declared.type)
        wanted, _ = properties.fit(known.schema, evaluator.properties(logical_id))
        present = before.get(logical_id)
        beside = Applied(
            metadata=evaluator.members(declared.metadata),
            creation_policy=evaluator.members(declared.creation_policy),
            update_policy=evaluator.members(declared.update_policy),
            deletion_policy=declared.deletion_policy,
            replace_policy=declared.replace_policy,
        )
        applied = present.applied if present is not None else None
        policies: dict[str, tuple[Any, Any]] = {}
        if applied is None:
            decision = Decision(Verdict.CREATE)
        else:
            decision = decide(known, applied, wanted, beside.metadata, tags, stored)
            policies = _policies(applied, beside)
        found.planned[logical_id] = Planned(logical_id, declared.type, decision, wanted, applied, beside, policies)
    found.removed = [each for name, each in before.items() if name not in found.planned]
    return found

"""A plan as a change set shows it: Action, Replacement, Scope, and for each property why it changes.

Pure. Owns the contexts before and after, the paths of what changes, and what of them is shown without
IncludePropertyValues. Why something changes is `causes.py`; what changes at all was decided in `plan.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from portside.cloud.services.cloudformation import secrecy
from portside.cloud.services.cloudformation.causes import Causes
from portside.cloud.services.cloudformation.differences import (
    Difference,
    Kind,
    differences,
    plain,
    pointer,
    text,
)
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN
from portside.cloud.services.cloudformation.plan import Change, Facts, Plan, Planned, Recreation, Verdict
from portside.cloud.services.cloudformation.records import Applied, Params, Resource
from portside.cloud.services.cloudformation.references import function_of, references
from portside.cloud.services.cloudformation.template import Template

# Members of a resource beside its properties, as the Scope of a change names them.
POLICIES = ("CreationPolicy", "DeletionPolicy", "UpdatePolicy", "UpdateReplacePolicy")
NESTED = "AWS::CloudFormation::Stack"
_BRIEF = ("Attribute", "Name", "RequiresRecreation")


def describe(
    found: Plan,
    old: Template | None,
    new: Template,
    changed_parameters: frozenset[str],
    facts: Callable[[str], Facts],
    imported: Iterable[str] = (),
    pending: frozenset[str] = frozenset(),
) -> list[Params]:
    """The `Changes` of DescribeChangeSet with property values, by logical id. `pending` are the changed parameters
    whose new values are not known yet."""
    changes: dict[str, Params] = {}
    causes = Causes(found, changed_parameters, pending)
    adopted = frozenset(imported)
    for each in found.planned.values():
        name = each.logical_id
        if name in adopted:
            changes[name] = _imported(each)
        elif each.decision.verdict is Verdict.CREATE:
            changes[name] = _added(each)
        elif each.decision.verdict is not Verdict.KEEP or each.policies or each.type == NESTED:
            modification = _Modification(each, causes, old, new, facts(each.type))
            changes[name] = modification.describe()
    for resource in found.removed:
        changes[resource.logical_id] = _removed(resource, old)
    return [{"Type": "Resource", "ResourceChange": changes[name]} for name in sorted(changes)]


def may_follow(found: Plan, new: Template) -> list[Params]:
    """Resources that read an attribute of one that is changed in place, and turn out to need nothing.

    Without property values a change set only goes by the template, and lists them.
    """
    touched = {name for name, verdict in found.touched().items() if verdict in (Verdict.UPDATE, Verdict.REPLACE)}
    shown: dict[str, Params] = {}
    for each in found.planned.values():
        if each.decision.verdict is not Verdict.KEEP or each.applied is None:
            continue
        details: list[Params] = []
        for name, raw in new.resources[each.logical_id].properties.items():
            target = {"Attribute": "Properties", "Name": name, "RequiresRecreation": "Never"}
            details += [
                {
                    "Target": target,
                    "Evaluation": "Dynamic",
                    "ChangeSource": "ResourceAttribute",
                    "CausingEntity": str(entity),
                }
                for entity in Causes.attributes(raw)
                if entity.name in touched
            ]
        if details:
            touched.add(each.logical_id)
            shown[each.logical_id] = _frame("Modify", each.logical_id, each.type, each.applied.physical_id) | {
                "Replacement": "False",
                "Scope": ["Properties"],
                "Details": details,
            }
    return [{"Type": "Resource", "ResourceChange": change} for change in shown.values()]


def _frame(action: str, logical_id: str, kind: str, physical_id: str = "") -> Params:
    shown: Params = {"Action": action, "LogicalResourceId": logical_id}
    if physical_id:
        shown["PhysicalResourceId"] = physical_id
    return shown | {"ResourceType": kind, "Scope": [], "Details": []}


def _added(each: Planned) -> Params:
    return _frame("Add", each.logical_id, each.type) | {"AfterContext": context(each.properties, _after(each))}


def _imported(each: Planned) -> Params:
    assert each.applied is not None
    change = _frame("Import", each.logical_id, each.type, each.applied.physical_id)
    return change | {"AfterContext": context(each.properties, _after(each))}


def _removed(resource: Resource, old: Template | None) -> Params:
    applied = resource.applied
    declared = old.resources.get(resource.logical_id) if old is not None else None
    shown = applied.properties
    if old is not None and declared is not None:
        shown = _blurred(declared.properties, shown, old)
    policy = applied.deletion_policy
    change = _frame("Remove", resource.logical_id, resource.type, applied.physical_id)
    change["PolicyAction"] = "Retain" if policy.startswith("Retain") else policy
    return change | {"BeforeContext": context(shown, _before(applied))}


def _blurred(raw: Any, value: Any, template: Template) -> Any:
    """What AWS shows of a resource that goes: what it had from another one counts as not known."""
    if function_of(raw) is not None:
        known = all(each.name not in template.resources for each in references(raw))
        return value if known else UNKNOWN
    if isinstance(raw, dict) and isinstance(value, dict):
        return {key: _blurred(raw.get(key), member, template) for key, member in value.items()}
    if isinstance(raw, list) and isinstance(value, list) and len(raw) == len(value):
        return [_blurred(one, other, template) for one, other in zip(raw, value, strict=True)]
    return value


class _Modification:
    def __init__(self, each: Planned, causes: Causes, old: Template | None, new: Template, facts: Facts) -> None:
        assert each.applied is not None
        self._each = each
        self._applied = each.applied
        self._causes = causes
        self._declared = new.resources[each.logical_id]
        self._before = old.resources.get(each.logical_id) if old is not None else None
        self._facts = facts

    def describe(self) -> Params:
        each = self._each
        details = [detail for change in each.decision.changes for detail in self._property(change)]
        if each.decision.metadata:
            raw = self._before.metadata if self._before is not None else None
            wanted = each.wanted.metadata if each.wanted is not None else {}
            targets = list(_paths(self._applied.metadata, wanted))
            details += self._shown(self._declared.metadata, raw, targets)
        for name, (was, becomes) in each.policies.items():
            kind = Kind.MODIFY if was and becomes else Kind.REMOVE if was else Kind.ADD
            target: Params = {"Attribute": name, "RequiresRecreation": "Never"}
            target |= _values(Difference((name,), kind, was or None, becomes or None))
            details.append({"Target": target, "Evaluation": "Static", "ChangeSource": "DirectModification"})
        own = self._facts.schema.tag_property
        if each.decision.tags and not any(change.name == own for change in each.decision.changes):
            target = {"Attribute": "Tags", "RequiresRecreation": "Never"}
            details.append({"Target": target, "Evaluation": "Static", "ChangeSource": "DirectModification"})
        if each.type == NESTED and not details:
            # Its template may have changed behind the same address.
            target = {"Attribute": "Properties", "RequiresRecreation": "Never"}
            details.append({"Target": target, "Evaluation": "Dynamic", "ChangeSource": "Automatic"})
        replacement = _replacement(each, details)
        change = _frame("Modify", each.logical_id, each.type, self._applied.physical_id) | {
            "Replacement": replacement,
            "Scope": sorted({detail["Target"]["Attribute"] for detail in details}),
            "Details": details,
            "BeforeContext": context(self._applied.properties, _before(self._applied)),
            "AfterContext": context(each.properties, _after(each)),
        }
        if replacement != "False":
            change["PolicyAction"] = f"ReplaceAnd{self._declared.replace_policy}"
        return change

    def _property(self, change: Change) -> list[Params]:
        name = change.name
        raw_before = self._before.properties.get(name) if self._before is not None else None
        targets = list(self._targets(change))
        return self._shown(self._declared.properties.get(name), raw_before, targets)

    def _targets(self, change: Change) -> Iterator[Params]:
        old = {} if change.before is None else {change.name: change.before}
        new = {} if change.after is None else {change.name: change.after}
        tags = change.name == self._facts.schema.tag_property
        for each in differences(old, new):
            target: Params = {"Attribute": "Tags"} if tags else {"Attribute": "Properties", "Name": change.name}
            target["RequiresRecreation"] = self._recreation(change, each).value
            yield target | _values(Difference(("Properties", *each.path), each.kind, each.before, each.after))

    def _recreation(self, change: Change, each: Difference) -> Recreation:
        for paths, recreation in (
            (self._facts.schema.create_only, Recreation.ALWAYS),
            (self._facts.schema.conditional, Recreation.CONDITIONALLY),
        ):
            if change.recreation is recreation and any(_covers(path, each.path) for path in paths):
                return recreation
        return Recreation.NEVER

    def _shown(self, raw: Any, raw_before: Any, targets: list[Params]) -> list[Params]:
        return [
            {"Target": target} | cause
            for target in targets
            for cause in self._causes.of(
                raw, raw_before, unknown="KNOWN_AFTER_APPLY" in target.get("AfterValue", "")
            )
        ]


def _paths(before: Params, after: Params) -> Iterator[Params]:
    for each in differences(before, after, ("Metadata",)):
        yield {"Attribute": "Metadata", "RequiresRecreation": "Never"} | _values(each)


def _covers(path: tuple[str, ...], changed: tuple[str, ...]) -> bool:
    """Whether a change at `changed` touches what the schema's `path` names, or lies within it."""
    return all(wanted in (part, "*") for wanted, part in zip(path, changed, strict=False))


def _values(each: Difference) -> Params:
    shown: Params = {"Path": pointer(each.path), "AttributeChangeType": each.kind.value}
    if each.before is not None:
        shown["BeforeValue"] = text(each.before)
    if each.after is not None:
        shown["AfterValue"] = text(each.after)
    return shown


def _replacement(each: Planned, details: list[Params]) -> str:
    """The strongest detail wins: Always is certain if static, conditional if its value is not known yet."""
    found = "False"
    for detail in details:
        match detail["Target"]["RequiresRecreation"], detail["Evaluation"]:
            case "Always", "Static":
                return "True"
            case ("Always", _) | ("Conditionally", _):
                found = "Conditional"
    certain = any(
        change.recreation is Recreation.ALWAYS and not change.unknown for change in each.decision.changes
    )
    return "True" if certain else found


def _before(applied: Applied) -> Params:
    return _members(
        applied.metadata,
        applied.creation_policy,
        applied.update_policy,
        applied.deletion_policy,
        applied.replace_policy,
    )


def _after(each: Planned) -> Params:
    wanted = each.wanted
    return _before(wanted) if wanted is not None else {}


def _members(metadata: Params, creation: Params, update: Params, deletion: str, replacing: str) -> Params:
    found: Params = {
        "Metadata": metadata,
        "CreationPolicy": creation,
        "UpdatePolicy": update,
        "DeletionPolicy": "" if deletion == "Delete" else deletion,
        "UpdateReplacePolicy": "" if replacing == "Delete" else replacing,
    }
    return {name: member for name, member in found.items() if member}


def context(properties: Mapping[str, Any], members: Params) -> str:
    shown = {"Properties": plain(dict(properties))} | plain(members)
    return json.dumps(shown, separators=(",", ":"))


def without_values(change: Params) -> Params:
    """A change as DescribeChangeSet shows it unless IncludePropertyValues is set."""
    inner = {key: value for key, value in change["ResourceChange"].items() if not key.endswith("Context")}
    brief: list[Params] = []
    for detail in inner["Details"]:
        target = {key: value for key, value in detail["Target"].items() if key in _BRIEF}
        shown = detail | {"Target": target}
        if shown not in brief:
            brief.append(shown)
    for resolved in [each for each in brief if each["ChangeSource"].startswith("Resource")]:
        # Where another resource is the cause, the value that follows from it is no cause of its own.
        follows = {"Target": resolved["Target"], "Evaluation": "Dynamic", "ChangeSource": "DirectModification"}
        if follows in brief:
            brief.remove(follows)
    inner["Details"] = brief
    return change | {"ResourceChange": inner}


def masked(change: Params, secrets: list[str]) -> Params:
    """A change without the secrets."""
    if not secrets:
        return change
    inner = dict(change["ResourceChange"])
    inner["Details"] = [each | {"Target": dict(each["Target"])} for each in inner["Details"]]
    for name in ("BeforeContext", "AfterContext"):
        if name in inner:
            inner[name] = secrecy.covered(inner[name], secrets)
    for detail in inner["Details"]:
        for name in ("BeforeValue", "AfterValue"):
            if name in detail["Target"]:
                detail["Target"][name] = secrecy.covered(detail["Target"][name], secrets)
    return change | {"ResourceChange": inner}

"""A plan as a change set shows it: Action, Replacement, Scope, and for each property why it changes.

Pure. Owns the rules for `Details` (static or dynamic, direct or through a parameter or another resource); what
changes at all was decided in `plan.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from portside.cloud.services.cloudformation.intrinsics import UNKNOWN
from portside.cloud.services.cloudformation.plan import Change, Plan, Planned, Recreation, Verdict
from portside.cloud.services.cloudformation.records import Params, Resource
from portside.cloud.services.cloudformation.references import references
from portside.cloud.services.cloudformation.template import Template

_CHANGED = (Verdict.CREATE, Verdict.REPLACE, Verdict.UPDATE)


def describe(
    found: Plan,
    old: Template | None,
    new: Template,
    changed_parameters: frozenset[str],
    *,
    values: bool = False,
) -> list[Params]:
    """The `Changes` of DescribeChangeSet, by logical id. `values` adds contexts before and after."""
    changes: dict[str, Params] = {}
    for each in found.planned.values():
        if each.decision.verdict is Verdict.CREATE:
            changes[each.logical_id] = _added(each, values)
        elif each.decision.verdict is not Verdict.KEEP:
            changes[each.logical_id] = _modified(each, found, old, new, changed_parameters, values)
    for resource in found.removed:
        changes[resource.logical_id] = _removed(resource, values)
    return [{"Type": "Resource", "ResourceChange": changes[name]} for name in sorted(changes)]


def _added(each: Planned, values: bool) -> Params:
    change: Params = {
        "Action": "Add",
        "LogicalResourceId": each.logical_id,
        "ResourceType": each.type,
        "Scope": [],
        "Details": [],
    }
    if values:
        change["AfterContext"] = context(each.properties)
    return change


def _removed(resource: Resource, values: bool) -> Params:
    policy = resource.applied.deletion_policy
    change: Params = {
        "PolicyAction": "Retain" if policy.startswith("Retain") else policy,
        "Action": "Remove",
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.applied.physical_id,
        "ResourceType": resource.type,
        "Scope": [],
        "Details": [],
    }
    if values:
        change["BeforeContext"] = context(resource.applied.properties)
    return change


def _modified(
    each: Planned,
    found: Plan,
    old: Template | None,
    new: Template,
    changed_parameters: frozenset[str],
    values: bool,
) -> Params:
    assert each.applied is not None
    declared = new.resources[each.logical_id]
    before = old.resources.get(each.logical_id) if old is not None else None
    details: list[Params] = []
    for change in each.decision.changes:
        target: Params = {
            "Attribute": "Properties",
            "Name": change.name,
            "RequiresRecreation": change.recreation.value,
        }
        if values:
            target |= _shown_values(change)
        raw = declared.properties.get(change.name)
        raw_before = before.properties.get(change.name) if before is not None else None
        details += _causes(target, raw, raw_before, found, changed_parameters)
    if each.decision.metadata:
        raw_before = before.metadata if before is not None else None
        target = {"Attribute": "Metadata", "RequiresRecreation": "Never"}
        details += _causes(target, declared.metadata, raw_before, found, changed_parameters)
    if each.decision.tags:
        details.append(
            {
                "Target": {"Attribute": "Tags", "RequiresRecreation": "Never"},
                "Evaluation": "Static",
                "ChangeSource": "DirectModification",
            }
        )
    scope = (["Properties"] if each.decision.changes else []) + (["Metadata"] if each.decision.metadata else [])
    scope += ["Tags"] if each.decision.tags else []
    replacement = _replacement(each, details)
    change_shown: Params = {
        "Action": "Modify",
        "LogicalResourceId": each.logical_id,
        "PhysicalResourceId": each.applied.physical_id,
        "ResourceType": each.type,
        "Replacement": replacement,
        "Scope": sorted(scope),
        "Details": details,
    }
    if replacement != "False":
        kept = declared.replace_policy
        change_shown["PolicyAction"] = f"ReplaceAnd{kept}"
    if values:
        change_shown["BeforeContext"] = context(each.applied.properties)
        change_shown["AfterContext"] = context(each.properties)
    return change_shown


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


def _causes(
    target: Params, raw: Any, raw_before: Any, found: Plan, changed_parameters: frozenset[str]
) -> list[Params]:
    """Why a property changes, one entry for each reason."""
    causes: list[tuple[str, str, str]] = []
    through_parameter = False
    for reference in references(raw):
        if reference.name in changed_parameters:
            through_parameter = True
            causes.append(("Static", "ParameterReference", reference.name))
            continue
        other = found.planned.get(reference.name)
        if other is None or other.decision.verdict not in _CHANGED:
            continue
        replaced = other.decision.verdict is not Verdict.UPDATE
        evaluation = "Static" if replaced else "Dynamic"
        if reference.attribute:
            causes.append((evaluation, "ResourceAttribute", str(reference)))
        elif replaced:
            causes.append((evaluation, "ResourceReference", reference.name))
    if raw != raw_before:
        causes.append(("Static", "DirectModification", ""))
    elif through_parameter:
        causes.append(("Dynamic", "DirectModification", ""))
    if not causes:
        causes.append(("Static", "DirectModification", ""))
    shown = []
    for evaluation, source, entity in dict.fromkeys(causes):
        detail: Params = {"Target": target, "Evaluation": evaluation, "ChangeSource": source}
        if entity:
            detail["CausingEntity"] = entity
        shown.append(detail)
    return shown


def _shown_values(change: Change) -> Params:
    kind = "Add" if change.before is None else "Remove" if change.after is None else "Modify"
    shown: Params = {"Path": f"/Properties/{change.name}", "AttributeChangeType": kind}
    if change.before is not None:
        shown["BeforeValue"] = _text(change.before)
    if change.after is not None:
        shown["AfterValue"] = _text(change.after)
    return shown


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), separators=(",", ":"))


def plain(value: Any) -> Any:
    """With the mark of what is not known yet written out."""
    if value is UNKNOWN:
        return repr(UNKNOWN)
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return value


def context(properties: Mapping[str, Any]) -> str:
    return json.dumps({"Properties": plain(dict(properties))}, separators=(",", ":"))

"""What a change set of type IMPORT may contain, and which physical resources it means.

Pure. Owns the refusals of requests in AWS's words and the way from an identifier to a physical id. Whether the
resources exist is looked at in `importing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portside.cloud.services.cloudformation import documents
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.plan import Facts, Plan, Planned, Verdict
from portside.cloud.services.cloudformation.records import Params
from portside.cloud.services.cloudformation.template import Template


@dataclass(frozen=True, slots=True)
class Wanted:
    """One resource to import. `shown` is its identifier as messages tell it."""

    logical_id: str
    type: str
    physical_id: str
    name: str
    shown: str


def requested(given: list[Params], parsed: Template, known: Mapping[str, Facts]) -> list[Wanted]:
    """The resources that a request names, each by the identifier that its type wants."""
    if not given:
        raise invalid("Must Provide at least one resource to import")
    names = [each["LogicalResourceId"] for each in given]
    if len(set(names)) != len(names):
        raise invalid("Every resource to import must have unique LogicalResourceId")
    strangers = [name for name in names if name not in parsed.resources]
    if strangers:
        raise invalid(
            f"The logical resource ids [{', '.join(strangers)}] provided in ResourceToImport do not exist in the "
            "template."
        )
    return [_wanted(each, parsed, known) for each in given]


def _wanted(given: Params, parsed: Template, known: Mapping[str, Facts]) -> Wanted:
    name, kind = given["LogicalResourceId"], given["ResourceType"]
    declared = parsed.resources[name]
    if kind != declared.type:
        raise invalid(
            f"Resource type of [{name}] passed in ResourceToImport does not match with resource type defined in "
            f"the template. Resource type in ResourceToImport: {kind}; Resource type in Template: {declared.type}."
        )
    facts = known[kind]
    if "read" not in facts.schema.document.get("handlers", {}):
        raise invalid(f"ResourceTypes [{kind}] are not supported for Import")
    identifier: dict[str, str] = given["ResourceIdentifier"]
    expected = facts.schema.identifier
    if set(identifier) != set(expected):
        raise invalid(f"Invalid resource identifier for resource type {kind}. Expected [{', '.join(expected)}]")
    values = [identifier[each] for each in expected]
    arn = next((each for each in values if each.startswith("arn:")), None)
    physical_id = arn or "|".join(values)
    named = declared.properties.get(facts.name_property) if facts.name_property else None
    last = physical_id if arn is None else physical_id.rpartition(":")[2].rpartition("/")[2]
    return Wanted(name, kind, physical_id, named if isinstance(named, str) else last, "|".join(values))


def refuse(
    wanted: list[Wanted], given: list[Params], plan: Plan, old: Template | None, new: Template, body: str
) -> None:
    """Nothing but the import may happen, and each resource says what becomes of it."""
    added = [name for name, each in plan.planned.items() if each.decision.verdict is Verdict.CREATE]
    names = [each.logical_id for each in wanted]
    if not added:
        raise invalid("The template should contain at least one new resource to import.")
    present = [name for name in names if name not in added]
    if present:
        raise invalid(
            f"Resources [{', '.join(present)}] passed in ResourceToImport are already in a stack and cannot be "
            "imported."
        )
    missing = [name for name in added if name not in names]
    if missing:
        raise invalid(f"Resources [{', '.join(missing)}] is missing from ResourceToImport list")
    touched = sorted(
        [name for name, each in plan.planned.items() if name not in added and _changes(each)]
        + [each.logical_id for each in plan.removed]
    )
    if touched:
        raise invalid(
            f"You have modified resources [{', '.join(touched)}] in your template that are not being imported. "
            "Update, create or delete operations cannot be executed during import operations."
        )
    if new.outputs != (old.outputs if old is not None else {}):
        raise invalid("As part of the import operation, you cannot modify or add [Outputs]")
    declared: dict[str, Any] = documents.read(body)["Resources"]
    unsaid = [name for name in names if "DeletionPolicy" not in declared[name]]
    if unsaid:
        raise invalid(
            f"The following resources to import [{', '.join(unsaid)}] must have DeletionPolicy attribute "
            "specified in the template."
        )
    for each in given:
        found = plan.planned[each["LogicalResourceId"]].properties
        for key, value in each["ResourceIdentifier"].items():
            if isinstance(found.get(key), str) and found[key] != value:
                raise invalid(
                    f"{key} of resource {each['LogicalResourceId']} is [{found[key]}] in the template and "
                    f"[{value}] in ResourceToImport."
                )


def _changes(each: Planned) -> bool:
    return each.decision.verdict is not Verdict.KEEP or bool(each.policies)

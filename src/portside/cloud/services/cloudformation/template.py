"""A template: its sections as records, checked for form in AWS's words.

Pure. `parse` takes a processed template, in which no transform is left (`transforms.py`), and refuses here and in
`checks.py` everything that can be told without parameter values. `outline` reads as much of an original as can be
known before its transforms have run. The values come in `parameters.py` and `intrinsics.py`, the order of work in
`plan.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from portside.cloud.services.cloudformation import checks, documents, graph, limits
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.references import function_of, references, uses

SECTIONS = frozenset(
    {
        "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings", "Conditions",
        "Transform", "Resources", "Outputs",
    }
)  # fmt: skip
RESOURCE_KEYS = frozenset(
    {
        "Type", "Properties", "DependsOn", "Condition", "Metadata", "CreationPolicy", "UpdatePolicy",
        "DeletionPolicy", "UpdateReplacePolicy", "Description",
    }
)  # fmt: skip
IAM_TYPES = frozenset(
    {
        "AWS::IAM::AccessKey", "AWS::IAM::Group", "AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy", "AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::UserToGroupAddition",
    }
)  # fmt: skip
_IAM_NAMES = {
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
}
DELETION_POLICIES = ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot")
REPLACE_POLICIES = ("Delete", "Retain", "Snapshot")
_ALNUM = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource as the template declares it; nothing is evaluated yet."""

    logical_id: str
    type: str
    properties: dict[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    condition: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"
    creation_policy: dict[str, Any] = field(default_factory=dict)
    update_policy: dict[str, Any] = field(default_factory=dict)

    def needs(self) -> Iterator[str]:
        """Names that must exist before this resource: resources and parameters alike."""
        yield from self.depends_on
        for found in references([self.properties, self.metadata, self.creation_policy, self.update_policy]):
            yield found.name


@dataclass(frozen=True, slots=True)
class Template:
    """The sections of a well-formed template."""

    resources: dict[str, Declared]
    parameters: dict[str, dict[str, Any]]
    mappings: dict[str, dict[str, dict[str, Any]]]
    conditions: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Whether anything in it may read an export.
    imports: bool = False
    # A parsed template never changes, and every turn of its stacks asks.
    _needs: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    _orders: dict[tuple[str, ...], dict[str, tuple[str, ...]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def dependencies(self, logical_id: str) -> tuple[str, ...]:
        """The resources that `logical_id` waits for, conditions aside."""
        known = self._needs.get(logical_id)
        if known is None:
            seen = dict.fromkeys(
                name
                for name in self.resources[logical_id].needs()
                if name in self.resources and name != logical_id
            )
            known = self._needs[logical_id] = tuple(seen)
        return known

    def order(self, alive: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """The resources of `alive` in order of dependency, with those of them that each depends on."""
        chosen = tuple(alive)
        known = self._orders.get(chosen)
        if known is None:
            present = set(chosen)
            needs = {
                name: tuple(other for other in self.dependencies(name) if other in present) for name in chosen
            }
            known = self._orders[chosen] = {name: needs[name] for name in graph.order(needs)}
        return known


@lru_cache(maxsize=16)
def parse(text: str) -> Template:
    """The template in `text`; ValidationError in AWS's words if it is not one.

    No text stands for a stack whose template never came to anything: it has no resources.
    """
    if not text:
        return Template({}, {}, {}, {}, {})
    document = documents.read(text)
    if document.get("Transform"):
        raise invalid("Template format error: the transforms of this template have not been applied.")
    _check_sections(document)
    template = _template(document, _resources(document))
    _check_mappings(template.mappings)
    checks.check(template)
    return template


@lru_cache(maxsize=16)
def declared_parameters(text: str) -> dict[str, dict[str, Any]]:
    """The Parameters section of a template that was accepted once; empty for a stack that has none yet."""
    return _section(documents.read(text), "Parameters") if text else {}


def outline(document: dict[str, Any]) -> Template:
    """What an original tells before its transforms have run, which may yet change everything; sections that only
    they know (`Globals`, `Hooks`) are theirs."""
    found = document.get("Resources", {})
    resources = {
        name: Declared(
            name, member["Type"], member["Properties"] if isinstance(member.get("Properties"), dict) else {}
        )
        for name, member in (found.items() if isinstance(found, dict) else ())
        if isinstance(member, dict) and isinstance(member.get("Type"), str)
    }
    return _template(document, resources)


def _check_sections(document: dict[str, Any]) -> None:
    strange = [key for key in document if key not in SECTIONS]
    if strange:
        raise invalid(f"Invalid template property or properties [{', '.join(strange)}]")


def _template(document: dict[str, Any], resources: dict[str, Declared]) -> Template:
    version = document.get("AWSTemplateFormatVersion", "")
    if version and version != "2010-09-09":
        raise invalid("Template format error: unsupported value for AWSTemplateFormatVersion.")
    description = document.get("Description", "")
    if not isinstance(description, str):
        raise invalid("Template format error: Every Description member must be a string.")
    if len(description.encode()) > limits.DESCRIPTION_BYTES:
        raise invalid(f"Template format error: 'Description' length is greater than {limits.DESCRIPTION_BYTES}.")
    limits.check(document)
    sections = {
        key: _section(document, key)
        for key in ("Parameters", "Mappings", "Conditions", "Outputs", "Metadata", "Rules")
    }
    read: list[Any] = [sections["Conditions"], sections["Outputs"]]
    for each in resources.values():
        read += [each.properties, each.metadata, each.creation_policy, each.update_policy]
    return Template(
        resources=resources,
        parameters=sections["Parameters"],
        mappings=sections["Mappings"],
        conditions=sections["Conditions"],
        outputs=sections["Outputs"],
        description=description,
        metadata=sections["Metadata"],
        version=version,
        rules=sections["Rules"],
        imports=uses(read, "Fn::ImportValue"),
    )


def _section(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise invalid(f"Template format error: {key} must be an object.")
    return found


def _check_mappings(mappings: dict[str, Any]) -> None:
    for name, mapping in mappings.items():
        if not _ALNUM.fullmatch(name):
            raise invalid(f"Template format error: Mappings name '{name}' is non alphanumeric.")
        if not isinstance(mapping, dict):
            raise invalid(f"Template format error: Every Mappings member {name} must be a map")
        for key, member in mapping.items():
            if not isinstance(member, dict):
                raise invalid(f"Template format error: Every Mappings member {key} must be a map")
            for attribute, value in member.items():
                if not _ALNUM.fullmatch(attribute):
                    raise invalid(
                        f"Template format error: Mappings attribute name '{attribute}' must contain only "
                        "alphanumeric characters."
                    )
                if isinstance(value, dict) or (
                    isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value)
                ):
                    raise invalid("Template format error: Every Mappings attribute must be a String or a List.")


def _resources(document: dict[str, Any]) -> dict[str, Declared]:
    found = document.get("Resources")
    if not isinstance(found, dict) or not found:
        raise invalid("Template format error: At least one Resources member must be defined.")
    return {name: _resource(name, member) for name, member in found.items()}


def _resource(name: str, member: Any) -> Declared:
    if name.startswith("Fn::ForEach"):
        raise invalid(f"Template format error: [/Resources/{name}] resource definition is malformed")
    if not isinstance(member, dict):
        raise invalid("Template format error: Any Resources member must be an object.")
    if not _ALNUM.fullmatch(name):
        raise invalid(f"Template format error: Resource name {name} is non alphanumeric.")
    kind = member.get("Type")
    if kind is None:
        raise invalid(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
        )
    if not isinstance(kind, str):
        raise invalid(f"Template format error: [/Resources/{name}/Type] Type must be a string.")
    for key in member:
        if key not in RESOURCE_KEYS:
            raise invalid(f"Invalid template resource property '{key}'")
    properties = member.get("Properties", {})
    if not isinstance(properties, dict):
        raise invalid(f"Template format error: [/Resources/{name}/Properties] Properties must be an object.")
    depends = member.get("DependsOn", [])
    depends = [depends] if isinstance(depends, str) else depends
    if not isinstance(depends, list) or not all(isinstance(each, str) for each in depends):
        raise invalid(
            f"Template format error: DependsOn must be a string or list of strings, found in resource {name}."
        )
    condition = member.get("Condition", "")
    if not isinstance(condition, str):
        raise invalid(f"Template format error: Every Condition member must be a string, found in resource {name}.")
    if not condition and "Condition" in member:
        raise invalid(checks.unresolved_condition("", "Resources"))
    return Declared(
        logical_id=name,
        type=kind,
        properties=properties,
        depends_on=tuple(depends),
        condition=condition,
        metadata=_attribute(name, member, "Metadata"),
        deletion_policy=_policy(name, member, "DeletionPolicy", DELETION_POLICIES),
        replace_policy=_policy(name, member, "UpdateReplacePolicy", REPLACE_POLICIES),
        creation_policy=_attribute(name, member, "CreationPolicy"),
        update_policy=_attribute(name, member, "UpdatePolicy"),
    )


def _attribute(name: str, member: dict[str, Any], key: str) -> dict[str, Any]:
    found = member.get(key, {})
    if not isinstance(found, dict):
        raise invalid(f"Template format error: {key} attribute must be an object, found in resource {name}.")
    return found


def _policy(name: str, member: dict[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    found = member.get(key, "Delete")
    if open_policy(found):
        # What it comes to is written into the template before an operation begins (`transforms.py`).
        return "Delete"
    if not isinstance(found, str):
        raise invalid(f"Template format error: Every {key} member must be a string.")
    if found not in allowed:
        raise invalid(f"Template format error: Unrecognized {key} {found} for resource {name}")
    return found


def open_policy(value: Any) -> bool:
    """Whether a policy is chosen by a function of the parameters."""
    called = function_of(value)
    return called is not None and called[0] in ("Ref", "Fn::If", "Fn::FindInMap")


def required_capabilities(template: Template) -> tuple[str, list[str]]:
    """The capability a template needs (empty if none) and the types that need it."""
    types = [each.type for each in template.resources.values() if each.type in IAM_TYPES]
    named = any(
        _IAM_NAMES.get(each.type) in each.properties
        for each in template.resources.values()
        if each.type in _IAM_NAMES
    )
    if not types:
        return "", []
    return ("CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"), sorted(set(types))

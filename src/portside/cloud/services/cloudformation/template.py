"""A template: its sections as records, checked for form in AWS's words.

Pure. Everything that can be told without parameter values is refused here: unknown sections, dangling
references, circular dependencies, functions in the wrong place, features that this cloud does not offer. The
values come in `parameters.py` and `intrinsics.py`, the order of work in `plan.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from portside.cloud.services.cloudformation import documents
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.graph import cycle
from portside.cloud.services.cloudformation.references import conditions_named, function_of, references, uses

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
PSEUDO = frozenset(
    {
        "AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackId",
        "AWS::StackName", "AWS::URLSuffix",
    }
)  # fmt: skip
KNOWN_FUNCTIONS = frozenset(
    {
        "Ref", "Condition", "Fn::And", "Fn::Base64", "Fn::Cidr", "Fn::Equals", "Fn::FindInMap", "Fn::GetAtt",
        "Fn::GetAZs", "Fn::If", "Fn::ImportValue", "Fn::Join", "Fn::Not", "Fn::Or", "Fn::Select", "Fn::Split",
        "Fn::Sub",
    }
)  # fmt: skip
# Known to AWS, refused by name.
NOT_OFFERED = {
    "Fn::Transform": "a macro",
    "Fn::ForEach": "AWS::LanguageExtensions",
    "Fn::Length": "AWS::LanguageExtensions",
    "Fn::ToJsonString": "AWS::LanguageExtensions",
    "Fn::GetStackOutput": "reading outputs of other stacks",
}
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

    def dependencies(self, logical_id: str) -> tuple[str, ...]:
        """The resources that `logical_id` waits for, conditions aside."""
        seen: dict[str, None] = {}
        for name in self.resources[logical_id].needs():
            if name in self.resources and name != logical_id:
                seen[name] = None
        return tuple(seen)


@lru_cache(maxsize=16)
def parse(text: str) -> Template:
    """The template in `text`; ValidationError in AWS's words if it is not one."""
    document = documents.read(text)
    for key in document:
        if key not in SECTIONS:
            raise invalid(f"Invalid template resource property '{key}'")
    version = document.get("AWSTemplateFormatVersion", "")
    if version and str(version) != "2010-09-09":
        raise invalid(f"Template format error: Unrecognized template version '{version}'.")
    description = document.get("Description", "")
    if not isinstance(description, str):
        raise invalid("Template format error: Description must be a string.")
    if len(description.encode()) > 1024:
        raise invalid("Template format error: Description must not be longer than 1024 bytes.")
    _refuse_unoffered(document)
    sections = {
        key: _section(document, key) for key in ("Parameters", "Mappings", "Conditions", "Outputs", "Metadata")
    }
    _check_mappings(sections["Mappings"])
    template = Template(
        resources=_resources(document),
        parameters=sections["Parameters"],
        mappings=sections["Mappings"],
        conditions=sections["Conditions"],
        outputs=sections["Outputs"],
        description=description,
        metadata=sections["Metadata"],
        version=str(version),
        rules=_rules(document),
    )
    _check(template)
    return template


def _section(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise invalid(f"Template format error: {key} must be an object.")
    return found


def _check_mappings(mappings: dict[str, Any]) -> None:
    for name, mapping in mappings.items():
        if not isinstance(mapping, dict) or not all(isinstance(each, dict) for each in mapping.values()):
            raise invalid(f"Template format error: Every Mappings member {name} must be a map")
        for each in mapping.values():
            if any(isinstance(value, dict) for value in each.values()):
                raise invalid("Template format error: Every Mappings attribute must be a String or a List.")


def _rules(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = _section(document, "Rules")
    for name, rule in found.items():
        if not isinstance(rule, dict) or not isinstance(rule.get("Assertions"), list):
            raise invalid(f"Template format error: Rule {name} must have a list of Assertions.")
        for function in ("Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll"):
            if uses(rule, function):
                raise invalid(f"Template error: portside's local cloud does not offer {function} in Rules.")
    return found


def _refuse_unoffered(document: dict[str, Any]) -> None:
    transform = document.get("Transform")
    if transform:
        names = transform if isinstance(transform, list) else [transform]
        shown = ", ".join(str(each.get("Name", each) if isinstance(each, dict) else each) for each in names)
        raise invalid(f"Template error: portside's local cloud does not offer the transform [{shown}].")
    for name, why in NOT_OFFERED.items():
        if uses(document.get("Resources"), name) or uses(document.get("Outputs"), name):
            raise invalid(f"Template error: portside's local cloud does not offer {name} ({why}).")


def _resources(document: dict[str, Any]) -> dict[str, Declared]:
    found = document.get("Resources")
    if not isinstance(found, dict) or not found:
        raise invalid("Template format error: At least one Resources member must be defined.")
    return {name: _resource(name, member) for name, member in found.items()}


def _resource(name: str, member: Any) -> Declared:
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
    if not isinstance(found, str):
        raise invalid(f"Template format error: Every {key} member must be a string.")
    if found not in allowed:
        raise invalid(f"Template format error: Unrecognized {key} {found} for resource {name}")
    return found


def _check(template: Template) -> None:
    for name in template.outputs:
        output = template.outputs[name]
        if not _ALNUM.fullmatch(name):
            raise invalid(f"Template format error: Output name {name} is non alphanumeric.")
        if not isinstance(output, dict) or "Value" not in output:
            raise invalid("Template format error: Every Outputs member must contain a Value object")
        _check_export(name, output)
    known = PSEUDO | template.parameters.keys() | template.resources.keys()
    for part, where in (
        ([[each.properties, each.metadata, each.creation_policy, each.update_policy] for each in
          template.resources.values()], "Resources"),
        (list(template.outputs.values()), "Outputs"),
    ):  # fmt: skip
        missing = [found.name for found in references(part) if found.name not in known]
        if where == "Resources":
            missing += [name for each in template.resources.values() for name in each.depends_on
                        if name not in template.resources]  # fmt: skip
        _check_attributes(template, part, missing)
        if missing:
            shown = ", ".join(dict.fromkeys(missing))
            raise invalid(
                f"Template format error: Unresolved resource dependencies [{shown}] in the {where} block "
                "of the template"
            )
        _check_functions(part)
    _check_conditions(template)
    found = cycle({name: template.dependencies(name) for name in template.resources})
    for name, declared in template.resources.items():
        if not found and name in declared.needs():
            found = [name]
    if found:
        raise invalid(f"Circular dependency between resources: [{', '.join(found)}]")


def _check_attributes(template: Template, part: Any, missing: list[str]) -> None:
    for found in references(part):
        if found.attribute and found.name not in template.resources and found.name in missing:
            raise invalid(f"Template error: instance of Fn::GetAtt references undefined resource {found.name}")
        if found.attribute and found.name in template.parameters:
            raise invalid(f"Template error: instance of Fn::GetAtt references undefined resource {found.name}")


def _check_export(name: str, output: dict[str, Any]) -> None:
    export = output.get("Export")
    if export is None:
        return
    if not isinstance(export, dict) or set(export) != {"Name"}:
        raise invalid(f"Template format error: Output {name} is malformed.")
    inside = export["Name"]
    refers = list(references(inside))
    if uses(inside, "Fn::ImportValue") or uses(inside, "Fn::GetAZs") or any(found.attribute for found in refers):
        raise invalid(
            f"Template format error: Output {name} is malformed.  The Name field of Export must not depend on any "
            "resources, imported values, or Fn::GetAZs."
        )


def _check_functions(value: Any) -> None:
    if isinstance(value, dict):
        called = function_of(value)
        if called is not None and called[0] not in KNOWN_FUNCTIONS:
            raise invalid(f"Template error: Encountered unsupported function: {called[0]}")
        if called is None:
            for key in value:
                if key.startswith("Fn::") and len(value) > 1:
                    raise invalid("Template format error: [/Resources] map keys must be strings or one function.")
        for member in value.values():
            _check_functions(member)
    elif isinstance(value, list):
        for member in value:
            _check_functions(member)


def _check_conditions(template: Template) -> None:
    for name, expression in template.conditions.items():
        for found in references(expression):
            if (found.name not in PSEUDO and found.name not in template.parameters) or found.attribute:
                raise invalid(
                    "Template format error: Unresolved dependencies "
                    f"[{found.name}]. Cannot reference resources in the Conditions block of the template"
                )
        for other in conditions_named(expression):
            if other not in template.conditions:
                raise invalid(
                    f"Template format error: Unresolved condition dependency {other} in the "
                    "Conditions block of the template"
                )
        if function_of(expression) is None:
            raise invalid(
                "Template format error: Conditions can only be boolean operations on parameters and "
                f"other conditions (found in condition {name})"
            )
    looped = cycle({name: tuple(conditions_named(each)) for name, each in template.conditions.items()})
    if looped:
        raise invalid(f"Template format error: Circular dependency between conditions: [{', '.join(looped)}]")
    for where, members in (
        ("Resources", {name: each.condition for name, each in template.resources.items()}),
        ("Outputs", {name: each.get("Condition", "") for name, each in template.outputs.items()}),
    ):
        for condition in members.values():
            if condition and condition not in template.conditions:
                raise invalid(
                    f"Template format error: Unresolved condition dependency {condition} in the "
                    f"{where} block of the template"
                )
    inside = [[each.properties, each.metadata] for each in template.resources.values()]
    for condition in conditions_named([inside, [each.get("Value") for each in template.outputs.values()]]):
        if condition not in template.conditions and _names_if(template, condition):
            raise invalid(f"Template error: unresolved condition dependency {condition} in Fn::If")


def _names_if(template: Template, condition: str) -> bool:
    """`Condition` with a text is also a key of IAM statements; only Fn::If makes it a reference."""

    def inside(value: Any) -> bool:
        if isinstance(value, dict):
            argument = value.get("Fn::If")
            if isinstance(argument, list) and argument and argument[0] == condition:
                return True
            return any(inside(member) for member in value.values())
        return isinstance(value, list) and any(inside(member) for member in value)

    return any(inside(each.properties) for each in template.resources.values()) or inside(template.outputs)


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

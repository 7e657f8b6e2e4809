"""Whether the names in a template fit together: references, conditions, dependencies, exports.

Pure. The second half of `template.parse`: everything here looks at more than one part of the template. What a
single function takes is `functions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from portside.cloud.services.cloudformation import dynamic, functions
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.functions import Place
from portside.cloud.services.cloudformation.graph import cycle
from portside.cloud.services.cloudformation.references import (
    attributes_in_sub,
    called_in,
    conditions_named,
    function_of,
    if_conditions,
    maps_named,
    references,
    uses,
)

if TYPE_CHECKING:
    from portside.cloud.services.cloudformation.template import Declared, Template

PSEUDO = frozenset(
    {
        "AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackId",
        "AWS::StackName", "AWS::URLSuffix",
    }
)  # fmt: skip
_ALNUM = re.compile(r"[A-Za-z0-9]+")
_STRING = "Template format error: Every {} member must be a string."


def check(template: Template) -> None:
    """ValidationError in AWS's words for what contradicts itself."""
    common = [name for name in template.resources if name in template.parameters]
    if common:
        raise invalid(
            "Template error: all resources and parameters must have unique names. Common name(s):"
            f"[{', '.join(common)}]"
        )
    _check_outputs(template)
    inside = [_evaluated(each) for each in template.resources.values()]
    functions.check(inside, Place.RESOURCES)
    functions.check(list(template.outputs.values()), Place.OUTPUTS)
    _check_conditions(template)
    _check_rules(template)
    _check_references(template, inside, "Resources")
    _check_references(template, list(template.outputs.values()), "Outputs")
    _check_if(template, [inside, list(template.outputs.values())])
    for name in maps_named([inside, list(template.outputs.values()), list(template.conditions.values())]):
        if name not in template.mappings:
            raise invalid(
                f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
            )
    for each in template.resources.values():
        _check_imports(template, _evaluated(each))
    _check_imports(template, list(template.outputs.values()))
    _check_cycles(template)
    dynamic.check(template.resources.values(), [inside, list(template.outputs.values())])


def _evaluated(declared: Declared) -> list[Any]:
    return [declared.properties, declared.metadata, declared.creation_policy, declared.update_policy]


def _check_outputs(template: Template) -> None:
    for name, output in template.outputs.items():
        if not _ALNUM.fullmatch(name):
            raise invalid(f"Template format error: Outputs name '{name}' is non alphanumeric.")
        if not isinstance(output, dict) or "Value" not in output:
            raise invalid("Template format error: Every Outputs member must contain a Value object")
        _check_value(output["Value"])
        for key in ("Description", "Condition"):
            if not isinstance(output.get(key, ""), str):
                raise invalid(_STRING.format(key))
        _check_export(name, output, template)


def _check_value(value: Any) -> None:
    """What can be told of an output before anything is evaluated."""
    called = function_of(value)
    if called is not None and (called[0] in functions.BOOLEAN or called[0] == "Condition"):
        raise invalid(f"{functions.OUTPUT}.")
    if isinstance(value, list):
        raise invalid(f"{functions.OUTPUT} and not a List.")
    if isinstance(value, dict) and called is None:
        raise invalid(f"{functions.OUTPUT} and not a Map.")


def _check_export(name: str, output: dict[str, Any], template: Template) -> None:
    export = output.get("Export")
    if export is None:
        return
    if not isinstance(export, dict) or set(export) - {"Name"}:
        raise invalid(f"Template format error: Output {name} is malformed.")
    if "Name" not in export or (function_of(export["Name"]) is None and not exportable(export["Name"])):
        raise invalid(bad_export(name))
    if _depends_on_others(template, export["Name"]):
        raise invalid(
            f"Template format error: Output {name} is malformed.  The Name field of Export must not depend on any "
            "resources, imported values, or Fn::GetAZs."
        )


def exportable(name: Any) -> bool:
    """Whether an export can have such a name, which is known by now."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9:-]{1,255}", name) is not None


def bad_export(output: str) -> str:
    return (
        f"Template format error: Output {output} is malformed. The Name field of every Export member must be "
        "specified and consist only of alphanumeric characters, colons, or hyphens."
    )


def _depends_on_others(template: Template, value: Any) -> bool:
    refers = any(found.attribute or found.name in template.resources for found in references(value))
    return refers or uses(value, "Fn::ImportValue") or uses(value, "Fn::GetAZs")


def _check_references(template: Template, part: Any, where: str) -> None:
    known = PSEUDO | template.parameters.keys() | template.resources.keys()
    missing: list[str] = []
    for name, attribute in attributes_in_sub(part):
        if name not in template.resources:
            raise invalid(
                f"Template error: instance of Fn::Sub references invalid resource attribute {name}.{attribute}"
            )
    for found in references(part):
        if found.attribute and found.name not in template.resources:
            raise invalid(f"Template error: instance of Fn::GetAtt references undefined resource {found.name}")
        if found.name not in known:
            missing.append(found.name)
    if where == "Resources":
        missing += [
            name
            for each in template.resources.values()
            for name in each.depends_on
            if name not in template.resources
        ]
    if missing:
        shown = ", ".join(dict.fromkeys(missing))
        raise invalid(
            f"Template format error: Unresolved resource dependencies [{shown}] in the {where} block "
            "of the template"
        )


def _check_conditions(template: Template) -> None:
    for name, expression in template.conditions.items():
        for found in references(expression):
            if (found.name not in PSEUDO and found.name not in template.parameters) or found.attribute:
                raise invalid(
                    f"Template format error: Unresolved dependencies [{found.name}]. Cannot reference "
                    "resources in "
                    "the Conditions block of the template"
                )
        _check_boolean(expression)
        functions.check(expression, Place.CONDITIONS)
        for other in conditions_named(expression):
            if other not in template.conditions:
                raise invalid(unresolved_condition(other, "Conditions"))
        if not _ALNUM.fullmatch(name):
            raise invalid(f"Template format error: Condition name {name} is non alphanumeric.")
    looped = cycle({name: tuple(conditions_named(each)) for name, each in template.conditions.items()})
    if looped:
        raise invalid(f"Template format error: Circular dependency between conditions: [{', '.join(looped)}]")
    for each in template.resources.values():
        if each.condition and each.condition not in template.conditions:
            raise invalid(unresolved_condition(each.condition, "Resources"))
    for output in template.outputs.values():
        if "Condition" in output and output["Condition"] not in template.conditions:
            raise invalid(unresolved_condition(output["Condition"], "Outputs"))


def unresolved_condition(name: str, where: str) -> str:
    return f"Template format error: Unresolved condition dependency {name} in the {where} block of the template"


def _check_boolean(expression: Any) -> None:
    called = function_of(expression)
    if called is None or (called[0] not in functions.BOOLEAN and called[0] != "Condition"):
        raise invalid(
            "Template format error: Conditions can only be boolean operations on parameters and other conditions"
        )
    name, argument = called
    if name not in ("Fn::And", "Fn::Or", "Fn::Not") or not isinstance(argument, list):
        return
    for each in argument:
        inner = function_of(each)
        if inner is None or (inner[0] not in functions.BOOLEAN and inner[0] != "Condition"):
            raise invalid(functions.NOT if name == "Fn::Not" else functions.boolean_list(name))
        _check_boolean(each)


_RULE_KEYS = frozenset({"RuleCondition", "Assertions"})
_ASSERTION_KEYS = frozenset({"Assert", "AssertDescription"})


def _check_rules(template: Template) -> None:
    for name, rule in template.rules.items():
        malformed = f"Template format error: Rule {name} is malformed."
        if not isinstance(rule, dict) or set(rule) - _RULE_KEYS:
            raise invalid(malformed)
        assertions = rule.get("Assertions")
        if not isinstance(assertions, list) or not assertions:
            raise invalid(f"Template format error: Rule {name} must have a list of Assertions.")
        for each in assertions:
            if not isinstance(each, dict) or "Assert" not in each or set(each) - _ASSERTION_KEYS:
                raise invalid(malformed)
            if not isinstance(each.get("AssertDescription", ""), str):
                raise invalid(_STRING.format("AssertDescription"))
        strange = [each for each in dict.fromkeys(called_in(rule)) if each not in functions.IN_RULES]
        if strange:
            raise invalid(
                "Template format error: Following functions are not supported in the Rules block of the template: "
                f"[{', '.join(strange)}]"
            )
        for found in references(rule):
            if found.attribute or (found.name not in PSEUDO and found.name not in template.parameters):
                raise invalid(
                    f"Template format error: Unresolved dependencies [{found.name}]. Cannot reference "
                    "resources in "
                    "the Rules block of the template"
                )
        functions.check(rule, Place.RULES)


def _check_if(template: Template, part: Any) -> None:
    for name in if_conditions(part):
        if name not in template.conditions:
            raise invalid(f"Template error: unresolved condition dependency {name} in Fn::If")


def _check_imports(template: Template, part: Any) -> None:
    for argument in _imports(part):
        if _depends_on_others(template, argument):
            raise invalid(functions.IMPORT_VALUE)


def _imports(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key == "Fn::ImportValue":
                yield member
            yield from _imports(member)
    elif isinstance(value, list):
        for member in value:
            yield from _imports(member)


def _check_cycles(template: Template) -> None:
    found = cycle({name: template.dependencies(name) for name in template.resources})
    for name, declared in template.resources.items():
        if not found and name in declared.needs():
            found = [name]
    if found:
        raise invalid(f"Circular dependency between resources: [{', '.join(found)}]")

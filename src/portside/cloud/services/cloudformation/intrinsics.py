"""The intrinsic functions: a piece of a template and the values around it, to a value.

Pure. What the functions look up arrives as plain mappings and one `ResourceView`; what cannot be known yet (the
attributes of a resource that a plan would create) is `UNKNOWN` and makes everything built from it unknown.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from portside.cloud.services.cloudformation.references import PLACEHOLDER, function_of, split_attribute
from portside.cloud.services.cloudformation.template import Template

_JOIN = (
    "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of "
    "strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
)
_SPLIT = (
    "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) "
    "a string to be "
    "split or a function that returns a string to be split."
)
_SELECT = "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
_SUB = (
    "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. "
    "Specify a string as "
    "first argument, and an optional second argument to specify a mapping of values to replace in the string"
)
_FIND_IN_MAP = (
    "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and "
    "the attribute "
    "for return value"
)


class EvaluationError(Exception):
    """A function that cannot be evaluated; the text is AWS's."""


class MissingExport(EvaluationError):
    """Fn::ImportValue of a name that nobody exports."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No export named {name} found")


class NeedsZones(Exception):
    """Fn::GetAZs asks for a region whose zones have not been fetched yet."""

    def __init__(self, region: str) -> None:
        super().__init__(region)
        self.region = region


class _Marker:
    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


UNKNOWN: Final = _Marker("{{changeSet:KNOWN_AFTER_APPLY}}")
NO_VALUE: Final = _Marker("AWS::NoValue")


class ResourceView(Protocol):
    """What other resources are known to be. Both raise EvaluationError for what is not there."""

    def ref(self, logical_id: str) -> Any: ...
    def attribute(self, logical_id: str, name: str) -> Any: ...


class NoResources:
    """For places where no resource may be referred to."""

    def ref(self, logical_id: str) -> Any:
        raise EvaluationError(f"Template error: resource {logical_id} cannot be referenced here")

    def attribute(self, logical_id: str, name: str) -> Any:
        raise EvaluationError(f"Template error: resource {logical_id} cannot be referenced here")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a stack is, as the pseudo parameters show it."""

    account: str
    region: str
    stack_id: str
    stack_name: str
    notifications: tuple[str, ...] = ()

    def pseudo(self, name: str) -> Any:
        china = self.region.startswith("cn-")
        match name:
            case "AWS::AccountId":
                return self.account
            case "AWS::NotificationARNs":
                return list(self.notifications)
            case "AWS::NoValue":
                return NO_VALUE
            case "AWS::Partition":
                return "aws-cn" if china else "aws-us-gov" if self.region.startswith("us-gov-") else "aws"
            case "AWS::Region":
                return self.region
            case "AWS::StackId":
                return self.stack_id
            case "AWS::StackName":
                return self.stack_name
            case "AWS::URLSuffix":
                return "amazonaws.com.cn" if china else "amazonaws.com"
        return None


@dataclass(slots=True)
class Evaluator:
    """Evaluates pieces of one template. `imported` collects the names of the exports that were read."""

    template: Template
    parameters: Mapping[str, Any]
    surroundings: Surroundings
    resources: ResourceView = field(default_factory=NoResources)
    exports: Mapping[str, str] = field(default_factory=dict)
    zones: Mapping[str, list[str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    _conditions: dict[str, bool] = field(default_factory=dict)

    def condition(self, name: str) -> bool:
        known = self._conditions.get(name)
        if known is None:
            if name not in self.template.conditions:
                raise EvaluationError(f"Template error: unresolved condition dependency {name}")
            known = self._conditions[name] = self._truth(self.template.conditions[name])
        return known

    def exists(self, logical_id: str) -> bool:
        """Whether the condition of a resource lets it be."""
        condition = self.template.resources[logical_id].condition
        return not condition or self.condition(condition)

    def properties(self, logical_id: str) -> dict[str, Any]:
        found = self.evaluate(self.template.resources[logical_id].properties)
        return found if isinstance(found, dict) else {}

    def text(self, value: Any) -> str:
        """An evaluated value where text is wanted, e.g. of an output."""
        return _text(self.evaluate(value), "Template error: every value of an output must be a string")

    def evaluate(self, value: Any) -> Any:
        """The value of a piece of the template; members that are AWS::NoValue are gone."""
        called = function_of(value)
        if called is not None and not (called[0] == "Condition" and called[1] not in self.template.conditions):
            return self._call(*called)
        if isinstance(value, dict):
            found = {key: self.evaluate(member) for key, member in value.items()}
            return {key: member for key, member in found.items() if member is not NO_VALUE}
        if isinstance(value, list):
            return [each for each in (self.evaluate(member) for member in value) if each is not NO_VALUE]
        return value

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return self._get_att(argument)
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::Join":
                return self._join(argument)
            case "Fn::Split":
                return self._split(argument)
            case "Fn::Select":
                return self._select(argument)
            case "Fn::FindInMap":
                return self._find_in_map(argument)
            case "Fn::If":
                return self._if(argument)
            case "Fn::Base64":
                return self._base64(argument)
            case "Fn::Cidr":
                return self._cidr(argument)
            case "Fn::GetAZs":
                return self._get_azs(argument)
            case "Fn::ImportValue":
                return self._import_value(argument)
            case "Fn::And" | "Fn::Or" | "Fn::Not" | "Fn::Equals" | "Condition":
                return self._truth({name: argument})
        raise EvaluationError(f"Template error: Encountered unsupported function: {name}")

    def _ref(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            raise EvaluationError("Template error: every Ref must name a parameter or a resource")
        pseudo = self.surroundings.pseudo(argument)
        if pseudo is not None:
            return pseudo
        if argument in self.parameters:
            return self.parameters[argument]
        return self.resources.ref(argument)

    def _get_att(self, argument: Any) -> Any:
        found = split_attribute(argument)
        if found is None:
            raise EvaluationError(
                "Template error: every Fn::GetAtt object requires two non-empty parameters, "
                "the resource name and the resource attribute"
            )
        attribute = found[1] if isinstance(found[1], str) else self.evaluate(found[1])
        return self.resources.attribute(found[0], attribute)

    def _sub(self, argument: Any) -> Any:
        variables: dict[str, Any] = {}
        text = argument
        if isinstance(argument, list):
            if len(argument) != 2 or not isinstance(argument[0], str) or not isinstance(argument[1], dict):
                raise EvaluationError(_SUB)
            text = argument[0]
            variables = {key: self.evaluate(member) for key, member in argument[1].items()}
        if not isinstance(text, str):
            raise EvaluationError(_SUB)
        parts: list[str] = []
        position = 0
        unknown = False
        for found in PLACEHOLDER.finditer(text):
            parts.append(text[position : found.start()])
            position = found.end()
            name = found[1].strip()
            if name.startswith("!"):
                parts.append("${" + name[1:] + "}")
                continue
            value = self._variable(name, variables)
            if value is UNKNOWN:
                unknown = True
            else:
                parts.append(
                    _text(
                        value,
                        f"Template error: variable {name} in Fn::Sub expression does not resolve to a string",
                    )
                )
        parts.append(text[position:])
        return UNKNOWN if unknown else "".join(parts)

    def _variable(self, name: str, variables: Mapping[str, Any]) -> Any:
        if name in variables:
            return variables[name]
        if "." in name:
            return self._get_att(name)
        return self._ref(name)

    def _join(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:
            raise EvaluationError(_JOIN)
        delimiter, members = argument[0], self.evaluate(argument[1])
        if members is UNKNOWN:
            return UNKNOWN
        if not isinstance(delimiter, str) or not isinstance(members, list):
            raise EvaluationError(_JOIN)
        if any(each is UNKNOWN for each in members):
            return UNKNOWN
        return delimiter.join(
            _text(each, "Template error: every member of the list of Fn::Join must be a string")
            for each in members
        )

    def _split(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            raise EvaluationError(_SPLIT)
        source = self.evaluate(argument[1])
        if source is UNKNOWN:
            return UNKNOWN
        if not argument[0]:
            raise EvaluationError("Template error: the delimiter of Fn::Split must not be empty")
        return _text(source, "Template error: every Fn::Split object requires a string to be split").split(
            argument[0]
        )

    def _select(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:
            raise EvaluationError(_SELECT)
        index, members = self.evaluate(argument[0]), self.evaluate(argument[1])
        if index is UNKNOWN or members is UNKNOWN:
            return UNKNOWN
        if not isinstance(members, list) or not str(index).isdigit():
            raise EvaluationError(_SELECT)
        if int(index) >= len(members):
            raise EvaluationError(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
        return members[int(index)]

    def _find_in_map(self, argument: Any) -> Any:
        if isinstance(argument, list) and len(argument) == 4:
            raise EvaluationError(
                "Template error: DefaultValue of Fn::FindInMap needs the transform AWS::LanguageExtensions, "
                "which portside's local cloud does not offer"
            )
        if not isinstance(argument, list) or len(argument) != 3:
            raise EvaluationError(_FIND_IN_MAP)
        name, top, second = (self.evaluate(each) for each in argument)
        mapping = self.template.mappings.get(str(name))
        if mapping is None:
            raise EvaluationError(
                f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
            )
        try:
            return mapping[str(top)][str(second)]
        except (KeyError, TypeError):
            raise EvaluationError(f"Template error: Unable to get mapping for {name}::{top}::{second}") from None

    def _if(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 3:
            raise EvaluationError("Template error: Fn::If requires a list argument with three elements")
        return self.evaluate(argument[1] if self._truth({"Condition": argument[0]}) else argument[2])

    def _base64(self, argument: Any) -> Any:
        value = self.evaluate(argument)
        if value is UNKNOWN:
            return UNKNOWN
        text = _text(value, "Template error: every Fn::Base64 object must have a String-typed value.")
        return base64.b64encode(text.encode()).decode()

    def _cidr(self, argument: Any) -> Any:
        members = [self.evaluate(each) for each in argument] if isinstance(argument, list) else []
        if any(each is UNKNOWN for each in members):
            return UNKNOWN
        if len(members) not in (2, 3):
            raise EvaluationError(
                "Template error: every Fn::Cidr object requires two or three parameters, the ip "
                "block, the count and the cidr bits"
            )
        try:
            block = ipaddress.ip_network(str(members[0]), strict=False)
            count = int(members[1])
            bits = int(members[2]) if len(members) == 3 else (8 if block.version == 4 else 64)
        except ValueError:
            raise EvaluationError(f"Template error: Fn::Cidr cannot be evaluated for {members}") from None
        prefix = block.max_prefixlen - bits
        if not 1 <= count <= 256 or not block.prefixlen <= prefix <= block.max_prefixlen:
            raise EvaluationError(
                f"Template error: Fn::Cidr cannot make {count} blocks with {bits} host bits out of {block}"
            )
        if count > 1 << (prefix - block.prefixlen):
            raise EvaluationError(
                f"Template error: Fn::Cidr cannot make {count} blocks with {bits} host bits out of {block}"
            )
        first = int(block.network_address)
        kind = type(block.network_address)
        return [f"{kind(first + (index << bits))}/{prefix}" for index in range(count)]

    def _get_azs(self, argument: Any) -> Any:
        region = self.evaluate(argument)
        if region is UNKNOWN:
            return UNKNOWN
        region = str(region) or self.surroundings.region
        if region not in self.zones:
            raise NeedsZones(region)
        return list(self.zones[region])

    def _import_value(self, argument: Any) -> Any:
        name = self.evaluate(argument)
        if name is UNKNOWN:
            return UNKNOWN
        name = _text(name, "Template error: the attribute in Fn::ImportValue must not depend on any resources")
        if name not in self.exports:
            raise MissingExport(name)
        self.imported.add(name)
        return self.exports[name]

    def _truth(self, expression: Any) -> bool:
        called = function_of(expression)
        if called is None:
            raise EvaluationError("Template error: every condition must be a function that is true or false")
        name, argument = called
        match name:
            case "Condition":
                return self.condition(str(argument))
            case "Fn::Equals":
                if not isinstance(argument, list) or len(argument) != 2:
                    raise EvaluationError("Template error: Fn::Equals requires a list argument with two elements")
                left, right = (self.evaluate(each) for each in argument)
                return bool(_comparable(left) == _comparable(right))
            case "Fn::Not":
                if not isinstance(argument, list) or len(argument) != 1:
                    raise EvaluationError("Template error: Fn::Not requires a list argument with one element")
                return not self._truth(argument[0])
            case "Fn::And" | "Fn::Or":
                if not isinstance(argument, list) or not 2 <= len(argument) <= 10:
                    raise EvaluationError(
                        f"Template error: {name} requires a list argument with two to ten elements"
                    )
                found = [self._truth(each) for each in argument]
                return all(found) if name == "Fn::And" else any(found)
            case "Fn::Contains" | "Fn::EachMemberEquals" | "Fn::EachMemberIn":
                return self._assertion(name, argument)
        raise EvaluationError(f"Template error: {name} is not a condition function")

    def _assertion(self, name: str, argument: Any) -> bool:
        """The functions that only Rules may use."""
        if not isinstance(argument, list) or len(argument) != 2:
            raise EvaluationError(f"Template error: {name} requires a list argument with two elements")
        members, other = (self.evaluate(each) for each in argument)
        members = members if isinstance(members, list) else [members]
        match name:
            case "Fn::Contains":
                return other in members
            case "Fn::EachMemberEquals":
                return all(each == other for each in members)
        return all(each in other for each in members)

    def broken_rule(self) -> str:
        """The first rule that an assertion of its own contradicts, in words; empty if all hold."""
        for name, rule in self.template.rules.items():
            if "RuleCondition" in rule and not self._truth(rule["RuleCondition"]):
                continue
            for each in rule["Assertions"]:
                if not self._truth(each["Assert"]):
                    why = each.get("AssertDescription", "an assertion is false")
                    return f"Template constraint error: Rule {name} failed: {why}"
        return ""


def _comparable(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return value
    return _text(value, "Template error: every member of Fn::Equals must be a string")


def _text(value: Any, otherwise: str) -> str:
    """Scalars as CloudFormation writes them: `true`, `3000`."""
    if value is UNKNOWN:
        return repr(UNKNOWN)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise EvaluationError(otherwise)


def unknown_inside(value: Any) -> bool:
    if value is UNKNOWN:
        return True
    if isinstance(value, dict):
        return any(unknown_inside(member) for member in value.values())
    if isinstance(value, list):
        return any(unknown_inside(member) for member in value)
    return False

"""The intrinsic functions: a piece of a template and the values around it, to a value.

Pure. What the functions look up arrives as plain mappings and one `ResourceView`; what cannot be known yet (the
attributes of a resource that a plan would create) is `UNKNOWN` and makes everything built from it unknown.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from portside.cloud.services.cloudformation import functions
from portside.cloud.services.cloudformation.functions import EvaluationError as EvaluationError
from portside.cloud.services.cloudformation.references import PLACEHOLDER, function_of, references, split_attribute
from portside.cloud.services.cloudformation.template import Template


class MissingExport(EvaluationError):
    """Fn::ImportValue of a name that nobody exports."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No export named {name} found")


class LateError(EvaluationError):
    """An attribute is not what it is wanted for, which AWS finds out once everything is made."""


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
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")


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


def _no_exports(name: str) -> None:
    return None


@dataclass(slots=True)
class Evaluator:
    """Evaluates pieces of one template. `imported` collects the names of the exports that were read."""

    template: Template
    parameters: Mapping[str, Any]
    surroundings: Surroundings
    resources: ResourceView = field(default_factory=NoResources)
    # The value behind an export's name, None where there is none.
    exported: Callable[[str], Any] = _no_exports
    zones: Mapping[str, list[str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    # Evaluates conditions in this one's place, where not every parameter is known.
    assuming: Evaluator | None = None
    _conditions: dict[str, bool] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def condition(self, name: str) -> bool:
        known = self._conditions.get(name)
        if known is None:
            if name not in self.template.conditions:
                raise EvaluationError(f"Template error: unresolved condition dependency {name}")
            if name in self._open:
                raise EvaluationError(f"Template format error: Circular dependency between conditions: [{name}]")
            self._open.add(name)
            try:
                look = self.assuming or self
                known = self._conditions[name] = look.truth(self.template.conditions[name])
            finally:
                self._open.discard(name)
        return known

    def exists(self, logical_id: str) -> bool:
        """Whether the condition of a resource lets it be."""
        condition = self.template.resources[logical_id].condition
        return not condition or self.condition(condition)

    def properties(self, logical_id: str) -> dict[str, Any]:
        return self.members(self.template.resources[logical_id].properties)

    def members(self, value: dict[str, Any]) -> dict[str, Any]:
        """An attribute of a resource, such as its metadata; nothing where a condition leaves it out."""
        found = self.evaluate(value)
        return found if isinstance(found, dict) else {}

    def text(self, value: Any) -> str:
        """The value of an output, which is a text."""
        found = self.evaluate(value)
        if isinstance(found, (list, dict, bool)) and any(each.attribute for each in references(value)):
            raise LateError(functions.LATE_OUTPUT)
        return as_text(found, f"{functions.OUTPUT}.")

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
            case "Fn::Length":
                return self._length(argument)
            case "Fn::ToJsonString":
                return self._to_json(argument)
            case "Fn::And" | "Fn::Or" | "Fn::Not" | "Fn::Equals" | "Condition":
                return self.truth({name: argument})
        raise EvaluationError(functions.unsupported(name))

    def _ref(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            raise EvaluationError(functions.REF)
        pseudo = self.surroundings.pseudo(argument)
        if pseudo is not None:
            return pseudo
        if argument in self.parameters:
            return self.parameters[argument]
        return self.resources.ref(argument)

    def _get_att(self, argument: Any) -> Any:
        found = split_attribute(argument)
        if found is None:
            raise EvaluationError(functions.GET_ATT)
        attribute = self.evaluate(found[1])
        if attribute is UNKNOWN:
            return UNKNOWN
        return self.resources.attribute(found[0], as_text(attribute, functions.GET_ATT))

    def _sub(self, argument: Any) -> Any:
        variables: dict[str, Any] = {}
        text = argument
        if isinstance(argument, list):
            if len(argument) != 2 or not isinstance(argument[0], str) or not isinstance(argument[1], dict):
                raise EvaluationError(functions.SUB)
            text = argument[0]
            variables = {key: self.evaluate(member) for key, member in argument[1].items()}
        if not isinstance(text, str):
            raise EvaluationError(functions.SUB)
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
                    as_text(
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
            raise EvaluationError(functions.JOIN)
        delimiter, members = argument[0], self.evaluate(argument[1])
        if members is UNKNOWN:
            return UNKNOWN
        if not isinstance(delimiter, str) or not isinstance(members, list):
            raise EvaluationError(functions.JOIN)
        if any(each is UNKNOWN for each in members):
            return UNKNOWN
        return delimiter.join(as_text(each, functions.JOIN) for each in members)

    def _split(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            raise EvaluationError(functions.SPLIT)
        source = self.evaluate(argument[1])
        if source is UNKNOWN:
            return UNKNOWN
        if not argument[0]:
            raise EvaluationError(functions.SPLIT)
        return as_text(source, functions.SPLIT).split(argument[0])

    def _select(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:
            raise EvaluationError(functions.SELECT)
        index, members = self.evaluate(argument[0]), self.evaluate(argument[1])
        if index is UNKNOWN or members is UNKNOWN:
            return UNKNOWN
        if not isinstance(members, list) or not re.fullmatch("-?[0-9]{1,9}", str(index)):
            raise EvaluationError(functions.SELECT)
        if not 0 <= int(index) < len(members):
            raise EvaluationError(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
        return members[int(index)]

    def _find_in_map(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) not in (3, 4):
            raise EvaluationError(functions.FIND_IN_MAP)
        keys = [self.evaluate(each) for each in argument[:3]]
        if any(each is UNKNOWN for each in keys):
            return UNKNOWN
        if not all(isinstance(each, (str, int, float)) for each in keys):
            raise EvaluationError(functions.FIND_IN_MAP)
        name, top, second = (as_text(each, functions.FIND_IN_MAP) for each in keys)
        try:
            return self.template.mappings[name][top][second]
        except (KeyError, TypeError):
            pass
        if len(argument) == 4 and isinstance(argument[3], dict) and "DefaultValue" in argument[3]:
            return self.evaluate(argument[3]["DefaultValue"])
        if name not in self.template.mappings:
            raise EvaluationError(
                f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
            )
        raise EvaluationError(f"Template error: Unable to get mapping for {name}::{top}::{second}")

    def _length(self, argument: Any) -> Any:
        members = self.evaluate(argument)
        if members is UNKNOWN:
            return UNKNOWN
        if not isinstance(members, list):
            raise EvaluationError("Template error: Fn::Length requires a list")
        return len(members)

    def _to_json(self, argument: Any) -> Any:
        value = self.evaluate(argument)
        if unknown_inside(value):
            return UNKNOWN
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def _if(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 3:
            raise EvaluationError(functions.IF)
        return self.evaluate(argument[1] if self.truth({"Condition": argument[0]}) else argument[2])

    def _base64(self, argument: Any) -> Any:
        value = self.evaluate(argument)
        if value is UNKNOWN:
            return UNKNOWN
        text = as_text(value, functions.BASE64)
        return base64.b64encode(text.encode()).decode()

    def _cidr(self, argument: Any) -> Any:
        members = self.evaluate(argument)
        if members is UNKNOWN or (isinstance(members, list) and any(each is UNKNOWN for each in members)):
            return UNKNOWN
        if not isinstance(members, list) or len(members) not in (2, 3):
            raise EvaluationError(functions.CIDR)
        try:
            block = ipaddress.ip_network(str(members[0]), strict=False)
            count = int(members[1])
            bits = int(members[2]) if len(members) == 3 else (8 if block.version == 4 else 64)
        except (ValueError, TypeError):
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
        region = as_text(region, functions.GET_AZS) or self.surroundings.region
        if not _REGION.fullmatch(region):
            return []
        if region not in self.zones:
            raise NeedsZones(region)
        return list(self.zones[region])

    def _import_value(self, argument: Any) -> Any:
        name = self.evaluate(argument)
        if name is UNKNOWN:
            return UNKNOWN
        name = as_text(name, functions.IMPORT_VALUE)
        found = self.exported(name)
        if found is None:
            raise MissingExport(name)
        self.imported.add(name)
        return found

    def truth(self, expression: Any) -> bool:
        called = function_of(expression)
        if called is None:
            raise EvaluationError("Template error: every condition must be a function that is true or false")
        name, argument = called
        match name:
            case "Condition":
                return self.condition(str(argument))
            case "Fn::Equals":
                if not isinstance(argument, list) or len(argument) != 2:
                    raise EvaluationError(functions.EQUALS)
                left, right = (self.evaluate(each) for each in argument)
                return bool(_comparable(left) == _comparable(right))
            case "Fn::Not":
                if not isinstance(argument, list) or len(argument) != 1:
                    raise EvaluationError(functions.NOT)
                return not self.truth(argument[0])
            case "Fn::And" | "Fn::Or":
                if not isinstance(argument, list) or not 2 <= len(argument) <= 10:
                    raise EvaluationError(functions.boolean_list(name))
                found = [self.truth(each) for each in argument]
                return all(found) if name == "Fn::And" else any(found)
        raise EvaluationError(f"Template error: {name} is not a condition function")


def _comparable(value: Any) -> Any:
    if isinstance(value, (dict, list)) or value is NO_VALUE:
        return value
    return as_text(value, "Template error: every member of Fn::Equals must be a string")


def as_text(value: Any, otherwise: str) -> str:
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

"""Parameters: from what a caller sent and what the template declares to the values of a stack.

Pure, but for `resolve`, which fetches what SSM-typed parameters point to. Owns types, constraints and the texts
of their violation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from portside.cloud.protocol import patterns
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import dynamic, limits
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN
from portside.cloud.services.cloudformation.records import Value
from portside.cloud.services.cloudformation.template import Template

_SYNTAX = {
    "AWS::EC2::Image::Id": r"ami-[0-9a-f]{8,17}",
    "AWS::EC2::Instance::Id": r"i-[0-9a-f]{8,17}",
    "AWS::EC2::SecurityGroup::Id": r"sg-[0-9a-f]{8,17}",
    "AWS::EC2::Subnet::Id": r"subnet-[0-9a-f]{8,17}",
    "AWS::EC2::VPC::Id": r"vpc-[0-9a-f]{8,17}",
    "AWS::EC2::Volume::Id": r"vol-[0-9a-f]{8,17}",
    "AWS::EC2::AvailabilityZone::Name": r".+",
    "AWS::EC2::KeyPair::KeyName": r".+",
    "AWS::EC2::SecurityGroup::GroupName": r".+",
    "AWS::Route53::HostedZone::Id": r"[A-Z0-9]+",
    "AWS::SSM::Parameter::Name": r"[A-Za-z0-9_.\-/:]+",
}
_SIMPLE = frozenset({"String", "Number", "CommaDelimitedList", "List<Number>", "List<String>"})
_SSM_VALUE = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
_LIST = re.compile(r"List<(.+)>")
# Of these there are no lists.
_ALONE = frozenset({"AWS::EC2::KeyPair::KeyName", "AWS::SSM::Parameter::Name"})
_TEXT_KEYS = ("AllowedPattern", "ConstraintDescription", "Description")
_NUMBER_KEYS = ("MinLength", "MaxLength", "MinValue", "MaxValue")
_KEYS = frozenset(
    {
        "Type", "Default", "AllowedValues", "AllowedPattern", "ConstraintDescription", "Description", "MinLength",
        "MaxLength", "MinValue", "MaxValue", "NoEcho",
    }
)  # fmt: skip
_VERSIONLESS = re.compile(r"\{\{resolve:ssm:(?![^{}]*:[0-9]+\}\})[^{}]*\}\}")
MASK = "****"
# Marks a parameter of a nested stack whose value is not known yet; no request over HTTP can carry it.
PENDING = "portside:pending"
NO_DEFAULT = object()


def is_list(kind: str) -> bool:
    inner = _SSM_VALUE.fullmatch(kind)
    kind = inner[1] if inner else kind
    return kind == "CommaDelimitedList" or kind.startswith("List<")


def through_ssm(kind: str) -> bool:
    """Whether the value of a parameter is the name of one in the parameter store."""
    return _SSM_VALUE.fullmatch(kind) is not None


def well_formed(kind: str, value: str) -> bool:
    """Whether a value, or a member of a list, can be what its type says."""
    syntax = _SYNTAX.get(member_type(kind))
    return syntax is None or re.fullmatch(syntax, value) is not None


def member_type(kind: str) -> str:
    """The type of a value or, for a list, of each of its members, wherever it comes from."""
    inner = _SSM_VALUE.fullmatch(kind)
    return _LIST.sub(r"\1", inner[1] if inner else kind)


def no_echo(declared: Mapping[str, Any]) -> bool:
    return str(declared.get("NoEcho", "false")).lower() == "true"


def check_declarations(template: Template) -> None:
    """The form of the Parameters section."""
    for name, declared in template.parameters.items():
        if not re.fullmatch(r"[A-Za-z0-9]+", name):
            raise invalid(f"Template format error: Parameter name {name} is non alphanumeric.")
        if not isinstance(declared, dict) or not isinstance(declared.get("Type"), str):
            raise invalid("Template format error: Every Parameters object must contain a Type member.")
        for key in declared:
            if key not in _KEYS:
                raise invalid(f"Invalid template parameter property '{key}'")
        _check_type(declared["Type"])
        _check_members(name, declared)


def _check_type(kind: str) -> None:
    inner = _SSM_VALUE.fullmatch(kind)
    base = inner[1] if inner else kind
    listed = _LIST.fullmatch(base)
    known = (
        base in _SIMPLE
        or base in _SYNTAX
        or (listed is not None and listed[1] in _SYNTAX and listed[1] not in _ALONE)
    )
    if inner is not None and base in ("Number", "List<Number>", "AWS::SSM::Parameter::Name"):
        known = False
    if not known:
        raise invalid(f"Template format error: Unrecognized parameter type: {kind}")


def _check_members(name: str, declared: Mapping[str, Any]) -> None:
    default = declared.get("Default", "")
    if isinstance(default, (dict, list)):
        raise invalid("Template format error: Every Default member must be a string.")
    if isinstance(default, str) and _VERSIONLESS.search(default):
        raise invalid(f"Template error: parameter {name} should not contain ssm versionless resolver")
    for key in _TEXT_KEYS:
        if not isinstance(declared.get(key, ""), str):
            raise invalid(f"Template format error: Every {key} member must be a string.")
    if len(declared.get("Description", "")) > limits.PARAMETER_DESCRIPTION_CHARACTERS:
        raise invalid(
            "Template format error: 'Description' length is greater than "
            f"{limits.PARAMETER_DESCRIPTION_CHARACTERS}."
        )
    for key in _NUMBER_KEYS:
        if key in declared and number(declared[key]) is None:
            raise invalid(f"Template format error: Every {key} member must be a number. (parameter {name})")
    _check_constraints(name, declared)
    allowed = declared.get("AllowedValues", [])
    if not isinstance(allowed, list) or any(isinstance(each, (dict, list)) for each in allowed):
        raise invalid("Template format error: Every AllowedValues value must be a list of strings.")
    if str(declared.get("NoEcho", "false")).lower() not in ("true", "false"):
        raise invalid(f"Template format error: NoEcho of parameter {name} must be true or false.")
    if patterns.compiled(declared.get("AllowedPattern", "")) is None:
        raise invalid(f"Template format error: AllowedPattern of parameter {name} is not a regular expression.")


def _check_constraints(name: str, declared: Mapping[str, Any]) -> None:
    """That each constraint is one of the parameter's type, and that some value can satisfy them."""
    for unfit, kind, keys in (
        (("Number", "List<Number>"), "String", ("MinLength", "MaxLength", "AllowedPattern")),
        (("String",), "Number", ("MinValue", "MaxValue")),
    ):
        for key in keys:
            if key in declared and declared["Type"] in unfit:
                raise invalid(f"Template error: Parameter '{name}' {key} must be on a parameter of type {kind}")
    for low, high in (("MinLength", "MaxLength"), ("MinValue", "MaxValue")):
        if low in declared and high in declared and float(declared[low]) > float(declared[high]):
            raise invalid(f"Template error: Parameter '{name}' {low} must be less than {high}.")


def number(value: Any) -> float | None:
    """A number, also one that is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?\s*", value):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def default_of(declared: Mapping[str, Any]) -> str | None:
    found = declared.get("Default")
    return None if found is None else as_text(found)


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def choose(template: Template, given: list[Params], previous: tuple[Value, ...] | None) -> dict[str, str]:
    """The value of each declared parameter: sent, kept (`UsePreviousValue`), or default. `previous` is None
    when the stack is new. Of what is not known yet no constraint is asked."""
    check_declarations(template)
    later = pending(given)
    before = {each.key: each.value for each in previous or ()}
    sent: dict[str, str] = {}
    for each in given:
        key = each.get("ParameterKey", "")
        if each.get("UsePreviousValue"):
            if each.get("ParameterValue") is not None:
                raise invalid(
                    f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true "
                    "and non empty value for a parameter"
                )
            if key not in before:
                raise invalid(
                    f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true for a "
                    "parameter key not in the previous template"
                )
            sent[key] = before[key]
        else:
            sent[key] = each.get("ParameterValue") or ""
    strangers = [key for key in sent if key not in template.parameters]
    if strangers:
        raise invalid(f"Parameters: [{', '.join(strangers)}] do not exist in the template")
    chosen: dict[str, str] = {}
    missing: list[str] = []
    for name, declared in template.parameters.items():
        value = sent.get(name, default_of(declared))
        if value is None:
            if _SSM_VALUE.fullmatch(declared["Type"]):
                raise invalid(f"Parameter {name} should either have input value or default value")
            missing.append(name)
        else:
            chosen[name] = value
    if missing:
        raise invalid(f"Parameters: [{', '.join(missing)}] must have values")
    for name, value in chosen.items():
        if name not in later:
            _check(name, template.parameters[name], value)
    return chosen


def pending(given: list[Params]) -> frozenset[str]:
    """The parameters whose values are not known yet."""
    return frozenset(each["ParameterKey"] for each in given if each.get(PENDING))


def _check(name: str, declared: Mapping[str, Any], value: str) -> None:
    if len(value.encode()) > limits.PARAMETER_VALUE_BYTES:
        raise invalid(f"Parameter '{name}' exceeds the maximum size of {limits.PARAMETER_VALUE_BYTES} bytes.")
    kind = declared["Type"]
    through_ssm = _SSM_VALUE.fullmatch(kind) is not None
    members = [value] if through_ssm or not is_list(kind) else split_list(value)
    allowed = declared.get("AllowedValues")
    if isinstance(allowed, list):
        known = {as_text(each) for each in allowed}
        if any(each not in known for each in members):
            raise invalid(_said(name, declared, f"Parameter '{name}' must be one of AllowedValues"))
    pattern = declared.get("AllowedPattern")
    if isinstance(pattern, str):
        syntax = patterns.compiled(pattern)
        if syntax is None or any(not syntax.fullmatch(each) for each in members):
            raise invalid(_said(name, declared, f"Parameter '{name}' must match pattern {pattern}"))
    for each in members:
        _check_length(name, declared, each)
    if kind in ("Number", "List<Number>"):
        for each in members:
            _check_number(name, declared, each)


def _said(name: str, declared: Mapping[str, Any], otherwise: str) -> str:
    described = declared.get("ConstraintDescription")
    return f"Parameter {name} failed to satisfy constraint: {described}" if described else otherwise


def _check_length(name: str, declared: Mapping[str, Any], value: str) -> None:
    low, high = declared.get("MinLength"), declared.get("MaxLength")
    if low is not None and len(value) < float(low):
        raise invalid(_said(name, declared, f"Parameter '{name}' must contain at least {low} characters"))
    if high is not None and len(value) > float(high):
        raise invalid(_said(name, declared, f"Parameter '{name}' must contain at most {high} characters"))


def _check_number(name: str, declared: Mapping[str, Any], value: str) -> None:
    found = number(value)
    if found is None:
        raise invalid(f"Parameter '{name}' must be a number.")
    low, high = declared.get("MinValue"), declared.get("MaxValue")
    if low is not None and found < float(low):
        raise invalid(_said(name, declared, f"Parameter '{name}' must be a number not less than {low}"))
    if high is not None and found > float(high):
        raise invalid(_said(name, declared, f"Parameter '{name}' must be a number not greater than {high}"))


def split_list(value: str) -> list[str]:
    return [each.strip() for each in value.split(",")]


async def resolve(
    template: Template,
    chosen: Mapping[str, str],
    calls: Calls,
    caller: Caller,
    later: frozenset[str] = frozenset(),
) -> tuple[Value, ...]:
    """Adds what SSM-typed parameters point to; a missing one is refused before anything starts. `later` are those
    whose values are not known yet."""
    found: list[Value] = []
    for name, value in chosen.items():
        if name in later:
            found.append(Value(name, value, unknown=True))
            continue
        kind = template.parameters[name]["Type"]
        inner = _SSM_VALUE.fullmatch(kind)
        if inner is None:
            resolved = None
            if value == default_of(template.parameters[name]) and any(dynamic.named(value)):
                resolved = dynamic.filled(value, await dynamic.look_up(dynamic.named(value), calls, caller))
            found.append(Value(name, value, resolved))
            continue
        try:
            answer = await calls("ssm", "GetParameter", {"Name": value}, caller)
        except AwsError as error:
            if error.status < 500 and not error.code.startswith("AccessDenied"):
                raise invalid(
                    f"Unable to fetch parameters [{value}] from parameter store for this account."
                ) from None
            raise
        stored = answer["Parameter"]
        if stored.get("Type") == "SecureString":
            raise invalid(
                f"Parameters [{value}] referenced by template have types not supported by CloudFormation."
            )
        listed = is_list(kind)
        if listed is not (stored.get("Type") == "StringList"):
            raise invalid(f"Types for SSM parameters [{value}] defined in CFN template and SSM are incompatible")
        held: str = stored["Value"]
        found.append(Value(name, value, ",".join(split_list(held)) if listed else held))
    return tuple(found)


def values(
    template: Template, parameters: tuple[Value, ...], *, masked: bool = False, literal: bool = False
) -> dict[str, Any]:
    """What Ref yields for each parameter: text, or a list of texts. `literal` takes what stands in for a value
    that is not known yet for the value."""
    found: dict[str, Any] = {}
    for each in parameters:
        declared = template.parameters.get(each.key)
        if declared is None:
            continue
        if masked and (each.hidden or no_echo(declared)):
            found[each.key] = MASK
        elif each.unknown and not literal:
            found[each.key] = UNKNOWN
        elif is_list(declared["Type"]):
            found[each.key] = split_list(each.effective)
        else:
            found[each.key] = each.effective
    return found


def assumed(template: Template, parameters: tuple[Value, ...], before: tuple[Value, ...]) -> dict[str, Any]:
    """The parameters as conditions see them, which must come out one way or the other: what is not known yet
    counts as what it is now."""
    now = {each.key: each for each in before}
    return values(
        template, tuple(now.get(each.key, each) if each.unknown else each for each in parameters), literal=True
    )

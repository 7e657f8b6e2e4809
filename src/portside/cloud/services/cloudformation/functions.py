"""The form of the intrinsic functions: what each takes and where it may stand, in AWS's words.

Pure. Checks a template before any value is known; what the functions yield is the business of `intrinsics.py`,
whether the names they use exist that of `checks.py`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.references import PLACEHOLDER, function_of, split_attribute

JOIN = (
    "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of "
    "strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
)
SPLIT = (
    "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) "
    "a string to be "
    "split or a function that returns a string to be split."
)
SELECT = "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
SUB = (
    "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. "
    "Specify a string as "
    "first argument, and an optional second argument to specify a mapping of values to replace in the string"
)
SUB_NAMES = (
    "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, "
    "periods, and colons"
)
FIND_IN_MAP = (
    "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and "
    "the attribute "
    "for return value"
)
GET_ATT = (
    "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name "
    "and the resource "
    "attribute"
)
REF = "Template error: every Ref object must have a single String value."
BASE64 = "Template error: every Fn::Base64 object must have a String-typed value."
GET_AZS = "Template error: every Fn::GetAZs object must have a String-typed value."
IMPORT_VALUE = (
    "Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or "
    "Fn::GetAZs"
)
IF = "Template error: Fn::If requires a list argument with three elements"
IF_CONDITION = "Template error: Fn::If requires a list argument with the first element being a condition"
EQUALS = "Template error: Fn::Equals requires a list argument with two elements"
NOT = "Template error: Fn::Not requires a list argument with one element"
CIDR = (
    "Template error: every Fn::Cidr object requires two or three parameters, the ip block, the count and the cidr "
    "bits"
)
CONDITION = "Template error: every Condition object must have a single String value."
OUTPUT = "Template format error: The Value field of every Outputs member must evaluate to a String"
LATE_OUTPUT = "Template format error: Every Value member must be a string."

# In the order in which AWS lists them.
SUPPORTED = (
    "Fn::Base64", "Fn::GetAtt", "Fn::GetAZs", "Fn::ImportValue", "Fn::Join", "Fn::Split", "Fn::FindInMap",
    "Fn::Select", "Ref", "Fn::Equals", "Fn::If", "Fn::Not", "Condition", "Fn::And", "Fn::Or", "Fn::Contains",
    "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::ValueOf", "Fn::ValueOfAll", "Fn::RefAll", "Fn::Sub",
    "Fn::Cidr",
)  # fmt: skip
# What rules are made of.
IN_RULES = frozenset(
    {
        "Ref", "Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals", "Fn::Contains", "Fn::EachMemberEquals",
        "Fn::EachMemberIn", "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll",
    }
)  # fmt: skip
# What AWS::LanguageExtensions may leave to the engine.
EXTENSIONS = ("Fn::Length", "Fn::ToJsonString")
BOOLEAN = frozenset({"Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals"})
RULE_FUNCTIONS = frozenset(
    {"Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::ValueOf", "Fn::ValueOfAll", "Fn::RefAll"}
)
_VARIABLE = re.compile(r"[A-Za-z0-9_.:]+")


class EvaluationError(Exception):
    """A function that cannot be evaluated; the text is AWS's."""


class Place(StrEnum):
    """The part of the template that a function stands in."""

    RESOURCES = "Resources"
    OUTPUTS = "Outputs"
    CONDITIONS = "Conditions"
    RULES = "Rules"


def unsupported(name: str) -> str:
    known = ", ".join(SUPPORTED)
    return f"Template Error: Encountered unsupported function: {name} Supported functions are: [{known}]"


def boolean_list(name: str) -> str:
    return f"Template error: every {name} object requires a list of at least 2 and at most 10 boolean parameters."


def check(value: Any, place: Place) -> None:
    """Every function inside `value`; ValidationError for the first that is malformed or out of place."""
    if isinstance(value, list):
        for member in value:
            check(member, place)
    if not isinstance(value, dict):
        return
    called = function_of(value)
    if called is None:
        if place is not Place.RULES:
            for key in value:
                if key.startswith("Fn::"):
                    raise invalid(unsupported(key) if key not in SUPPORTED else _crowded(key))
        for member in value.values():
            check(member, place)
        return
    name, argument = called
    if name not in SUPPORTED and name not in EXTENSIONS:
        raise invalid(unsupported(name))
    _check_place(name, place)
    _check_argument(name, argument)
    if name == "Fn::If":
        argument = argument[1:]
    elif name == "Fn::Sub":
        argument = argument[1] if isinstance(argument, list) else ""
    elif name == "Fn::GetAtt":
        return
    check(argument, place)


def _crowded(key: str) -> str:
    return f"Template format error: {key} must be the only key of its object."


def _check_place(name: str, place: Place) -> None:
    if name in BOOLEAN and place in (Place.RESOURCES, Place.OUTPUTS):
        raise invalid(f"Template Error: {name} cannot be partially collapsed")
    if name in ("Fn::ImportValue", "Fn::GetAZs") and place is Place.CONDITIONS:
        raise invalid(f"Template error: Cannot use {name} in Conditions")
    if name in RULE_FUNCTIONS and place is not Place.RULES:
        raise invalid(f"Template error: {name} can only be used in the Rules section")


def _check_argument(name: str, argument: Any) -> None:
    match name:
        case "Ref" if not isinstance(argument, str):
            raise invalid(REF)
        case "Condition" if not isinstance(argument, str):
            raise invalid(CONDITION)
        case "Fn::GetAtt":
            _check_get_att(argument)
        case "Fn::Sub":
            _check_sub(argument)
        case "Fn::Join":
            if not _is_pair(argument) or not isinstance(argument[0], str) or not _is_list(argument[1]):
                raise invalid(JOIN)
        case "Fn::Split":
            if not _is_pair(argument) or not isinstance(argument[0], str) or not _is_text(argument[1]):
                raise invalid(SPLIT)
        case "Fn::Select":
            _check_select(argument)
        case "Fn::FindInMap":
            _check_find_in_map(argument)
        case "Fn::Base64" if not _is_text(argument):
            raise invalid(BASE64)
        case "Fn::GetAZs" if not _is_text(argument):
            raise invalid(GET_AZS)
        case "Fn::ImportValue" if not _is_text(argument):
            raise invalid(IMPORT_VALUE)
        case "Fn::Cidr":
            if function_of(argument) is None and (
                not isinstance(argument, list)
                or len(argument) not in (2, 3)
                or any(isinstance(each, list) for each in argument)
            ):
                raise invalid(CIDR)
        case "Fn::If":
            if not isinstance(argument, list) or not argument or not isinstance(argument[0], str):
                raise invalid(IF_CONDITION)
            if len(argument) != 3:
                raise invalid(IF)
        case "Fn::Equals" if not _is_pair(argument):
            raise invalid(EQUALS)
        case "Fn::Not":
            if not isinstance(argument, list) or len(argument) != 1:
                raise invalid(NOT)
        case "Fn::And" | "Fn::Or":
            if not isinstance(argument, list) or not 2 <= len(argument) <= 10:
                raise invalid(boolean_list(name))
        case "Fn::Contains" | "Fn::EachMemberEquals" | "Fn::EachMemberIn" | "Fn::ValueOf" | "Fn::ValueOfAll":
            if not _is_pair(argument) or (
                name.startswith("Fn::ValueOf") and not all(isinstance(each, str) for each in argument)
            ):
                raise invalid(f"Template error: {name} requires a list argument with two elements")
        case "Fn::RefAll" if not isinstance(argument, str):
            raise invalid("Template error: Fn::RefAll requires the name of a parameter type")


def _is_pair(argument: Any) -> bool:
    return isinstance(argument, list) and len(argument) == 2


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or function_of(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, int, float)) or function_of(value) is not None


def _check_get_att(argument: Any) -> None:
    found = split_attribute(argument)
    if found is None or not found[0] or not found[1]:
        raise invalid(GET_ATT)
    called = function_of(found[1])
    if not isinstance(found[1], str) and (called is None or called[0] != "Ref" or not isinstance(called[1], str)):
        raise invalid(GET_ATT)


def _check_sub(argument: Any) -> None:
    text = argument
    if isinstance(argument, list):
        if not _is_pair(argument) or not isinstance(argument[1], dict):
            raise invalid(SUB)
        text = argument[0]
    if not isinstance(text, str):
        raise invalid(SUB)
    for found in PLACEHOLDER.finditer(text):
        name = found[1].strip()
        if not name.startswith("!") and not _VARIABLE.fullmatch(name):
            raise invalid(SUB_NAMES)


def _check_select(argument: Any) -> None:
    if not _is_pair(argument) or not _is_list(argument[1]):
        raise invalid(SELECT)
    index, members = argument
    if function_of(index) is not None:
        return
    if isinstance(index, bool) or not re.fullmatch(r"-?[0-9]+", str(index)):
        raise invalid(SELECT)
    if isinstance(members, list) and not 0 <= int(index) < len(members):
        raise invalid(SELECT)


def _check_find_in_map(argument: Any) -> None:
    if not isinstance(argument, list) or len(argument) not in (3, 4):
        raise invalid(FIND_IN_MAP)
    if len(argument) == 4 and (not isinstance(argument[3], dict) or set(argument[3]) != {"DefaultValue"}):
        raise invalid(FIND_IN_MAP)
    for each in argument[:3]:
        if isinstance(each, list) or (isinstance(each, dict) and function_of(each) is None):
            raise invalid(FIND_IN_MAP)

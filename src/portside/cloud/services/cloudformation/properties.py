"""Checks the properties of a resource against its schema, the way resource handlers do.

Pure. `fit` turns text into numbers and booleans and the reverse, as CloudFormation does, and lists what does not
fit in AWS's words. Values that are not known yet, or are dynamic references, pass unchecked.
"""

from __future__ import annotations

import re
from typing import Any

from portside.cloud.protocol.patterns import compiled
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN
from portside.cloud.services.cloudformation.schema import Schema

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_SHOWN = {
    "string": "String", "integer": "Integer", "number": "Number", "boolean": "Boolean", "object": "Object",
    "array": "Array",
}  # fmt: skip


def fit(schema: Schema, properties: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The properties in their proper types, and what is wrong with them (empty if nothing)."""
    for name in properties:
        if name not in schema.properties and schema.document.get("additionalProperties") is False:
            return properties, f"Encountered unsupported property {name}"
    for name in properties:
        if name in schema.attributes and name not in _writable(schema):
            return properties, f"Encountered unsupported property {name}"
    errors: list[str] = []
    found = _walk(schema, schema.document, properties, "", errors)
    shown = ", ".join(errors)
    return found, f"Property validation failure: [{shown}]" if errors else ""


def _writable(schema: Schema) -> frozenset[str]:
    # A few types list a property as both read-only and create-only, e.g. DefaultTargetGroup ids.
    return frozenset(path[0] for path in schema.create_only if len(path) == 1)


def _walk(schema: Schema, node: dict[str, Any], value: Any, path: str, errors: list[str]) -> Any:
    node = schema.resolve(node)
    if value is UNKNOWN or (isinstance(value, str) and "{{resolve:" in value):
        return value
    for choice in ("oneOf", "anyOf"):
        if choice in node and "properties" not in node and "type" not in node:
            return _one_of(schema, node[choice], value, path, errors)
    kinds = node.get("type")
    if kinds is None:
        kinds = ["object"] if "properties" in node else []
    kinds = kinds if isinstance(kinds, list) else [kinds]
    fitting = _coerce(kinds, value)
    if fitting is None:
        shown = " or ".join(_SHOWN.get(kind, kind) for kind in kinds)
        errors.append(f"Value of property {{{path or '/'}}} does not match type {{{shown}}}")
        return value
    value = fitting[0]
    if isinstance(value, dict):
        return _object(schema, node, value, path, errors)
    if isinstance(value, list):
        return _array(schema, node, value, path, errors)
    _scalar(node, value, path, errors)
    return value


def _coerce(kinds: list[str], value: Any) -> tuple[Any] | None:
    """The value in one of the wanted types, in a tuple; None if it fits none."""
    if not kinds:
        return (value,)
    own = _kind(value)
    if own in kinds or (own == "integer" and "number" in kinds):
        return (value,)
    for kind in kinds:
        match kind:
            case "string" if own in ("integer", "number"):
                return (str(value),)
            case "string" if own == "boolean":
                return ("true" if value else "false",)
            case "boolean" if isinstance(value, str) and value.lower() in ("true", "false"):
                return (value.lower() == "true",)
            case "integer" if isinstance(value, float) and value.is_integer():
                return (int(value),)
            case "integer" if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value.strip()):
                return (int(value),)
            case "number" if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
                return (int(value) if re.fullmatch(r"[+-]?\d+", value.strip()) else float(value),)
            case "array" if own in ("string", "integer", "boolean"):
                # A single value where a list is wanted, e.g. a subnet list from a parameter with one member.
                return ([value],)
    return None


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "unknown"


def _object(
    schema: Schema, node: dict[str, Any], value: dict[str, Any], path: str, errors: list[str]
) -> dict[str, Any]:
    members = node.get("properties", {})
    patterns = node.get("patternProperties", {})
    found: dict[str, Any] = {}
    strange: list[str] = []
    for name, member in value.items():
        inner = members.get(name)
        if inner is None:
            inner = next((each for pattern, each in patterns.items() if _matches(pattern, name)), None)
        if inner is not None:
            found[name] = _walk(schema, inner, member, f"{path}/{name}", errors)
        elif node.get("additionalProperties") is False and members:
            strange.append(name)
        else:
            found[name] = member
    if strange:
        errors.append(f"Encountered unsupported properties in {{{path or '/'}}}: [{', '.join(strange)}]")
    for name in node.get("required", []):
        if name not in value:
            errors.append(f"The property {{{path}/{name}}} is required")
    return found


def _array(schema: Schema, node: dict[str, Any], value: list[Any], path: str, errors: list[str]) -> list[Any]:
    items = node.get("items", {})
    found = [_walk(schema, items, member, f"{path}/{index}", errors) for index, member in enumerate(value)]
    low, high = node.get("minItems"), node.get("maxItems")
    if low is not None and len(found) < low:
        errors.append(f"The property {{{path}}} must have at least {low} items")
    if high is not None and len(found) > high:
        errors.append(f"The property {{{path}}} must have at most {high} items")
    return found


def _scalar(node: dict[str, Any], value: Any, path: str, errors: list[str]) -> None:
    allowed = node.get("enum")
    if allowed is not None and value not in allowed and str(value) not in [str(each) for each in allowed]:
        errors.append(f"Value of property {{{path}}} is not one of {{{', '.join(str(each) for each in allowed)}}}")
    if isinstance(value, str):
        pattern = node.get("pattern")
        if pattern is not None and not _matches(pattern, value):
            errors.append(f"Value of property {{{path}}} does not match pattern {{{pattern}}}")
        low, high = node.get("minLength"), node.get("maxLength")
        if low is not None and len(value) < low:
            errors.append(f"Value of property {{{path}}} must have at least {low} characters")
        if high is not None and len(value) > high:
            errors.append(f"Value of property {{{path}}} must have at most {high} characters")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = node.get("minimum"), node.get("maximum")
        if low is not None and value < low:
            errors.append(f"Value of property {{{path}}} must be at least {low}")
        if high is not None and value > high:
            errors.append(f"Value of property {{{path}}} must be at most {high}")


def _one_of(schema: Schema, choices: list[dict[str, Any]], value: Any, path: str, errors: list[str]) -> Any:
    """The first choice that fits; the complaints of the last one if none does."""
    mine: list[str] = []
    found = value
    for choice in choices:
        mine = []
        found = _walk(schema, choice, value, path, mine)
        if not mine:
            return found
    errors += mine
    return found


def _matches(pattern: str, text: str) -> bool:
    syntax = compiled(pattern)
    return syntax is None or syntax.search(text) is not None

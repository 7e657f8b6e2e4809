"""Checks a request against its botocore shape, the way AWS's front ends do.

Pure. `violations` walks parsed parameters and lists every broken constraint in AWS's words; the gateway
turns the list into the error that the service uses for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from portside.cloud.protocol.patterns import compiled

if TYPE_CHECKING:
    from botocore.model import Shape

# Constraints that botocore's models carry but AWS's services do not enforce in this form.
_NO_PATTERN = frozenset({"TemplateBody"})
# Patterns that AWS words otherwise than botocore's models do.
_WORDED = {"StackNameOrId": "[a-zA-Z][-a-zA-Z0-9]*|arn:[-a-zA-Z0-9:/._+]*"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken constraint: where (`stackName`), of which value, and what was expected. A sensitive value, such
    as a private key, is not repeated."""

    path: str
    value: Any
    constraint: str
    sensitive: bool = False

    def __str__(self) -> str:
        if self.sensitive:
            return f"Value at '{self.path}' failed to satisfy constraint: {self.constraint}"
        shown = "null" if self.value is None else f"'{_shown(self.value)}'"
        return f"Value {shown} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def _shown(value: Any) -> str:
    """Lists and maps as AWS's front ends, which are written in Java, print them."""
    if isinstance(value, list):
        return f"[{', '.join(_shown(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(member)}" for key, member in value.items()) + "}"
    return str(value)


def describe(found: list[Violation]) -> str:
    """`2 validation errors detected: Value ...; Value ...`."""
    noun = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {noun} detected: " + "; ".join(str(each) for each in found)


def violations(shape: Shape | None, params: Any) -> list[Violation]:
    """Every broken constraint of `params` under `shape`."""
    found: list[Violation] = []
    if shape is not None:
        _walk(shape, params, "", found)
    return found


def _walk(shape: Shape, value: Any, path: str, found: list[Violation]) -> None:
    """Adds to `found`: nearly every call finds nothing, and each service's every parameter comes through here."""
    if not shape.metadata.get("sensitive"):
        _look(shape, value, path, found)
        return
    hidden: list[Violation] = []
    _look(shape, value, path, hidden)
    found += [replace(each, value=None, sensitive=True) for each in hidden]


def _look(shape: Shape, value: Any, path: str, found: list[Violation]) -> None:
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            found.append(Violation(path, value, "Member must be a structure"))
            return
        for name in shape.required_members:
            if value.get(name) is None:
                found.append(Violation(_join(path, name), None, "Member must not be null"))
        members = shape.members
        for name, member in value.items():
            inner = members.get(name)
            if inner is not None and member is not None:
                _walk(inner, member, _join(path, name), found)
    elif kind == "list":
        if not isinstance(value, list):
            found.append(Violation(path, value, "Member must be a list"))
            return
        _length(shape, value, path, found)
        if shape.member.type_name == "string" and all(isinstance(each, str) for each in value):
            _members(shape, value, path, found)
            return
        for index, member in enumerate(value, start=1):
            if member is not None:
                _walk(shape.member, member, f"{path}.{index}.member", found)
    elif kind == "map":
        if not isinstance(value, dict):
            found.append(Violation(path, value, "Member must be a map"))
            return
        _length(shape, value, path, found)
        for key, member in value.items():
            if member is not None:
                _walk(shape.value, member, f"{path}.{key}.member", found)
    elif kind == "string":
        if not isinstance(value, str):
            found.append(Violation(path, value, "Member must be a string"))
            return
        _length(shape, value, path, found)
        pattern = shape.metadata.get("pattern")
        if pattern and shape.name not in _NO_PATTERN:
            syntax = compiled(pattern)
            if syntax is not None and not syntax.fullmatch(value):
                worded = _WORDED.get(shape.name, pattern)
                found.append(Violation(path, value, f"Member must satisfy regular expression pattern: {worded}"))
        enum = shape.enum
        if enum and value not in enum:
            found.append(Violation(path, value, f"Member must satisfy enum value set: [{', '.join(enum)}]"))
    elif kind in ("integer", "long", "float", "double"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            found.append(Violation(path, value, f"Member must be a number of type {kind}"))
            return
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            found.append(Violation(path, value, f"Member must have value greater than or equal to {low}"))
        if high is not None and value > high:
            found.append(Violation(path, value, f"Member must have value less than or equal to {high}"))
    elif kind == "boolean" and not isinstance(value, bool):
        found.append(Violation(path, value, "Member must be a boolean"))


def _members(shape: Shape, value: list[str], path: str, found: list[Violation]) -> None:
    """What is wrong with the texts of a list is said of the list as a whole."""
    broken: list[Violation] = []
    for member in value:
        _walk(shape.member, member, path, broken)
    if broken:
        constraints = ", ".join(dict.fromkeys(each.constraint for each in broken))
        hidden = broken[0].sensitive
        shown = None if hidden else value
        found.append(Violation(path, shown, f"Member must satisfy constraint: [{constraints}]", hidden))


def _length(shape: Shape, value: Any, path: str, found: list[Violation]) -> None:
    metadata = shape.metadata
    low, high = metadata.get("min"), metadata.get("max")
    if low is not None and len(value) < low:
        found.append(Violation(path, value, f"Member must have length greater than or equal to {low}"))
    if high is not None and len(value) > high:
        found.append(Violation(path, value, f"Member must have length less than or equal to {high}"))


@lru_cache(maxsize=4096)
def _join(path: str, name: str) -> str:
    here = name[0].lower() + name[1:]
    return f"{path}.{here}" if path else here

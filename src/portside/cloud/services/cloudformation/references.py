"""What a piece of a template refers to: resources, attributes, parameters and conditions.

Pure. Finds references without evaluating anything; `template.py` checks them, `plan.py` orders by them and
`changes.py` names them as causes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# `${Name}`, `${Name.Attr}` and `${!Literal}`.
PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Reference:
    """`attribute` is empty for a Ref. `guards` are the (condition, branch) pairs of the Fn::If around it."""

    name: str
    attribute: str = ""
    guards: tuple[tuple[str, bool], ...] = ()

    def __str__(self) -> str:
        return f"{self.name}.{self.attribute}" if self.attribute else self.name


def function_of(value: Any) -> tuple[str, Any] | None:
    """The name and argument of an intrinsic function, None for anything else."""
    if isinstance(value, dict) and len(value) == 1:
        name, argument = next(iter(value.items()))
        if name == "Ref" or name.startswith("Fn::") or (name == "Condition" and isinstance(argument, str)):
            return name, argument
    return None


def split_attribute(argument: Any) -> tuple[str, Any] | None:
    """The (logical id, attribute) of a GetAtt in either of its forms."""
    if isinstance(argument, str) and "." in argument:
        name, attribute = argument.split(".", 1)
        return name, attribute
    if isinstance(argument, list) and len(argument) >= 2 and isinstance(argument[0], str):
        rest = argument[1:]
        if all(isinstance(each, str) for each in rest):
            return argument[0], ".".join(rest)
        if len(rest) == 1:
            return argument[0], rest[0]
    return None


def references(value: Any, guards: tuple[tuple[str, bool], ...] = ()) -> Iterator[Reference]:
    """Every Ref and GetAtt (also those inside Sub), in the order of the text."""
    called = function_of(value)
    if called is not None:
        name, argument = called
        match name:
            case "Ref" if isinstance(argument, str):
                yield Reference(argument, guards=guards)
                return
            case "Fn::GetAtt":
                found = split_attribute(argument)
                if found is not None:
                    attribute = found[1] if isinstance(found[1], str) else "*"
                    yield Reference(found[0], attribute, guards)
                    if not isinstance(found[1], str):
                        yield from references(found[1], guards)
                return
            case "Fn::Sub":
                yield from _in_sub(argument, guards)
                return
            case "Fn::If" if isinstance(argument, list) and len(argument) == 3 and isinstance(argument[0], str):
                yield from references(argument[1], (*guards, (argument[0], True)))
                yield from references(argument[2], (*guards, (argument[0], False)))
                return
            case "Condition":
                return
    if isinstance(value, dict):
        for member in value.values():
            yield from references(member, guards)
    elif isinstance(value, list):
        for member in value:
            yield from references(member, guards)


def _in_sub(argument: Any, guards: tuple[tuple[str, bool], ...]) -> Iterator[Reference]:
    text, variables = argument, {}
    if isinstance(argument, list) and len(argument) == 2:
        text, variables = argument
    if isinstance(variables, dict):
        for member in variables.values():
            yield from references(member, guards)
    if not isinstance(text, str):
        return
    for found in PLACEHOLDER.finditer(text):
        name = found[1].strip()
        if name.startswith("!") or (isinstance(variables, dict) and name in variables):
            continue
        head, _, attribute = name.partition(".")
        yield Reference(head, attribute, guards)


def conditions_named(value: Any) -> Iterator[str]:
    """Conditions that an expression or a property value names."""
    called = function_of(value)
    if called is not None:
        name, argument = called
        if name == "Condition":
            yield argument
            return
        if name == "Fn::If" and isinstance(argument, list) and argument and isinstance(argument[0], str):
            yield argument[0]
            for member in argument[1:]:
                yield from conditions_named(member)
            return
    if isinstance(value, dict):
        for member in value.values():
            yield from conditions_named(member)
    elif isinstance(value, list):
        for member in value:
            yield from conditions_named(member)


def uses(value: Any, name: str) -> bool:
    """Whether a function of that name occurs anywhere."""
    if isinstance(value, dict):
        return any(key == name or uses(member, name) for key, member in value.items())
    if isinstance(value, list):
        return any(uses(member, name) for member in value)
    return False


def called_in(value: Any) -> Iterator[str]:
    """The name of every function in it, from the outside in."""
    if isinstance(value, dict):
        called = function_of(value)
        if called is not None:
            yield called[0]
        for member in value.values():
            yield from called_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from called_in(member)


def if_conditions(value: Any) -> Iterator[str]:
    """The conditions that Fn::If names; `Condition` with a text is also a key of IAM statements."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key == "Fn::If" and isinstance(member, list) and member and isinstance(member[0], str):
                yield member[0]
            yield from if_conditions(member)
    elif isinstance(value, list):
        for member in value:
            yield from if_conditions(member)


def maps_named(value: Any) -> Iterator[str]:
    """The mappings that Fn::FindInMap names literally and without a default."""
    if isinstance(value, dict):
        for key, member in value.items():
            if (
                key == "Fn::FindInMap"
                and isinstance(member, list)
                and len(member) == 3
                and isinstance(member[0], str)
            ):
                yield member[0]
            yield from maps_named(member)
    elif isinstance(value, list):
        for member in value:
            yield from maps_named(member)


def attributes_in_sub(value: Any) -> Iterator[tuple[str, str]]:
    """The (logical id, attribute) of every `${Name.Attr}` in a Fn::Sub."""
    if isinstance(value, list):
        for member in value:
            yield from attributes_in_sub(member)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key == "Fn::Sub":
                text, names = member, {}
                if isinstance(member, list) and len(member) == 2:
                    text, names = member
                for found in PLACEHOLDER.finditer(text) if isinstance(text, str) else ():
                    name = found[1].strip()
                    if "." in name and not name.startswith("!") and name not in names:
                        head, _, attribute = name.partition(".")
                        yield head, attribute
            yield from attributes_in_sub(member)

"""Fn::ForEach: the parts of a loop, the names it makes, and what a loop may not do.

Pure. Owns the placeholders in the keys of a loop (`${Name}`, and `&{Name}` without what is not alphanumeric) and
the texts of the transform's complaints; where loops stand and what is inside them is `language_extensions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "Fn::ForEach::"
LAYOUT = "Fn::ForEach layout is incorrect"
NO_COLLECTION = "Could not find a collection or could not be resolved for Fn::ForEach"
# Loops in one another, counting the outermost.
DEEPEST = 5
_PLACEHOLDER = re.compile(r"([$&])\{([^}!][^}]*)\}")
_ALNUM = re.compile(r"[A-Za-z0-9]+")


class ExtensionError(Exception):
    """The transform fails; the text is what follows `Transform ... failed with: `."""


def parts(argument: Any, bound: Mapping[str, str]) -> tuple[str, Any, dict[str, Any]]:
    """Identifier, collection and fragment of a loop inside those whose identifiers are bound."""
    if not isinstance(argument, list) or len(argument) != 3:
        raise ExtensionError(LAYOUT)
    identifier, collection, fragment = argument
    if not isinstance(identifier, str) or not _ALNUM.fullmatch(identifier) or not isinstance(fragment, dict):
        raise ExtensionError(LAYOUT)
    if identifier in bound:
        raise ExtensionError(f"The identifier {identifier} is already that of an outer Fn::ForEach")
    if len(bound) >= DEEPEST:
        raise ExtensionError(f"Fn::ForEach can be nested {DEEPEST} times at most")
    return identifier, collection, fragment


def named(key: str, bound: Mapping[str, str]) -> str:
    """A key of a fragment, with the items in the places of their identifiers."""

    def value(found: re.Match[str]) -> str:
        form, name = found[1], found[2]
        if name not in bound:
            return found[0]
        return re.sub(r"[^A-Za-z0-9]", "", bound[name]) if form == "&" else bound[name]

    return _PLACEHOLDER.sub(value, key)


def check_id(name: str, section: str) -> None:
    if not _ALNUM.fullmatch(name):
        noun = "OutputKey" if section == "Outputs" else "LogicalId"
        raise ExtensionError(f"{noun} '{name}' should be alphanumeric")


def merge(found: dict[str, Any], parent: Mapping[str, Any], key: str, member: Any) -> None:
    """Add what a loop made to the object that the loop stands in."""
    if key in found or key in parent:
        raise ExtensionError(f"Duplicate key '{key}' when merging keys to parent object in Fn::ForEach")
    found[key] = member


def texts(found: Any) -> list[str]:
    """The items of an evaluated collection."""
    if not isinstance(found, list):
        raise ExtensionError(NO_COLLECTION)
    items = []
    for each in found:
        if isinstance(each, bool) or not isinstance(each, (str, int, float)):
            raise ExtensionError(NO_COLLECTION)
        items.append(str(each))
    return items


def check_names(document: Mapping[str, Any], parameters: set[str]) -> None:
    """Loop names are unique, and neither they nor identifiers are the names of something else."""
    resources = document.get("Resources")
    taken = parameters | (set(resources) if isinstance(resources, dict) else set())
    seen: set[str] = set()
    for section in ("Conditions", "Resources", "Outputs"):
        for name, argument in _loops(document.get(section)):
            if name in seen:
                raise ExtensionError(f"The loop name {name} is used more than once")
            seen.add(name)
            identifier = argument[0] if isinstance(argument, list) and argument else ""
            for each in (name, identifier):
                if isinstance(each, str) and each in taken:
                    raise ExtensionError(f"The name {each} of a Fn::ForEach is that of a parameter or a resource")


def _loops(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key.startswith(PREFIX):
                yield key.removeprefix(PREFIX), member
            yield from _loops(member)
    elif isinstance(value, list):
        for member in value:
            yield from _loops(member)

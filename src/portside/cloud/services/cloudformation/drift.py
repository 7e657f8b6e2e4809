"""Drift: where a resource is no longer what its template says.

Pure. Owns the comparison of expected with live properties. Only what the template gives is compared; where order
in a list means nothing, it is ignored; documents compare as JSON. Reading what is live is `resources/live.py`,
keeping what was found `drift_rows.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from portside.cloud.services.cloudformation.differences import Path, pointer, text
from portside.cloud.services.cloudformation.parameters import MASK
from portside.cloud.services.cloudformation.records import Params
from portside.cloud.services.cloudformation.resources.shapes import versioned
from portside.cloud.services.cloudformation.schema import Schema

SYSTEM = "aws:"
# By which member items of a list are taken for the same one.
_IDENTITIES = ("Key", "Name", "Id", "PolicyName", "ContainerName", "AttributeName", "DeviceName")


class Status(StrEnum):
    """As the API spells it, of stacks (`DRIFTED`) and of resources."""

    IN_SYNC = "IN_SYNC"
    DRIFTED = "DRIFTED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    NOT_CHECKED = "NOT_CHECKED"
    UNKNOWN = "UNKNOWN"


class Kind(StrEnum):
    ADD = "ADD"
    REMOVE = "REMOVE"
    NOT_EQUAL = "NOT_EQUAL"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`expected` and `actual` hold what was compared, in CloudFormation's spelling."""

    expected: Params
    actual: Params
    differences: tuple[Params, ...]


def compare(schema: Schema, expected: Params, actual: Mapping[str, Any], ours: Iterable[str] = ()) -> Comparison:
    """`ours` are the keys of tags that the stack itself has put there."""
    look = _Look(schema, frozenset(ours))
    compared: Params = {}
    found: Params = {}
    for name, value in expected.items():
        spelled = _spelled(actual, name)
        if spelled is None or name in look.write_only or "{{resolve:" in json.dumps(value):
            continue
        compared[name] = value
        live = actual[spelled]
        if live is None:
            if not _empty(value):
                look.note((name,), Kind.REMOVE, value, None)
            continue
        node = schema.properties.get(name, {})
        found[name] = look.at(node, value, live, (name,))
    return Comparison(compared, found, tuple(look.differences))


class _Look:
    def __init__(self, schema: Schema, ours: frozenset[str]) -> None:
        self._schema = schema
        self._ours = ours
        self.differences: list[Params] = []
        paths = schema.document.get("writeOnlyProperties", [])
        self.write_only = {each.removeprefix("/properties/") for each in paths}

    def note(self, path: Path, kind: Kind, expected: Any, actual: Any) -> None:
        self.differences.append(
            {
                "PropertyPath": pointer(path),
                "ExpectedValue": "null" if kind is Kind.ADD else text(expected),
                "ActualValue": "null" if kind is Kind.REMOVE else text(actual),
                "DifferenceType": kind.value,
            }
        )

    def at(self, node: Params, expected: Any, actual: Any, path: Path) -> Any:
        """Notes what differs; the live value, as far as the template says anything about it."""
        node = self._schema.resolve(node)
        expected, actual = _documents(expected, actual)
        if actual == MASK:  # a secret that the service keeps to itself
            return expected
        if isinstance(expected, dict) and isinstance(actual, Mapping):
            if "Statement" in expected and "Statement" in actual:
                expected, actual = versioned(expected), versioned(actual)
            return self._members(node, expected, actual, path)
        if isinstance(expected, list) and isinstance(actual, list):
            return self._items(node, expected, actual, path)
        if not alike(expected, actual):
            self.note(path, Kind.NOT_EQUAL, expected, actual)
            return actual
        return expected

    def _members(self, node: Params, expected: Params, actual: Mapping[str, Any], path: Path) -> Params:
        declared = node.get("properties", {})
        shown: Params = {}
        for name, value in expected.items():
            spelled = name if name in actual or not declared else _spelled(actual, name)
            live = actual.get(spelled) if spelled is not None else None
            if live is None:
                if not _empty(value):
                    self.note((*path, name), Kind.REMOVE, value, None)
                continue
            shown[name] = self.at(declared.get(name, {}), value, live, (*path, name))
        if declared:
            return shown
        for name, live in actual.items():
            if name not in expected and name not in self._ours and not name.startswith(SYSTEM):
                self.note((*path, name), Kind.ADD, None, live)
                shown[name] = live
        return shown

    def _items(self, node: Params, expected: list[Any], actual: list[Any], path: Path) -> list[Any]:
        items = node.get("items", {})
        tags = path[-1] == self._schema.tag_property
        live = [each for each in actual if not (tags and self._automatic(each))]
        if tags or node.get("insertionOrder") is False:
            pairs, extra = self._paired(items, expected, live)
        else:
            pairs = [live[index] if index < len(live) else None for index in range(len(expected))]
            extra = live[len(expected) :]
        shown = []
        for index, (value, partner) in enumerate(zip(expected, pairs, strict=True)):
            here = (*path, str(index))
            if partner is None:
                self.note(here, Kind.REMOVE, value, None)
            else:
                shown.append(self.at(items, value, partner, here))
        for index, each in enumerate(extra, len(expected)):
            self.note((*path, str(index)), Kind.ADD, None, each)
            shown.append(each)
        return shown

    def _automatic(self, tag: Any) -> bool:
        key = str(tag.get("Key", "")) if isinstance(tag, Mapping) else ""
        return key.startswith(SYSTEM) or key in self._ours

    def _paired(self, node: Params, expected: list[Any], actual: list[Any]) -> tuple[list[Any], list[Any]]:
        """For each expected item the live one that it is meant to be, and the live ones left over."""
        left = list(actual)
        pairs: list[Any] = [None] * len(expected)
        for same in (self._equal, _identified):
            for index, value in enumerate(expected):
                if pairs[index] is not None:
                    continue
                partner = next((each for each in left if same(node, value, each)), None)
                if partner is not None:
                    pairs[index] = partner
                    left.remove(partner)
        return pairs, left

    def _equal(self, node: Params, expected: Any, actual: Any) -> bool:
        trial = _Look(self._schema, self._ours)
        trial.at(node, expected, actual, ("",))
        return not trial.differences


def _identified(node: Params, expected: Any, actual: Any) -> bool:
    if not isinstance(expected, Mapping) or not isinstance(actual, Mapping):
        return False
    for name in _IDENTITIES:
        spelled = _spelled(actual, name)
        if name in expected and spelled is not None:
            return alike(expected[name], actual[spelled])
    return False


def _spelled(actual: Mapping[str, Any], name: str) -> str | None:
    """How a service spells a property: `imageTagMutability`."""
    if name in actual:
        return name
    return next((each for each in actual if each.lower() == name.lower()), None)


def _documents(expected: Any, actual: Any) -> tuple[Any, Any]:
    """Policies and the like are objects in templates and text in services, or the reverse."""
    if isinstance(expected, (dict, list)) or isinstance(actual, (dict, list)):
        return _parsed(expected), _parsed(actual)
    if isinstance(expected, str) and isinstance(actual, str) and expected[:1] in "{[" and actual[:1] in "{[":
        return _parsed(expected), _parsed(actual)
    return expected, actual


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _empty(value: Any) -> bool:
    return value in (None, "", False, "false", [], {})


def alike(expected: Any, actual: Any) -> bool:
    """Equal as services see it: `80` and `"80"`, a name and the ARN that ends with it."""
    one, other = text(expected), text(actual)
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        pass
    return other.startswith("arn:") and bool(one) and other.endswith((f"/{one}", f":{one}"))

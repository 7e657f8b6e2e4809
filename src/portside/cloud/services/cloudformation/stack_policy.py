"""Stack policies: which updates of which resources a stack allows.

Pure. `parse` reads a policy and refuses what is none; `refusal` says why an update of one resource may not be
carried out. Without a policy everything is allowed; with one, what no statement allows is denied. When a policy is
asked, and what becomes of the refused resource, is decided in `stack_loop.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation.documents import invalid

MODIFY = "Update:Modify"
REPLACE = "Update:Replace"
DELETE = "Update:Delete"
_ACTIONS = (MODIFY, REPLACE, DELETE)
_PREFIX = "LogicalResourceId/"
_OPERATORS = {"StringEquals": False, "StringLike": True, "StringNotEquals": False, "StringNotLike": True}
_KEYS = frozenset(
    {"Effect", "Action", "NotAction", "Principal", "NotPrincipal", "Resource", "NotResource", "Condition", "Sid"}
)


@dataclass(frozen=True, slots=True)
class Statement:
    """`actions` and `resources` may hold `*`. `types` are (operator, patterns) on the resource's type."""

    allows: bool
    actions: tuple[str, ...]
    other_actions: bool
    resources: tuple[str, ...]
    other_resources: bool
    types: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def covers(self, action: str, logical_id: str, kind: str) -> bool:
        acts = any(_like(action.lower(), each.lower()) for each in self.actions)
        meant = any(_like(_PREFIX + logical_id, each) for each in self.resources)
        if acts is self.other_actions or meant is self.other_resources:
            return False
        return all(_typed(operator, patterns, kind) for operator, patterns in self.types)


@dataclass(frozen=True, slots=True)
class StackPolicy:
    statements: tuple[Statement, ...]

    def refusal(self, action: str, logical_id: str, kind: str) -> str:
        """Why `action` is not allowed on a resource; empty if it is."""
        if not self.statements:
            return ""
        allowed = False
        for number, each in enumerate(self.statements, start=1):
            if not each.covers(action, logical_id, kind):
                continue
            if not each.allows:
                return (
                    f"Action denied by stack policy: Statement [#{number}] does not allow [{action}] for resource "
                    f"[{_PREFIX}{logical_id}];"
                )
            allowed = True
        if allowed:
            return ""
        return f"Action not allowed by stack policy: no statement allows [{action}] for [{_PREFIX}{logical_id}];"


def parse(text: str) -> StackPolicy:
    """ValidationError if `text` is not a stack policy."""
    try:
        document = json.loads(text)
    except ValueError:
        raise _broken() from None
    if document == {}:
        return StackPolicy(())  # how a policy is taken away again
    if not isinstance(document, dict) or set(document) - {"Statement", "Version", "Id"}:
        raise _broken()
    found = document.get("Statement")
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list) or not found:
        raise _broken()
    return StackPolicy(tuple(_statement(each) for each in found))


def _broken() -> AwsError:
    return invalid("Error validating stack policy: Invalid stack policy")


def _statement(found: Any) -> Statement:
    if not isinstance(found, dict) or set(found) - _KEYS or found.get("Effect") not in ("Allow", "Deny"):
        raise _broken()
    if found.get("Principal") not in ("*", {"AWS": "*"}) or "NotPrincipal" in found:
        raise _broken()
    actions, others = _either(found, "Action", "NotAction")
    for each in actions:
        if not any(_like(known.lower(), each.lower()) for known in _ACTIONS):
            raise _broken()
    resources, strangers = _either(found, "Resource", "NotResource")
    for each in resources:
        if each != "*" and not each.startswith(_PREFIX):
            raise _broken()
    return Statement(found["Effect"] == "Allow", actions, others, resources, strangers, _conditions(found))


def _either(found: dict[str, Any], key: str, negated: str) -> tuple[tuple[str, ...], bool]:
    if (key in found) == (negated in found):
        raise _broken()
    return _texts(found.get(key, found.get(negated))), negated in found


def _conditions(found: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    given = found.get("Condition", {})
    if not isinstance(given, dict):
        raise _broken()
    made = []
    for operator, keys in given.items():
        if operator not in _OPERATORS or not isinstance(keys, dict) or set(keys) != {"ResourceType"}:
            raise _broken()
        made.append((operator, _texts(keys["ResourceType"])))
    return tuple(made)


def _texts(value: Any) -> tuple[str, ...]:
    members = [value] if isinstance(value, str) else value
    if not isinstance(members, list) or not members or not all(isinstance(each, str) for each in members):
        raise _broken()
    return tuple(members)


def _like(text: str, pattern: str) -> bool:
    # Brackets mean nothing in a policy.
    return fnmatchcase(text, re.sub(r"([\[\]])", r"[\1]", pattern))


def _typed(operator: str, patterns: tuple[str, ...], kind: str) -> bool:
    like = _OPERATORS[operator]
    matches = any(_like(kind, each) if like else kind == each for each in patterns)
    return matches is not ("Not" in operator)

"""Whether an event matches the pattern of an EventBridge rule.

Pure. A pattern is met if each of its members is: lists hold alternatives, which are values or the filters
prefix, suffix, anything-but, exists, equals-ignore-case and wildcard. A filter that is not known matches
nothing.
"""

from __future__ import annotations

import fnmatch
from typing import Any

_ABSENT = object()


def matches(pattern: Any, event: Any) -> bool:
    if not isinstance(pattern, dict):
        return False
    for key, wanted in pattern.items():
        found = event.get(key, _ABSENT) if isinstance(event, dict) else _ABSENT
        if isinstance(wanted, dict):
            if not matches(wanted, {} if found is _ABSENT else found):
                return False
        elif not isinstance(wanted, list) or not any(_member(each, found) for each in wanted):
            return False
    return True


def _member(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict) and "exists" in wanted:
        return bool(wanted["exists"]) is (found is not _ABSENT)
    if found is _ABSENT:
        return False
    return any(_one(wanted, each) for each in (found if isinstance(found, list) else [found]))


def _one(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(wanted == value)
    (name, operand) = next(iter(wanted.items()), ("", None))
    text = value if isinstance(value, str) else ""
    match name:
        case "prefix" if isinstance(operand, str):
            return text.startswith(operand)
        case "suffix" if isinstance(operand, str):
            return text.endswith(operand)
        case "equals-ignore-case" if isinstance(operand, str):
            return text.lower() == operand.lower()
        case "wildcard" if isinstance(operand, str):
            return fnmatch.fnmatchcase(text, operand.replace("[", "[[]").replace("?", "[?]"))
        case "anything-but":
            if isinstance(operand, dict):
                return not _one(operand, value)
            return value not in (operand if isinstance(operand, list) else [operand])
        case _:
            return False

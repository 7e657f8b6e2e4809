"""Policy documents: what a statement says, and whether it speaks of a request.

Pure. Source: the IAM User Guide, "IAM JSON policy element reference". `evaluate.py` weighs the statements of
several policies against each other.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

# What a condition may ask for: key (in lower case) -> values. A key that is not there is absent, not empty.
Context = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Request:
    """One question: may `principal` do `action` to `resource`?

    `resource` is an ARN or `*`. An empty one is unknown: every resource pattern fits it, so that only the action
    is decided.
    """

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, every scalar made a list. `None` where the element is absent."""

    allows: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    principals: Mapping[str, tuple[str, ...]] | None
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def speaks_of(self, request: Request) -> bool:
        return (
            self._action(request.action)
            and self._resource(request)
            and all(_holds(*each, request.context) for each in self.conditions)
        )

    def _action(self, action: str) -> bool:
        if self.not_actions is not None:
            return not any(like(pattern, action, fold=True) for pattern in self.not_actions)
        return any(like(pattern, action, fold=True) for pattern in self.actions or ())

    def _resource(self, request: Request) -> bool:
        if not request.resource:
            return True
        if self.not_resources is not None:
            return not any(covers(filled(each, request.context), request.resource) for each in self.not_resources)
        if self.resources is None:
            # Trust policies have none: the role is the resource.
            return True
        return any(covers(filled(each, request.context), request.resource) for each in self.resources)

    def names(self, kind: str, *wanted: str) -> bool:
        """Whether one of `wanted` is among the principals of `kind` (`Service`, `AWS`)."""
        if self.principals is None:
            return False
        if "*" in self.principals.get("*", ()):
            return True
        return any(each == "*" or each in wanted for each in self.principals.get(kind, ()))


@lru_cache(maxsize=512)
def statements(document: str) -> tuple[Statement, ...]:
    """The statements of a policy document, as JSON text, plain or URL-encoded. What is none is left out."""
    text = document.strip()
    try:
        found = json.loads(text if text.startswith("{") else unquote(text))
    except ValueError:
        return ()
    listed = found.get("Statement") if isinstance(found, dict) else None
    return tuple(_statement(each) for each in _list(listed) if isinstance(each, dict))


def _statement(found: dict[str, Any]) -> Statement:
    principal = found.get("Principal")
    principals: dict[str, tuple[str, ...]] | None = None
    if isinstance(principal, dict):
        principals = {kind: _texts(named) for kind, named in principal.items()}
    elif principal is not None:
        principals = {"*": _texts(principal)}
    conditions = tuple(
        (operator, key, _texts(values))
        for operator, pairs in (found.get("Condition") or {}).items()
        for key, values in (pairs if isinstance(pairs, dict) else {}).items()
    )
    return Statement(
        allows=found.get("Effect") == "Allow",
        actions=_texts(found["Action"]) if "Action" in found else None,
        not_actions=_texts(found["NotAction"]) if "NotAction" in found else None,
        resources=_texts(found["Resource"]) if "Resource" in found else None,
        not_resources=_texts(found["NotResource"]) if "NotResource" in found else None,
        principals=principals,
        conditions=conditions,
    )


def _list(found: Any) -> list[Any]:
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in _list(found))


# Patterns


def filled(pattern: str, context: Context) -> str:
    """`${aws:username}` and its like replaced; an absent key fits nothing."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in ("*", "?", "$"):
            return f"[{name}]"
        key, _, default = name.partition(",")
        values = context.get(key.strip().lower(), ())
        return values[0] if values else default.strip().strip("'") or "\0"

    return re.sub(r"\$\{([^}]+)\}", value, pattern)


@lru_cache(maxsize=4096)
def _compiled(pattern: str, fold: bool) -> re.Pattern[str]:
    made = ""
    for piece in re.split(r"(\[[*?$]\]|[*?])", pattern):
        made += {"*": ".*", "?": "."}.get(piece) or re.escape(piece.strip("[]") if len(piece) == 3 else piece)
    return re.compile(made, re.DOTALL | (re.IGNORECASE if fold else 0))


def like(pattern: str, text: str, *, fold: bool = False) -> bool:
    """`*` is any run of characters, `?` one."""
    return _compiled(pattern, fold).fullmatch(text) is not None


def covers(pattern: str, arn: str) -> bool:
    """An ARN pattern: field by field, so that a wildcard reaches over colons only in the last one."""
    if pattern == "*":
        return True
    if arn == "*":
        return False
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    if len(given) < 6:
        return like(pattern, arn)
    # Fields that a pattern leaves out are any.
    wanted += ["*"] * (6 - len(wanted))
    return all(like(one, other) for one, other in zip(wanted, given, strict=True))


# Conditions


def _holds(operator: str, key: str, wanted: tuple[str, ...], context: Context) -> bool:
    quantifier, found, bare = operator.rpartition(":")
    name = bare if found else operator
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    values = context.get(key.lower())
    if name == "Null":
        return (values is None) == (wanted[:1] == ("true",))
    test, negated = _OPERATORS.get(name, (None, False))
    if test is None:
        # An operator that IAM does not know cannot be in a stored policy; it grants nothing.
        return False
    if quantifier.lower() == "forallvalues":
        return all(_meets(test, negated, value, wanted, context) for value in values or ())
    if values is None:
        return optional or (negated and quantifier.lower() != "foranyvalue")
    if quantifier.lower() == "foranyvalue" or not negated:
        return any(_meets(test, negated, value, wanted, context) for value in values)
    return all(_meets(test, negated, value, wanted, context) for value in values)


def _meets(
    test: Callable[[str, str], bool], negated: bool, value: str, wanted: tuple[str, ...], context: Context
) -> bool:
    return any(test(value, filled(each, context)) for each in wanted) != negated


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _moment(value: str) -> float | None:
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return _number(value)


def _compared(
    read: Callable[[str], float | None], test: Callable[[float, float], bool]
) -> Callable[[str, str], bool]:
    def compare(value: str, wanted: str) -> bool:
        one, other = read(value), read(wanted)
        return one is not None and other is not None and test(one, other)

    return compare


def _address(value: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _operators() -> dict[str, tuple[Callable[[str, str], bool], bool]]:
    made: dict[str, tuple[Callable[[str, str], bool], bool]] = {
        "StringEquals": (lambda value, wanted: value == wanted, False),
        "StringNotEquals": (lambda value, wanted: value == wanted, True),
        "StringEqualsIgnoreCase": (lambda value, wanted: value.lower() == wanted.lower(), False),
        "StringNotEqualsIgnoreCase": (lambda value, wanted: value.lower() == wanted.lower(), True),
        "StringLike": (lambda value, wanted: like(wanted, value), False),
        "StringNotLike": (lambda value, wanted: like(wanted, value), True),
        "ArnEquals": (lambda value, wanted: covers(wanted, value), False),
        "ArnLike": (lambda value, wanted: covers(wanted, value), False),
        "ArnNotEquals": (lambda value, wanted: covers(wanted, value), True),
        "ArnNotLike": (lambda value, wanted: covers(wanted, value), True),
        "Bool": (lambda value, wanted: value.lower() == wanted.lower(), False),
        "BinaryEquals": (lambda value, wanted: value == wanted, False),
        "IpAddress": (_address, False),
        "NotIpAddress": (_address, True),
    }
    for name, read in (("Numeric", _number), ("Date", _moment)):
        made |= {
            f"{name}Equals": (_compared(read, lambda one, other: one == other), False),
            f"{name}NotEquals": (_compared(read, lambda one, other: one == other), True),
            f"{name}LessThan": (_compared(read, lambda one, other: one < other), False),
            f"{name}LessThanEquals": (_compared(read, lambda one, other: one <= other), False),
            f"{name}GreaterThan": (_compared(read, lambda one, other: one > other), False),
            f"{name}GreaterThanEquals": (_compared(read, lambda one, other: one >= other), False),
        }
    return made


_OPERATORS = _operators()

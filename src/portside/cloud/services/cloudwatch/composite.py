"""Alarm rules of composite alarms: ALARM("a") AND NOT (OK("b") OR INSUFFICIENT_DATA("c")).

Pure. Source: the CloudWatch API reference, PutCompositeAlarm.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudwatch.evaluate import State

_TOKEN = re.compile(
    r"""\s*(?:(?P<word>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?P<name>"[^"]+"|'[^']+'|[^\s()]+)\s*\)"""
    r"""|(?P<other>AND\b|OR\b|NOT\b|TRUE\b|FALSE\b|\(|\)))\s*"""
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A node: `state` of the alarm `name`; or `kind` (and, or, not, true, false) over `parts`."""

    kind: str
    parts: tuple[Rule, ...] = ()
    name: str = ""
    state: State = State.ALARM


def parse(text: str) -> Rule:
    """Raises AwsError ValidationError where the text is none."""
    tokens: list[Rule | str] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _bad(text)
        if found["word"]:
            name = found["name"].strip("\"'").rpartition(":alarm:")[2]
            tokens.append(Rule("state", name=name, state=State(found["word"])))
        else:
            tokens.append(found["other"])
        position = found.end()
    rule, rest = _either(tokens, text)
    if rest:
        raise _bad(text)
    return rule


def _either(tokens: list[Rule | str], text: str) -> tuple[Rule, list[Rule | str]]:
    return _chain(tokens, text, "OR", lambda rest: _chain(rest, text, "AND", lambda inner: _one(inner, text)))


def _chain(
    tokens: list[Rule | str],
    text: str,
    word: str,
    inner: Callable[[list[Rule | str]], tuple[Rule, list[Rule | str]]],
) -> tuple[Rule, list[Rule | str]]:
    first, rest = inner(tokens)
    parts = [first]
    while rest and rest[0] == word:
        another, rest = inner(rest[1:])
        parts.append(another)
    return (Rule(word.lower(), tuple(parts)) if len(parts) > 1 else first), rest


def _one(tokens: list[Rule | str], text: str) -> tuple[Rule, list[Rule | str]]:
    if not tokens:
        raise _bad(text)
    head, rest = tokens[0], tokens[1:]
    if isinstance(head, Rule):
        return head, rest
    match head:
        case "NOT":
            inner, rest = _one(rest, text)
            return Rule("not", (inner,)), rest
        case "(":
            inner, rest = _either(rest, text)
            if not rest or rest[0] != ")":
                raise _bad(text)
            return inner, rest[1:]
        case "TRUE" | "FALSE":
            return Rule(head.lower()), rest
    raise _bad(text)


def names(rule: Rule) -> set[str]:
    found = {rule.name} if rule.name else set()
    return found.union(*(names(each) for each in rule.parts))


def holds(rule: Rule, states: Callable[[str], State | None]) -> bool:
    match rule.kind:
        case "state":
            return states(rule.name) is rule.state
        case "and":
            return all(holds(each, states) for each in rule.parts)
        case "or":
            return any(holds(each, states) for each in rule.parts)
        case "not":
            return not holds(rule.parts[0], states)
    return rule.kind == "true"


def _bad(text: str) -> AwsError:
    return AwsError("ValidationError", f"Invalid alarm rule: {text}")

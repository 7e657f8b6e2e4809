"""The cluster query language of `memberOf` placement constraints.

Pure. `matches("attribute:ecs.instance-type =~ t3.*", subject)`; a broken expression raises ValueError. Subjects
are `attribute:NAME`, `task:group` and the bare words of container instances (`ec2InstanceId`, `agentConnected`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

_TOKEN = re.compile(
    r"""\s*(=~|!~|==|!=|>=|<=|>|<|!(?:exists|in)\b|!(?=\s*\()|&&|\|\||[()\[\],]|"[^"]*"|'[^']*'|[^\s()\[\],=!<>&|]+)"""
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
_WORDS = {
    "equals": "==",
    "not_equals": "!=",
    "matches": "=~",
    "not_matches": "!~",
    "greater_than": ">",
    "greater_than_equal": ">=",
    "less_than": "<",
    "less_than_equal": "<=",
    "&&": "and",
    "||": "or",
    "!": "not",
}
Subject = Mapping[str, tuple[str, ...]]


Predicate = Callable[[Subject], bool]


def matches(expression: str, subject: Subject) -> bool:
    """Does a container instance satisfy `expression`? `subject` maps names to the values it has there."""
    return compiled(expression)(subject)


@lru_cache(maxsize=256)
def compiled(expression: str) -> Predicate:
    """The expression as a question to a container instance; ValueError if it is broken."""
    parser = _Parser(_tokens(expression))
    answer = parser.either()
    if parser.peek() is not None:
        raise ValueError(f"unexpected '{parser.peek()}'")
    return answer


def check(expression: str) -> None:
    """Raise ValueError if the expression is broken."""
    compiled(expression)


def _tokens(expression: str) -> list[str]:
    found, position = [], 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read '{text[position:]}'")
        found.append(_WORDS.get(match[1], match[1]))
        position = match.end()
    if not found:
        raise ValueError("the expression is empty")
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0

    def peek(self) -> str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def take(self) -> str:
        word = self.peek()
        if word is None:
            raise ValueError("the expression ends too early")
        self._position += 1
        return word

    def either(self) -> Predicate:
        left = self.both()
        while self.peek() == "or":
            self.take()
            left = _or(left, self.both())
        return left

    def both(self) -> Predicate:
        left = self.one()
        while self.peek() == "and":
            self.take()
            left = _and(left, self.one())
        return left

    def one(self) -> Predicate:
        word = self.peek()
        if word == "not":
            self.take()
            inner = self.one()
            return lambda subject: not inner(subject)
        if word == "(":
            self.take()
            inner = self.either()
            if self.take() != ")":
                raise ValueError("a closing parenthesis is missing")
            return inner
        return self.comparison()

    def comparison(self) -> Predicate:
        name = self.take()
        operator = self.take()
        if operator == "not" and self.peek() == "in":
            self.take()
            operator = "not_in"
        match operator:
            case "exists":
                return lambda subject: bool(subject.get(name))
            case "not_exists" | "!exists":
                return lambda subject: not subject.get(name)
            case "in" | "not_in" | "!in":
                values = self.values()
                inside = operator == "in"
                return lambda subject: any(v in values for v in subject.get(name, ())) is inside
            case "==" | "!=" | "=~" | "!~" | ">" | ">=" | "<" | "<=":
                return _compare(name, operator, _unquoted(self.take()))
        raise ValueError(f"'{operator}' is not an operator")

    def values(self) -> frozenset[str]:
        if self.take() != "[":
            raise ValueError("a list in brackets is expected")
        found = set()
        while (word := self.take()) != "]":
            if word != ",":
                found.add(_unquoted(word))
        return frozenset(found)


def _or(left: Predicate, right: Predicate) -> Predicate:
    return lambda subject: left(subject) or right(subject)


def _and(left: Predicate, right: Predicate) -> Predicate:
    return lambda subject: left(subject) and right(subject)


def _compare(name: str, operator: str, value: str) -> Predicate:
    if operator in ("=~", "!~"):
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ValueError(f"'{value}' is not a pattern: {error}") from None
        wanted = operator == "=~"
        return lambda subject: any(pattern.fullmatch(v) is not None for v in subject.get(name, ())) is wanted
    if operator in ("==", "!="):
        equal = operator == "=="
        return lambda subject: (value in subject.get(name, ())) is equal
    limit = _rank(value)
    if limit is None:
        raise ValueError(f"'{value}' is not a number, a version or a moment")
    kind, bound = limit
    or_equal = operator.endswith("=")

    def ordered(subject: Subject) -> bool:
        for text in subject.get(name, ()):
            found = _rank(text)
            if found is None or found[0] != kind:
                continue
            below, above = found[1] < bound, found[1] > bound
            if (above if operator.startswith(">") else below) or (or_equal and not below and not above):
                return True
        return False

    return ordered


def _rank(text: str) -> tuple[str, tuple[float, ...]] | None:
    """What a value is and where it stands among its kind: 7, 1.86.0 or 2026-01-01T00:00:00Z; None if nowhere."""
    if _NUMBER.fullmatch(text):
        return "number", (float(text),)
    if _VERSION.fullmatch(text):
        return "version", tuple(float(each) for each in text.split("."))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return "moment", ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(),)


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) >= 2 and word[0] == word[-1] and word[0] in "\"'" else word

"""The images that a Dockerfile begins from or copies from, and a Dockerfile with other names for them.

Pure. Reads no more of a Dockerfile than that: continuation lines, the escape directive, ARG before the first FROM,
`FROM` and `COPY --from`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"#\s*escape\s*=\s*(\S)\s*$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_FROM = re.compile(r"(\s*FROM\s+(?:--\S+\s+)*)(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_COPY = re.compile(r"(\s*COPY\s+(?:--\S+\s+)*?--from=)(\S+)(\s.*)", re.IGNORECASE | re.DOTALL)
_ARG = re.compile(r"\s*ARG\s+(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Use:
    """An image that is used: where in the text its name stands, and what the name comes to."""

    start: int
    end: int
    image: str


def uses(text: str, arguments: Mapping[str, str]) -> list[Use]:
    """In the order of the text. Stages of the Dockerfile itself, `scratch` and numbers are left out."""
    found: list[Use] = []
    stages: set[str] = set()
    values: dict[str, str] = {}
    begun = False
    for start, line in _lines(text):
        match = _FROM.fullmatch(line)
        if match is not None:
            begun = True
            image = _expanded(match[2], values)
            if image.lower() != "scratch" and image.lower() not in stages:
                found.append(Use(start + match.start(2), start + match.end(2), image))
            if match[3]:
                stages.add(match[3].lower())
            continue
        match = _COPY.fullmatch(line)
        if match is not None and begun:
            image = match[2]
            if not image.isdigit() and image.lower() not in stages:
                found.append(Use(start + match.start(2), start + match.end(2), image))
            continue
        match = _ARG.fullmatch(line)
        if match is not None and not begun:
            for word in match[1].split():
                name, given, default = word.partition("=")
                if name in arguments:
                    values[name] = arguments[name]
                elif given:
                    values[name] = _expanded(default.strip("\"'"), values)
    return found


def renamed(text: str, used: list[Use], names: Mapping[str, str]) -> str:
    """The text with the images in `names` under their other names."""
    for use in reversed(used):
        if use.image in names:
            text = text[: use.start] + names[use.image] + text[use.end :]
    return text


def _lines(text: str) -> list[tuple[int, str]]:
    """Instructions with the place where they begin. Continuations keep their length, as blanks."""
    escape = "\\"
    first = text.split("\n", 1)[0]
    directive = _DIRECTIVE.match(first)
    if directive is not None:
        escape = directive[1]
    found: list[tuple[int, str]] = []
    at = 0
    pending: str | None = None
    begun = 0
    for raw in text.split("\n"):
        line = raw
        size = len(raw) + 1
        stripped = line.strip()
        if stripped.startswith("#") or (pending is not None and not stripped):
            line = " " * len(raw)  # comments and blank lines may stand inside a continuation
            if pending is None:
                at += size
                continue
            pending += line + " "
            at += size
            continue
        if pending is None:
            pending, begun = "", at
        end = line.rstrip()
        if end.endswith(escape):
            pending += end[:-1] + " " * (len(line) - len(end) + 1) + " "
        else:
            found.append((begun, pending + line))
            pending = None
        at += size
    if pending is not None:
        found.append((begun, pending))
    return found


def _expanded(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, rule, other = found[1] or found[2], found[3] or "", found[4] or ""
        present = values.get(name)
        is_set = bool(present) if rule.startswith(":") else present is not None
        if rule.endswith("-"):
            return (present or "") if is_set else other
        if rule.endswith("+"):
            return other if is_set else ""
        return present or ""

    return _VARIABLE.sub(value, text.strip("\"'"))

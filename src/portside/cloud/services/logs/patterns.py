"""Filter patterns for unstructured text: terms, "quoted phrases", `?either ?or`, `-not`.

Pure. Patterns for JSON (`{ $.level = "error" }`), for columns (`[ip, user]`) and regular expressions are refused,
not misread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|(\S+))')


class Unsupported(ValueError):
    """A kind of pattern that is not offered, or a broken one."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """All of `required`, at least one of `either` if there are any and nothing is required, none of `excluded`."""

    required: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def matches(self, text: str) -> bool:
        if any(term in text for term in self.excluded):
            return False
        if self.required:
            return all(term in text for term in self.required)
        return not self.either or any(term in text for term in self.either)


def parse(text: str) -> Pattern:
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        raise Unsupported("Filter patterns for JSON and for space-delimited events are not offered here.")
    if stripped[:1] == "%":
        raise Unsupported("Regular expressions in filter patterns are not offered here.")
    found: dict[str, list[str]] = {"": [], "?": [], "-": []}
    for sign, phrase, word in _TERM.findall(stripped):
        term = re.sub(r"\\(.)", r"\1", phrase) if phrase else word
        if '"' in word:
            raise Unsupported("Invalid filter pattern")
        if term:
            found[sign].append(term)
    return Pattern(tuple(found[""]), tuple(found["?"]), tuple(found["-"]))

"""The patterns by which triggers pick branches, tags and files.

Pure. `*` stands for anything but a slash, `**` for anything, `?` for one character, `{a,b}` for either. Excludes
win over includes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from portside.cloud.services.calls import Params


def matches(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


def picked(criteria: Params, name: str) -> bool:
    """Whether a branch or a tag is meant."""
    includes, excludes = criteria.get("includes") or (), criteria.get("excludes") or ()
    if any(matches(each, name) for each in excludes):
        return False
    return not includes or any(matches(each, name) for each in includes)


def touched(criteria: Params, files: Iterable[str] | None) -> bool:
    """Whether one of the changed files is meant. What cannot be told counts as changed."""
    return files is None or any(picked(criteria, each) for each in files)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    out = []
    index = 0
    depth = 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**/", index):
            out.append("(?:.*/)?")
            index += 3
            continue
        if pattern.startswith("**", index):
            out.append(".*")
            index += 2
            continue
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "{" and "}" in pattern[index:]:
            out.append("(?:")
            depth += 1
        elif char == "}" and depth:
            out.append(")")
            depth -= 1
        elif char == "," and depth:
            out.append("|")
        else:
            out.append(re.escape(char))
        index += 1
    out.append(")" * depth)
    return re.compile("".join(out), re.DOTALL)

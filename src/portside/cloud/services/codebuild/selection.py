"""Which files of a build an artifact, a report or a cache means.

Pure: patterns over paths in the container. `collecting.py` fetches the files.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_SPECIAL = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Selection:
    """Absolute patterns, relative to `base` (absolute too, possibly with patterns) when the files are named."""

    base: str
    patterns: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    @property
    def roots(self) -> tuple[str, ...]:
        """The directories or files that hold everything that can match, none inside another."""
        found = sorted({_static(pattern) for pattern in self.patterns})
        return tuple(
            root
            for root in found
            if not any(root != other and (root + "/").startswith(other.rstrip("/") + "/") for other in found)
        )

    def name(self, path: str) -> str | None:
        """The name under which the file at `path` is kept; None if it is not selected."""
        if not any(_compiled(pattern).fullmatch(path) for pattern in self.patterns):
            return None
        base = _compiled(self.base.rstrip("/") + "/").match(path) if self.base != "/" else re.match("/", path)
        name = path[base.end() :] if base is not None else path.lstrip("/")
        if any(_compiled(pattern).fullmatch(name) for pattern in self.exclude):
            return None
        return name


def select(source: str, base_directory: str, files: Iterable[str], exclude: Iterable[str] = ()) -> Selection:
    """`source` is the directory that relative paths are meant from, whatever a command's own directory was."""
    base = posixpath.normpath(posixpath.join(source, base_directory or "."))
    return Selection(
        base,
        tuple(posixpath.normpath(posixpath.join(base, _home(each))) for each in files),
        tuple(posixpath.normpath(each) for each in exclude),
    )


def _home(pattern: str) -> str:
    return "/root" + pattern[1:] if pattern == "~" or pattern.startswith("~/") else pattern


def flattened(names: Iterable[str]) -> dict[str, str]:
    """Name -> its last part, for discard-paths."""
    return {name: posixpath.basename(name) for name in names}


def _static(pattern: str) -> str:
    """The part of a path before its first wild card, whole directories only."""
    found = _SPECIAL.search(pattern)
    if found is None:
        return pattern
    return pattern[: found.start()].rpartition("/")[0] or "/"


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    out, index = "", 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**/", index):
            out += "(?:.*/)?"
            index += 3
        elif pattern.startswith("**", index):
            out += ".*"
            index += 2
        elif char == "*":
            out += "[^/]*"
            index += 1
        elif char == "?":
            out += "[^/]"
            index += 1
        elif char == "[" and (end := pattern.find("]", index + 2)) > 0:
            inner = pattern[index + 1 : end]
            negated = inner[:1] in ("!", "^")
            members = re.escape(inner[negated:]).replace(r"\-", "-")
            out += f"[{'^' if negated else ''}{members}]"
            index = end + 1
        else:
            out += re.escape(char)
            index += 1
    return re.compile(out)

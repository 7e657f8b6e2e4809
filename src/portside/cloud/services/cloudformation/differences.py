"""Two values compared member by member: where they differ, and how.

Pure. Owns the paths and the three kinds of difference that change sets and drift have in common; what a
difference means is said in `changes.py` and `drift.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from portside.cloud.services.cloudformation.intrinsics import UNKNOWN

Path = tuple[str, ...]


class Kind(StrEnum):
    """As `AttributeChangeType` of a change set spells it."""

    ADD = "Add"
    REMOVE = "Remove"
    MODIFY = "Modify"


@dataclass(frozen=True, slots=True)
class Difference:
    """`before` of an added member and `after` of a removed one are None."""

    path: Path
    kind: Kind
    before: Any = None
    after: Any = None


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[Difference]:
    """Everything in which `after` is not `before`, down to the smallest member."""
    if before is not UNKNOWN and after is not UNKNOWN:
        if isinstance(before, dict) and isinstance(after, dict):
            for name in dict.fromkeys([*before, *after]):
                yield from _member(before, after, name, (*path, str(name)))
            return
        if isinstance(before, list) and isinstance(after, list):
            old, new = dict(enumerate(before)), dict(enumerate(after))
            for index in range(max(len(before), len(after))):
                yield from _member(old, new, index, (*path, str(index)))
            return
    if before != after:
        yield Difference(path, Kind.MODIFY, before, after)


def _member(before: dict[Any, Any], after: dict[Any, Any], name: Any, path: Path) -> Iterator[Difference]:
    if name not in after:
        yield Difference(path, Kind.REMOVE, before=before[name])
    elif name not in before:
        yield Difference(path, Kind.ADD, after=after[name])
    else:
        yield from differences(before[name], after[name], path)


def pointer(path: Path) -> str:
    """The path as answers show it, `/` and `~` in names escaped."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def plain(value: Any) -> Any:
    """With the mark of what is not known yet written out, and numbers and truth values as text."""
    if value is UNKNOWN:
        return repr(UNKNOWN)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return value


def text(value: Any) -> str:
    """A value as answers show it: text as it is, all else as JSON."""
    shown = plain(value)
    return shown if isinstance(shown, str) else json.dumps(shown, separators=(",", ":"))

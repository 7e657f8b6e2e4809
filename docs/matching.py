"""Compares an answer with one that was recorded from AWS, whose ids and times were replaced by words.

Pure. A recorded `<stack-name:1>` stands for any text, the same one wherever it stands; `datetime` and `timestamp` for
any time; the account 111111111111 for the account. Lists whose members have a name are compared by it, for AWS gives
them in no order.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

RECORDED_ACCOUNT = "111111111111"
# Words of the recordings that are no holes by their form.
FREE = frozenset({"url_suffix"})
TIMES = frozenset({"datetime", "timestamp", "date"})
KEYS = ("ParameterKey", "LogicalResourceId", "Key", "OutputKey", "Name")
_HOLE = re.compile(r"<[a-zA-Z][a-zA-Z0-9_:\- ]*>")
# What AWS draws at random, where it was not replaced: the end of a physical name, a version id, an event's time.
_SUFFIX = re.compile(r"(?<=[A-Za-z0-9]-)[A-Za-z0-9]{12}$")
# The same within a text: what was made up follows the name of a stack and that of a resource.
_MADE_UP = re.compile(r"(-[A-Za-z0-9]+-)[A-Za-z0-9]{12}(?![A-Za-z0-9])")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EVENT = re.compile(r"^([A-Za-z0-9]+-[A-Z_]+)-(date|\d{4}-.*Z)$")


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    aws: str
    here: str


@dataclass(slots=True)
class Matcher:
    """One recording: what its words have come to stand for."""

    account: str
    bound: dict[str, str] = field(default_factory=dict)
    found: list[Difference] = field(default_factory=list)

    def compare(self, recorded: Any, here: Any, path: str = "") -> None:
        if path.endswith("/ResponseMetadata"):
            recorded, here = recorded.get("HTTPStatusCode"), here.get("HTTPStatusCode")
        if isinstance(recorded, (dict, list)) and isinstance(here, str):
            with contextlib.suppress(ValueError):
                here = json.loads(here)
        if isinstance(recorded, dict) and isinstance(here, dict):
            self._members(recorded, here, path)
        elif isinstance(recorded, list) and isinstance(here, list):
            self._list(recorded, here, path)
        elif isinstance(recorded, str):
            if not self._text(recorded, here):
                self._differs(path, recorded, here)
        elif recorded != here:
            self._differs(path, recorded, here)

    def _members(self, recorded: dict[str, Any], here: dict[str, Any], path: str) -> None:
        theirs = {self._name(key): value for key, value in recorded.items()}
        for key in sorted({*theirs, *here}):
            if key in theirs and key in here:
                self.compare(theirs[key], here[key], f"{path}/{key}")
            else:
                self._differs(f"{path}/{key}", theirs.get(key), here.get(key))

    def _name(self, key: str) -> str:
        """What a key of the recording is called here."""
        return _HOLE.sub(lambda hole: self.bound.get(hole[0], hole[0]), key)

    def _list(self, recorded: list[Any], here: list[Any], path: str) -> None:
        key = next((each for each in KEYS if _keyed(recorded, each) and _keyed(here, each)), "")
        if key:
            mine = {each[key]: each for each in here}
            theirs = {self._name(each[key]): each for each in recorded}
            for name in {**theirs, **mine}:
                self._pair(theirs.get(name), mine.get(name), f"{path}/{name}")
            return
        if path.endswith("/Details"):
            recorded, here = sorted(recorded, key=_detail), sorted(here, key=_detail)
        if all(isinstance(each, str) for each in [*recorded, *here]) and not _HOLE.search(str(recorded)):
            recorded, here = sorted(recorded), sorted(here)
        for number in range(max(len(recorded), len(here))):
            one = recorded[number] if number < len(recorded) else None
            other = here[number] if number < len(here) else None
            self._pair(one, other, f"{path}/{number}")

    def _pair(self, recorded: Any, here: Any, path: str) -> None:
        if recorded is None or here is None:
            self._differs(path, recorded, here)
        else:
            self.compare(recorded, here, path)

    def _text(self, recorded: str, here: Any) -> bool:
        if recorded in TIMES:
            return isinstance(here, datetime) or bool(re.match(r"\d{4}-\d\d-\d\d[T ]", str(here)))
        if not isinstance(here, str):
            return False
        if recorded in FREE:
            return True
        if _EVENT.match(recorded) and _EVENT.match(here):
            recorded, here = _EVENT.sub(r"\1", recorded), _EVENT.sub(r"\1", here)
        recorded = recorded.replace(RECORDED_ACCOUNT, self.account)
        # Before the ends of names, for the end of an id looks like one.
        if _UUID.search(recorded):
            recorded, here = _UUID.sub("uuid", recorded), _UUID.sub("uuid", here)
        if _SUFFIX.search(recorded):
            recorded, here = _SUFFIX.sub("suffix", recorded), _SUFFIX.sub("suffix", here)
        if _HOLE.search(recorded):
            return self._filled(recorded, here)
        return recorded == here

    def _filled(self, recorded: str, here: str) -> bool:
        pattern, names, at = "", [], 0
        for hole in _HOLE.finditer(recorded):
            pattern += re.escape(recorded[at : hole.start()])
            at = hole.end()
            name = hole[0]
            if name in self.bound:
                pattern += re.escape(self.bound[name])
            elif name in names:
                pattern += f"(?P=g{names.index(name)})"
            else:
                pattern += f"(?P<g{len(names)}>.+?)"
                names.append(name)
        found = re.fullmatch(pattern + re.escape(recorded[at:]), here, re.DOTALL)
        if found is None:
            return False
        self.bound |= {name: found[f"g{number}"] for number, name in enumerate(names)}
        return True

    def _differs(self, path: str, recorded: Any, here: Any) -> None:
        self.found.append(Difference(path.strip("/"), self._shown(recorded), self._shown(here)))

    def _shown(self, value: Any) -> str:
        if value is None:
            return "nothing"
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        for name, stands in sorted(self.bound.items(), key=lambda pair: -len(pair[1])):
            if len(stands) > 3:
                text = text.replace(stands, name)
        return _MADE_UP.sub(r"\1suffix", text.replace(self.account, RECORDED_ACCOUNT))


def _detail(detail: dict[str, Any]) -> tuple[str, ...]:
    """AWS lists the details of a change in no order."""
    target = detail["Target"]
    return (
        target.get("Attribute", ""), target.get("Name", ""), target.get("Path", ""), detail["Evaluation"],
        detail.get("ChangeSource", ""),
    )  # fmt: skip


def _keyed(values: list[Any], key: str) -> bool:
    names = [each.get(key) for each in values if isinstance(each, dict)]
    return len(names) == len(values) and None not in names and len(set(names)) == len(names)

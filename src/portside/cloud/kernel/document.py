"""Records as JSON text, the form in which rows keep what is nested.

Owns the choice of encoder: orjson, which takes dataclasses as they are and is several times as fast as the
standard library's. It knows no integers of more than 64 bits, which a template may hold; what has some is written
by the standard library, and marked by a space in front so that it is read by it too.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

_BY_JSON = " "


def dump(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _BY_JSON + json.dumps(value, default=_members, separators=(",", ":"))


def load(text: str) -> Any:
    return json.loads(text) if text.startswith(_BY_JSON) else orjson.loads(text)


def _members(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}

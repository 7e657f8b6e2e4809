"""Records as JSON text."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from portside.cloud.kernel.document import dump, load


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    pairs: tuple[tuple[str, int], ...] = ()
    given: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "number", [1, -(2**63), 2**64 - 1, 2**64, 123456789012345678901234567890, 0.1, -0.0, 1e300]
)
def test_numbers_come_back_as_they_were(number: float) -> None:
    back = load(dump(Outer(Inner("a"), (("x", 1),), {"n": number, "text": "ü\u2028\x00"})))
    assert back == {
        "inner": {"name": "a", "colour": "red"},
        "pairs": [["x", 1]],
        "given": {"n": number, "text": "ü\u2028\x00"},
    }
    assert type(back["given"]["n"]) is type(number)


def test_what_was_written_with_other_spacing_is_read() -> None:
    assert load('{"a": 1, "b": "\\u00fc"}') == {"a": 1, "b": "ü"}

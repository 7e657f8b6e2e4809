"""Records, and what is quicker about them than about dataclasses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from portside.cloud.kernel.record import of_members, record, replace


@record(frozen=True, slots=True)
class Stop:
    name: str
    number: int = 0
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    number: int = 0


def test_what_is_replaced_is_another_record_that_shares_the_rest() -> None:
    before = Stop("a", 1, {"x": "y"})
    after = replace(before, number=2)
    assert after == Stop("a", 2, {"x": "y"}) == dataclasses.replace(before, number=2)
    assert before == Stop("a", 1, {"x": "y"})
    assert after.notes is before.notes


def test_a_member_that_a_record_does_not_have_is_refused() -> None:
    with pytest.raises(AttributeError, match="nmber"):
        replace(Stop("a"), nmber=2)  # type: ignore[call-arg]


def test_what_is_no_record_is_replaced_as_ever() -> None:
    assert replace(Plain("a"), number=2) == Plain("a", 2)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"number": 3, "notes": {"k": "v"}, "name": "b"}, Stop("b", 3, {"k": "v"})),
        ({"name": "b"}, Stop("b")),
        ({"name": "b", "notes": {}}, Stop("b")),
    ],
)
def test_members_in_any_order_and_those_that_an_older_row_lacks(
    members: dict[str, object], expected: Stop
) -> None:
    assert of_members(Stop, members) == expected


@pytest.mark.parametrize("members", [{}, {"name": "a", "number": 1, "notes": {}, "more": 1}])
def test_members_that_make_no_record(members: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"name|more"):
        of_members(Stop, members)

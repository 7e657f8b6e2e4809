"""Identifiers."""

from __future__ import annotations

import re

import pytest

from portside.cloud.kernel import ids
from portside.cloud.kernel.ids import Ids

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("source", [Ids(), Ids(7)], ids=["system", "seed"])
def test_each_form_has_its_length_and_its_letters(source: Ids) -> None:
    assert UUID.fullmatch(source.uuid())
    assert re.fullmatch(r"[0-9a-f]{32}", source.hex(32))
    assert re.fullmatch(r"[1-9][0-9]{9}", source.digits(10))
    assert re.fullmatch(r"[A-Za-z0-9]{12}", source.alnum(12))
    assert re.fullmatch(r"[A-Z0-9]{12}", source.upper(12))
    assert re.fullmatch(r"[a-z0-9]{12}", source.lower(12))
    assert len(source.bytes(5)) == 5
    assert 0 <= source.shuffle_key() < 1


def test_what_is_drawn_from_the_system_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many numbers are drawn at once; none may be handed out again, nor any bit of one left out."""
    drawn: list[bytes] = []
    system = ids.os.urandom

    def urandom(size: int) -> bytes:
        drawn.append(system(size))
        return drawn[-1]

    monkeypatch.setattr(ids.os, "urandom", urandom)
    source = Ids()
    found = [source.hex(32) for _ in range(1000)]
    assert "".join(found[:256]) == drawn[0].hex()
    assert len(set(found)) == 1000
    assert sum(len(each) for each in drawn) >= 16 * 1000


def test_a_number_longer_than_what_is_drawn_at_once() -> None:
    assert re.fullmatch(r"[0-9a-f]{10000}", Ids().hex(10000))


def test_a_seed_repeats_itself() -> None:
    assert [Ids(3).uuid(), Ids(3).alnum(9)] == [Ids(3).uuid(), Ids(3).alnum(9)]

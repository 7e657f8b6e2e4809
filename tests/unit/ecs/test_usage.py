"""Utilisation from samples."""

import pytest

from portside.cloud.services.ecs.usage import Share, between, statistics


def test_an_average_is_weighted_by_what_is_reserved():
    found = statistics([Share(256, 256), Share(0, 768)])
    assert found == {"SampleCount": 2.0, "Sum": pytest.approx(50.0), "Minimum": 0.0, "Maximum": 100.0}


def test_more_than_the_reservation_is_shown_as_such():
    assert statistics([Share(1024, 256)])["Maximum"] == 400.0


@pytest.mark.parametrize("shares", [[], [Share(10, 0)]])
def test_nothing_reserved_is_no_datum(shares):
    assert statistics(shares) is None


@pytest.mark.parametrize(
    ("before", "cpu", "at", "units"),
    [
        ((0.0, 100.0), 30.0, 160.0, 512.0),
        ((30.0, 160.0), 30.0, 220.0, 0.0),
        ((30.0, 160.0), 10.0, 220.0, None),
        ((30.0, 160.0), 40.0, 160.0, None),
    ],
    ids=["half a core", "idle", "began again", "no time between"],
)
def test_the_average_between_two_samples(before, cpu, at, units):
    assert between(before, cpu, at) == units

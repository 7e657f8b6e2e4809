"""The arithmetic of scaling policies, by the examples of the Amazon EC2 Auto Scaling User Guide."""

import pytest

from portside.cloud.services.scaling.adjustments import Adjustment, Bounds, StepRange, adjusted, rounded, step

WIDE = Bounds(0, 1000)


@pytest.mark.parametrize(
    ("change", "wanted"), [(12.7, 12), (-6.67, -6), (0.67, 1), (-0.58, -1), (0.0, 0), (1.0, 1), (-1.0, -1)]
)
def test_percentages_round_towards_zero_but_not_to_it(change, wanted):
    assert rounded(change) == wanted


@pytest.mark.parametrize(
    ("capacity", "adjustment", "bounds", "wanted"),
    [
        (3, Adjustment("ChangeInCapacity", 2), WIDE, 5),
        (3, Adjustment("ChangeInCapacity", -5), WIDE, 0),
        (3, Adjustment("ChangeInCapacity", 9), Bounds(1, 5), 5),
        (3, Adjustment("ExactCapacity", 9), Bounds(1, 5), 5),
        (3, Adjustment("ExactCapacity", 0), Bounds(1, 5), 1),
        (10, Adjustment("PercentChangeInCapacity", 10), WIDE, 11),
        (11, Adjustment("PercentChangeInCapacity", 30), WIDE, 14),
        (4, Adjustment("PercentChangeInCapacity", 25, least=2), WIDE, 6),
        (4, Adjustment("PercentChangeInCapacity", -25, least=2), WIDE, 2),
        (0, Adjustment("PercentChangeInCapacity", 50, least=2), WIDE, 0),
    ],
)
def test_adjustments(capacity, adjustment, bounds, wanted):
    assert adjusted(capacity, adjustment, bounds) == wanted


OUT = [StepRange(0, 10, 0), StepRange(10, 20, 10), StepRange(20, None, 30)]
IN = [StepRange(-10, 0, 0), StepRange(-20, -10, -10), StepRange(None, -20, -30)]


@pytest.mark.parametrize(
    ("steps", "breach", "wanted"),
    [
        (OUT, 0, 0),
        (OUT, 9.9, 0),
        (OUT, 10, 10),
        (OUT, 20, 30),
        (OUT, 500, 30),
        (OUT, -1, None),
        (IN, -10, -10),
        (IN, -9.9, 0),
        (IN, -20, -30),
        (IN, -19.9, -10),
        (IN, 1, None),
    ],
)
def test_steps_include_the_bound_nearer_to_the_threshold(steps, breach, wanted):
    assert step(steps, breach) == wanted

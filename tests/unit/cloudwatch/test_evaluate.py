"""Alarm states by the table of the CloudWatch User Guide. 0 is good, X breaches, - is missing; oldest first."""

import pytest

from portside.cloud.services.cloudwatch.evaluate import Missing, Rule, State, Value, decide

O, A, I = State.OK, State.ALARM, State.INSUFFICIENT_DATA  # noqa: E741
KEEP = None
TABLE = [
    # points, needed of three, missing, ignore, breaching, notBreaching
    ("0-X-X", 3, O, O, O, O),
    ("0----", 3, O, O, O, O),
    ("-----", 3, I, KEEP, A, O),
    ("0XX-X", 3, A, A, A, A),
    ("----X", 3, I, KEEP, A, O),
    ("X----", 3, A, KEEP, A, O),
    ("0-X-X", 2, A, A, A, A),
    ("00X0X", 2, A, A, A, A),
    ("0-X--", 2, O, O, A, O),
    ("----0", 2, O, O, A, O),
    ("----X", 2, I, KEEP, A, O),
]
ROWS = [
    (points, needed, missing, wanted)
    for points, needed, *states in TABLE
    for missing, wanted in zip(Missing, states, strict=True)
]


def seen(points):
    values = {"0": 10.0, "X": 90.0}
    return [None if each == "-" else Value(60.0 * index, values[each]) for index, each in enumerate(points)]


@pytest.mark.parametrize(("points", "needed", "missing", "wanted"), ROWS)
@pytest.mark.parametrize("present", list(State))
def test_the_table(points, needed, missing, wanted, present):
    rule = Rule("GreaterThanThreshold", 80.0, 3, needed, missing)
    state, reason = decide(rule, seen(points), present)
    assert state is (present if wanted is KEEP else wanted)
    assert reason


@pytest.mark.parametrize(
    ("comparison", "value", "wanted"),
    [
        ("GreaterThanThreshold", 80.0, O),
        ("GreaterThanThreshold", 80.1, A),
        ("GreaterThanOrEqualToThreshold", 80.0, A),
        ("LessThanThreshold", 80.0, O),
        ("LessThanThreshold", 79.9, A),
        ("LessThanOrEqualToThreshold", 80.0, A),
    ],
)
def test_comparisons(comparison, value, wanted):
    state, _ = decide(Rule(comparison, 80.0, 1, 1), [None, None, Value(0.0, value)], O)
    assert state is wanted


def test_reasons_in_aws_words():
    rule = Rule("GreaterThanThreshold", 75.0, 1, 1)
    _, reason = decide(rule, [None, None, Value(1767225600.0, 85.0)], O)
    assert reason == (
        "Threshold Crossed: 1 out of the last 1 datapoints [85.0 (01/01/26 00:00:00)] was greater than the threshold "
        "(75.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    _, reason = decide(rule, [None, None, Value(1767225600.0, 5.0)], A)
    assert reason == (
        "Threshold Crossed: 1 out of the last 1 datapoints [5.0 (01/01/26 00:00:00)] was not greater than the threshold "
        "(75.0) (minimum 1 datapoint for ALARM -> OK transition)."
    )
    _, reason = decide(rule, [None, None, None], O)
    assert reason == "Insufficient Data: 1 datapoint was unknown."
    _, reason = decide(Rule("GreaterThanThreshold", 75.0, 2, 2, Missing.BREACHING), [None] * 4, O)
    assert reason == (
        "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as "
        "[Breaching]."
    )

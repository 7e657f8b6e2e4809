"""When at, rate and cron expressions are due next."""

from datetime import UTC, datetime

import pytest

from portside.cloud.services.scaling.schedules import ScheduleError, next_due


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def due(expression, after, zone="", begin=0.0):
    found = next_due(expression, zone, begin, moment(after))
    return None if found is None else datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("at(2024-03-01T10:00:00)", "2024-02-01T00:00", "2024-03-01T10:00"),
        ("at(2024-03-01T10:00:00)", "2024-03-01T10:00", None),
        ("cron(0 10 * * ? *)", "2024-03-01T09:00", "2024-03-01T10:00"),
        ("cron(0 10 * * ? *)", "2024-03-01T10:00", "2024-03-02T10:00"),
        ("cron(15 12 ? * MON-FRI *)", "2024-03-01T13:00", "2024-03-04T12:15"),
        ("cron(0/20 8-9 ? * 1 *)", "2024-03-03T08:25", "2024-03-03T08:40"),
        ("cron(0 0 L * ? *)", "2024-02-10T00:00", "2024-02-29T00:00"),
        ("cron(0 0 ? * 6L *)", "2024-02-10T00:00", "2024-02-23T00:00"),
        ("cron(0 0 ? * TUE#2 *)", "2024-03-01T00:00", "2024-03-12T00:00"),
        ("cron(0 0 3W * ? *)", "2024-03-01T00:00", "2024-03-04T00:00"),
        ("cron(0 0 1 JAN ? 2020)", "2024-03-01T00:00", None),
    ],
)
def test_the_next_time(expression, after, expected):
    assert due(expression, after) == expected


def test_rates_count_from_their_beginning():
    begin = moment("2024-03-01T00:10")
    assert due("rate(1 hour)", "2024-03-01T00:00", begin=begin) == "2024-03-01T00:10"
    assert due("rate(1 hour)", "2024-03-01T00:10", begin=begin) == "2024-03-01T01:10"
    assert due("rate(2 days)", "2024-03-04T00:00", begin=begin) == "2024-03-05T00:10"


def test_times_are_in_the_time_zone():
    assert due("cron(0 9 * * ? *)", "2024-07-01T00:00", "Europe/Berlin") == "2024-07-01T07:00"
    assert due("cron(0 9 * * ? *)", "2024-12-01T00:00", "Europe/Berlin") == "2024-12-01T08:00"
    assert due("at(2024-07-01T09:00:00)", "2024-01-01T00:00", "America/New_York") == "2024-07-01T13:00"


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("daily", ""),
        ("rate(0 minutes)", ""),
        ("rate(5 weeks)", ""),
        ("cron(0 10 * * *)", ""),
        ("cron(0 10 * * * *)", ""),
        ("cron(0 10 ? * ? *)", ""),
        ("cron(61 10 * * ? *)", ""),
        ("cron(0 ten * * ? *)", ""),
        ("cron(0 10 * * ? *)", "Nowhere/City"),
    ],
)
def test_what_is_no_schedule_is_refused(expression, zone):
    with pytest.raises(ScheduleError):
        next_due(expression, zone, 0.0, 0.0)

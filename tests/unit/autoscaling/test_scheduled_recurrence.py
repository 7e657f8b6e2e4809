"""The cron of EC2 Auto Scaling: five fields, Sunday first, and both kinds of day at once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from portside.cloud.services.autoscaling.scheduled_records import crons, next_run
from portside.cloud.services.scaling.schedules import ScheduleError


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("recurrence", "after", "due"),
    [
        ("0 9 * * *", "2026-03-02T08:00", "2026-03-02T09:00"),
        ("0 9 * * *", "2026-03-02T09:00", "2026-03-03T09:00"),
        ("30 0 1 1,6,12 *", "2026-03-02T08:00", "2026-06-01T00:30"),
        ("0 9 * * 1-5", "2026-03-06T10:00", "2026-03-09T09:00"),
        ("0 9 * * MON-FRI", "2026-03-06T10:00", "2026-03-09T09:00"),
        ("0 9 * * 0", "2026-03-02T10:00", "2026-03-08T09:00"),
        ("0 9 * * 7", "2026-03-02T10:00", "2026-03-08T09:00"),
        ("0 9 * * 5-7", "2026-03-07T10:00", "2026-03-08T09:00"),
        ("*/15 * * * *", "2026-03-02T10:16", "2026-03-02T10:30"),
        ("0 0 13 * 5", "2026-03-02T10:00", "2026-03-06T00:00"),
        ("0 0 13 * 5", "2026-04-11T10:00", "2026-04-13T00:00"),
    ],
)
def test_next_run(recurrence: str, after: str, due: str) -> None:
    assert next_run({"Recurrence": recurrence}, at(after)) == at(due)


def test_within_start_and_end_and_in_a_zone() -> None:
    spec = {"Recurrence": "0 9 * * *", "StartTime": at("2026-03-05T09:00"), "EndTime": at("2026-03-06T09:00")}
    assert next_run(spec, at("2026-03-01T00:00")) == at("2026-03-05T09:00")
    assert next_run(spec, at("2026-03-06T09:00")) is None
    assert next_run({"Recurrence": "0 9 * * *", "TimeZone": "Europe/Berlin"}, at("2026-01-02T00:00")) == at(
        "2026-01-02T08:00"
    )


@pytest.mark.parametrize("recurrence", ["", "* * * *", "0 9 * * 8", "0 9 * * someday", "0 9 ? * ? *"])
def test_what_is_no_cron(recurrence: str) -> None:
    with pytest.raises(ScheduleError):
        crons(recurrence)

"""When a schedule is due next: `at(...)`, `rate(...)` and `cron(...)`.

Pure. Times of `at` and `cron` are in a time zone, UTC unless one is named. Source: the Application Auto Scaling
User Guide, "Schedule recurring scaling actions using cron expressions".
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
_CRON = re.compile(r"cron\(([^)]+)\)")
_UNITS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
_MONTHS = {
    name: i
    for i, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1
    )
}
_DAYS = {name: i for i, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
_YEARS_AHEAD = 8


class ScheduleError(Exception):
    """The expression is none; a sentence."""


def next_due(expression: str, zone: str, begin: float, after: float) -> float | None:
    """The first moment later than `after`; None if there will be none. `begin` is what rates count from."""
    found = _AT.fullmatch(expression)
    if found:
        moment = _moment(datetime.fromisoformat(found[1]), _zone(zone))
        return moment if moment > after else None
    found = _RATE.fullmatch(expression)
    if found:
        step = int(found[1]) * _UNITS[found[2].rstrip("s")]
        if step <= 0:
            raise ScheduleError(f"Invalid schedule expression: {expression}")
        passed = max(0, int((after - begin) // step)) if after >= begin else 0
        due = begin + passed * step
        while due <= after:
            due += step
        return due
    found = _CRON.fullmatch(expression)
    if found:
        return _cron(found[1], _zone(zone), after)
    raise ScheduleError(f"Invalid schedule expression: {expression}")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"Invalid time zone: {name}") from None


def _moment(local: datetime, zone: ZoneInfo) -> float:
    return local.replace(tzinfo=zone).timestamp()


def _cron(text: str, zone: ZoneInfo, after: float) -> float | None:
    fields = text.split()
    if len(fields) != 6:
        raise ScheduleError(f"Invalid schedule expression: cron({text})")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ScheduleError(
            f"Invalid schedule expression: one of day-of-month and day-of-week must be ?: cron({text})"
        )
    minutes, hours = _values(fields[0], 0, 59), _values(fields[1], 0, 23)
    months, years = _values(fields[3], 1, 12, _MONTHS), _values(fields[5], 1970, 2199)
    local = datetime.fromtimestamp(after, zone).replace(tzinfo=None)
    day, last = local.date(), local.date() + timedelta(days=366 * _YEARS_AHEAD)
    while day <= last:
        if day.year in years and day.month in months and _fits(day, fields[2], fields[4]):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    due = _moment(datetime(day.year, day.month, day.day, hour, minute), zone)  # noqa: DTZ001
                    if due > after:
                        return due
        day += timedelta(days=1)
    return None


def _fits(day: date, month_field: str, week_field: str) -> bool:
    length = monthrange(day.year, day.month)[1]
    if month_field != "?":
        if month_field == "L":
            return day.day == length
        if month_field.endswith("W"):
            return day.day == _workday(day.year, day.month, min(_number(month_field[:-1], {}), length))
        return day.day in _values(month_field, 1, 31)
    number = day.isoweekday() % 7 + 1
    if "#" in week_field:
        name, _, nth = week_field.partition("#")
        return number == _number(name, _DAYS) and (day.day - 1) // 7 + 1 == _number(nth, {})
    if week_field.endswith("L"):
        wanted = 7 if week_field == "L" else _number(week_field[:-1], _DAYS)
        return number == wanted and day.day + 7 > length
    return number in _values(week_field, 1, 7, _DAYS)


def _workday(year: int, month: int, day: int) -> int:
    """The day from Monday to Friday next to one, in the same month."""
    found = date(year, month, day)
    length = monthrange(year, month)[1]
    if found.isoweekday() == 6:
        return day - 1 if day > 1 else day + 2
    if found.isoweekday() == 7:
        return day + 1 if day < length else day - 2
    return day


def _values(field: str, least: int, most: int, words: dict[str, int] | None = None) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            low, high = least, most
        elif "-" in span:
            first, _, second = span.partition("-")
            low, high = _number(first, words or {}), _number(second, words or {})
        else:
            low = _number(span, words or {})
            high = most if step else low
        every = _number(step, {}) if step else 1
        if not (least <= low <= most and least <= high <= most and every > 0):
            raise ScheduleError(f"Invalid schedule expression: {field} is not between {least} and {most}")
        found |= set(range(low, high + 1, every))
    return frozenset(found)


def _number(text: str, words: dict[str, int]) -> int:
    if text.upper() in words:
        return words[text.upper()]
    if not text.isdecimal():
        raise ScheduleError(f"Invalid schedule expression: {text} is no number")
    return int(text)

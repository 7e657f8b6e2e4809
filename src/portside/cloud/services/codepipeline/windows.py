"""Deployment windows: whether a moment lies in the times that a cron expression names.

Pure. The expressions are those of AWS's schedules: minutes, hours, day of month, month, day of week, year; `?`
for the one of the two days that does not matter; lists, ranges, steps and names.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = {"JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6, "JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10}
_MONTHS |= {"NOV": 11, "DEC": 12}
_DAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 1, 7, _DAYS),
    ("year", 1970, 2199, {}),
)


class _Fault(Exception):
    pass


def fault(cron: str, zone: str) -> str:
    """What is wrong with an expression; empty if nothing is."""
    try:
        _read(cron)
        ZoneInfo(zone)
    except _Fault as error:
        return str(error)
    except (ZoneInfoNotFoundError, ValueError):
        return f"TimeZone {zone} is not known."
    return ""


def contains(cron: str, zone: str, when: float) -> bool:
    """Whether the minute of `when` (epoch seconds) is one of the expression's."""
    minutes, hours, days, months, weekdays, years = _read(cron)
    moment = datetime.fromtimestamp(when, UTC).astimezone(ZoneInfo(zone))
    return (
        moment.minute in minutes
        and moment.hour in hours
        and moment.day in days
        and moment.month in months
        and moment.isoweekday() % 7 + 1 in weekdays
        and moment.year in years
    )


def _read(cron: str) -> list[frozenset[int]]:
    text = cron.strip()
    if text.startswith("cron(") and text.endswith(")"):
        text = text[5:-1]
    parts = text.split()
    if len(parts) == 5:
        parts.append("*")
    if len(parts) != len(_FIELDS):
        raise _Fault(f"Cron must have 6 fields, not {len(parts)}: {cron}.")
    return [
        _field(part, name, low, high, names) for part, (name, low, high, names) in zip(parts, _FIELDS, strict=True)
    ]


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if step and (not step.isdigit() or int(step) < 1):
            raise _Fault(f"Cron has a step that is no number in its {name}: {part}.")
        first, _, last = span.partition("-")
        if span in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, name, low, high, names)
            end = _number(last, name, low, high, names) if last else (high if step else start)
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text.upper())
    if value is None:
        if not text.isdigit():
            raise _Fault(f"Cron has {text} as its {name}, which portside's local cloud does not know.")
        value = int(text)
    if not low <= value <= high:
        raise _Fault(f"Cron has {text} as its {name}; it must be {low} to {high}.")
    return value

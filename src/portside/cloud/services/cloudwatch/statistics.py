"""From data points to statistics: periods, and one number for each.

Pure. Source: the CloudWatch API reference, GetMetricStatistics and MetricDatum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{0,10})?|100)")


@dataclass(frozen=True, slots=True)
class Datum:
    """What was published at one moment: a statistic set. `values` are the single values (value, how often) that
    percentiles need; empty where only a set was published. `at` in epoch seconds."""

    at: float
    count: float
    total: float
    minimum: float
    maximum: float
    values: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One period's statistics; `at` is its beginning."""

    at: float
    count: float
    total: float
    minimum: float
    maximum: float
    values: tuple[tuple[float, float], ...] = ()

    def statistic(self, name: str) -> float | None:
        """None for percentiles of what was only published as a set."""
        match name:
            case "SampleCount":
                return self.count
            case "Average":
                return self.total / self.count if self.count else 0.0
            case "Sum":
                return self.total
            case "Minimum":
                return self.minimum
            case "Maximum":
                return self.maximum
        return self.percentile(float(name[1:]))

    def percentile(self, rank: float) -> float | None:
        if not self.values:
            return None
        ordered = sorted(self.values)
        wanted = rank / 100 * sum(often for _, often in ordered)
        seen = 0.0
        for value, often in ordered:
            seen += often
            if seen >= wanted:
                return value
        return ordered[-1][0]


def is_percentile(name: str) -> bool:
    return _PERCENTILE.fullmatch(name) is not None


def points(data: Iterable[Datum], start: float, period: float) -> dict[int, Point]:
    """Points by the number of their period, counted from `start`."""
    found: dict[int, Point] = {}
    for each in data:
        number = math.floor((each.at - start) / period)
        before = found.get(number)
        if before is None:
            before = Point(start + number * period, 0.0, 0.0, each.minimum, each.maximum)
        found[number] = Point(
            before.at,
            before.count + each.count,
            before.total + each.total,
            min(before.minimum, each.minimum),
            max(before.maximum, each.maximum),
            before.values + each.values,
        )
    return found


def series(data: Iterable[Datum], end: float, period: float, length: int) -> list[Point | None]:
    """The last `length` periods before `end`, oldest first; None for a period without data."""
    start = end - period * length
    found: Mapping[int, Point] = points(data, start, period)
    return [found.get(number) for number in range(length)]

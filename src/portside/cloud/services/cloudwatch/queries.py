"""Metric queries: what alarms and GetMetricData ask for, read and carried out.

Owns the checks of a list of queries and their evaluation over periods. A query is one metric's statistic or an
expression over others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudwatch import math
from portside.cloud.services.cloudwatch.records import Metric
from portside.cloud.services.cloudwatch.statistics import STATISTICS, is_percentile

_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")

# The values of one metric's statistic over the periods that are looked at: (metric, statistic, unit).
Fetch = Callable[["MetricQuery"], Sequence[math.Number]]


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One statistic of one metric. `period` in seconds."""

    metric: Metric
    statistic: str
    period: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """`metric` or `expression`; `returned` says whether its values are answered, or are what an alarm looks at."""

    id: str
    metric: MetricQuery | None
    expression: Any
    label: str
    returned: bool


def invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def metric_of(params: Params) -> Metric:
    """Namespace, name and dimensions as the API gives them."""
    pairs = sorted((each["Name"], each["Value"]) for each in params.get("Dimensions") or ())
    return Metric(params.get("Namespace") or "", params.get("MetricName") or "", tuple(pairs))


def check_period(period: int) -> None:
    if period not in (1, 5, 10, 20, 30) and (period <= 0 or period % 60):
        raise invalid("Period must be 10, 20, 30 or a multiple of 60.")


def check_statistic(name: str) -> None:
    if name not in STATISTICS and not is_percentile(name):
        raise invalid(f"The value {name} for parameter Stat is not supported.")


def read(queries: Sequence[Params]) -> list[Query]:
    """In an order in which each comes after what it needs. Raises AwsError ValidationError."""
    found: dict[str, Query] = {}
    for each in queries:
        name = each["Id"]
        if not _ID.fullmatch(name):
            raise invalid(f"The value {name} for parameter MetricDataQueries.Id does not match the pattern.")
        if name in found:
            raise invalid(f"The values for parameter id in MetricDataQueries are not unique: {name}.")
        found[name] = _query(each)
    ordered: list[Query] = []
    placed: set[str] = set()
    waiting = list(found.values())
    while waiting:
        ready = [each for each in waiting if _needs(each) <= placed]
        if not ready:
            unknown = sorted(set().union(*(_needs(each) for each in waiting)) - found.keys())
            if unknown:
                raise invalid(f"Error in expression: Unknown identifier {unknown[0]}.")
            raise invalid("Expressions refer to one another in a circle.")
        ordered += ready
        placed |= {each.id for each in ready}
        waiting = [each for each in waiting if each.id not in placed]
    return ordered


def _query(given: Params) -> Query:
    stat, text = given.get("MetricStat"), given.get("Expression")
    if (stat is None) == (text is None):
        raise invalid(f"Query {given['Id']} must have either a MetricStat or an Expression.")
    if given.get("AccountId"):
        raise invalid("portside's local cloud does not offer metrics of other accounts.")
    returned = given.get("ReturnData", True)
    label = given.get("Label") or ""
    if stat is not None:
        check_period(int(stat["Period"]))
        check_statistic(stat["Stat"])
        metric = metric_of(stat["Metric"])
        query = MetricQuery(metric, stat["Stat"], int(stat["Period"]), stat.get("Unit") or "")
        return Query(given["Id"], query, None, label or metric.name, returned)
    try:
        return Query(given["Id"], None, math.parse(str(text)), label or given["Id"], returned)
    except math.MathError as error:
        raise invalid(str(error)) from None


def _needs(query: Query) -> set[str]:
    return math.names(query.expression) if query.expression is not None else set()


def evaluate(queries: Sequence[Query], fetch: Fetch, length: int) -> Mapping[str, list[math.Number]]:
    """The values of every query by its id, one per period, oldest first."""
    found: dict[str, list[math.Number]] = {}
    for each in queries:
        if each.metric is not None:
            found[each.id] = list(fetch(each.metric))
        else:
            found[each.id] = [
                math.value(each.expression, {name: values[index] for name, values in found.items()})
                for index in range(length)
            ]
    return found

"""Operations on metrics: publishing, statistics, lists.

Owns PutMetricData and what reads it back. Source: the CloudWatch API reference.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudwatch import queries, records
from portside.cloud.services.cloudwatch.records import Metric
from portside.cloud.services.cloudwatch.statistics import STATISTICS, Datum, is_percentile, points

TOO_OLD = 14 * 24 * 3600.0
TOO_NEW = 2 * 3600.0
MOST_DATA = 1000
MOST_POINTS = 1440
MOST_VALUES = 150
RECENT = 3 * 3600.0
PAGE = 500


class MetricCalls:
    """Part of `CloudWatchApi`."""

    _db: Database
    _clock: Clock

    @operation("PutMetricData")
    def put_metric_data(self, caller: Caller, params: Params) -> Params:
        namespace = params["Namespace"]
        if params.get("EntityMetricData"):
            raise _bad("portside's local cloud does not offer EntityMetricData.")
        given = params.get("MetricData") or []
        if not given:
            raise AwsError("MissingParameter", "The parameter MetricData is required.")
        if len(given) > MOST_DATA:
            raise _bad(f"The collection MetricData must not have a size greater than {MOST_DATA}.")
        # Services publish from inside, without an access key.
        if namespace.startswith("AWS/") and caller.access_key:
            raise _bad("The value AWS/ for parameter Namespace is invalid.")
        read = [(each, self._datum(each, f"MetricData.member.{i}")) for i, each in enumerate(given, start=1)]
        with self._db.write() as tx:
            for each, datum in read:
                metric = queries.metric_of(each | {"Namespace": namespace})
                records.put_data(tx, caller.region, metric, each.get("Unit") or "None", [datum])
            records.forget(tx, self._clock.now())
        return {}

    def _datum(self, given: Params, where: str) -> Datum:
        at = float(given["Timestamp"]) if given.get("Timestamp") is not None else self._clock.now()
        if not self._clock.now() - TOO_OLD <= at <= self._clock.now() + TOO_NEW:
            raise _bad(
                f"The parameter {where}.Timestamp must specify a time no more than two weeks in the past "
                "or two hours in the future."
            )
        ways = [name for name in ("Value", "Values", "StatisticValues") if given.get(name) is not None]
        if len(ways) > 1:
            raise AwsError(
                "InvalidParameterCombination",
                f"The parameters {where}.{ways[0]} and {where}.{ways[1]} are mutually exclusive.",
            )
        if not ways:
            raise AwsError(
                "MissingParameter",
                f"At least one of the parameters {where}.Value, {where}.Values "
                f"and {where}.StatisticValues must be specified.",
            )
        match ways[0]:
            case "Value":
                value = float(given["Value"])
                return Datum(at, 1.0, value, value, value, ((value, 1.0),))
            case "Values":
                return _values(at, given, where)
        found = given["StatisticValues"]
        return Datum(
            at, float(found["SampleCount"]), float(found["Sum"]), float(found["Minimum"]), float(found["Maximum"])
        )

    @operation("GetMetricStatistics")
    def get_metric_statistics(self, caller: Caller, params: Params) -> Params:
        start, end, period = float(params["StartTime"]), float(params["EndTime"]), int(params["Period"])
        wanted = [*(params.get("Statistics") or ()), *(params.get("ExtendedStatistics") or ())]
        if not wanted:
            raise AwsError(
                "MissingParameter",
                "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
            )
        for name in wanted:
            if name not in STATISTICS and not is_percentile(name):
                raise _bad(f"The value {name} for parameter ExtendedStatistics is not supported.")
        if start >= end:
            raise AwsError(
                "InvalidParameterCombination", "The parameter StartTime must be less than the parameter EndTime."
            )
        queries.check_period(period)
        if (end - start) / period > MOST_POINTS:
            raise AwsError(
                "InvalidParameterCombination",
                f"You have requested up to {int((end - start) / period)} datapoints, which exceeds the limit of "
                f"{MOST_POINTS}. You may reduce the datapoints requested by increasing Period, or decreasing the "
                "time range.",
            )
        metric = queries.metric_of(params)
        shown = []
        given = params.get("Unit") or ""
        for unit in [given] if given else records.units(self._db, caller.region, metric):
            found = records.data(self._db, caller.region, metric, start, end, unit)
            for point in points(found, start, float(period)).values():
                row: Params = {"Timestamp": point.at, "Unit": unit}
                extended = {}
                for name in wanted:
                    value = point.statistic(name)
                    if is_percentile(name) and value is not None:
                        extended[name] = value
                    elif not is_percentile(name):
                        row[name] = value
                if extended:
                    row["ExtendedStatistics"] = extended
                shown.append(row)
        return {"Label": metric.name, "Datapoints": shown}

    @operation("GetMetricData")
    def get_metric_data(self, caller: Caller, params: Params) -> Params:
        start, end = float(params["StartTime"]), float(params["EndTime"])
        if start >= end:
            raise queries.invalid("The parameter StartTime must be less than the parameter EndTime.")
        asked = queries.read(params["MetricDataQueries"])
        periods = {each.metric.period for each in asked if each.metric is not None} or {60}
        results = []
        if len(periods) > 1 and any(each.expression is not None for each in asked):
            raise queries.invalid("All metrics that an expression uses must have the same period.")
        for period in sorted(periods):
            part = [each for each in asked if each.metric is None or each.metric.period == period]
            length = -int(-(end - start) // period)
            if length > MOST_POINTS * 70:
                raise queries.invalid("Too many datapoints are requested: ask for a longer Period or less time.")

            def fetch(
                query: queries.MetricQuery, period: int = period, length: int = length
            ) -> list[float | None]:
                found = records.data(self._db, caller.region, query.metric, start, end, query.unit)
                by_number = points(found, start, float(period))
                return [
                    by_number[number].statistic(query.statistic) if number in by_number else None
                    for number in range(length)
                ]

            values = queries.evaluate(part, fetch, length)
            for each in part:
                if not each.returned:
                    continue
                pairs = [
                    (start + number * period, value)
                    for number, value in enumerate(values[each.id])
                    if value is not None
                ]
                if params.get("ScanBy") != "TimestampAscending":
                    pairs.reverse()
                results.append(
                    {
                        "Id": each.id,
                        "Label": each.label,
                        "Timestamps": [at for at, _ in pairs],
                        "Values": [value for _, value in pairs],
                        "StatusCode": "Complete",
                    }
                )
        order = [each["Id"] for each in params["MetricDataQueries"]]
        return {
            "MetricDataResults": sorted(results, key=lambda each: order.index(str(each["Id"]))),
            "Messages": [],
        }

    @operation("ListMetrics")
    def list_metrics(self, caller: Caller, params: Params) -> Params:
        since = self._clock.now() - RECENT if params.get("RecentlyActive") else 0.0
        found = records.metrics(
            self._db, caller.region, params.get("Namespace") or "", params.get("MetricName") or "", since
        )
        wanted = params.get("Dimensions") or ()
        fitting = [each for each in found if all(_has(each, want) for want in wanted)]
        begin = int(params.get("NextToken") or 0)
        return {
            "Metrics": [
                {
                    "Namespace": each.namespace,
                    "MetricName": each.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in each.dimensions],
                }
                for each in fitting[begin : begin + PAGE]
            ],
            "NextToken": str(begin + PAGE) if begin + PAGE < len(fitting) else None,
        }


def _values(at: float, given: Params, where: str) -> Datum:
    values = [float(each) for each in given["Values"]]
    counts = [float(each) for each in given.get("Counts") or [1.0] * len(values)]
    if len(values) != len(counts) or not values or len(values) > MOST_VALUES:
        raise _bad(
            f"The parameters {where}.Values and {where}.Counts must be of the same size, at most {MOST_VALUES}."
        )
    total = sum(value * often for value, often in zip(values, counts, strict=True))
    pairs = tuple(zip(values, counts, strict=True))
    return Datum(at, sum(counts), total, min(values), max(values), pairs)


def _has(metric: Metric, wanted: Params) -> bool:
    return any(
        name == wanted["Name"] and wanted.get("Value") in (None, value) for name, value in metric.dimensions
    )


def _bad(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)

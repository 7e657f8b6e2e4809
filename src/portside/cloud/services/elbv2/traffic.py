"""From two counts of the proxy to the metrics of what happened in between.

Pure. A count that is smaller than before has begun again. Counters are reported when they are not zero, and
requests per target always, as on AWS. Connections go to the load balancer that a socket belongs to; those of a
socket that several share cannot be told apart and are left out. Source: the user guide for Application Load
Balancers, "CloudWatch metrics for your Application Load Balancer".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portside.cloud.machine.proxy import ClusterCounts, SocketCounts, Statistics
from portside.cloud.services.calls import Params

MOST_VALUES = 150


@dataclass(frozen=True, slots=True)
class Group:
    """A target group as metrics see it: `balancer` and `name` are what stands in the dimensions."""

    cluster: str
    balancer: str
    name: str
    healthy: int
    unhealthy: int


def difference(before: Statistics, now: Statistics) -> Statistics:
    """What has come since `before`; all of it, if the proxy has been started in between."""
    if before.run != now.run:
        return now
    clusters = {name: _less(found, before.clusters.get(name)) for name, found in now.clusters.items()}
    sockets = {
        key: _less_made(found, before.sockets.get(key, SocketCounts())) for key, found in now.sockets.items()
    }
    return Statistics(now.run, clusters, sockets)


def _less_made(now: SocketCounts, before: SocketCounts) -> SocketCounts:
    return SocketCounts(now.open, _since(now.made, before.made), _since(now.not_agreed, before.not_agreed))


def _since(now: int, before: int) -> int:
    return now - before if now >= before else now


def _less(now: ClusterCounts, before: ClusterCounts | None) -> ClusterCounts:
    if before is None:
        return now
    codes, times = dict(before.codes), dict(before.times)
    return ClusterCounts(
        requests=_since(now.requests, before.requests),
        codes=tuple((key, _since(number, codes.get(key, 0))) for key, number in now.codes),
        without_endpoint=_since(now.without_endpoint, before.without_endpoint),
        failed=_since(now.failed, before.failed),
        times=tuple((key, _since(number, times.get(key, 0))) for key, number in now.times),
    )


def metrics(
    groups: Iterable[Group], sockets: Mapping[str, list[tuple[str, int]]], delta: Statistics, at: float
) -> list[Params]:
    """The data of one period. `sockets` are those that a load balancer has for itself."""
    data: list[Params] = []
    by_balancer: dict[str, list[ClusterCounts]] = {name: [] for name in sockets}
    for group in groups:
        counts = delta.clusters.get(group.cluster, ClusterCounts())
        by_balancer.setdefault(group.balancer, []).append(counts)
        both = {"TargetGroup": group.name, "LoadBalancer": group.balancer}
        for name, number in (("HealthyHostCount", group.healthy), ("UnHealthyHostCount", group.unhealthy)):
            data.append(_datum(name, both, at, "Count", {"Value": float(number)}))
        data += _traffic([counts], both, at)
        if group.healthy + group.unhealthy:
            for dimensions in (both, {"TargetGroup": group.name}):
                # Only the ones in use share the requests; with none healthy, all do.
                share = counts.requests / (group.healthy or group.unhealthy)
                data.append(_datum("RequestCountPerTarget", dimensions, at, "Count", {"Value": share}))
    for balancer, found in by_balancer.items():
        own = {"LoadBalancer": balancer}
        data += _traffic(found, own, at)
        without, failed = sum(each.without_endpoint for each in found), sum(each.failed for each in found)
        for name, number in (
            ("HTTPCode_ELB_5XX_Count", without + failed),
            ("HTTPCode_ELB_502_Count", failed),
            ("HTTPCode_ELB_503_Count", without),
        ):
            data += _counter(name, own, at, number)
        seen = [delta.sockets.get(key, SocketCounts()) for key in sockets.get(balancer, [])]
        data += _counter("ActiveConnectionCount", own, at, sum(each.open for each in seen))
        data += _counter("NewConnectionCount", own, at, sum(each.made for each in seen))
        data += _counter("ClientTLSNegotiationErrorCount", own, at, sum(each.not_agreed for each in seen))
    return data


def _traffic(counts: list[ClusterCounts], dimensions: Mapping[str, str], at: float) -> list[Params]:
    """What there is of a group, and of all groups of a load balancer together."""
    data = _counter("RequestCount", dimensions, at, sum(each.requests for each in counts))
    codes: dict[int, int] = {}
    times: dict[float, int] = {}
    for each in counts:
        for digit, number in each.codes:
            codes[digit] = codes.get(digit, 0) + number
        for seconds, number in each.times:
            times[seconds] = times.get(seconds, 0) + number
    for digit, number in sorted(codes.items()):
        data += _counter(f"HTTPCode_Target_{digit}XX_Count", dimensions, at, number)
    taken = {seconds: number for seconds, number in sorted(times.items()) if number}
    if taken:
        values = {
            "Values": list(taken)[:MOST_VALUES],
            "Counts": [float(number) for number in taken.values()][:MOST_VALUES],
        }
        data.append(_datum("TargetResponseTime", dimensions, at, "Seconds", values))
    return data


def _counter(name: str, dimensions: Mapping[str, str], at: float, number: int) -> list[Params]:
    return [_datum(name, dimensions, at, "Count", {"Value": float(number)})] if number else []


def _datum(name: str, dimensions: Mapping[str, str], at: float, unit: str, value: Params) -> Params:
    shown = [{"Name": key, "Value": each} for key, each in dimensions.items()]
    return {"MetricName": name, "Dimensions": shown, "Timestamp": at, "Unit": unit} | value

"""From load balancers, rules and targets to what the proxy shall do.

Pure: everything goes in as records, one `Snapshot` comes out. Also decides which targets of a group get requests.
`proxy_loop.py` applies the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from portside.cloud.machine.proxy import (
    Action,
    Balancing,
    Cluster,
    Endpoint,
    FixedResponse,
    Forward,
    ForwardedFor,
    Match,
    Redirect,
    Route,
    ServerCertificate,
    Snapshot,
    Tls,
    VirtualHost,
)
from portside.cloud.machine.proxy import Listener as Socket
from portside.cloud.services.calls import Params
from portside.cloud.services.elbv2 import access_logs, attributes, ssl_policies
from portside.cloud.services.elbv2.access_logs import Label
from portside.cloud.services.elbv2.health import State
from portside.cloud.services.elbv2.records import Listener, LoadBalancer, Rule, Target, TargetGroup
from portside.cloud.services.elbv2.rules import values_of

Resolve = Callable[[str, int], Endpoint | None]
_TELL_TLS = "routing.http.x_amzn_tls_version_and_cipher_suite.enabled"
MINIMUM = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count"
SHARE = "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage"
_ALGORITHMS = {
    "least_outstanding_requests": Balancing.LEAST_REQUEST,
    "round_robin": Balancing.ROUND_ROBIN,
    "weighted_random": Balancing.RANDOM,
}


@dataclass(frozen=True, slots=True)
class World:
    """All that there is. `rules` are in the order in which they are tried. `certificates` are those that can be
    served, by ARN."""

    load_balancers: Sequence[LoadBalancer]
    listeners: Sequence[Listener]
    rules: Sequence[Rule]
    groups: Sequence[TargetGroup]
    targets: Sequence[Target]
    certificates: Mapping[str, ServerCertificate] = field(default_factory=dict)


def cluster_name(arn: str) -> str:
    """`us-east-1-web-73e2d6bc24d8a067`."""
    region = arn.split(":")[3]
    return f"{region}-" + "-".join(arn.split("/")[1:])


def in_rotation(group: TargetGroup, targets: Iterable[Target]) -> list[Target]:
    """The targets that get requests: the healthy ones. When there are fewer than the group wants, it fails open,
    to those also that failed their checks; never to one that has not been checked yet, or is being drained."""
    checked = [t for t in targets if t.health.state in (State.HEALTHY, State.UNHEALTHY)]
    healthy = [t for t in checked if t.health.state is State.HEALTHY]
    minimum, share = (attributes.value(attributes.TARGET_GROUP, group.attributes, key) for key in (MINIMUM, SHARE))
    enough = len(healthy) >= int(minimum) and (share == "off" or 100 * len(healthy) >= int(share) * len(checked))
    return healthy if enough else checked


def snapshot(world: World, shared: Sequence[str], own_address: Callable[[str], str], resolve: Resolve) -> Snapshot:
    """`shared` are the addresses on which all load balancers listen together; `own_address` is the one that a load
    balancer has for itself, by its ARN."""
    balancers = {lb.arn: lb for lb in world.load_balancers}
    sticky = _sticky(world.groups)
    routes: dict[str, tuple[Route, ...]] = {
        li.arn: tuple(_route(rule, li, sticky) for rule in world.rules if rule.listener == li.arn)
        for li in world.listeners
    }
    sockets: list[Socket] = []
    for port in sorted({li.port for li in world.listeners}):
        here = [li for li in world.listeners if li.port == port]
        for protocol in ("HTTP", "HTTPS"):
            alike = [li for li in here if li.protocol == protocol]
            for address in shared:
                hosts = tuple(
                    _host(
                        balancers[li.load_balancer],
                        li,
                        routes[li.arn],
                        # The only one on a port answers to every name.
                        (balancers[li.load_balancer].dns_name, *(("*",) if len(alike) == 1 else ())),
                    )
                    for li in alike
                )
                sockets += _sockets(world, balancers, address, alike, hosts)
            for li in alike:
                address = own_address(li.load_balancer)
                if address not in shared:
                    host = _host(balancers[li.load_balancer], li, routes[li.arn], ("*",))
                    sockets += _sockets(world, balancers, address, [li], (host,))
    return Snapshot(tuple(sockets), _clusters(world, balancers, resolve))


def _sockets(
    world: World,
    balancers: Mapping[str, LoadBalancer],
    address: str,
    alike: Sequence[Listener],
    hosts: tuple[VirtualHost, ...],
) -> list[Socket]:
    """The socket of listeners of one port and one protocol; none if there are none, or none with a certificate."""
    if not alike:
        return []
    port = alike[0].port
    if alike[0].protocol != "HTTPS":
        return [Socket(address, port, hosts)]
    tls = _tls(world, balancers, alike)
    return [] if tls is None else [Socket(address, port, hosts, tls)]


def _tls(world: World, balancers: Mapping[str, LoadBalancer], alike: Sequence[Listener]) -> Tls | None:
    # The oldest load balancer's is the one that clients get who name no host.
    order = list(balancers)
    alike = sorted(alike, key=lambda li: order.index(li.load_balancer))
    arns = [li.certificate for li in alike] + [arn for li in alike for arn in li.certificates]
    found = [world.certificates[arn] for arn in dict.fromkeys(arns) if arn in world.certificates]
    if not found:
        return None
    policy = ssl_policies.widest(li.ssl_policy for li in alike)

    def every(key: str) -> bool:
        return all(
            attributes.value(attributes.LOAD_BALANCER, balancers[li.load_balancer].attributes, key) == "true"
            for li in alike
        )

    return Tls(
        certificates=tuple(found),
        minimum=policy.versions[-1],
        maximum=policy.versions[0],
        ciphers=tuple(each for each in policy.ciphers if not each.startswith("TLS_")),
        http2=every("routing.http2.enabled"),
        hybrid=policy.hybrid,
    )


def _host(
    balancer: LoadBalancer, listener: Listener, routes: tuple[Route, ...], domains: tuple[str, ...]
) -> VirtualHost:
    def setting(key: str) -> str:
        return attributes.value(attributes.LOAD_BALANCER, balancer.attributes, key)

    def own(key: str) -> str:
        return attributes.value(attributes.LISTENER, listener.attributes, key)

    tls_headers = (
        own("routing.http.request.x_amzn_tls_version.header_name"),
        own("routing.http.request.x_amzn_tls_cipher_suite.header_name"),
    )
    answered = [
        (name, own(f"routing.http.response.{name.replace('-', '_')}.header_value"))
        for name in attributes.RESPONSE_HEADERS
    ]
    return VirtualHost(
        name=f"{balancer.region}-{balancer.name}",
        domains=domains,
        routes=routes,
        idle_timeout=float(setting("idle_timeout.timeout_seconds")),
        client_keep_alive=float(setting("client_keep_alive.seconds")),
        forwarded_for=ForwardedFor(setting("routing.http.xff_header_processing.mode")),
        client_port=setting("routing.http.xff_client_port.enabled") == "true",
        plain_headers=setting("routing.http.drop_invalid_header_fields.enabled") == "true",
        logged=access_logs.place(balancer) is not None,
        tls_headers=tls_headers if setting(_TELL_TLS) == "true" else None,
        response_headers=tuple((name, value) for name, value in answered if value),
        name_server=own("routing.http.response.server.enabled") == "true",
    )


def _clusters(world: World, balancers: Mapping[str, LoadBalancer], resolve: Resolve) -> tuple[Cluster, ...]:
    """One for each group that some rule sends requests to."""
    balancer_of = {li.arn: balancers[li.load_balancer] for li in world.listeners}
    used: dict[str, LoadBalancer] = {}
    for rule in world.rules:
        for arn in _groups_of(rule):
            used.setdefault(arn, balancer_of[rule.listener])
    made: list[Cluster] = []
    for group in world.groups:
        if group.arn not in used:
            continue
        targets = [t for t in world.targets if t.group == group.arn]
        endpoints = _endpoints(in_rotation(group, targets), resolve)
        leaving = _endpoints((t for t in targets if t.health.state is State.DRAINING), resolve) - endpoints
        idle = attributes.value(
            attributes.LOAD_BALANCER, used[group.arn].attributes, "idle_timeout.timeout_seconds"
        )
        made.append(_cluster(group, endpoints, leaving, float(idle)))
    return tuple(made)


def _endpoints(targets: Iterable[Target], resolve: Resolve) -> set[Endpoint]:
    found = (resolve(target.id, target.port) for target in targets)
    return {endpoint for endpoint in found if endpoint is not None}


def _ordered(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple(sorted(endpoints, key=lambda e: (e.address, e.port)))


def _cluster(
    group: TargetGroup, endpoints: Iterable[Endpoint], leaving: Iterable[Endpoint], idle_timeout: float
) -> Cluster:
    def setting(key: str) -> str:
        return attributes.value(attributes.TARGET_GROUP, group.attributes, key)

    return Cluster(
        name=cluster_name(group.arn),
        endpoints=_ordered(endpoints),
        leaving=_ordered(leaving),
        idle_timeout=idle_timeout,
        balancing=_ALGORITHMS[setting("load_balancing.algorithm.type")],
        slow_start=float(setting("slow_start.duration_seconds")),
        http2=group.protocol_version in ("HTTP2", "GRPC"),
        tls=group.protocol == "HTTPS",
    )


def _sticky(groups: Iterable[TargetGroup]) -> dict[str, float]:
    """By ARN: for how many seconds a group's clients stay with their target."""
    seconds = "stickiness.lb_cookie.duration_seconds"
    return {
        group.arn: float(attributes.value(attributes.TARGET_GROUP, group.attributes, seconds))
        for group in groups
        if attributes.value(attributes.TARGET_GROUP, group.attributes, "stickiness.enabled") == "true"
    }


def _groups_of(rule: Rule) -> list[str]:
    return [
        entry["TargetGroupArn"]
        for action in rule.actions
        for entry in (action.get("ForwardConfig") or {}).get("TargetGroups", [])
    ]


# Rules


def _route(rule: Rule, listener: Listener, sticky: Mapping[str, float]) -> Route:
    action = rule.actions[-1]
    label = Label(listener.load_balancer, rule.priority or 0, action["Type"])
    return Route(match_of(rule.conditions), _action(action, sticky), str(label))


def match_of(conditions: Iterable[Params]) -> Match:
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    headers: list[tuple[str, tuple[str, ...]]] = []
    queries: list[tuple[tuple[str | None, str], ...]] = []
    for condition in conditions:
        values = values_of(condition)
        match condition["Field"]:
            case "host-header":
                hosts = tuple(values)
            case "path-pattern":
                paths = tuple(values)
            case "http-request-method":
                methods = tuple(values)
            case "source-ip":
                sources = tuple(values)
            case "http-header":
                headers.append((condition["HttpHeaderConfig"]["HttpHeaderName"], tuple(values)))
            case "query-string":
                queries.append(tuple((pair.get("Key"), pair["Value"]) for pair in values))
    return Match(hosts, paths, methods, tuple(headers), tuple(queries), sources)


def _action(action: Params, sticky: Mapping[str, float]) -> Action:
    match action["Type"]:
        case "forward":
            return _forward(action["ForwardConfig"], sticky)
        case "redirect":
            return _redirect(action["RedirectConfig"])
        case _:
            config = action["FixedResponseConfig"]
            return FixedResponse(
                int(config["StatusCode"]), config.get("ContentType", "text/plain"), config.get("MessageBody", "")
            )


def _forward(config: Params, sticky: Mapping[str, float]) -> Forward:
    entries = config["TargetGroups"]
    groups = config.get("TargetGroupStickinessConfig") or {}
    return Forward(
        tuple((cluster_name(entry["TargetGroupArn"]), int(entry["Weight"])) for entry in entries),
        sticky=float(groups["DurationSeconds"]) if groups.get("Enabled") else None,
        sticky_targets=tuple(
            (cluster_name(arn), sticky[arn])
            for arn in (entry["TargetGroupArn"] for entry in entries)
            if arn in sticky
        ),
    )


def _redirect(config: Params) -> Redirect:
    def changed(key: str, same: str) -> str | None:
        return None if config[key] == same else str(config[key])

    port = changed("Port", "#{port}")
    return Redirect(
        status=int(config["StatusCode"].removeprefix("HTTP_")),
        protocol=changed("Protocol", "#{protocol}"),
        host=changed("Host", "#{host}"),
        port=None if port is None else int(port),
        path=changed("Path", "/#{path}"),
        query=changed("Query", "#{query}"),
    )

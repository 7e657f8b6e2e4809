"""From a proxy snapshot to Envoy's configuration, as the files that Envoy watches.

Pure. One file for the listeners, one for the clusters, and one for each listener's routes and each cluster's
endpoints, so that a change of endpoints rebuilds neither. A file's version is the digest of what is in it.
Patterns become RE2 expressions in `envoy_match.py`; who writes the files and asks Envoy about them is `envoy.py`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from portside.cloud.machine.envoy_match import SOURCE_HEADER, match_of, needs_source
from portside.cloud.machine.envoy_sticky import chosen_before, kept_config, target_config, weighted
from portside.cloud.machine.envoy_sticky import filter_config as sticky_filter
from portside.cloud.machine.proxy import (
    Action,
    Cluster,
    FixedResponse,
    Forward,
    ForwardedFor,
    Listener,
    Redirect,
    Route,
    Snapshot,
    VirtualHost,
)

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy."
_HTTP = _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
STAT_PREFIX = "lb"
UNAVAILABLE = "unavailable"
LISTENERS = "listeners.json"
CLUSTERS = "clusters.json"
_UNLIMITED = 2**32 - 1

SERVER = "awselb/2.0"
_FORMER_PATH = "#{path}"
_CLIENT = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"


@dataclass(frozen=True, slots=True)
class File:
    """One file of configuration. `stat` is the name under which Envoy tells the version that it serves."""

    name: str
    stat: str
    version: str
    text: str


def bootstrap(directory: Path, admin_socket: Path) -> str:
    """What Envoy is started with; everything else is in the files that it watches."""
    return json.dumps(
        {
            "node": {"id": "portside", "cluster": "portside"},
            "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
            "dynamic_resources": {
                "lds_config": _watched(directory / LISTENERS),
                "cds_config": _watched(directory / CLUSTERS),
            },
            "overload_manager": {
                "resource_monitors": [
                    {
                        "name": "envoy.resource_monitors.global_downstream_max_connections",
                        "typed_config": {
                            "@type": _TYPE
                            + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                            "max_active_downstream_connections": 50000,
                        },
                    }
                ]
            },
        },
        indent=1,
    )


def cluster_file(directory: Path, clusters: tuple[Cluster, ...]) -> File:
    unavailable = {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": UNAVAILABLE,
        "type": "STATIC",
        "connect_timeout": "1s",
    }
    resources = [unavailable, *(_cluster(directory, cluster) for cluster in clusters)]
    return _file(CLUSTERS, "cluster_manager.cds.version_text", resources)


def endpoint_file(cluster: Cluster) -> File:
    endpoints = [{"endpoint": {"address": _address(e.address, e.port)}} for e in cluster.endpoints]
    resource = {
        "@type": _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster.name,
        "endpoints": [{"lb_endpoints": endpoints}],
    }
    return _file(f"endpoints-{cluster.name}.json", f"cluster.{cluster.name}.version_text", [resource])


def listener_file(directory: Path, listeners: tuple[Listener, ...]) -> File:
    resources = [_listener(directory, listener) for listener in listeners]
    return _file(LISTENERS, "listener_manager.lds.version_text", resources)


def route_file(listener: Listener, written_at: int) -> File:
    """The routes of one listener. `written_at` becomes the time in new trace ids, not part of the version."""
    name = _route_name(listener)
    resource = {
        "@type": _TYPE + "config.route.v3.RouteConfiguration",
        "name": name,
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [_virtual_host(listener, host) for host in listener.hosts] + _no_such_host(listener),
        "request_headers_to_remove": [
            "x-envoy-external-address",
            *([SOURCE_HEADER] if needs_source(listener) else []),
        ],
    }
    made = _file(f"{name}.json", f"http.{STAT_PREFIX}.rds.{name}.version_text", [resource])
    return File(made.name, made.stat, made.version, made.text.replace(_EPOCH, f"{written_at:08x}"))


def listener_name(listener: Listener) -> str:
    return f"{listener.address}:{listener.port}"


def files(directory: Path, snapshot: Snapshot, written_at: int) -> list[File]:
    """All files of a snapshot, in the order in which they have to be written."""
    return [
        *(endpoint_file(cluster) for cluster in snapshot.clusters),
        cluster_file(directory, snapshot.clusters),
        *(route_file(listener, written_at) for listener in snapshot.listeners),
        listener_file(directory, snapshot.listeners),
    ]


# The parts

_EPOCH = "@epoch@"
# 24 digits that do not repeat: seconds, microseconds and the client's port. Envoy writes no hexadecimal numbers,
# so the time of the first part is the one at which the routes were written.
_TRACE = f"1-{_EPOCH}-%START_TIME(%s%6f)%%DOWNSTREAM_REMOTE_PORT%000"


def _file(name: str, stat: str, resources: list[Json]) -> File:
    version = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    text = json.dumps({"version_info": version, "resources": resources}, indent=1)
    return File(name, stat, version, text)


def _watched(path: Path) -> Json:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _seconds(value: float) -> str:
    return f"{value:g}s"


def _cluster(directory: Path, cluster: Cluster) -> Json:
    http: Json = {
        "@type": _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": _seconds(cluster.idle_timeout)},
        "explicit_http_config": (
            {"http2_protocol_options": {}} if cluster.http2 else {"http_protocol_options": {}}
        ),
    }
    thresholds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    made: Json = {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": cluster.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _watched(directory / f"endpoints-{cluster.name}.json")},
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST" if cluster.least_request else "ROUND_ROBIN",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [dict.fromkeys(thresholds, _UNLIMITED)]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http},
    }
    if cluster.slow_start and not cluster.least_request:
        made["round_robin_lb_config"] = {"slow_start_config": {"slow_start_window": _seconds(cluster.slow_start)}}
    return made


def _listener(directory: Path, listener: Listener) -> Json:
    name = _route_name(listener)
    manager: Json = {
        "@type": _HTTP,
        "stat_prefix": STAT_PREFIX,
        "server_header_transformation": "PASS_THROUGH",
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": False,
        "rds": {"route_config_name": name, "config_source": _watched(directory / f"{name}.json")},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_protocol_options": {"accept_http_10": True},
        "max_request_headers_kb": 64,
        "stream_idle_timeout": _seconds(_idle(listener)),
        "common_http_protocol_options": {
            "idle_timeout": _seconds(_idle(listener)),
            "max_connection_duration": _seconds(
                max((host.client_keep_alive for host in listener.hosts), default=3600.0)
            ),
        },
        "local_reply_config": {
            "mappers": [
                _error_page(["UH"], 503, "Service Temporarily Unavailable"),
                _error_page(["UF", "UC", "UR", "UPE"], 502, "Bad Gateway"),
                _error_page(["UT"], 504, "Gateway Time-out"),
                _idle_page(),
            ]
        },
        "http_filters": [
            sticky_filter(),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": _TYPE + "extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }
    if needs_source(listener):
        manager["early_header_mutation_extensions"] = [_note_source()]
    return {
        "@type": _TYPE + "config.listener.v3.Listener",
        "name": listener_name(listener),
        "address": _address(listener.address, listener.port),
        # With it, two Envoys could share a port and each get half of the connections, without an error.
        "enable_reuse_port": False,
        # Without it, few connections may all go to one of the workers.
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _idle(listener: Listener) -> float:
    """The longest silence that any load balancer on a listener allows."""
    return max((host.idle_timeout for host in listener.hosts), default=60.0)


def _note_source() -> Json:
    """Routes can only be told apart by headers, so the peer's address is put into one while a route is chosen."""
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": _TYPE + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"append": _add(SOURCE_HEADER, _CLIENT)}],
        },
    }


def _page(status: int, title: str) -> str:
    return (
        f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )


def _error_page(flags: list[str], status: int, title: str) -> Json:
    return {
        "filter": {"response_flag_filter": {"flags": flags}},
        "status_code": status,
        "headers_to_add": [_set("server", SERVER)],
        "body_format_override": {
            "text_format_source": {"inline_string": _page(status, title)},
            "content_type": "text/html",
        },
    }


def _idle_page() -> Json:
    """A stream without traffic: 504 when the target is to blame, 408 when the client is; Envoy knows which."""
    return {
        "filter": {"response_flag_filter": {"flags": ["SI"]}},
        "headers_to_add": [_set("server", SERVER)],
        "body_format_override": {
            "text_format_source": {"inline_string": _page(504, "Gateway Time-out")},
            "content_type": "text/html",
        },
    }


def _route_name(listener: Listener) -> str:
    return f"routes-{listener.address}-{listener.port}".replace(":", "_")


def _virtual_host(listener: Listener, host: VirtualHost) -> Json:
    added = [
        _set("x-forwarded-port", str(listener.port)),
        _add("x-amzn-trace-id", f"Self={_TRACE};%REQ(x-amzn-trace-id)%", "OVERWRITE_IF_EXISTS"),
        _add("x-amzn-trace-id", f"Root={_TRACE}", "ADD_IF_ABSENT"),
    ]
    removed: list[str] = []
    match host.forwarded_for:
        case ForwardedFor.APPEND:
            added += [
                _add("x-forwarded-for", f"%REQ(x-forwarded-for)%, {_CLIENT}", "OVERWRITE_IF_EXISTS"),
                _add("x-forwarded-for", _CLIENT, "ADD_IF_ABSENT"),
            ]
        case ForwardedFor.REMOVE:
            removed = ["x-forwarded-for"]
        case ForwardedFor.PRESERVE:
            pass
        case _:
            assert_never(host.forwarded_for)
    return {
        "name": host.name,
        "domains": list(host.domains),
        "routes": [made for route in host.routes for made in _routes(listener, host, route)],
        "request_headers_to_add": added,
        "request_headers_to_remove": removed,
    }


def _no_such_host(listener: Listener) -> list[Json]:
    names = sorted(domain for host in listener.hosts for domain in host.domains)
    if "*" in names:
        return []
    listed = "".join(f"  http://{name}:{listener.port}/\n" for name in names)
    body = f"Several load balancers listen on port {listener.port}. Ask for one of them by its name:\n{listed}"
    return [
        {
            "name": "no-such-host",
            "domains": ["*"],
            "routes": [
                {
                    "match": {"prefix": "/"},
                    "direct_response": {"status": 404, "body": {"inline_string": body}},
                    "response_headers_to_add": [
                        _set("server", SERVER),
                        _set("content-type", "text/plain"),
                    ],
                }
            ],
        }
    ]


def _routes(listener: Listener, host: VirtualHost, route: Route) -> list[Json]:
    """One; before it, with sticky clusters, one for each."""
    match, action = match_of(route.match), route.action
    made = [{"match": match, **_action(listener, host, action)}]
    if not isinstance(action, Forward) or action.sticky is None:
        return made
    used = [name for name, weight in action.clusters if weight > 0]
    if len(used) == 1:
        return made
    kept = [
        {
            "match": chosen_before(match, name),
            **_forward(host, _idle(listener), replace(action, clusters=((name, 1),))),
            **kept_config(name, action.sticky),
        }
        for name in used
    ]
    return kept + made


def _action(listener: Listener, host: VirtualHost, action: Action) -> Json:
    match action:
        case Forward():
            return _forward(host, _idle(listener), action)
        case Redirect(path=path, query=query) if query and (path is None or _FORMER_PATH in path):
            return _computed_redirect(action, listener.port)
        case Redirect():
            return {
                "redirect": _redirect(action, listener.port),
                "response_headers_to_add": [_set("server", SERVER)],
            }
        case FixedResponse(status, content_type, body):
            headers = [_set("server", SERVER), _set("content-type", content_type)]
            direct: Json = {"status": status}
            if body:
                direct["body"] = {"inline_string": body}
            return {"direct_response": direct, "response_headers_to_add": headers}
        case _:
            assert_never(action)


def _forward(host: VirtualHost, listener_idle: float, action: Forward) -> Json:
    used = [(name, weight) for name, weight in action.clusters if weight > 0]
    sticky = dict(action.sticky_targets)
    target: Json
    more: Json = {}
    if not used:
        target = {"cluster": UNAVAILABLE}
    elif len(used) == 1:
        ((name, _),) = used
        target = {"cluster": name}
        more = target_config(sticky[name]) if name in sticky else {}
    else:
        target = weighted(used, sticky, action.sticky)
    made: Json = {
        **target,
        # No limit on a whole answer, only on silence. Nothing is ever sent a second time: as on AWS, a target that
        # refuses a connection is a 502.
        "timeout": "0s",
    }
    if host.idle_timeout != listener_idle:
        made["idle_timeout"] = _seconds(host.idle_timeout)
    return {"route": made} | more


def _redirect(action: Redirect, port: int) -> Json:
    # A redirect keeps the former query or drops it, so one of its own goes with the path. An ALB always names the
    # port; without this, Envoy would drop it with the host or the protocol.
    made: Json = {
        "response_code": "MOVED_PERMANENTLY" if action.status == 301 else "FOUND",
        "port_redirect": action.port if action.port is not None else port,
        "strip_query": action.query is not None,
    }
    if action.protocol is not None:
        made["scheme_redirect"] = action.protocol.lower()
    if action.host is not None:
        made["host_redirect"] = action.host
    if action.path is None:
        return made
    if _FORMER_PATH in action.path:
        substitution = action.path.replace("\\", r"\\").replace(_FORMER_PATH, r"\1")
        made["regex_rewrite"] = {"pattern": {"regex": "^/(.*)$"}, "substitution": substitution}
    else:
        made["path_redirect"] = action.path + (f"?{action.query}" if action.query else "")
    return made


def _computed_redirect(action: Redirect, port: int) -> Json:
    """The one case that Envoy's redirects do not know: the former path with a new query."""
    path = (action.path or f"/{_FORMER_PATH}").replace("%", "%%").replace(f"/{_FORMER_PATH}", "%PATH(NQ)%")
    host = "%REQ(:authority)%" if action.host is None else f"{action.host}:{action.port or port}"
    query = (action.query or "").replace("%", "%%")
    location = f"{(action.protocol or 'http').lower()}://{host}{path}?{query}"
    return {
        "direct_response": {"status": action.status},
        "response_headers_to_add": [_set("server", SERVER), _add("location", location)],
    }


def _set(key: str, value: str) -> Json:
    return _add(key, value.replace("%", "%%"))


def _add(key: str, value: str, how: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": key, "value": value}, "append_action": how}

"""From a proxy snapshot to Envoy's configuration, as the files that Envoy watches.

Pure. One file for the listeners, one for the clusters, and one for each listener's routes and each cluster's
endpoints, so that a change of endpoints rebuilds neither. A file's version is the digest of what is in it.
What becomes of requests is in `envoy_routes.py`, what is spoken over TLS in `envoy_tls.py`; who writes the files
and asks Envoy about them is `envoy.py`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from portside.cloud.machine import envoy_log, envoy_routes, envoy_tls
from portside.cloud.machine.envoy_match import needs_source
from portside.cloud.machine.envoy_pages import error_page, idle_page, refusal
from portside.cloud.machine.envoy_routes import UNAVAILABLE, idle, note_source, plain_filter, seconds
from portside.cloud.machine.envoy_sticky import filter_config as sticky_filter
from portside.cloud.machine.proxy import (
    Balancing,
    Cluster,
    Listener,
    Snapshot,
)

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy."
_HTTP = _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
STAT_PREFIX = "lb"
LISTENERS = "listeners.json"
CLUSTERS = "clusters.json"
_UNLIMITED = 2**32 - 1

# As many as an ALB allows on one HTTP/2 connection.
_STREAMS = 128


@dataclass(frozen=True, slots=True)
class File:
    """One file of configuration. `stat` is the name under which Envoy tells the version that it serves. `listener`
    is the one that a private key is for; nobody else may read such a file."""

    name: str
    stat: str
    version: str
    text: str = field(repr=False)
    listener: str = ""


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
    endpoints: list[Json] = [{"endpoint": {"address": _address(e.address, e.port)}} for e in cluster.endpoints]
    for leaving in cluster.leaving:
        endpoint = {"address": _address(leaving.address, leaving.port)}
        endpoints.append({"endpoint": endpoint, "health_status": "DRAINING"})
    resource = {
        "@type": _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster.name,
        "endpoints": [{"lb_endpoints": endpoints}],
    }
    return _file(f"endpoints-{cluster.name}.json", f"cluster.{cluster.name}.version_text", [resource])


def listener_file(directory: Path, listeners: tuple[Listener, ...]) -> File:
    sockets: dict[str, list[Listener]] = {}
    for listener in listeners:
        sockets.setdefault(listener_name(listener), []).append(listener)
    resources = [_listener(directory, name, together) for name, together in sockets.items()]
    return _file(LISTENERS, "listener_manager.lds.version_text", resources)


def secret_files(listener: Listener) -> list[File]:
    """The certificates of one listener, with their keys."""
    made = []
    for name, secret in envoy_tls.secrets(listener):
        file = _file(f"{name}.json", f"sds.{name}.version_text", [secret])
        made.append(replace(file, listener=listener_name(listener)))
    return made


def route_file(listener: Listener, written_at: int) -> File:
    """The routes of one listener. `written_at` becomes the time in new trace ids, not part of the version."""
    name = _route_name(listener)
    resource = envoy_routes.configuration(listener, name)
    made = _file(f"{name}.json", f"http.{STAT_PREFIX}.rds.{name}.version_text", [resource])
    return File(made.name, made.stat, made.version, made.text.replace(envoy_routes.EPOCH, f"{written_at:08x}"))


def listener_name(listener: Listener) -> str:
    return f"{listener.address}:{listener.port}"


def files(directory: Path, snapshot: Snapshot, written_at: int) -> list[File]:
    """All files of a snapshot, in the order in which they have to be written."""
    return [
        *(endpoint_file(cluster) for cluster in snapshot.clusters),
        cluster_file(directory, snapshot.clusters),
        *(route_file(listener, written_at) for listener in snapshot.listeners),
        *(file for listener in snapshot.listeners for file in secret_files(listener)),
        listener_file(directory, snapshot.listeners),
    ]


# The parts


def _file(name: str, stat: str, resources: list[Json]) -> File:
    version = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    text = json.dumps({"version_info": version, "resources": resources}, indent=1)
    return File(name, stat, version, text)


def _watched(path: Path) -> Json:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _cluster(directory: Path, cluster: Cluster) -> Json:
    http: Json = {
        "@type": _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": seconds(cluster.idle_timeout)},
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
        "lb_policy": cluster.balancing.value.upper(),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [dict.fromkeys(thresholds, _UNLIMITED)]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http},
    }
    if cluster.tls:
        made["transport_socket"] = envoy_tls.upstream(http2=cluster.http2)
    if cluster.slow_start and cluster.balancing is Balancing.ROUND_ROBIN:
        made["round_robin_lb_config"] = {"slow_start_config": {"slow_start_window": seconds(cluster.slow_start)}}
    return made


def _listener(directory: Path, name: str, together: list[Listener]) -> Json:
    """One socket: what comes over TLS, and what does not."""
    first = together[0]
    made: Json = {
        "@type": _TYPE + "config.listener.v3.Listener",
        "name": name,
        "address": _address(first.address, first.port),
        # With it, two Envoys could share a port and each get half of the connections, without an error.
        "enable_reuse_port": False,
        # Without it, few connections may all go to one of the workers.
        "connection_balance_config": {"exact_balance": {}},
    }
    secured = [each for each in together if each.tls is not None]
    plain = [_filters(_manager(directory, each)) for each in together if each.tls is None]
    if not secured:
        return made | {"filter_chains": [{"filters": plain[0]}]}
    (listener,) = secured
    chains = envoy_tls.chains(directory, listener, _filters(_manager(directory, listener)))
    chains.append(
        {
            "name": "plain",
            "filter_chain_match": {"transport_protocol": "raw_buffer"},
            "filters": plain[0] if plain else _filters(_refusing()),
        }
    )
    return made | {"listener_filters": [envoy_tls.inspector()], "filter_chains": chains}


def _filters(manager: Json) -> list[Json]:
    return [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]


def _refusing() -> Json:
    """For what is no TLS on a port where it is spoken."""
    return {
        "@type": _HTTP,
        "stat_prefix": STAT_PREFIX,
        "server_header_transformation": "PASS_THROUGH",
        "use_remote_address": True,
        "route_config": {
            "name": "refused",
            "virtual_hosts": [{"name": "refused", "domains": ["*"], "routes": [refusal()]}],
        },
        "http_filters": [_ROUTER],
    }


_ROUTER: Json = {
    "name": "envoy.filters.http.router",
    "typed_config": {
        "@type": _TYPE + "extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": True,
    },
}


def _manager(directory: Path, listener: Listener) -> Json:
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
        "stream_idle_timeout": seconds(idle(listener)),
        "common_http_protocol_options": {
            "idle_timeout": seconds(idle(listener)),
            "max_connection_duration": seconds(
                max((host.client_keep_alive for host in listener.hosts), default=3600.0)
            ),
        },
        "local_reply_config": {
            "mappers": [
                error_page(["UH"], 503, "Service Temporarily Unavailable"),
                error_page(["UF", "UC", "UR", "UPE"], 502, "Bad Gateway"),
                error_page(["UT"], 504, "Gateway Time-out"),
                idle_page(),
            ]
        },
        "http_filters": [
            plain_filter(),
            sticky_filter(),
            _ROUTER,
        ],
    }
    if listener.tls is not None:
        manager["http2_protocol_options"] = {"max_concurrent_streams": _STREAMS}
    if any(host.logged for host in listener.hosts):
        manager["access_log"] = [envoy_log.config(directory)]
    if needs_source(listener):
        manager["early_header_mutation_extensions"] = [note_source()]
    return manager


def _route_name(listener: Listener) -> str:
    secured = "-tls" if listener.tls is not None else ""
    return f"routes-{listener.address}-{listener.port}{secured}".replace(":", "_")

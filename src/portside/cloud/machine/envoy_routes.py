"""What becomes of a request: from virtual hosts, routes and actions to Envoy's route configuration.

Pure. Also what requests and answers get and lose on their way, which Envoy knows by its routes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, assert_never

from portside.cloud.machine.envoy_match import SOURCE_HEADER, match_of, needs_source
from portside.cloud.machine.envoy_pages import SERVER, add_header, set_header
from portside.cloud.machine.envoy_sticky import chosen_before, kept_config, target_config, weighted
from portside.cloud.machine.proxy import (
    Action,
    FixedResponse,
    Forward,
    ForwardedFor,
    Listener,
    Redirect,
    Route,
    VirtualHost,
)

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy."
UNAVAILABLE = "unavailable"
_FORMER_PATH = "#{path}"
_CLIENT = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
_CLIENT_AND_PORT = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"
_MUTATION = "envoy.filters.http.header_mutation"
_MUTATION_TYPE = _TYPE + "extensions.filters.http.header_mutation.v3.HeaderMutation"
EPOCH = "@epoch@"
# 24 digits that do not repeat: seconds, microseconds and the client's port. Envoy writes no hexadecimal numbers,
# so the time of the first part is the one at which the routes were written.
_TRACE = f"1-{EPOCH}-%START_TIME(%s%6f)%%DOWNSTREAM_REMOTE_PORT%000"


def configuration(listener: Listener, name: str) -> Json:
    """All routes of a listener. Where EPOCH stands, the time of writing goes, in eight hexadecimal digits."""
    return {
        "@type": _TYPE + "config.route.v3.RouteConfiguration",
        "name": name,
        "ignore_port_in_host_matching": True,
        "virtual_hosts": [_virtual_host(listener, host) for host in listener.hosts] + _no_such_host(listener),
        "request_headers_to_remove": [
            "x-envoy-external-address",
            *([SOURCE_HEADER] if needs_source(listener) else []),
        ],
    }


def plain_filter() -> Json:
    """The filter that drops headers, where a virtual host says so."""
    return {"name": _MUTATION, "typed_config": {"@type": _MUTATION_TYPE}}


def seconds(value: float) -> str:
    return f"{value:g}s"


def idle(listener: Listener) -> float:
    """The longest silence that any load balancer on a listener allows."""
    return max((host.idle_timeout for host in listener.hosts), default=60.0)


def note_source() -> Json:
    """Routes can only be told apart by headers, so the peer's address is put into one while a route is chosen."""
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": _TYPE + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"append": add_header(SOURCE_HEADER, _CLIENT)}],
        },
    }


def _scheme(listener: Listener) -> str:
    return "http" if listener.tls is None else "https"


def _virtual_host(listener: Listener, host: VirtualHost) -> Json:
    added = [
        set_header("x-forwarded-port", str(listener.port)),
        add_header("x-amzn-trace-id", f"Self={_TRACE};%REQ(x-amzn-trace-id)%", "OVERWRITE_IF_EXISTS"),
        add_header("x-amzn-trace-id", f"Root={_TRACE}", "ADD_IF_ABSENT"),
    ]
    if host.tls_headers and listener.tls is not None:
        version, cipher = host.tls_headers
        added += [
            add_header(version, "%DOWNSTREAM_TLS_VERSION%"),
            add_header(cipher, "%DOWNSTREAM_TLS_CIPHER%"),
        ]
    removed: list[str] = []
    match host.forwarded_for:
        case ForwardedFor.APPEND:
            client = _CLIENT_AND_PORT if host.client_port else _CLIENT
            added += [
                add_header("x-forwarded-for", f"%REQ(x-forwarded-for)%, {client}", "OVERWRITE_IF_EXISTS"),
                add_header("x-forwarded-for", client, "ADD_IF_ABSENT"),
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
        "response_headers_to_add": [set_header(name, value) for name, value in host.response_headers],
        "response_headers_to_remove": [] if host.name_server else ["server"],
        **(_plain_headers() if host.plain_headers else {}),
    }


def _plain_headers() -> Json:
    """Drops headers by their names; those of HTTP/2 that begin with a colon are no headers of the client's."""
    names = {"safe_regex": {"regex": "[^:]*[^-A-Za-z0-9:][^:]*"}}
    mutations = {"request_mutations": [{"remove_on_match": {"key_matcher": names}}]}
    return {
        "typed_per_filter_config": {
            _MUTATION: {"@type": f"{_MUTATION_TYPE}PerRoute", "mutations": mutations},
        }
    }


def _no_such_host(listener: Listener) -> list[Json]:
    names = sorted(domain for host in listener.hosts for domain in host.domains)
    if "*" in names:
        return []
    listed = "".join(f"  {_scheme(listener)}://{name}:{listener.port}/\n" for name in names)
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
                        set_header("server", SERVER),
                        set_header("content-type", "text/plain"),
                    ],
                }
            ],
        }
    ]


def _routes(listener: Listener, host: VirtualHost, route: Route) -> list[Json]:
    """One; before it, with sticky clusters, one for each."""
    match, action = match_of(route.match), route.action
    named = {"name": route.name} if route.name else {}
    made = [{**named, "match": match, **_action(listener, host, action)}]
    if not isinstance(action, Forward) or action.sticky is None:
        return made
    used = [name for name, weight in action.clusters if weight > 0]
    if len(used) == 1:
        return made
    kept = [
        {
            **named,
            "match": chosen_before(match, name),
            **_forward(host, idle(listener), replace(action, clusters=((name, 1),))),
            **kept_config(name, action.sticky),
        }
        for name in used
    ]
    return kept + made


def _action(listener: Listener, host: VirtualHost, action: Action) -> Json:
    match action:
        case Forward():
            return _forward(host, idle(listener), action)
        case Redirect(path=path, query=query) if query and (path is None or _FORMER_PATH in path):
            return _computed_redirect(action, listener)
        case Redirect():
            return {
                "redirect": _redirect(action, listener.port),
                "response_headers_to_add": [set_header("server", SERVER)],
            }
        case FixedResponse(status, content_type, body):
            headers = [set_header("server", SERVER), set_header("content-type", content_type)]
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
        made["idle_timeout"] = seconds(host.idle_timeout)
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


def _computed_redirect(action: Redirect, listener: Listener) -> Json:
    """The one case that Envoy's redirects do not know: the former path with a new query."""
    path = (action.path or f"/{_FORMER_PATH}").replace("%", "%%").replace(f"/{_FORMER_PATH}", "%PATH(NQ)%")
    host = "%REQ(:authority)%" if action.host is None else f"{action.host}:{action.port or listener.port}"
    query = (action.query or "").replace("%", "%%")
    location = f"{(action.protocol or _scheme(listener)).lower()}://{host}{path}?{query}"
    return {
        "direct_response": {"status": action.status},
        "response_headers_to_add": [set_header("server", SERVER), add_header("location", location)],
    }

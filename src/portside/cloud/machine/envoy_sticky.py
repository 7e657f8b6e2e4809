"""Stickiness in Envoy's words: a cookie for the endpoint that answered, and one for the cluster that was chosen.

Pure. The filter for endpoints is part of every listener and does nothing until a route says so: a listener that
changes ends its connections. A cluster is remembered by routes of its own, each for the clients with its cookie.
Source: the user guide for Application Load Balancers, "Edit target group attributes for your Application Load
Balancer", "Sticky sessions".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

TARGET_COOKIE = "AWSALB"
GROUP_COOKIE = "AWSALBTG"
_TYPE = "type.googleapis.com/envoy.extensions."
_FILTER = "envoy.filters.http.stateful_session"


def filter_config() -> Json:
    return {
        "name": _FILTER,
        "typed_config": {"@type": _TYPE + "filters.http.stateful_session.v3.StatefulSession"},
    }


def target_config(seconds: float) -> Json:
    """For a route, or for one cluster of a weighted one. An endpoint that is there no more is not waited for."""
    state = {
        "name": "envoy.http.stateful_session.cookie",
        "typed_config": {
            "@type": _TYPE + "http.stateful_session.cookie.v3.CookieBasedSessionState",
            "cookie": {"name": TARGET_COOKIE, "path": "/", "ttl": f"{seconds:g}s"},
        },
    }
    return {
        "typed_per_filter_config": {
            _FILTER: {
                "@type": _TYPE + "filters.http.stateful_session.v3.StatefulSessionPerRoute",
                "stateful_session": {"session_state": state},
            }
        }
    }


def weighted(clusters: list[tuple[str, int]], targets: Mapping[str, float], group: float | None) -> Json:
    """The part of a route that chooses among several clusters. `targets` are the clusters whose clients stay with
    their endpoint, `group` is how long one stays with the cluster, both in seconds."""
    entries = [
        {"name": name, "weight": weight}
        | (target_config(targets[name]) if name in targets else {})
        | ({"response_headers_to_add": [_group_cookie(name, group)]} if group is not None else {})
        for name, weight in clusters
    ]
    return {"weighted_clusters": {"clusters": entries}}


def chosen_before(match: Json, cluster: str) -> Json:
    """A route's match, narrowed to the clients that have been given the cookie of that cluster."""
    cookie = f"(.*; ?)?{GROUP_COOKIE}={_mark(cluster)}(;.*)?"
    matcher = {"name": "cookie", "string_match": {"safe_regex": {"regex": cookie}}}
    return match | {"headers": [*match.get("headers", []), matcher]}


def kept_config(cluster: str, seconds: float) -> Json:
    """For the route of `chosen_before`: each answer prolongs the time, as on AWS."""
    return {"response_headers_to_add": [_group_cookie(cluster, seconds)]}


def _group_cookie(cluster: str, seconds: float) -> Json:
    value = f"{GROUP_COOKIE}={_mark(cluster)}; Max-Age={seconds:g}; Path=/"
    return {"header": {"key": "set-cookie", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}


def _mark(cluster: str) -> str:
    return hashlib.sha256(cluster.encode()).hexdigest()[:32]

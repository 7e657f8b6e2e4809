"""From ELB's conditions to Envoy's route matches.

Pure. ELB's patterns know `*` (any characters) and `?` (one character); Envoy's are RE2. Paths are compared as they
are, host names, headers and query strings without regard to case.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from portside.cloud.machine.proxy import Listener, Match

Json = dict[str, Any]

SOURCE_HEADER = "x-portside-source"


def needs_source(listener: Listener) -> bool:
    """Whether any route asks where a request comes from."""
    return any(route.match.sources for host in listener.hosts for route in host.routes)


def expression(pattern: str, anything: str = ".*", one: str = ".") -> str:
    """An RE2 expression for a whole text that fits the pattern."""
    out = []
    for character in pattern:
        if character == "*":
            out.append(anything)
        elif character == "?":
            out.append(one)
        elif character.isalnum() or character == "_" or ord(character) > 127:
            out.append(character)
        else:
            out.append("\\" + character)
    return "".join(out)


def match_of(match: Match) -> Json:
    headers = [
        *_hosts(match.hosts),
        *_methods(match.methods),
        *(_header(name, patterns) for name, patterns in match.headers),
        *(_query(pairs) for pairs in match.queries),
        *_sources(match.sources),
    ]
    return _path(match.paths) | ({"headers": headers} if headers else {})


def _either(expressions: Iterable[str]) -> str:
    return "(?:" + "|".join(expressions) + ")"


def _path(patterns: tuple[str, ...]) -> Json:
    if not patterns or "*" in patterns:
        return {"prefix": "/"}
    if len(patterns) == 1:
        (pattern,) = patterns
        plain = pattern.removesuffix("*")
        if "*" not in plain and "?" not in plain:
            return {"path": pattern} if plain == pattern else {"prefix": plain}
    return {"safe_regex": {"regex": _either(expression(pattern) for pattern in patterns)}}


def _regex_header(name: str, regex: str) -> Json:
    return {"name": name, "string_match": {"safe_regex": {"regex": regex}}}


def _hosts(patterns: tuple[str, ...]) -> list[Json]:
    if not patterns:
        return []
    either = _either(expression(pattern) for pattern in patterns)
    return [_regex_header(":authority", f"(?i){either}(?::[0-9]+)?")]


def _methods(methods: tuple[str, ...]) -> list[Json]:
    if not methods:
        return []
    if len(methods) == 1:
        return [{"name": ":method", "string_match": {"exact": methods[0]}}]
    return [_regex_header(":method", _either(expression(method) for method in methods))]


def _header(name: str, patterns: tuple[str, ...]) -> Json:
    return _regex_header(name, "(?i)" + _either(expression(pattern) for pattern in patterns))


def _query(pairs: tuple[tuple[str | None, str], ...]) -> Json:
    """One of the pairs must be in the query string; without a key, its value under any key."""
    either = _either(
        ("(?:[^&=]*=)?" if key is None else expression(key, "[^&=]*", "[^&=]") + "=")
        + expression(value, "[^&]*", "[^&]")
        for key, value in pairs
    )
    return _regex_header(":path", rf"(?i)[^?]*\?(?:.*&)?{either}(?:&.*)?")


def _sources(networks: tuple[str, ...]) -> list[Json]:
    if not networks:
        return []
    return [_regex_header(SOURCE_HEADER, _either(_network(network) for network in networks))]


def _network(text: str) -> str:
    network = ipaddress.ip_network(text, strict=False)
    if network.version == 6:
        return "never"  # all traffic here comes by IPv4
    low, high = int(network.network_address), int(network.broadcast_address)
    parts = []
    for shift in (24, 16, 8, 0):
        first, last = (low >> shift) & 255, (high >> shift) & 255
        if (first, last) == (0, 255):
            parts.append("[0-9]+")
        elif first == last:
            parts.append(str(first))
        else:
            parts.append(_either(str(number) for number in range(first, last + 1)))
    return r"\.".join(parts)

"""The load balancers' data plane, as the services see it.

Owns the vocabulary: a `Snapshot` is everything the proxy should do, as one plain value; applying the same
snapshot twice changes nothing. `envoy.py` serves it by Envoy, whose configuration `envoy_config.py` writes;
`portside.testing.proxy` is the fake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a target really listens on this machine."""

    address: str
    port: int


class Balancing(StrEnum):
    """Who of a cluster gets the next request."""

    ROUND_ROBIN = "round_robin"
    LEAST_REQUEST = "least_request"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A target group's endpoints that should get requests. `slow_start` is the time, in seconds, in which a new
    endpoint comes to its full share. Names are made of letters, digits, `-` and `_`."""

    name: str
    endpoints: tuple[Endpoint, ...]
    # Get no new requests; what is under way there goes on.
    leaving: tuple[Endpoint, ...] = ()
    idle_timeout: float = 60.0
    balancing: Balancing = Balancing.ROUND_ROBIN
    slow_start: float = 0.0
    http2: bool = False
    # Spoken to over TLS, whatever certificate an endpoint shows.
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """Requests go to the clusters by weight. No weight at all, or no endpoints in the chosen cluster: 503.

    Cookies make clients stay, for so many seconds: `sticky` with the cluster that was chosen for them,
    `sticky_targets` with the endpoint that answered them, by cluster.
    """

    clusters: tuple[tuple[str, int], ...]
    sticky: float | None = None
    sticky_targets: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """What is None stays as it was. `path` may hold `#{path}`, the former path without its first slash."""

    status: int
    protocol: str | None = None
    host: str | None = None
    port: int | None = None
    path: str | None = None
    query: str | None = None


@dataclass(frozen=True, slots=True)
class FixedResponse:
    status: int
    content_type: str = "text/plain"
    body: str = ""


Action = Forward | Redirect | FixedResponse


@dataclass(frozen=True, slots=True)
class Match:
    """All of it must hold. Patterns are ELB's: `*` and `?`. Empty: everything matches. Of each group of `queries`
    one pair of key and value must be there, of each header one of the patterns must fit."""

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    queries: tuple[tuple[tuple[str | None, str], ...], ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """`name` is what stands for it in the log of requests."""

    match: Match
    action: Action
    name: str = ""


class ForwardedFor(StrEnum):
    """What happens to X-Forwarded-For on the way to a target."""

    APPEND = "append"
    PRESERVE = "preserve"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of one load balancer's listener, in order; `domains` are the host names that lead here,
    `*` for any."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    idle_timeout: float = 60.0
    client_keep_alive: float = 3600.0
    forwarded_for: ForwardedFor = ForwardedFor.APPEND
    # Whether X-Forwarded-For has the client's port beside its address.
    client_port: bool = False
    # Whether headers are dropped whose names are not letters, digits and hyphens.
    plain_headers: bool = False
    # Whether its requests are to be logged; those of others on the same socket may be, too.
    logged: bool = False
    # The headers by which targets are told of TLS version and cipher suite; None if they are not.
    tls_headers: tuple[str, str] | None = None
    # Headers that every answer gets, in the place of the target's own, and whether it names a server.
    response_headers: tuple[tuple[str, str], ...] = ()
    name_server: bool = True


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server shows and proves: PEM, the server's own certificate first in the chain. `names` are those that
    it is for, in small letters; `*.` stands for one label."""

    names: tuple[str, ...]
    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """How a socket speaks TLS. The first certificate is for clients that name no host, or one that no certificate
    is for. Versions are `TLSv1` to `TLSv1.3`; the cipher suites are those of TLS 1.2 and before, none: the proxy's
    own choice. `hybrid` offers key exchange with a post-quantum part."""

    certificates: tuple[ServerCertificate, ...]
    minimum: str = "TLSv1.2"
    maximum: str = "TLSv1.3"
    ciphers: tuple[str, ...] = ()
    http2: bool = True
    hybrid: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket, and who is told apart on it by host name. Where no host is `*`, a request for a name that is
    not there gets a 404 that lists the names. With `tls`, it is for requests that come over TLS; the same socket
    may have another listener for those that do not, which otherwise get a 400."""

    address: str
    port: int
    hosts: tuple[VirtualHost, ...]
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    listeners: tuple[Listener, ...] = ()
    clusters: tuple[Cluster, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterCounts:
    """What has come to pass in a cluster since the proxy started. `requests` are those that an endpoint was chosen
    for, `codes` the endpoints' answers by their first digit. `without_endpoint` were answered by 503 and `failed`
    by 502 by the proxy itself. `times` are numbers of answers by the time they took, at most, in seconds."""

    requests: int = 0
    codes: tuple[tuple[int, int], ...] = ()
    without_endpoint: int = 0
    failed: int = 0
    times: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SocketCounts:
    """Connections of clients: open now, and made since the proxy started; `not_agreed` could not agree on TLS."""

    open: int = 0
    made: int = 0
    not_agreed: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """`run` tells one start of the proxy from another: counts begin again with each. Empty when it does not run.
    Sockets go by address and port."""

    run: str = ""
    clusters: Mapping[str, ClusterCounts] = field(default_factory=dict)
    sockets: Mapping[tuple[str, int], SocketCounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """One request that was answered. Times are in seconds, `begin` since the epoch, sizes in bytes with headers.
    `endpoint`: the one that it was sent to, if any; what it did not come to is None. Texts that are not there are
    empty."""

    route: str
    cluster: str
    endpoint: Endpoint | None
    client: str
    begin: float
    whole: float
    request: float | None
    target: float | None
    response: float | None
    status: int
    target_status: int | None
    received: int
    sent: int
    method: str
    host: str
    path: str
    protocol: str
    agent: str
    cipher: str
    tls: str
    trace: str
    server_name: str
    location: str
    connection: str


class LogPart(Protocol):
    """A piece of the log of requests that nothing is added to any more. `name` is its own for good, `closed_at` in
    seconds since the epoch."""

    @property
    def name(self) -> str: ...

    @property
    def closed_at(self) -> float: ...

    def served(self) -> Iterator[Served]: ...

    def forget(self) -> None:
        """It is not needed any more. Safe to do twice."""
        ...


class ProxyError(Exception):
    """The proxy did not take all of a snapshot; `reason` says what and why. `missing`: the sockets that do not
    listen, where all the rest is served. Without any, the former snapshot stays in force as far as can be told."""

    def __init__(self, reason: str, *, missing: Iterable[tuple[str, int]] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.missing = frozenset(missing)


class Proxy(Protocol):
    """Serves traffic by the newest snapshot that it took."""

    async def apply(self, snapshot: Snapshot) -> None:
        """Returns when the proxy serves by this snapshot; raises ProxyError when not all of it is."""
        ...

    async def obstacle(self, address: str, port: int) -> str | None:
        """Why the proxy could not listen there; None when it could, or does already."""
        ...

    async def busy(self, cluster: str, endpoint: Endpoint) -> bool:
        """Whether requests are under way to an endpoint, be it one that leaves. Raises ProxyError when the proxy
        runs and does not answer."""
        ...

    async def statistics(self) -> Statistics:
        """Raises ProxyError when the proxy runs and does not answer."""
        ...

    async def log(self) -> Sequence[LogPart]:
        """All parts of the log of requests that were not forgotten, oldest first, up to now. Raises ProxyError."""
        ...

    async def stop(self) -> None: ...

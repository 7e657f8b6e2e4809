"""The security policies of HTTPS listeners: protocols and cipher suites by name.

Pure. Source: the user guide for Application Load Balancers, "Security policies for your Application Load
Balancer". Which of the cipher suites the proxy knows is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params

# What a listener gets whose request names none.
DEFAULT = "ELBSecurityPolicy-2016-08"
PREFIX = "ELBSecurityPolicy-"
VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

# All cipher suites in the order in which AWS prefers them.
_ORDER = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA256",
    "AES256-SHA",
    "DES-CBC3-SHA",
)
_TLS13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
_FIPS13 = _TLS13 - {"TLS_CHACHA20_POLY1305_SHA256"}
_GCM = {each for each in _ORDER if each.startswith("ECDHE") and "-GCM-" in each}
_CBC = {each for each in _ORDER if each.startswith("ECDHE") and each.endswith(("SHA256", "SHA384"))} - _GCM
_SHA1 = {each for each in _ORDER if each.startswith("ECDHE") and each.endswith("-SHA")}
_PLAIN = {"AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"}
_PLAIN_SHA1 = {"AES128-SHA", "AES256-SHA"}
_WIDE = _GCM | _CBC | _SHA1 | _PLAIN | _PLAIN_SHA1


@dataclass(frozen=True, slots=True)
class Policy:
    """Versions and cipher suites as AWS lists them: the newest and the preferred first."""

    name: str
    versions: tuple[str, ...]
    ciphers: tuple[str, ...]

    @property
    def hybrid(self) -> bool:
        """Whether keys are also exchanged with a post-quantum part."""
        return "-PQ-" in self.name


def _made() -> dict[str, Policy]:
    found: dict[str, Policy] = {}

    def add(name: str, oldest: str, ciphers: set[str], newest: str = "TLSv1.2") -> None:
        versions = VERSIONS[VERSIONS.index(oldest) : VERSIONS.index(newest) + 1]
        ordered = tuple(each for each in _ORDER if each in ciphers)
        found[PREFIX + name] = Policy(PREFIX + name, tuple(reversed(versions)), ordered)

    def with_tls13(ending: str, base: set[str], *, zero: bool) -> None:
        extended = _GCM | _CBC | _PLAIN
        for level, oldest, ciphers in (
            ("1-3", "TLSv1.3", set()),
            ("1-2", "TLSv1.2", _GCM | _CBC),
            ("1-2-Res", "TLSv1.2", _GCM),
            ("1-2-Ext2", "TLSv1.2", _WIDE),
            ("1-2-Ext1", "TLSv1.2", extended),
            *((("1-2-Ext0", "TLSv1.2", _GCM | _CBC | _SHA1),) if zero else ()),
            *((("1-1", "TLSv1.1", _WIDE),) if "PQ" not in ending else ()),
            ("1-0", "TLSv1", _WIDE),
        ):
            add(f"TLS13-{level}-{ending}", oldest, base | ciphers, "TLSv1.3")

    with_tls13("2021-06", _TLS13, zero=False)
    with_tls13("PQ-2025-09", _TLS13, zero=False)
    with_tls13("FIPS-2023-04", _FIPS13, zero=True)
    with_tls13("FIPS-PQ-2025-09", _FIPS13, zero=True)
    add("TLS-1-2-Ext-2018-06", "TLSv1.2", _WIDE)
    add("TLS-1-2-2017-01", "TLSv1.2", _GCM | _CBC | _PLAIN)
    add("TLS-1-1-2017-01", "TLSv1.1", _WIDE)
    add("2016-08", "TLSv1", _WIDE)
    add("FS-1-2-Res-2020-10", "TLSv1.2", _GCM)
    add("FS-1-2-Res-2019-08", "TLSv1.2", _GCM | _CBC)
    add("FS-1-2-2019-08", "TLSv1.2", _GCM | _CBC | _SHA1)
    add("FS-1-1-2019-08", "TLSv1.1", _GCM | _CBC | _SHA1)
    add("FS-2018-06", "TLSv1", _GCM | _CBC | _SHA1)
    add("2015-05", "TLSv1", _WIDE)
    add("TLS-1-0-2015-04", "TLSv1", _WIDE | {"DES-CBC3-SHA"})
    return found


POLICIES: Mapping[str, Policy] = _made()


def named(name: str) -> Policy:
    found = POLICIES.get(name)
    if found is not None:
        return found
    if "-RFC9151-" in name:
        raise AwsError(
            "SSLPolicyNotFound", f"portside's load balancers do not offer the policies of RFC 9151: '{name}'"
        )
    raise AwsError("SSLPolicyNotFound", f"SSL policy '{name}' not found")


def described(policy: Policy) -> Params:
    return {
        "Name": policy.name,
        "SslProtocols": list(policy.versions),
        "Ciphers": [{"Name": each, "Priority": rank} for rank, each in enumerate(policy.ciphers, start=1)],
        "SupportedLoadBalancerTypes": ["application", "network"],
    }


def widest(names: Iterable[str]) -> Policy:
    """What several listeners that share a socket speak there: whatever one of them does."""
    policies = [POLICIES[name] for name in names]
    versions = {version for each in policies for version in each.versions}
    ciphers = {cipher for each in policies for cipher in each.ciphers}
    return Policy(
        " and ".join(dict.fromkeys(each.name for each in policies)),
        tuple(each for each in reversed(VERSIONS) if each in versions),
        tuple(each for each in _ORDER if each in ciphers),
    )

"""How Envoy speaks TLS: filter chains, and the certificates with their keys as secrets in files of their own.

Pure. A secret is named by its place on the socket, not by what is in it: another certificate in the same place is
a changed file, which Envoy takes up for new connections and without touching those that are open. Among several
certificates Envoy chooses by the names in them, one label for a `*`, and the first where none fits. A client that
names no host would get any of them, so it has a chain of its own with the first alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portside.cloud.machine.proxy import Listener, Tls

Json = dict[str, Any]

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_VERSIONS = {"TLSv1": "TLSv1_0", "TLSv1.1": "TLSv1_1", "TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
_CURVES = ("X25519", "P-256", "P-384")
_HYBRID = "X25519MLKEM768"
# Those of AWS's policies that Envoy's TLS library knows; it refuses a list with any other.
KNOWN_CIPHERS = frozenset(
    {
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES128-SHA", "AES256-GCM-SHA384", "AES256-SHA",
    }
)  # fmt: skip


def secrets(listener: Listener) -> Iterator[tuple[str, Json]]:
    """Name and content of the secret for each certificate."""
    for number, certificate in enumerate(listener.tls.certificates if listener.tls else ()):
        name = _secret_name(listener, number)
        yield (
            name,
            {
                "@type": _TLS + "Secret",
                "name": name,
                "tls_certificate": {
                    "certificate_chain": {"inline_string": certificate.chain},
                    "private_key": {"inline_string": certificate.key},
                },
            },
        )


def inspector() -> Json:
    """What tells TLS from plain HTTP, and reads the host that a client names."""
    kind = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    return {"name": "envoy.filters.listener.tls_inspector", "typed_config": {"@type": kind}}


def chains(directory: Path, listener: Listener, filters: list[Json]) -> list[Json]:
    """The filter chains for connections that begin with TLS."""
    tls = listener.tls
    assert tls is not None
    made = [
        {
            "name": "tls",
            "filter_chain_match": {"transport_protocol": "tls"},
            "transport_socket": _transport(directory, listener, tls, 1),
            "filters": filters,
        }
    ]
    names = sorted({name for each in tls.certificates[1:] for name in each.names if _indicated(name)})
    if names:
        made.append(
            {
                "name": "tls-named",
                "filter_chain_match": {"transport_protocol": "tls", "server_names": names},
                "transport_socket": _transport(directory, listener, tls, len(tls.certificates)),
                "filters": filters,
            }
        )
    return made


def upstream(*, http2: bool) -> Json:
    """To targets: any version, and any certificate."""
    parameters = {"tls_minimum_protocol_version": "TLSv1_0", "tls_maximum_protocol_version": "TLSv1_3"}
    context: Json = {"tls_params": parameters} | ({"alpn_protocols": ["h2"]} if http2 else {})
    kind = {"@type": _TLS + "UpstreamTlsContext", "common_tls_context": context}
    return {"name": "envoy.transport_sockets.tls", "typed_config": kind}


def _secret_name(listener: Listener, number: int) -> str:
    return f"secret-{listener.address}-{listener.port}-{number}".replace(":", "_").replace(".", "_")


def _indicated(name: str) -> bool:
    """Whether a client may ask for it: a host name, or all hosts of a domain."""
    return "*" not in name.removeprefix("*.") and any(letter.isalpha() for letter in name)


def _transport(directory: Path, listener: Listener, tls: Tls, number: int) -> Json:
    parameters: Json = {
        "tls_minimum_protocol_version": _VERSIONS[tls.minimum],
        "tls_maximum_protocol_version": _VERSIONS[tls.maximum],
        "ecdh_curves": [_HYBRID, *_CURVES] if tls.hybrid else list(_CURVES),
    }
    known = [each for each in tls.ciphers if each in KNOWN_CIPHERS]
    if known and tls.minimum != "TLSv1.3":
        parameters["cipher_suites"] = known
    names = [_secret_name(listener, each) for each in range(number)]
    context = {
        "alpn_protocols": ["h2", "http/1.1"] if tls.http2 else ["http/1.1"],
        "tls_params": parameters,
        "tls_certificate_sds_secret_configs": [
            {
                "name": name,
                "sds_config": {
                    "path_config_source": {"path": str(directory / f"{name}.json")},
                    "resource_api_version": "V3",
                },
            }
            for name in names
        ],
    }
    kind = {"@type": _TLS + "DownstreamTlsContext", "common_tls_context": context}
    return {"name": "envoy.transport_sockets.tls", "typed_config": kind}

"""What Envoy is told about TLS, and who gets to see a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from portside.cloud.machine import envoy_config, envoy_tls
from portside.cloud.machine.proxy import Listener, ServerCertificate, Tls, VirtualHost

PLACE = Path("/envoy")


def certificate(*names: str) -> ServerCertificate:
    return ServerCertificate(names, f"chain of {names[0]}", f"secret key of {names[0]}")


def listener(*certificates: ServerCertificate, **more: Any) -> Listener:
    return Listener("127.0.0.1", 443, (VirtualHost("v", ("*",), ()),), Tls(certificates, **more))


def contexts(listener: Listener) -> list[dict[str, Any]]:
    made = envoy_tls.chains(PLACE, listener, [])
    return [each["transport_socket"]["typed_config"]["common_tls_context"] for each in made]


def test_a_secret_is_named_by_its_place_and_versioned_by_what_is_in_it() -> None:
    first, second = listener(certificate("a.b")), listener(certificate("c.d"))
    (one,), (other,) = envoy_config.secret_files(first), envoy_config.secret_files(second)
    assert one.name == other.name == "secret-127_0_0_1-443-0.json"
    assert one.version != other.version
    assert one.stat == "sds.secret-127_0_0_1-443-0.version_text"
    assert one.listener == "127.0.0.1:443"
    # Nothing but that file changes.
    assert envoy_config.listener_file(PLACE, (first,)) == envoy_config.listener_file(PLACE, (second,))
    assert envoy_config.route_file(first, 0) == envoy_config.route_file(second, 0)


def test_keys_stay_out_of_what_is_printed() -> None:
    made = listener(certificate("a.b"))
    (file,) = envoy_config.secret_files(made)
    assert "secret key of a.b" in file.text
    assert "secret key" not in repr(made) + repr(file)
    assert "secret key" not in envoy_config.listener_file(PLACE, (made,)).text


def test_who_names_no_host_gets_the_default_alone() -> None:
    made = listener(certificate("a.b"), certificate("c.d", "*.c.d", "w*.x.y", "10.0.0.1", "*"))
    plain, named = envoy_tls.chains(PLACE, made, [])
    assert plain["filter_chain_match"] == {"transport_protocol": "tls"}
    # Names that nobody can ask for, or that Envoy would not take, are left out.
    assert named["filter_chain_match"] == {"transport_protocol": "tls", "server_names": ["*.c.d", "c.d"]}
    counts = [len(each["tls_certificate_sds_secret_configs"]) for each in contexts(made)]
    assert counts == [1, 2]


def test_only_cipher_suites_that_envoy_knows() -> None:
    (made,) = contexts(listener(certificate("a.b"), ciphers=("AES128-SHA256", "AES128-SHA"), minimum="TLSv1"))
    assert made["tls_params"]["cipher_suites"] == ["AES128-SHA"]
    assert made["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_0"
    (made,) = contexts(listener(certificate("a.b"), minimum="TLSv1.3", hybrid=True, http2=False))
    assert "cipher_suites" not in made["tls_params"]
    assert made["tls_params"]["ecdh_curves"][0] == "X25519MLKEM768"
    assert made["alpn_protocols"] == ["http/1.1"]


def test_a_listener_without_tls_is_as_it_was() -> None:
    made = Listener("127.0.0.1", 80, (VirtualHost("v", ("*",), ()),))
    (resource,) = json.loads(envoy_config.listener_file(PLACE, (made,)).text)["resources"]
    assert "listener_filters" not in resource
    assert [list(chain) for chain in resource["filter_chains"]] == [["filters"]]

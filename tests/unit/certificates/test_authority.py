"""Certificates that the cloud issues, and those that users bring."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store

from portside.cloud.services.certificates import authority
from portside.cloud.services.certificates.authority import CertificateFault, Pair

NOW = 1_795_669_171.0
NAMES = ("shop.example.com", "*.shop.example.com")


@pytest.fixture(scope="module")
def mine() -> Pair:
    return authority.new_authority("c1", 1, NOW)


@pytest.mark.parametrize("algorithm", authority.ALGORITHMS)
def test_what_is_issued_is_trusted_for_its_names(mine: Pair, algorithm: str) -> None:
    pair = authority.issue(mine, NAMES, algorithm, 7, NOW)
    facts = authority.facts(pair.chain)
    assert (facts.names, facts.algorithm, facts.subject) == (NAMES, algorithm, "CN=shop.example.com")
    assert facts.issuer == "portside local cloud c1"
    assert facts.signed_by == "SHA256WITHECDSA"
    assert facts.begins < NOW < facts.ends
    trusted = Store([x509.load_pem_x509_certificate(mine.chain.encode())])
    found = x509.load_pem_x509_certificate(pair.chain.encode())
    for name in ("shop.example.com", "a.shop.example.com"):
        verifier = PolicyBuilder().store(trusted).build_server_verifier(x509.DNSName(name))
        assert verifier.verify(found, [])
    verifier = PolicyBuilder().store(trusted).build_server_verifier(x509.DNSName("example.com"))
    with pytest.raises(x509.verification.VerificationError):
        verifier.verify(found, [])


def test_a_long_name_stands_among_the_alternatives_only(mine: Pair) -> None:
    name = "a" * 60 + ".example.com"
    facts = authority.facts(authority.issue(mine, (name,), "EC_prime256v1", 7, NOW).chain)
    assert (facts.names, facts.subject) == ((name,), "")


def test_what_is_brought_must_fit_together(mine: Pair) -> None:
    one = authority.issue(mine, NAMES, "EC_prime256v1", 7, NOW)
    two = authority.issue(mine, NAMES, "RSA_2048", 8, NOW)
    brought = authority.brought(one.chain, one.key, mine.chain)
    assert brought.chain == one.chain + mine.chain
    # Keys in the older forms are served as well.
    key = serialization.load_pem_private_key(two.key.encode(), None)
    old = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    assert authority.brought(two.chain, old.decode(), "").key == two.key
    for parts, about in (
        ((one.chain, two.key, ""), "pair"),
        (("none", one.key, ""), "certificate"),
        ((one.chain, "none", ""), "key"),
        ((one.chain, one.key, "none"), "chain"),
        ((one.chain, authority.encrypted(one.key, b"word"), ""), "key"),
    ):
        with pytest.raises(CertificateFault) as refused:
            authority.brought(*parts)
        assert refused.value.about == about
        assert "PRIVATE" not in refused.value.message


def test_keys_that_the_proxy_cannot_serve(monkeypatch: pytest.MonkeyPatch, mine: Pair) -> None:
    def issued(key: object) -> Pair:
        with monkeypatch.context() as patch:
            patch.setattr(authority, "_new_key", lambda algorithm: key)
            return authority.issue(mine, NAMES, "", 7, NOW)

    assert authority.servable(issued(rsa.generate_private_key(65537, 1024))) is None
    assert authority.servable(issued(ec.generate_private_key(ec.SECP256K1()))) is None
    found = authority.servable(issued(ec.generate_private_key(ec.SECP521R1())))
    assert found is not None and found.names == NAMES
    assert "PRIVATE KEY" not in repr(found)


def test_an_exported_key_opens_with_its_passphrase(mine: Pair) -> None:
    made = authority.encrypted(mine.key, b"word")
    assert "ENCRYPTED PRIVATE KEY" in made
    key = serialization.load_pem_private_key(made.encode(), b"word")
    assert isinstance(key, ec.EllipticCurvePrivateKey)

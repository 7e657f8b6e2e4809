"""Makes and reads certificates: the cloud's own authority, what it issues, and what users bring.

Pure but for the randomness of new keys. What is made here is for this machine: whoever trusts the authority's
certificate trusts whatever this cloud issues, and nobody else does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from portside.cloud.machine.proxy import ServerCertificate

if TYPE_CHECKING:
    from cryptography import x509

AUTHORITY_DAYS = 3650
# As long as a certificate of ACM's was always valid; it is issued anew in the last 60 days.
ISSUED_DAYS = 395
RENEWED_DAYS = 60
LONGEST_COMMON_NAME = 64
# ACM's names of what it can issue.
CURVES = {"EC_prime256v1": "SECP256R1", "EC_secp384r1": "SECP384R1"}
SIZES = {"RSA_2048": 2048}
ALGORITHMS = (*SIZES, *CURVES)
# Of what is brought: the sizes and curves that the proxy takes.
_SERVED_SIZES = (2048, 3072, 4096)
_SERVED_CURVES = {"secp256r1": "EC_prime256v1", "secp384r1": "EC_secp384r1", "secp521r1": "EC_secp521r1"}


class CertificateFault(Exception):
    """What is wrong with a certificate that was brought; `about` is certificate, key, pair or chain."""

    def __init__(self, about: str, message: str) -> None:
        super().__init__(message)
        self.about = about
        self.message = message


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with those that vouch for it, and its private key, in PEM."""

    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands in a certificate."""

    names: tuple[str, ...]
    algorithm: str
    signed_by: str
    issuer: str
    subject: str
    serial: str
    begins: float
    ends: float


def new_authority(cloud: str, serial: int, now: float) -> Pair:
    """One that no other cloud has."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    key = _new_key("EC_prime256v1")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"portside local cloud {cloud}")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    made = (
        _builder(name, name, key.public_key(), serial, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(made), _key_pem(key))


def issue(authority: Pair, names: tuple[str, ...], algorithm: str, serial: int, now: float) -> Pair:
    """A server's certificate for `names`, the first of which is its domain."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    issuer = x509.load_pem_x509_certificate(authority.chain.encode())
    signer: Any = serialization.load_pem_private_key(authority.key.encode(), None)
    key = _new_key(algorithm)
    common = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= LONGEST_COMMON_NAME else []
    made = (
        _builder(x509.Name(common), issuer.subject, key.public_key(), serial, now, ISSUED_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=not common)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(signer, hashes.SHA256())
    )
    return Pair(_pem(made), _key_pem(key))


def facts(chain: str) -> Facts:
    """Of the first certificate of a chain."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(chain.encode())
    return Facts(
        names=_names(found),
        algorithm=_algorithm(found.public_key()),
        signed_by=_signature(found),
        issuer=_common_name(found.issuer),
        subject=found.subject.rfc4514_string(),
        serial=":".join(f"{byte:02x}" for byte in found.serial_number.to_bytes(16, "big")),
        begins=found.not_valid_before_utc.timestamp(),
        ends=found.not_valid_after_utc.timestamp(),
    )


def brought(certificate: str, key: str, chain: str) -> Pair:
    """What a user brings, put together; CertificateFault if the parts do not fit. The key may have any form."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        own = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise CertificateFault("certificate", "The certificate is not PEM-encoded or is not valid.") from None
    try:
        private: Any = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise CertificateFault("key", "The private key is not PEM-encoded or is not valid.") from None
    if _spki(private.public_key()) != _spki(own.public_key()):
        raise CertificateFault("pair", "The private key does not match the certificate.")
    rest: list[x509.Certificate] = []
    if chain.strip():
        try:
            rest = x509.load_pem_x509_certificates(chain.encode())
        except ValueError:
            raise CertificateFault("chain", "The certificate chain is not PEM-encoded or is not valid.") from None
    return Pair("".join(_pem(each) for each in (own, *rest)), _key_pem(private))


def servable(pair: Pair) -> ServerCertificate | None:
    """What the proxy needs of it; None where it cannot serve it, for the key is too small or of another kind."""
    found = facts(pair.chain)
    if not found.names or found.algorithm not in (
        *(f"RSA_{size}" for size in _SERVED_SIZES),
        *_SERVED_CURVES.values(),
    ):
        return None
    return ServerCertificate(found.names, pair.chain, pair.key)


def encrypted(key: str, passphrase: bytes) -> str:
    """The key as ExportCertificate hands it out."""
    from cryptography.hazmat.primitives import serialization

    private: Any = serialization.load_pem_private_key(key.encode(), None)
    made: bytes = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    return made.decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, serial: int, now: float, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    begins = datetime.fromtimestamp(now, UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
    )


def _new_key(algorithm: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if algorithm in CURVES:
        return ec.generate_private_key(getattr(ec, CURVES[algorithm])())
    return rsa.generate_private_key(public_exponent=65537, key_size=SIZES[algorithm])


def _algorithm(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA_{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _SERVED_CURVES.get(key.curve.name, f"EC_{key.curve.name}")
    return "unknown"


def _signature(certificate: x509.Certificate) -> str:
    """As ACM shows it: SHA256WITHRSA."""
    from cryptography.hazmat.primitives.asymmetric import padding

    digest = certificate.signature_hash_algorithm
    how = certificate.signature_algorithm_parameters
    kind = "RSA" if isinstance(how, padding.PKCS1v15 | padding.PSS) else "ECDSA"
    return f"{digest.name.upper() if digest else 'NONE'}WITH{kind}"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = listed.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    common = _common_name(certificate.subject)
    return tuple(dict.fromkeys(each.lower() for each in names or [common] if each))


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _spki(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    made: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return made


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.decode()

"""Certificates of a test's own, and clients that look closely at what they are shown."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from portside.cloud.machine.proxy import ServerCertificate
from portside.cloud.services.certificates import authority
from portside.cloud.services.certificates.authority import Pair


class Authority:
    """One that a test trusts."""

    def __init__(self) -> None:
        self.pair = authority.new_authority("of a test", 1, time.time())
        self._serial = 1

    def pair_for(self, *names: str, algorithm: str = "EC_prime256v1", serial: int = 0) -> Pair:
        self._serial += 1
        return authority.issue(self.pair, names, algorithm, serial or self._serial, time.time())

    def certificate(self, *names: str, **more: Any) -> ServerCertificate:
        found = authority.servable(self.pair_for(*names, **more))
        assert found is not None
        return found

    def context(self, directory: Path, *names: str) -> ssl.SSLContext:
        """For a server of these names."""
        pair = self.pair_for(*names)
        chain, key = directory / "server.pem", directory / "server.key"
        chain.write_text(pair.chain)
        key.write_text(pair.key)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(chain, key)
        return made

    def write(self, directory: Path) -> Path:
        path = directory / "trusted.pem"
        path.write_text(self.pair.chain)
        return path


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client saw of a server."""

    names: tuple[str, ...]
    serial: int
    version: str
    alpn: str | None
    cipher: str


def _shake(address: str, port: int, name: str | None, settings: dict[str, Any]) -> Shown:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(settings.get("alpn", ["h2", "http/1.1"]))
    if settings.get("trusted"):
        context.load_verify_locations(cadata=settings["trusted"])
        context.check_hostname = True
        context.verify_mode = ssl.CERT_REQUIRED
    if settings.get("only"):
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            # Old versions are what such a test is about.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = settings["only"]
    with (
        socket.create_connection((address, port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
        assert shown is not None
        found = x509.load_der_x509_certificate(shown)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        cipher = tls.cipher()
        return Shown(
            tuple(names.get_values_for_type(x509.DNSName)),
            found.serial_number,
            str(tls.version()),
            tls.selected_alpn_protocol(),
            cipher[0] if cipher else "",
        )


async def shake(address: str, port: int, name: str | None, **settings: Any) -> Shown:
    """A TLS handshake; `trusted` (PEM) makes the client check whom it speaks to."""
    return await asyncio.to_thread(_shake, address, port, name, settings)


async def curl(*arguments: str) -> str:
    """What curl prints. It speaks HTTP/2, as browsers do."""
    process = await asyncio.create_subprocess_exec(
        "curl",
        "-sS",
        "--max-time",
        "15",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode()

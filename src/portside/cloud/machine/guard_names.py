"""Names of images as a guarded client uses them, and as the engine knows them.

Pure. A client's names never become names of this machine's engine: each gets one in a space of its own
(`portside.invalid/<space>/...`), so that builds cannot see or overwrite one another's images. Names of the
account's registry lead to the cloud's own registry, under the address at which the engine reaches it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import Enum

# A top-level domain that nobody can have: the engine never finds anything there.
DOMAIN = "portside.invalid"
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_IDENTIFIER = re.compile(r"(sha256:)?[0-9a-f]{6,64}")
_DIGEST_TAG = "digest-"


class Kind(Enum):
    OWN = "the account's registry"
    UNREACHABLE = "a registry that a build cannot reach"
    PUBLIC = "any other"


@dataclass(frozen=True, slots=True)
class Reference:
    """`repository[:tag][@digest]`, in its short form."""

    repository: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> Reference:
        rest, _, digest = text.partition("@")
        repository, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            repository, tag = rest, ""
        for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"):
            repository = repository.removeprefix(prefix)
        return Reference(repository, tag, digest)

    @property
    def host(self) -> str:
        first, slash, _ = self.repository.partition("/")
        return first if slash and ("." in first or ":" in first or first == "localhost") else ""

    @property
    def version(self) -> str:
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class Names:
    """`registry` is the host of the account's registry, `local` the address of the cloud's own one."""

    space: str
    registry: str
    local: str

    def kind(self, reference: Reference) -> Kind:
        host = reference.host
        if host == self.registry:
            return Kind.OWN
        name = host.partition(":")[0]
        if _ECR.fullmatch(host) or name == DOMAIN or _is_loopback(name):
            return Kind.UNREACHABLE
        return Kind.PUBLIC

    def private(self, reference: Reference) -> str:
        """The engine's name for a client's."""
        encoded = base64.b32encode(reference.repository.encode()).decode().rstrip("=").lower()
        tag = (
            f"{_DIGEST_TAG}{reference.digest.partition(':')[2]}" if reference.digest else reference.tag or "latest"
        )
        return f"{DOMAIN}/{self.space}/{encoded}:{tag}"

    def public(self, name: str) -> str | None:
        """The client's name for one of the engine's; None if it is none of this space."""
        prefix = f"{DOMAIN}/{self.space}/"
        if not name.startswith(prefix):
            return None
        encoded, _, tag = name.removeprefix(prefix).partition(":")
        repository = _decoded(encoded)
        if repository is None:
            return None
        if tag.startswith(_DIGEST_TAG):
            return f"{repository}@sha256:{tag.removeprefix(_DIGEST_TAG)}"
        return f"{repository}:{tag}" if tag else repository

    def at_registry(self, reference: Reference) -> str:
        """The repository of an own name, as the engine reaches it."""
        return f"{self.local}/{reference.repository.removeprefix(self.registry + '/')}"

    def translate(self, text: str) -> str:
        """What the engine says, in the client's names."""

        def public(found: re.Match[str]) -> str:
            return _decoded(found[1]) or found[0]

        text = re.sub(rf"{re.escape(DOMAIN)}/{re.escape(self.space)}/([a-z2-7]+)", public, text)
        return text.replace(f"{self.local}/", f"{self.registry}/")


def _decoded(encoded: str) -> str | None:
    try:
        return base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _is_loopback(name: str) -> bool:
    """An address that means this machine to the engine, and would mean the build host on AWS."""
    return name == "localhost" or name.startswith(("127.", "0.", "[::"))


def is_identifier(text: str) -> bool:
    """Whether a reference may be (the beginning of) an image's id."""
    return _IDENTIFIER.fullmatch(text) is not None


def unreachable(reference: Reference) -> str:
    """What an engine says of a registry that it cannot find."""
    host = reference.host
    name = host.partition(":")[0]
    if _is_loopback(name):
        return f'Get "http://{host}/v2/": dial tcp {host}: connect: connection refused'
    return f'Get "https://{host}/v2/": dial tcp: lookup {name}: no such host'

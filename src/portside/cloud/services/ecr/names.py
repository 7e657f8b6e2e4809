"""Names of the registry: repositories, tags, digests, ARNs, and references as they stand in task definitions.

Pure. Also answers whether a tag may be moved (`is_immutable`). What a manifest is comes next, in `manifests.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

REPOSITORY_PATTERN = r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ECR_HOST = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+(?::\d+)?")
_LOOPBACK = re.compile(r"(localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")


def is_repository(name: str) -> bool:
    return 2 <= len(name) <= 256 and _REPOSITORY.fullmatch(name) is not None


def is_tag(tag: str) -> bool:
    return _TAG.fullmatch(tag) is not None


def is_digest(digest: str) -> bool:
    return _DIGEST.fullmatch(digest) is not None


def registry_host(account: str, region: str) -> str:
    return f"{account}.dkr.ecr.{region}.amazonaws.com"


def repository_uri(account: str, region: str, name: str) -> str:
    return f"{registry_host(account, region)}/{name}"


def repository_arn(account: str, region: str, name: str) -> str:
    return f"arn:aws:ecr:{region}:{account}:repository/{name}"


def region_of_host(host: str) -> str | None:
    """The region in `<account>.dkr.ecr.<region>.amazonaws.com`; None for any other host."""
    found = _ECR_HOST.fullmatch(host)
    return None if found is None else found[2]


@dataclass(frozen=True, slots=True)
class Reference:
    """An image of this registry. `region` is None when the host does not tell; one of tag and digest is set."""

    repository: str
    region: str | None
    tag: str | None = None
    digest: str | None = None


def parse_reference(text: str, account: str) -> Reference | None:
    """`<account>.dkr.ecr.<region>.amazonaws.com/repo:tag`, `localhost:4566/repo@sha256:...`; None when the
    image is not in this account's registry."""
    host, _, rest = text.partition("/")
    found = _ECR_HOST.fullmatch(host)
    if found is not None and found[1] == account:
        region: str | None = found[2]
    elif _LOOPBACK.fullmatch(host):
        region = None
    else:
        return None
    name, _, digest = rest.partition("@")
    name, _, tag = name.partition(":")
    if not is_repository(name):
        return None
    if digest:
        return Reference(name, region, digest=digest)
    return Reference(name, region, tag=tag or "latest")


def is_immutable(mutability: str, exclusions: Sequence[str], tag: str) -> bool:
    """Whether `tag`, once given, stays where it is."""
    excluded = any(_wildcard(each).fullmatch(tag) for each in exclusions)
    match mutability:
        case "IMMUTABLE":
            return True
        case "IMMUTABLE_WITH_EXCLUSION":
            return not excluded
        case "MUTABLE_WITH_EXCLUSION":
            return excluded
    return False


def _wildcard(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")))

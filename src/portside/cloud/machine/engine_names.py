"""Names of the account's registry in requests to the container engine, and what the engine calls them.

Pure. The engine cannot find `<account>.dkr.ecr.<region>.amazonaws.com` on this machine; it finds the same registry
as `127.0.0.1:4566/<that name>/<repository>` (`services/ecr/exchange.py` takes the name out of the path again).
Images keep the user's names; under the other name the engine only knows their digests, for it notes a digest for a
name that it has pulled or pushed, and for no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from portside.cloud.machine.guard_names import Reference

# The engine hands headers that begin with X-Meta- on to the registry.
NOTING = "X-Meta-Portside-Noting"

_LOOPBACK = r"127(?:\.\d+){3}:\d+"


@dataclass(frozen=True, slots=True)
class RegistryNames:
    """`local` is the address of the cloud's registry, as the engine reaches it."""

    account: str
    local: str

    @property
    def _host(self) -> str:
        return rf"{self.account}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?"

    def is_own_host(self, host: str) -> bool:
        return re.fullmatch(self._host, host) is not None

    def is_own(self, reference: Reference) -> bool:
        return self.is_own_host(reference.host)

    def local_repository(self, reference: Reference) -> str:
        return f"{self.local}/{reference.repository}"

    def is_local(self, name: str) -> bool:
        """Whether the engine's name stands for one of the user's: of this run, or of one at another port."""
        return re.match(rf"{_LOOPBACK}/{self._host}/", name) is not None

    def user(self, text: str) -> str:
        """What the engine says, in the user's names."""
        text = re.sub(rf"https?://{_LOOPBACK}/v2/({self._host})/", r"https://\1/v2/", text)
        return re.sub(rf"{_LOOPBACK}/({self._host})/", r"\1/", text)

    def pull_line(self, text: str, reference: Reference, digest: str) -> str:
        """A line of a pull's output. `digest` is what was asked for in the place of the user's tag."""
        text = self.user(text).replace(
            f"Pulling from {reference.repository}", f"Pulling from {path_of(reference)}"
        )
        if not digest or reference.digest:
            return text
        for asked in (f"{reference.repository}@{digest}", digest):
            text = text.replace(f'"id":"{asked}"', f'"id":"{reference.version}"')
        return text.replace(f"{reference.repository}@{digest}", f"{reference.repository}:{reference.version}")

    def spare(self, image: str, names: Iterable[str], *, force: bool) -> list[str]:
        """Which local names of an image must go before the engine is asked to remove `image`, a name of it or its
        id, so that it does what it would do if there were none."""
        known = list(names)
        local = [name for name in known if self.is_local(name)]
        tags = {name for name in (self.user(each) for each in known if "@" not in each) if name != "<none>:<none>"}
        reference = Reference.parse(image)
        if f"{reference.repository}:{reference.version}" in tags and not reference.digest:
            others = tags - {f"{reference.repository}:{reference.version}"}
            if any(Reference.parse(tag).repository == reference.repository for tag in others):
                return []
            return [name for name in local if Reference.parse(self.user(name)).repository == reference.repository]
        repositories = {
            Reference.parse(self.user(name)).repository for name in [*known, *tags] if "<none>" not in name
        }
        by_id = not reference.digest and not reference.host
        return local if by_id and (force or (len(repositories) == 1 and len(tags) <= 1)) else []


def pulled(name: str, version: str) -> Reference:
    """What `POST /images/create` asks for: `fromImage` and `tag`, which may be a digest."""
    joiner = "@" if ":" in version else ":"
    return Reference.parse(name if not version or "@" in name else f"{name}{joiner}{version}")


def path_of(reference: Reference) -> str:
    """The repository without its registry."""
    return reference.repository.removeprefix(f"{reference.host}/")

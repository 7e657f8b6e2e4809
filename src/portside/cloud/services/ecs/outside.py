"""What tasks have around them on this machine, as the orchestrator sees it.

Owns the vocabulary only. The composition root knows the bridge, the server and the name server and implements it
(`cloud/surroundings.py`); tests put a fake in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where containers fetch the credentials of their role: in an additional network, at `base`. `relative` says
    that the port is the usual one, so that the SDKs' own address may be taken."""

    network: str
    base: str
    relative: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How containers reach the cloud. `hosts` are names that they have to be told for it."""

    url: str
    hosts: Mapping[str, str] = field(default_factory=dict)


class Outside(Protocol):
    async def endpoint(self) -> Endpoint: ...

    async def credentials(self) -> Credentials:
        """Raises EngineError when the network cannot be had."""
        ...

    def name_server(self) -> str:
        """The address of the cloud's name server; empty where it has none."""
        ...

    def why_no_names(self) -> str:
        """Why there is no name server; empty where there is one."""
        ...

    def bridge(self) -> str:
        """The address of the container bridge if it is on this machine, else empty: then containers have no
        address that could be reached from here."""
        ...

"""Where targets really listen: the translation from what the API calls a target to an address on this machine.

Owns only the rule. Container instances have a loopback address each, at which their tasks publish their ports, but
for the ports of host mode, which `Addresses` knows elsewhere; an IP address is itself. `routing.py` and
`target_loop.py` get the rule passed in as `Resolve`.
"""

from __future__ import annotations

from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.proxy import Endpoint
from portside.cloud.services.elbv2.routing import Resolve


def local_targets(addresses: Addresses) -> Resolve:
    """Targets of a cloud whose instances have their addresses from `addresses`."""

    def resolve(target: str, port: int) -> Endpoint | None:
        return Endpoint(addresses.at(target, port) if target.startswith("i-") else target, port)

    return resolve

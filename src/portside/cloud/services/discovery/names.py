"""The names that AWS Cloud Map gives out: `<service>.<namespace>` of every private namespace.

Cloud Map itself is ancillary; this is a copy of what it holds, read again after every call that may have changed
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from portside.cloud.machine.resolver import Address
from portside.cloud.services.calls import Caller, Calls, Params

UNHEALTHY = "UNHEALTHY"


class CloudMapNames:
    """`lookup` is for the name server. `forget` tells that something has changed."""

    def __init__(self, calls: Calls, account: str, region: str) -> None:
        self._calls = calls
        self._caller = Caller.root(account, region)
        self._names: dict[str, list[Address]] | None = None
        self._zones: tuple[str, ...] = ()
        self._reading = asyncio.Lock()

    def forget(self, region: str) -> None:
        self._names = None

    async def lookup(self, name: str) -> Sequence[Address] | None:
        """None for a name outside all namespaces; empty for one inside that nobody has."""
        async with self._reading:
            if self._names is None:
                await self._read()
            names = self._names or {}
        found = names.get(name)
        if found is None and name.startswith("ip-"):
            # The host of a service's SRV record, `ip-172-17-0-5.<service>.<namespace>`.
            host, _, service = name.partition(".")
            ip = host.removeprefix("ip-").replace("-", ".")
            found = [each for each in names.get(service, ()) if each.ip == ip] or None
        if found is None and any(name == zone or name.endswith(f".{zone}") for zone in self._zones):
            return []
        return found

    async def _read(self) -> None:
        names: dict[str, list[Address]] = {}
        zones = []
        # Set first: a change while this reads makes the next lookup read again.
        self._names = names
        for namespace in await self._all("ListNamespaces", "Namespaces", {}):
            if namespace.get("Type") == "HTTP":
                continue
            zone = str(namespace["Name"]).lower()
            zones.append(zone)
            filters = [{"Name": "NAMESPACE_ID", "Values": [namespace["Id"]], "Condition": "EQ"}]
            for service in await self._all("ListServices", "Services", {"Filters": filters}):
                entries = await self._all("ListInstances", "Instances", {"ServiceId": service["Id"]})
                names[f"{service['Name']}.{zone}".lower()] = [
                    _address(each["Attributes"]) for each in entries if "AWS_INSTANCE_IPV4" in each["Attributes"]
                ]
        self._zones = tuple(zones)

    async def _all(self, operation: str, key: str, params: Params) -> list[Params]:
        found: list[Params] = []
        while True:
            answer = await self._calls("servicediscovery", operation, params, self._caller)
            found += answer.get(key) or []
            if not answer.get("NextToken"):
                return found
            params = params | {"NextToken": answer["NextToken"]}


def _address(attributes: Params) -> Address:
    return Address(str(attributes["AWS_INSTANCE_IPV4"]), int(attributes.get("AWS_INSTANCE_PORT") or 0))

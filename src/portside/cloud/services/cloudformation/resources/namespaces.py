"""AWS::ServiceDiscovery: the namespaces of AWS Cloud Map and their services.

Their names are answered inside the cloud, for tasks that register with them.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing, Tagging, at
from portside.cloud.services.cloudformation.resources.handler import Failure, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

CLOUD_MAP = "servicediscovery"


class _Namespace(Declared):
    service = CLOUD_MAP
    name_property = "Name"
    tagged = True
    reads = Call("GetNamespace", {"Id": "$id"}, "Namespace")
    listing = Listing(Call("ListNamespaces", {}, "Namespaces"), "Id", {"Name": "$name"}, unique=True)
    deletes = Call("DeleteNamespace", {"Id": "$id"})
    outputs: ClassVar = {"Id": "$id", "Arn": "Arn", "HostedZoneId": "Properties.DnsProperties.HostedZoneId"}
    tagging = Tagging("TagResource", "UntagResource", "ResourceARN", "Arn")

    async def create(self, work: Work) -> tuple[str, Params]:
        given = self._plain(work.properties) | {"Name": work.name}
        params = request(CLOUD_MAP, self.creates.operation, given) | self._tags(work)
        params["CreatorRequestId"] = work.token
        made = await work.call(CLOUD_MAP, self.creates.operation, params)
        operation = await work.call(CLOUD_MAP, "GetOperation", {"OperationId": made["OperationId"]})
        found = at(operation, "Operation.Targets.NAMESPACE") or await self.find(work)
        if not found:
            why = at(operation, "Operation.ErrorMessage") or "no namespace was made"
            raise Failure(f"The namespace {work.name} could not be created: {why}")
        return str(found), {}


class HttpNamespace(_Namespace):
    type = "AWS::ServiceDiscovery::HttpNamespace"
    creates = Call("CreateHttpNamespace")


class PrivateNamespace(_Namespace):
    type = "AWS::ServiceDiscovery::PrivateDnsNamespace"
    creates = Call("CreatePrivateDnsNamespace")


class PublicNamespace(_Namespace):
    type = "AWS::ServiceDiscovery::PublicDnsNamespace"
    creates = Call("CreatePublicDnsNamespace")


class DiscoveryService(Declared):
    type = "AWS::ServiceDiscovery::Service"
    service = CLOUD_MAP
    name_property = "Name"
    name_is_unique = False
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=63)
    tagged = True
    creates = Call("CreateService", {"Name": "$name", "CreatorRequestId": "$token"}, "Service.Id")
    reads = Call("GetService", {"Id": "$id"}, "Service")
    listing = Listing(Call("ListServices", {}, "Services"), "Id", {"Name": "$name"})
    deletes = Call("DeleteService", {"Id": "$id"})
    outputs: ClassVar = {"Id": "$id", "Arn": "Arn", "Name": "Name"}
    tagging = Tagging("TagResource", "UntagResource", "ResourceARN", "Arn")
    _CHANGED: ClassVar = ("Description", "DnsConfig", "HealthCheckConfig")

    async def update(self, work: Work) -> Params:
        given = work.properties
        changed = {key for key in {*given, *work.old} if given.get(key) != work.old.get(key)}
        stuck = changed - {*self._CHANGED, "Tags"}
        if stuck:
            raise Failure(f"A service's {', '.join(sorted(stuck))} cannot be changed in place.", "NotUpdatable")
        if changed & set(self._CHANGED):
            wanted = {key: given[key] for key in self._CHANGED if key in given}
            params = request(CLOUD_MAP, "UpdateService", {"Service": wanted}) | {"Id": work.physical_id}
            await work.call(CLOUD_MAP, "UpdateService", params)
        await self._retag(work)
        return {}

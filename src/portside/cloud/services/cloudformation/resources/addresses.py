"""AWS::EC2::EIP and EIPAssociation."""

from __future__ import annotations

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.network import Tagged
from portside.cloud.services.cloudformation.resources.shapes import lost, request


class ElasticIp(Tagged):
    """Its physical id is the address; the allocation is an attribute."""

    type = "AWS::EC2::EIP"
    noun, thing, key, plural = "elastic-ip", "", "PublicIp", "Addresses"
    creates, describes, deletes = "AllocateAddress", "DescribeAddresses", "ReleaseAddress"
    handled = frozenset({"InstanceId"})

    async def configure(self, work: Work) -> None:
        instance = work.properties.get("InstanceId")
        if instance and instance != work.old.get("InstanceId"):
            allocation = (await self.read(work))["AllocationId"]
            await work.call("ec2", "AssociateAddress", {"AllocationId": allocation, "InstanceId": instance})

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        allocation = (await self.read(work))["AllocationId"]
        await work.call("ec2", "CreateTags", {"Resources": [allocation], "Tags": work.tag_list()})
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        return {"PublicIp": work.physical_id, "AllocationId": found.get("AllocationId")}

    async def delete(self, work: Work) -> None:
        try:
            allocation = (await self.read(work))["AllocationId"]
        except Failure:
            return
        await work.call("ec2", "ReleaseAddress", {"AllocationId": allocation})


class AddressAssociation(Handler):
    type = "AWS::EC2::EIPAssociation"

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        left = lost("ec2", "AssociateAddress", properties, {"EIP": "PublicIp"})
        if left:
            raise self.not_offered(left)

    async def find(self, work: Work) -> str | None:
        """An address that is bound to something else is bound anew, as on AWS; only this very binding counts."""
        given = work.properties
        params: Params = {}
        if given.get("AllocationId"):
            params["AllocationIds"] = [given["AllocationId"]]
        elif given.get("EIP"):
            params["PublicIps"] = [given["EIP"]]
        else:
            return None
        for each in (await work.call("ec2", "DescribeAddresses", params)).get("Addresses", []):
            same = all(each.get(key) == given[key] for key in ("InstanceId", "NetworkInterfaceId") if key in given)
            if each.get("AssociationId") and same:
                return str(each["AssociationId"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ec2", "AssociateAddress", work.properties, {"EIP": "PublicIp"})
        made = await work.call("ec2", "AssociateAddress", params | {"AllowReassociation": True})
        return str(made["AssociationId"]), {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", "DisassociateAddress", {"AssociationId": work.physical_id})

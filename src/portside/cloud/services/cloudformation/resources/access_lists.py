"""AWS::EC2::NetworkAcl, its entries, and which subnet has which list.

Kept and shown by the ancillary services; no packet is looked at.
"""

from __future__ import annotations

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.network import Tagged
from portside.cloud.services.cloudformation.resources.shapes import request


class NetworkAcl(Tagged):
    type = "AWS::EC2::NetworkAcl"
    noun, thing, key, plural = "network-acl", "NetworkAcl", "NetworkAclId", "NetworkAcls"
    creates, describes, deletes = "CreateNetworkAcl", "DescribeNetworkAcls", "DeleteNetworkAcl"

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}


class NetworkAclEntry(Handler):
    """A rule of a list, told by its number and direction."""

    type = "AWS::EC2::NetworkAclEntry"

    def _params(self, properties: Params, operation: str) -> Params:
        icmp = properties.get("Icmp")
        given = {key: value for key, value in properties.items() if key != "Icmp"}
        if icmp:
            given["IcmpTypeCode"] = icmp
        return {"Egress": False} | request("ec2", operation, given)

    def _key(self, work: Work) -> Params:
        return {
            "NetworkAclId": work.properties["NetworkAclId"],
            "RuleNumber": int(work.properties["RuleNumber"]),
            "Egress": bool(work.properties.get("Egress", False)),
        }

    async def find(self, work: Work) -> str | None:
        key = self._key(work)
        found = await work.call("ec2", "DescribeNetworkAcls", {"NetworkAclIds": [key["NetworkAclId"]]})
        for each in found["NetworkAcls"][0].get("Entries", []):
            if (each["RuleNumber"], bool(each["Egress"])) == (key["RuleNumber"], key["Egress"]):
                return self._physical(work)
        return None

    def _physical(self, work: Work) -> str:
        key = self._key(work)
        return f"{key['NetworkAclId']}|{key['RuleNumber']}|{'egress' if key['Egress'] else 'ingress'}"

    async def create(self, work: Work) -> tuple[str, Params]:
        await work.call("ec2", "CreateNetworkAclEntry", self._params(work.properties, "CreateNetworkAclEntry"))
        return self._physical(work), {}

    async def update(self, work: Work) -> Params:
        await work.call("ec2", "ReplaceNetworkAclEntry", self._params(work.properties, "ReplaceNetworkAclEntry"))
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", "DeleteNetworkAclEntry", self._key(work))


class SubnetAcl(Handler):
    """A subnet has one list always: an association takes the place of another, and the default list comes back."""

    type = "AWS::EC2::SubnetNetworkAclAssociation"

    async def _present(self, work: Work) -> tuple[str, str]:
        """The subnet's association and its list."""
        subnet = work.properties["SubnetId"]
        filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
        found = await work.call("ec2", "DescribeNetworkAcls", {"Filters": filters})
        for acl in found.get("NetworkAcls", []):
            for each in acl.get("Associations", []):
                if each.get("SubnetId") == subnet:
                    return str(each["NetworkAclAssociationId"]), str(acl["NetworkAclId"])
        raise Failure(f"The subnet ID '{subnet}' has no network ACL", "NotFound")

    async def find(self, work: Work) -> str | None:
        association, acl = await self._present(work)
        return association if acl == work.properties["NetworkAclId"] else None

    async def create(self, work: Work) -> tuple[str, Params]:
        association, _ = await self._present(work)
        params = {"AssociationId": association, "NetworkAclId": work.properties["NetworkAclId"]}
        made = await work.call("ec2", "ReplaceNetworkAclAssociation", params)
        return str(made["NewAssociationId"]), {}

    async def read(self, work: Work) -> Params:
        return {"AssociationId": work.physical_id}

    async def delete(self, work: Work) -> None:
        association, acl = await self._present(work)
        if acl != work.properties["NetworkAclId"]:
            return
        subnet = await work.call("ec2", "DescribeSubnets", {"SubnetIds": [work.properties["SubnetId"]]})
        filters = [
            {"Name": "vpc-id", "Values": [subnet["Subnets"][0]["VpcId"]]},
            {"Name": "default", "Values": ["true"]},
        ]
        found = await work.call("ec2", "DescribeNetworkAcls", {"Filters": filters})
        default = found["NetworkAcls"][0]["NetworkAclId"]
        params = {"AssociationId": association, "NetworkAclId": default}
        await work.call("ec2", "ReplaceNetworkAclAssociation", params)

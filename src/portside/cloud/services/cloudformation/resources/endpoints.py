"""Further network types of EC2: endpoints, access lists, address blocks, peerings, VPN and transit gateways."""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.network import Tagged
from portside.cloud.services.cloudformation.resources.shapes import lost, request, text


class Endpoint(Tagged):
    type = "AWS::EC2::VPCEndpoint"
    noun, thing, key, plural = "vpc-endpoint", "VpcEndpoint", "VpcEndpointId", "VpcEndpoints"
    creates, describes, deletes = "CreateVpcEndpoint", "DescribeVpcEndpoints", "DeleteVpcEndpoints"
    _LISTS: ClassVar = ("RouteTableIds", "SubnetIds", "SecurityGroupIds")
    _VALUES: ClassVar = ("PolicyDocument", "PrivateDnsEnabled", "IpAddressType", "DnsOptions")

    def given(self, properties: Params) -> Params:
        # AWS's default, said aloud: not every endpoint that stands in for EC2 knows it.
        return {"VpcEndpointType": "Gateway"} | properties

    def stuck(self, old: Params, new: Params) -> list[str]:
        return [name for name in super().stuck(old, new) if name not in (*self._LISTS, *self._VALUES)]

    async def update(self, work: Work) -> Params:
        await super().update(work)
        given, old = work.properties, work.old
        changed = {key: given[key] for key in self._VALUES if key in given and given[key] != old.get(key)}
        params = request("ec2", "ModifyVpcEndpoint", changed)
        if "PolicyDocument" in old and "PolicyDocument" not in given:
            params["ResetPolicy"] = True
        for name in self._LISTS:
            wanted, before = given.get(name) or [], old.get(name) or []
            more, fewer = [e for e in wanted if e not in before], [e for e in before if e not in wanted]
            params |= ({f"Add{name}": more} if more else {}) | ({f"Remove{name}": fewer} if fewer else {})
        if params:
            await work.call("ec2", "ModifyVpcEndpoint", params | {"VpcEndpointId": work.physical_id})
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        entries = [f"{e.get('HostedZoneId', '')}:{e.get('DnsName', '')}" for e in found.get("DnsEntries", [])]
        return {
            "Id": work.physical_id,
            "CreationTimestamp": str(found.get("CreationTimestamp", "")),
            "DnsEntries": entries,
            "NetworkInterfaceIds": found.get("NetworkInterfaceIds", []),
        }

    async def delete(self, work: Work) -> None:
        answer = await work.call("ec2", self.deletes, {"VpcEndpointIds": [work.physical_id]})
        for each in answer.get("Unsuccessful") or []:
            error = each.get("Error") or {}
            if not str(error.get("Code", "")).endswith("NotFound"):
                raise Failure(str(error.get("Message") or f"{work.physical_id} was not deleted."))

    async def gone(self, work: Work) -> bool:
        try:
            return (await self._describe(work)).get("State") == "deleted"
        except Failure:
            return True
        except AwsError as error:
            if self.missing(error):
                return True
            raise


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


class AddressBlock(Declared):
    """Another address range of a VPC."""

    type = "AWS::EC2::VPCCidrBlock"
    service = "ec2"
    creates = Call("AssociateVpcCidrBlock")
    deletes = Call("DisassociateVpcCidrBlock", {"AssociationId": "$id"})

    async def _blocks(self, work: Work) -> dict[str, str]:
        found = await work.call("ec2", "DescribeVpcs", {"VpcIds": [work.properties["VpcId"]]})
        made: dict[str, str] = {}
        for vpc in found.get("Vpcs", []):
            for member, block in (
                ("CidrBlockAssociationSet", "CidrBlock"),
                ("Ipv6CidrBlockAssociationSet", "Ipv6CidrBlock"),
            ):
                made |= {str(e["AssociationId"]): str(e.get(block)) for e in vpc.get(member, [])}
        return made

    async def baseline(self, work: Work) -> Params:
        return {} if work.physical_id else {"known": list(await self._blocks(work))}

    async def find(self, work: Work) -> str | None:
        blocks = await self._blocks(work)
        wanted = work.properties.get("CidrBlock") or work.properties.get("Ipv6CidrBlock")
        if wanted:
            return next((name for name, block in blocks.items() if block == wanted), None)
        known = work.state.get("known")
        fresh = [] if known is None else [name for name in blocks if name not in known]
        return fresh[0] if fresh else None

    def _identify(self, work: Work, made: Params) -> str:
        found = made.get("CidrBlockAssociation") or made.get("Ipv6CidrBlockAssociation") or {}
        return str(found["AssociationId"])

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}


class EgressGateway(Tagged):
    type = "AWS::EC2::EgressOnlyInternetGateway"
    noun, thing, key, plural = (
        "egress-only-internet-gateway",
        "EgressOnlyInternetGateway",
        "EgressOnlyInternetGatewayId",
        "EgressOnlyInternetGateways",
    )
    creates = "CreateEgressOnlyInternetGateway"
    describes = "DescribeEgressOnlyInternetGateways"
    deletes = "DeleteEgressOnlyInternetGateway"

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}


class DhcpOptions(Tagged):
    type = "AWS::EC2::DHCPOptions"
    noun, thing, key, plural = "dhcp-options", "DhcpOptions", "DhcpOptionsId", "DhcpOptions"
    creates, describes, deletes = "CreateDhcpOptions", "DescribeDhcpOptions", "DeleteDhcpOptions"
    _OPTIONS: ClassVar = {
        "DomainName": "domain-name",
        "DomainNameServers": "domain-name-servers",
        "NtpServers": "ntp-servers",
        "NetbiosNameServers": "netbios-name-servers",
        "NetbiosNodeType": "netbios-node-type",
        "Ipv6AddressPreferredLeaseTime": "ipv6-address-preferred-lease-time",
    }

    def given(self, properties: Params) -> Params:
        made = []
        for name, option in self._OPTIONS.items():
            if name in properties:
                value = properties[name]
                values = [text(each) for each in value] if isinstance(value, list) else [text(value)]
                made.append({"Key": option, "Values": values})
        return {"DhcpConfigurations": made}

    async def _describe(self, work: Work) -> Params:
        found = await work.call("ec2", self.describes, {"DhcpOptionsIds": [work.physical_id]})
        thing: Params = found["DhcpOptions"][0]
        return thing


class DhcpOptionsAssociation(Handler):
    type = "AWS::EC2::VPCDHCPOptionsAssociation"

    async def create(self, work: Work) -> tuple[str, Params]:
        both = {key: work.properties[key] for key in ("DhcpOptionsId", "VpcId")}
        await work.call("ec2", "AssociateDhcpOptions", both)
        return f"{both['DhcpOptionsId']}|{both['VpcId']}", {}

    async def delete(self, work: Work) -> None:
        params = {"DhcpOptionsId": "default", "VpcId": work.properties["VpcId"]}
        await work.call("ec2", "AssociateDhcpOptions", params)


class Peering(Tagged):
    """Between two networks of the account: it is accepted at once, as CloudFormation does."""

    type = "AWS::EC2::VPCPeeringConnection"
    noun, thing, key, plural = (
        "vpc-peering-connection",
        "VpcPeeringConnection",
        "VpcPeeringConnectionId",
        "VpcPeeringConnections",
    )
    creates = "CreateVpcPeeringConnection"
    describes = "DescribeVpcPeeringConnections"
    deletes = "DeleteVpcPeeringConnection"
    unoffered: ClassVar = {
        "PeerRoleArn": "there is one account.",
        "AssumeRoleRegion": "there is one account.",
    }

    async def configure(self, work: Work) -> None:
        status = ((await self._describe(work)).get("Status") or {}).get("Code")
        if status == "pending-acceptance" and not work.properties.get("PeerRegion"):
            params = {"VpcPeeringConnectionId": work.physical_id}
            await work.call("ec2", "AcceptVpcPeeringConnection", params)

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}


class VpnGateway(Tagged):
    type = "AWS::EC2::VPNGateway"
    noun, thing, key, plural = "vpn-gateway", "VpnGateway", "VpnGatewayId", "VpnGateways"
    creates, describes, deletes = "CreateVpnGateway", "DescribeVpnGateways", "DeleteVpnGateway"

    async def read(self, work: Work) -> Params:
        return {"VPNGatewayId": work.physical_id}


class TransitGateway(Tagged):
    type = "AWS::EC2::TransitGateway"
    noun, thing, key, plural = "transit-gateway", "TransitGateway", "TransitGatewayId", "TransitGateways"
    creates, describes, deletes = "CreateTransitGateway", "DescribeTransitGateways", "DeleteTransitGateway"
    unoffered: ClassVar = {
        "EncryptionSupport": "",
        "AssociationDefaultRouteTableId": "",
        "PropagationDefaultRouteTableId": "",
    }

    def given(self, properties: Params) -> Params:
        outer = ("Description", "Tags")
        options = {key: value for key, value in properties.items() if key not in outer}
        found = {key: properties[key] for key in outer if key in properties}
        return found | ({"Options": options} if options else {})

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        return {"Id": work.physical_id, "TransitGatewayArn": found.get("TransitGatewayArn")}


class TransitGatewayAttachment(Tagged):
    type = "AWS::EC2::TransitGatewayAttachment"
    noun, thing, key, plural = (
        "transit-gateway-attachment",
        "TransitGatewayVpcAttachment",
        "TransitGatewayAttachmentId",
        "TransitGatewayVpcAttachments",
    )
    creates = "CreateTransitGatewayVpcAttachment"
    describes = "DescribeTransitGatewayVpcAttachments"
    deletes = "DeleteTransitGatewayVpcAttachment"

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}


class FlowLog(Tagged):
    """Kept and shown; no traffic is recorded in it."""

    type = "AWS::EC2::FlowLog"
    noun, thing, key, plural = "vpc-flow-log", "", "FlowLogId", "FlowLogs"
    creates, describes, deletes = "CreateFlowLogs", "DescribeFlowLogs", "DeleteFlowLogs"

    def given(self, properties: Params) -> Params:
        found = {key: value for key, value in properties.items() if key != "ResourceId"}
        return found | {"ResourceIds": [properties["ResourceId"]]}

    async def _ours(self, work: Work) -> list[str]:
        filters = [
            {"Name": "tag:aws:cloudformation:stack-id", "Values": [work.stack_id]},
            {"Name": "tag:aws:cloudformation:logical-id", "Values": [work.logical_id]},
        ]
        found = await work.call("ec2", self.describes, {"Filter": filters})
        return [str(each[self.key]) for each in found.get(self.plural, [])]

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ec2", self.creates, self._plain(work.properties))
        params["TagSpecifications"] = [{"ResourceType": self.noun, "Tags": work.tag_list()}]
        made = await work.call("ec2", self.creates, params)
        for each in made.get("Unsuccessful") or []:
            error: Any = each.get("Error") or {}
            raise AwsError(str(error.get("Code") or "InvalidParameterValue"), str(error.get("Message") or ""))
        return str(made["FlowLogIds"][0]), {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", self.deletes, {"FlowLogIds": [work.physical_id]})


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

"""Further network types of EC2: endpoints, access lists, address blocks, peerings, VPN and transit gateways."""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.network import Tagged
from portside.cloud.services.cloudformation.resources.shapes import request, text


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


class AddressBlock(Declared):
    """Another address range of a VPC."""

    type = "AWS::EC2::VPCCidrBlock"
    service = "ec2"
    extends = "VpcId"
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

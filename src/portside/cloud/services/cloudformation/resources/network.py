"""The network types of EC2: VPC, Subnet, gateways, routes and addresses.

None of them has a name of its own; after a crash a new one is told by the automatic tags of the stack, among
those that were not there before the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work, is_missing
from portside.cloud.services.cloudformation.resources.shapes import lost, request

_STACK = "aws:cloudformation:stack-id"
_LOGICAL = "aws:cloudformation:logical-id"


class Tagged(Handler):
    """A type that is created by one call with tags. `noun` is EC2's (`vpc`), `thing` the member that holds it
    (`Vpc`) and `key` its identifier (`VpcId`)."""

    tagged = True
    noun: ClassVar[str]
    thing: ClassVar[str]
    key: ClassVar[str]
    plural: ClassVar[str]
    creates: ClassVar[str]
    describes: ClassVar[str]
    deletes: ClassVar[str]
    # Members of `creates` that CloudFormation calls otherwise, and properties that it does not take itself.
    renamed: ClassVar[Mapping[str, str]] = {}
    handled: ClassVar[frozenset[str]] = frozenset()

    def given(self, properties: Params) -> Params:
        """The properties in the form in which the operation takes them."""
        return properties

    def _plain(self, properties: Params) -> Params:
        given = self.given(properties)
        return {name: value for name, value in given.items() if name != "Tags" and name not in self.handled}

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        left = lost("ec2", self.creates, self._plain(properties), self.renamed)
        if left:
            raise self.not_offered(left)

    async def _ours(self, work: Work) -> list[str]:
        filters = [
            {"Name": f"tag:{_STACK}", "Values": [work.stack_id]},
            {"Name": f"tag:{_LOGICAL}", "Values": [work.logical_id]},
        ]
        filter_name = "Filter" if self.describes == "DescribeNatGateways" else "Filters"
        found = await work.call("ec2", self.describes, {filter_name: filters})
        return [str(each[self.key]) for each in found.get(self.plural, []) if each.get("State") != "deleted"]

    async def baseline(self, work: Work) -> Params:
        return {} if work.physical_id else {"known": await self._ours(work)}

    async def find(self, work: Work) -> str | None:
        if "known" not in work.state:
            return None
        fresh = [each for each in await self._ours(work) if each not in work.state["known"]]
        return fresh[0] if fresh else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ec2", self.creates, self._plain(work.properties), self.renamed)
        params["TagSpecifications"] = [{"ResourceType": self.noun, "Tags": work.tag_list()}]
        made = await work.call("ec2", self.creates, params)
        thing = made[self.thing] if self.thing else made
        return str(thing[self.key]), {}

    async def _describe(self, work: Work) -> Params:
        found = await work.call("ec2", self.describes, {f"{self.key}s": [work.physical_id]})
        if not found.get(self.plural):
            raise Failure(f"The {self.noun} '{work.physical_id}' does not exist", "NotFound")
        thing: Params = found[self.plural][0]
        return thing

    def stuck(self, old: Params, new: Params) -> list[str]:
        """The properties that differ although nothing here changes them in place."""
        before, after = self._plain(old), self._plain(new)
        return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))

    async def update(self, work: Work) -> Params:
        stuck = self.stuck(work.old, work.properties)
        if stuck:
            raise Failure(
                f"portside's local cloud cannot change {', '.join(stuck)} of {self.type} in place.", "NotUpdatable"
            )
        await self.configure(work)
        await work.call("ec2", "CreateTags", {"Resources": [work.physical_id], "Tags": work.tag_list()})
        wanted = work.all_tags()
        stale = [{"Key": each["Key"]} for each in work.old.get("Tags") or [] if each["Key"] not in wanted]
        if stale:
            await work.call("ec2", "DeleteTags", {"Resources": [work.physical_id], "Tags": stale})
        return {}

    async def read(self, work: Work) -> Params:
        return {self.key: work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", self.deletes, {self.key: work.physical_id})


class Vpc(Tagged):
    type = "AWS::EC2::VPC"
    noun, thing, key, plural = "vpc", "Vpc", "VpcId", "Vpcs"
    creates, describes, deletes = "CreateVpc", "DescribeVpcs", "DeleteVpc"
    handled = frozenset({"EnableDnsSupport", "EnableDnsHostnames"})

    def stuck(self, old: Params, new: Params) -> list[str]:
        return [name for name in super().stuck(old, new) if name != "InstanceTenancy"]

    async def configure(self, work: Work) -> None:
        for name, default in (("EnableDnsSupport", True), ("EnableDnsHostnames", False)):
            value = bool(work.properties.get(name, default))
            if value != default or name in work.old:
                params = {"VpcId": work.physical_id, name: {"Value": value}}
                await work.call("ec2", "ModifyVpcAttribute", params)

    async def read(self, work: Work) -> Params:
        filters = [{"Name": "vpc-id", "Values": [work.physical_id]}]
        groups = await work.call(
            "ec2",
            "DescribeSecurityGroups",
            {"Filters": [*filters, {"Name": "group-name", "Values": ["default"]}]},
        )
        acls = await work.call("ec2", "DescribeNetworkAcls", {"Filters": filters})
        default = [each["NetworkAclId"] for each in acls.get("NetworkAcls", []) if each.get("IsDefault")]
        vpc = await self._describe(work)
        return {
            "VpcId": work.physical_id,
            "CidrBlock": vpc.get("CidrBlock"),
            "CidrBlockAssociations": [each["AssociationId"] for each in vpc.get("CidrBlockAssociationSet", [])],
            "DefaultSecurityGroup": next((each["GroupId"] for each in groups.get("SecurityGroups", [])), ""),
            "DefaultNetworkAcl": default[0] if default else "",
            "Ipv6CidrBlocks": [each["Ipv6CidrBlock"] for each in vpc.get("Ipv6CidrBlockAssociationSet", [])],
        }


class Subnet(Tagged):
    type = "AWS::EC2::Subnet"
    noun, thing, key, plural = "subnet", "Subnet", "SubnetId", "Subnets"
    creates, describes, deletes = "CreateSubnet", "DescribeSubnets", "DeleteSubnet"
    handled = frozenset({"MapPublicIpOnLaunch", "AssignIpv6AddressOnCreation", "PrivateDnsNameOptionsOnLaunch"})
    attributes = frozenset({"AvailabilityZone", "VpcId", "CidrBlock"})

    def given(self, properties: Params) -> Params:
        # Switched off is how it is.
        return {k: v for k, v in properties.items() if k != "EnableDns64" or v not in (False, "false")}

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        options = properties.get("PrivateDnsNameOptionsOnLaunch") or {}
        kind, long = options.get("HostnameType", "ip-name"), options.get("EnableResourceNameDnsAAAARecord")
        if kind != "ip-name":
            raise self.not_offered([f"PrivateDnsNameOptionsOnLaunch/HostnameType as {kind}"])
        if long in (True, "true"):
            raise self.not_offered(["PrivateDnsNameOptionsOnLaunch/EnableResourceNameDnsAAAARecord"])

    async def configure(self, work: Work) -> None:
        switches, before = _switches(work.properties), _switches(work.old)
        for name in sorted(switches):
            if switches[name] != before[name]:
                params = {"SubnetId": work.physical_id, name: {"Value": switches[name]}}
                await work.call("ec2", "ModifySubnetAttribute", params)

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        return {
            "SubnetId": work.physical_id,
            "AvailabilityZone": found.get("AvailabilityZone"),
            "VpcId": found.get("VpcId"),
            "CidrBlock": found.get("CidrBlock"),
            "Ipv6CidrBlocks": [each["Ipv6CidrBlock"] for each in found.get("Ipv6CidrBlockAssociationSet", [])],
        }


def _switches(properties: Params) -> dict[str, bool]:
    """What can be switched on and off of a subnet, by the names that ModifySubnetAttribute has."""
    found = {name: properties.get(name) for name in ("MapPublicIpOnLaunch", "AssignIpv6AddressOnCreation")}
    options = properties.get("PrivateDnsNameOptionsOnLaunch") or {}
    found["EnableResourceNameDnsARecordOnLaunch"] = options.get("EnableResourceNameDnsARecord")
    return {name: value in (True, "true") for name, value in found.items()}


class InternetGateway(Tagged):
    type = "AWS::EC2::InternetGateway"
    noun, thing, key, plural = "internet-gateway", "InternetGateway", "InternetGatewayId", "InternetGateways"
    creates, describes, deletes = "CreateInternetGateway", "DescribeInternetGateways", "DeleteInternetGateway"


class RouteTable(Tagged):
    type = "AWS::EC2::RouteTable"
    noun, thing, key, plural = "route-table", "RouteTable", "RouteTableId", "RouteTables"
    creates, describes, deletes = "CreateRouteTable", "DescribeRouteTables", "DeleteRouteTable"


class NatGateway(Tagged):
    type = "AWS::EC2::NatGateway"
    noun, thing, key, plural = "natgateway", "NatGateway", "NatGatewayId", "NatGateways"
    creates, describes, deletes = "CreateNatGateway", "DescribeNatGateways", "DeleteNatGateway"

    async def settled(self, work: Work) -> bool:
        found = await self._describe(work)
        if found.get("State") == "failed":
            raise Failure(f"NatGateway {work.physical_id} is in state failed", "NotStabilized")
        return bool(found.get("State") == "available")

    async def gone(self, work: Work) -> bool:
        try:
            return bool((await self._describe(work)).get("State") == "deleted")
        except Failure:
            return True
        except AwsError as error:
            if is_missing(error):
                return True
            raise


class GatewayAttachment(Handler):
    """Of an internet gateway (`IGW|vpc`) or of a VPN gateway (`VGW|vpc`)."""

    type = "AWS::EC2::VPCGatewayAttachment"
    attributes = frozenset({"AttachmentType"})

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        if ("InternetGatewayId" in properties) == ("VpnGatewayId" in properties):
            raise Failure("One of InternetGatewayId and VpnGatewayId must be given.", "InvalidRequest")

    def _noun(self, properties: Params) -> str:
        return "Internet" if "InternetGatewayId" in properties else "Vpn"

    async def find(self, work: Work) -> str | None:
        noun = self._noun(work.properties)
        plural, member = (
            ("InternetGateways", "Attachments") if noun == "Internet" else ("VpnGateways", "VpcAttachments")
        )
        gateway = work.properties[f"{noun}GatewayId"]
        found = await work.call("ec2", f"Describe{plural}", {f"{noun}GatewayIds": [gateway]})
        for each in found.get(plural, []):
            if any(
                a.get("VpcId") == work.properties["VpcId"] and a.get("State") not in ("detached", "detaching")
                for a in each.get(member, [])
            ):
                return self._physical(work)
        return None

    def _physical(self, work: Work) -> str:
        return f"{'IGW' if self._noun(work.properties) == 'Internet' else 'VGW'}|{work.properties['VpcId']}"

    async def _do(self, work: Work, verb: str, properties: Params) -> None:
        noun = self._noun(properties)
        both = {key: properties[key] for key in (f"{noun}GatewayId", "VpcId")}
        await work.call("ec2", f"{verb}{noun}Gateway", both)

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._do(work, "Attach", work.properties)
        return self._physical(work), {}

    async def update(self, work: Work) -> Params:
        if work.old != work.properties:
            try:
                await self._do(work, "Detach", work.old)
            except AwsError as error:
                if not self.missing(error):
                    raise
            if await self.find(work) is None:
                await self._do(work, "Attach", work.properties)
        return {}

    async def read(self, work: Work) -> Params:
        return {"AttachmentType": work.physical_id.partition("|")[0]}

    async def delete(self, work: Work) -> None:
        await self._do(work, "Detach", work.properties)

    def missing(self, error: AwsError) -> bool:
        return error.code in ("Gateway.NotAttached", "InvalidAttachmentID.NotFound") or super().missing(error)


_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


class Route(Handler):
    type = "AWS::EC2::Route"

    def _destination(self, work: Work) -> Params:
        found = {key: work.properties[key] for key in _DESTINATIONS if key in work.properties}
        return {"RouteTableId": work.properties["RouteTableId"]} | found

    async def find(self, work: Work) -> str | None:
        wanted = self._destination(work)
        table = wanted.pop("RouteTableId")
        found = await work.call("ec2", "DescribeRouteTables", {"RouteTableIds": [table]})
        for each in found["RouteTables"][0].get("Routes", []):
            if all(each.get(key) == value for key, value in wanted.items()):
                return "|".join([table, *wanted.values()])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        await work.call("ec2", "CreateRoute", request("ec2", "CreateRoute", work.properties))
        wanted = self._destination(work)
        return "|".join(wanted.values()), {}

    async def update(self, work: Work) -> Params:
        await work.call("ec2", "ReplaceRoute", request("ec2", "ReplaceRoute", work.properties))
        return {}

    async def read(self, work: Work) -> Params:
        return {"CidrBlock": work.physical_id.rpartition("|")[2]}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", "DeleteRoute", self._destination(work))


class SubnetRouteTableAssociation(Handler):
    type = "AWS::EC2::SubnetRouteTableAssociation"

    async def find(self, work: Work) -> str | None:
        table, subnet = work.properties["RouteTableId"], work.properties["SubnetId"]
        found = await work.call("ec2", "DescribeRouteTables", {"RouteTableIds": [table]})
        for each in found["RouteTables"][0].get("Associations", []):
            if each.get("SubnetId") == subnet:
                return str(each["RouteTableAssociationId"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        both = {key: work.properties[key] for key in ("RouteTableId", "SubnetId")}
        made = await work.call("ec2", "AssociateRouteTable", both)
        return str(made["AssociationId"]), {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", "DisassociateRouteTable", {"AssociationId": work.physical_id})

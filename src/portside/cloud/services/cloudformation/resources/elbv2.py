"""AWS::ElasticLoadBalancingV2: LoadBalancer, TargetGroup, Listener and ListenerRule."""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import BALANCER, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request, text

SERVICE = "elbv2"


async def _retag(work: Work) -> None:
    wanted = work.all_tags()
    await work.call(SERVICE, "AddTags", {"ResourceArns": [work.physical_id], "Tags": work.tag_list()})
    described = await work.call(SERVICE, "DescribeTags", {"ResourceArns": [work.physical_id]})
    present = [each["Key"] for found in described.get("TagDescriptions", []) for each in found.get("Tags", [])]
    stale = [key for key in present if key not in wanted]
    if stale:
        await work.call(SERVICE, "RemoveTags", {"ResourceArns": [work.physical_id], "TagKeys": stale})


def _pairs(found: Any) -> list[Params]:
    return [{"Key": each["Key"], "Value": text(each.get("Value", ""))} for each in found or []]


class LoadBalancer(Handler):
    type = "AWS::ElasticLoadBalancingV2::LoadBalancer"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = BALANCER
    tagged = True
    attributes = frozenset({"SecurityGroups"})
    unoffered: ClassVar = {
        "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": "it is for network load balancers.",
        "Ipv4IpamPoolId": "there are no pools of addresses.",
    }

    async def find(self, work: Work) -> str | None:
        try:
            found = await work.call(SERVICE, "DescribeLoadBalancers", {"Names": [work.name]})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        balancers = found.get("LoadBalancers", [])
        return str(balancers[0]["LoadBalancerArn"]) if balancers else None

    async def _describe(self, work: Work) -> Params:
        found = await work.call(SERVICE, "DescribeLoadBalancers", {"LoadBalancerArns": [work.physical_id]})
        if not found.get("LoadBalancers"):
            raise Failure(f"Load balancer '{work.physical_id}' not found", "NotFound")
        balancer: Params = found["LoadBalancers"][0]
        return balancer

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request(SERVICE, "CreateLoadBalancer", work.properties)
        params |= {"Name": work.name, "Tags": work.tag_list()}
        made = await work.call(SERVICE, "CreateLoadBalancer", params)
        return str(made["LoadBalancers"][0]["LoadBalancerArn"]), {}

    async def configure(self, work: Work) -> None:
        attributes = _pairs(work.properties.get("LoadBalancerAttributes"))
        if attributes:
            params = {"LoadBalancerArn": work.physical_id, "Attributes": attributes}
            await work.call(SERVICE, "ModifyLoadBalancerAttributes", params)
        await self._reserve(work)

    async def _reserve(self, work: Work) -> None:
        units, before = (
            (each.get("MinimumLoadBalancerCapacity") or {}).get("CapacityUnits")
            for each in (work.properties, work.old)
        )
        if units == before:
            return
        params: Params = {"LoadBalancerArn": work.physical_id}
        if units is None:
            params["ResetCapacityReservation"] = True
        else:
            params["MinimumLoadBalancerCapacity"] = {"CapacityUnits": int(units)}
        await work.call(SERVICE, "ModifyCapacityReservation", params)

    async def settled(self, work: Work) -> bool:
        state = (await self._describe(work)).get("State", {})
        if state.get("Code") == "failed":
            raise Failure(state.get("Reason") or "The load balancer could not be set up.")
        if state.get("Code", "active") not in ("active", "active_impaired"):
            return False
        return await self._reserved(work)

    async def _reserved(self, work: Work) -> bool:
        """Whether the capacity is there, if the template wants to wait for it."""
        if work.properties.get("EnableCapacityReservationProvisionStabilize") not in (True, "true"):
            return True
        arn = {"LoadBalancerArn": work.physical_id}
        found = await work.call(SERVICE, "DescribeCapacityReservation", arn)
        states = [each["State"] for each in found.get("CapacityReservationState") or []]
        failed = [each for each in states if each.get("Code") == "failed"]
        if failed:
            raise Failure(failed[0].get("Reason") or "The capacity could not be reserved.", "NotStabilized")
        return all(each.get("Code") == "provisioned" for each in states)

    async def update(self, work: Work) -> Params:
        given, old, arn = work.properties, work.old, work.physical_id
        await self.configure(work)
        if given.get("SecurityGroups") != old.get("SecurityGroups") and given.get("SecurityGroups"):
            params = {"LoadBalancerArn": arn, "SecurityGroups": given["SecurityGroups"]}
            await work.call(SERVICE, "SetSecurityGroups", params)
        if any(given.get(key) != old.get(key) for key in ("Subnets", "SubnetMappings")):
            params = request(SERVICE, "SetSubnets", given) | {"LoadBalancerArn": arn}
            await work.call(SERVICE, "SetSubnets", params)
        if given.get("IpAddressType") != old.get("IpAddressType"):
            params = {"LoadBalancerArn": arn, "IpAddressType": given.get("IpAddressType", "ipv4")}
            await work.call(SERVICE, "SetIpAddressType", params)
        await _retag(work)
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        return {
            "LoadBalancerArn": work.physical_id,
            "DNSName": found.get("DNSName"),
            "CanonicalHostedZoneID": found.get("CanonicalHostedZoneId"),
            "LoadBalancerName": found.get("LoadBalancerName"),
            "LoadBalancerFullName": work.physical_id.partition(":loadbalancer/")[2],
            "SecurityGroups": found.get("SecurityGroups", []),
        }

    async def delete(self, work: Work) -> None:
        await work.call(SERVICE, "DeleteLoadBalancer", {"LoadBalancerArn": work.physical_id})

    async def gone(self, work: Work) -> bool:
        try:
            await self._describe(work)
        except Failure:
            return True
        except AwsError as error:
            if self.missing(error):
                return True
            raise
        return False


class TargetGroup(Handler):
    type = "AWS::ElasticLoadBalancingV2::TargetGroup"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = BALANCER
    tagged = True
    volatile = frozenset({"LoadBalancerArns"})

    async def find(self, work: Work) -> str | None:
        try:
            found = await work.call(SERVICE, "DescribeTargetGroups", {"Names": [work.name]})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        groups = found.get("TargetGroups", [])
        return str(groups[0]["TargetGroupArn"]) if groups else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request(SERVICE, "CreateTargetGroup", work.properties)
        params |= {"Name": work.name, "Tags": work.tag_list()}
        made = await work.call(SERVICE, "CreateTargetGroup", params)
        return str(made["TargetGroups"][0]["TargetGroupArn"]), {}

    async def configure(self, work: Work) -> None:
        attributes = _pairs(work.properties.get("TargetGroupAttributes"))
        if attributes:
            params = {"TargetGroupArn": work.physical_id, "Attributes": attributes}
            await work.call(SERVICE, "ModifyTargetGroupAttributes", params)
        targets, before = work.properties.get("Targets") or [], work.old.get("Targets") or []
        fresh = [each for each in targets if each not in before]
        stale = [each for each in before if each not in targets]
        for operation, some in (("RegisterTargets", fresh), ("DeregisterTargets", stale)):
            if some:
                params = request(SERVICE, operation, {"Targets": some})
                await work.call(SERVICE, operation, params | {"TargetGroupArn": work.physical_id})

    async def update(self, work: Work) -> Params:
        params = request(SERVICE, "ModifyTargetGroup", work.properties)
        await work.call(SERVICE, "ModifyTargetGroup", params | {"TargetGroupArn": work.physical_id})
        await self.configure(work)
        await _retag(work)
        return {}

    async def read(self, work: Work) -> Params:
        found = await work.call(SERVICE, "DescribeTargetGroups", {"TargetGroupArns": [work.physical_id]})
        group = found["TargetGroups"][0]
        full = work.physical_id.rpartition(":")[2]
        return {
            "TargetGroupArn": work.physical_id,
            "TargetGroupFullName": full,
            "TargetGroupName": group.get("TargetGroupName"),
            "LoadBalancerArns": group.get("LoadBalancerArns", []),
        }

    async def delete(self, work: Work) -> None:
        await work.call(SERVICE, "DeleteTargetGroup", {"TargetGroupArn": work.physical_id})


class Listener(Handler):
    type = "AWS::ElasticLoadBalancingV2::Listener"
    tagged = True

    async def find(self, work: Work) -> str | None:
        # A load balancer has one listener on a port.
        try:
            found = await work.call(
                SERVICE, "DescribeListeners", {"LoadBalancerArn": work.properties["LoadBalancerArn"]}
            )
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        for each in found.get("Listeners", []):
            if each.get("Port") == work.properties.get("Port"):
                return str(each["ListenerArn"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request(SERVICE, "CreateListener", work.properties) | {"Tags": work.tag_list()}
        made = await work.call(SERVICE, "CreateListener", params)
        return str(made["Listeners"][0]["ListenerArn"]), {}

    async def configure(self, work: Work) -> None:
        attributes = _pairs(work.properties.get("ListenerAttributes"))
        if attributes:
            params = {"ListenerArn": work.physical_id, "Attributes": attributes}
            await work.call(SERVICE, "ModifyListenerAttributes", params)

    async def update(self, work: Work) -> Params:
        params = request(SERVICE, "ModifyListener", work.properties)
        await work.call(SERVICE, "ModifyListener", params | {"ListenerArn": work.physical_id})
        await self.configure(work)
        await _retag(work)
        return {}

    async def read(self, work: Work) -> Params:
        return {"ListenerArn": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call(SERVICE, "DeleteListener", {"ListenerArn": work.physical_id})


class ListenerRule(Handler):
    type = "AWS::ElasticLoadBalancingV2::ListenerRule"
    tagged = True

    async def find(self, work: Work) -> str | None:
        # A listener has one rule of a priority.
        try:
            found = await work.call(SERVICE, "DescribeRules", {"ListenerArn": work.properties["ListenerArn"]})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        for each in found.get("Rules", []):
            if str(each.get("Priority")) == str(work.properties.get("Priority")):
                return str(each["RuleArn"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request(SERVICE, "CreateRule", work.properties) | {"Tags": work.tag_list()}
        made = await work.call(SERVICE, "CreateRule", params)
        return str(made["Rules"][0]["RuleArn"]), {}

    async def update(self, work: Work) -> Params:
        params = request(SERVICE, "ModifyRule", work.properties)
        await work.call(SERVICE, "ModifyRule", params | {"RuleArn": work.physical_id})
        if work.properties.get("Priority") != work.old.get("Priority"):
            pair = {"RuleArn": work.physical_id, "Priority": int(work.properties["Priority"])}
            await work.call(SERVICE, "SetRulePriorities", {"RulePriorities": [pair]})
        await _retag(work)
        return {}

    async def read(self, work: Work) -> Params:
        return {"RuleArn": work.physical_id, "IsDefault": False}

    async def delete(self, work: Work) -> None:
        await work.call(SERVICE, "DeleteRule", {"RuleArn": work.physical_id})

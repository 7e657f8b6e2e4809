"""What load balancers, their parts, and security groups really are now. See `live.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Work
from portside.cloud.services.cloudformation.resources.listener_certificates import added

_ELB = "elbv2"


async def _tags(work: Work) -> list[Params]:
    found = await work.call(_ELB, "DescribeTags", {"ResourceArns": [work.physical_id]})
    return [tag for each in found.get("TagDescriptions") or [] for tag in each.get("Tags") or []]


async def _attributes(work: Work, operation: str, member: str, given: Any) -> list[Params]:
    """Those that the template names: every load balancer has all of them."""
    named = {each["Key"] for each in given or []}
    if not named:
        return []
    found = await work.call(_ELB, operation, {member: work.physical_id})
    return [each for each in found.get("Attributes") or [] if each["Key"] in named]


async def _load_balancer(work: Work) -> Params | None:
    found = await work.call(_ELB, "DescribeLoadBalancers", {"LoadBalancerArns": [work.physical_id]})
    if not found.get("LoadBalancers"):
        return None
    one: Params = found["LoadBalancers"][0]
    given = work.properties.get("LoadBalancerAttributes")
    reserved = await work.call(_ELB, "DescribeCapacityReservation", {"LoadBalancerArn": work.physical_id})
    return {
        "Name": one["LoadBalancerName"],
        "Scheme": one.get("Scheme"),
        "Type": one.get("Type"),
        "IpAddressType": one.get("IpAddressType"),
        "SecurityGroups": one.get("SecurityGroups") or [],
        "Subnets": [each["SubnetId"] for each in one.get("AvailabilityZones") or [] if each.get("SubnetId")],
        "LoadBalancerAttributes": await _attributes(
            work, "DescribeLoadBalancerAttributes", "LoadBalancerArn", given
        ),
        "MinimumLoadBalancerCapacity": reserved.get("MinimumLoadBalancerCapacity"),
        "Tags": await _tags(work),
    }


async def _target_group(work: Work) -> Params | None:
    found = await work.call(_ELB, "DescribeTargetGroups", {"TargetGroupArns": [work.physical_id]})
    if not found.get("TargetGroups"):
        return None
    one: Params = found["TargetGroups"][0]
    given = work.properties.get("TargetGroupAttributes")
    return one | {
        "Name": one["TargetGroupName"],
        "TargetGroupAttributes": await _attributes(work, "DescribeTargetGroupAttributes", "TargetGroupArn", given),
        "Tags": await _tags(work),
    }


async def _listener(work: Work) -> Params | None:
    found = await work.call(_ELB, "DescribeListeners", {"ListenerArns": [work.physical_id]})
    if not found.get("Listeners"):
        return None
    one: Params = found["Listeners"][0]
    return one


async def _listener_certificate(work: Work) -> Params | None:
    """Those of the template's that the listener still has; what others added to it is theirs."""
    live = await added(work)
    mine = [each for each in work.properties.get("Certificates") or [] if each.get("CertificateArn") in live]
    return {"ListenerArn": work.properties["ListenerArn"], "Certificates": mine} if mine else None


async def _rule(work: Work) -> Params | None:
    found = await work.call(_ELB, "DescribeRules", {"RuleArns": [work.physical_id]})
    if not found.get("Rules"):
        return None
    one: Params = found["Rules"][0]
    return one


async def _security_group(work: Work) -> Params | None:
    found = await work.call("ec2", "DescribeSecurityGroups", {"GroupIds": [work.physical_id]})
    if not found.get("SecurityGroups"):
        return None
    one: Params = found["SecurityGroups"][0]
    return {
        "GroupName": one["GroupName"],
        "GroupDescription": one["Description"],
        "VpcId": one.get("VpcId"),
        "SecurityGroupIngress": _rules(one.get("IpPermissions"), "Source"),
        "SecurityGroupEgress": _rules(one.get("IpPermissionsEgress"), "Destination"),
        "Tags": one.get("Tags") or [],
    }


def _rules(permissions: Any, side: str) -> list[Params]:
    """A permission with several ranges is as many rules in a template."""
    rules: list[Params] = []
    for each in permissions or []:
        common = {name: each[name] for name in ("IpProtocol", "FromPort", "ToPort") if each.get(name) is not None}
        for members, source, target in (
            ("IpRanges", "CidrIp", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6", "CidrIpv6"),
            ("PrefixListIds", "PrefixListId", f"{side}PrefixListId"),
            ("UserIdGroupPairs", "GroupId", f"{side}SecurityGroupId"),
        ):
            for one in each.get(members) or []:
                rule = common | {target: one[source]}
                rules.append(rule | ({"Description": one["Description"]} if one.get("Description") else {}))
    return rules


NETWORK: dict[str, Callable[[Work], Awaitable[Params | None]]] = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _load_balancer,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _target_group,
    "AWS::ElasticLoadBalancingV2::Listener": _listener,
    "AWS::ElasticLoadBalancingV2::ListenerCertificate": _listener_certificate,
    "AWS::ElasticLoadBalancingV2::ListenerRule": _rule,
    "AWS::EC2::SecurityGroup": _security_group,
}

"""AWS::ElasticLoadBalancing::LoadBalancer, the classic load balancer.

Kept and shown only: it balances nothing here. Applications want one of ElasticLoadBalancingV2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import BALANCER, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request, text

_ELB = "elb"
_POLICIES = ("AppCookieStickinessPolicy", "LBCookieStickinessPolicy", "Policies")
# Property, the operations that add and take away, and their parameter.
_SETS = (
    ("Instances", "RegisterInstancesWithLoadBalancer", "DeregisterInstancesFromLoadBalancer", "Instances"),
    ("Subnets", "AttachLoadBalancerToSubnets", "DetachLoadBalancerFromSubnets", "Subnets"),
    (
        "AvailabilityZones",
        "EnableAvailabilityZonesForLoadBalancer",
        "DisableAvailabilityZonesForLoadBalancer",
        "AvailabilityZones",
    ),
)


class LoadBalancer(Handler):
    type = "AWS::ElasticLoadBalancing::LoadBalancer"
    name_property = "LoadBalancerName"
    name_style: ClassVar[NameStyle | None] = BALANCER
    tagged = True
    attributes = frozenset({"SourceSecurityGroup.GroupName", "SourceSecurityGroup.OwnerAlias"})

    async def find(self, work: Work) -> str | None:
        try:
            await self._describe(work, work.name)
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        return work.name

    async def _describe(self, work: Work, name: str) -> Params:
        answer = await work.call(_ELB, "DescribeLoadBalancers", {"LoadBalancerNames": [name]})
        found = answer.get("LoadBalancerDescriptions")
        if not found:
            raise AwsError("LoadBalancerNotFound", f"There is no ACTIVE Load Balancer named '{name}'")
        balancer: Params = found[0]
        return balancer

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request(_ELB, "CreateLoadBalancer", work.properties)
        params |= {"LoadBalancerName": work.name, "Tags": work.tag_list()}
        await work.call(_ELB, "CreateLoadBalancer", params)
        return work.name, {}

    async def _ask(self, work: Work, operation: str, **params: Any) -> Params:
        return await work.call(_ELB, operation, {"LoadBalancerName": work.physical_id} | params)

    async def configure(self, work: Work) -> None:
        given = work.properties
        if given.get("Instances"):
            await self._ask(work, "RegisterInstancesWithLoadBalancer", Instances=_instances(given["Instances"]))
        if given.get("HealthCheck"):
            await self._ask(
                work,
                "ConfigureHealthCheck",
                **request(_ELB, "ConfigureHealthCheck", {"HealthCheck": given["HealthCheck"]}),
            )
        wanted = _attributes(given)
        if wanted:
            await self._ask(work, "ModifyLoadBalancerAttributes", LoadBalancerAttributes=wanted)
        await self._make_policies(work)

    async def _make_policies(self, work: Work) -> None:
        present = _policy_names(await self._describe(work, work.physical_id))
        for kind in _POLICIES:
            for each in work.properties.get(kind) or []:
                if each["PolicyName"] not in present:
                    await self._make_policy(work, kind, each)
        for port, names in _by_port(work.properties).items():
            await self._ask(work, "SetLoadBalancerPoliciesOfListener", LoadBalancerPort=port, PolicyNames=names)
        for port, names in _by_instance_port(work.properties).items():
            await self._ask(work, "SetLoadBalancerPoliciesForBackendServer", InstancePort=port, PolicyNames=names)

    async def _make_policy(self, work: Work, kind: str, policy: Params) -> None:
        if kind == "Policies":
            pairs = [
                {"AttributeName": each["Name"], "AttributeValue": text(each["Value"])}
                for each in policy.get("Attributes") or []
            ]
            await self._ask(
                work,
                "CreateLoadBalancerPolicy",
                PolicyName=policy["PolicyName"],
                PolicyTypeName=policy["PolicyType"],
                PolicyAttributes=pairs,
            )
            return
        operation = f"Create{kind.removesuffix('Policy')}Policy"
        await self._ask(work, operation, **request(_ELB, operation, policy))

    async def update(self, work: Work) -> Params:
        given, old = work.properties, work.old
        for name, adds, removes, member in _SETS:
            before, after = old.get(name) or [], given.get(name) or []
            added = [each for each in after if each not in before]
            gone = [each for each in before if each not in after]
            shaped = _instances if name == "Instances" else list
            if added:
                await self._ask(work, adds, **{member: shaped(added)})
            if gone:
                await self._ask(work, removes, **{member: shaped(gone)})
        if given.get("SecurityGroups") != old.get("SecurityGroups"):
            groups = given.get("SecurityGroups") or []
            await self._ask(work, "ApplySecurityGroupsToLoadBalancer", SecurityGroups=groups)
        await self._listeners(work)
        await self._drop_policies(work)
        await self.configure(work)
        await self._retag(work)
        return {}

    async def _listeners(self, work: Work) -> None:
        before, after = (_listeners_of(each) for each in (work.old, work.properties))
        gone = [int(port) for port, each in before.items() if after.get(port) != each]
        added = [each for port, each in after.items() if before.get(port) != each]
        if gone:
            await self._ask(work, "DeleteLoadBalancerListeners", LoadBalancerPorts=gone)
        if added:
            params = request(_ELB, "CreateLoadBalancerListeners", {"Listeners": added})
            await self._ask(work, "CreateLoadBalancerListeners", **params)

    async def _drop_policies(self, work: Work) -> None:
        """Those that are gone or have changed; one that a listener has cannot be deleted."""
        before, after = (_policies_of(each) for each in (work.old, work.properties))
        gone = [name for name, each in before.items() if after.get(name) != each]
        if not gone:
            return
        for port in _listeners_of(work.properties):
            await self._ask(work, "SetLoadBalancerPoliciesOfListener", LoadBalancerPort=int(port), PolicyNames=[])
        for name in gone:
            await self._ask(work, "DeleteLoadBalancerPolicy", PolicyName=name)

    async def _retag(self, work: Work) -> None:
        names = {"LoadBalancerNames": [work.physical_id]}
        wanted = work.all_tags()
        described = await work.call(_ELB, "DescribeTags", names)
        present = [
            each["Key"] for found in described.get("TagDescriptions") or [] for each in found.get("Tags") or []
        ]
        if wanted:
            await work.call(_ELB, "AddTags", names | {"Tags": work.tag_list()})
        stale = [{"Key": key} for key in present if key not in wanted]
        if stale:
            await work.call(_ELB, "RemoveTags", names | {"Tags": stale})

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        source = found.get("SourceSecurityGroup") or {}
        answers = {
            "DNSName": found.get("DNSName"),
            "CanonicalHostedZoneName": found.get("CanonicalHostedZoneName") or found.get("DNSName"),
            "CanonicalHostedZoneNameID": found.get("CanonicalHostedZoneNameID"),
            "SourceSecurityGroup.GroupName": source.get("GroupName"),
            "SourceSecurityGroup.OwnerAlias": source.get("OwnerAlias"),
        }
        return {name: value for name, value in answers.items() if value is not None}

    async def delete(self, work: Work) -> None:
        await self._ask(work, "DeleteLoadBalancer")

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        for path, value in _numbers(properties):
            if not text(value).isdigit():
                raise Failure(f"{path} must be a number, and is '{text(value)}'.", "InvalidRequest")
        ports = set(_listeners_of(properties))
        for number, each in enumerate(properties.get("Policies") or []):
            if any(not {"Name", "Value"} <= pair.keys() for pair in each.get("Attributes") or []):
                raise Failure(f"Policies/{number}/Attributes must be pairs of Name and Value.", "InvalidRequest")
            missing = [port for port in each.get("LoadBalancerPorts") or [] if text(port) not in ports]
            if missing:
                raise Failure(
                    f"There is no listener on port {missing[0]} for {each['PolicyName']}.", "InvalidRequest"
                )


def _instances(ids: list[Any]) -> list[Params]:
    return [{"InstanceId": text(each)} for each in ids]


def _numbers(properties: Params) -> Iterator[tuple[str, Any]]:
    """What is a text in the schema and a number in the API, with its place."""
    check = properties.get("HealthCheck") or {}
    places: list[tuple[str, Params, tuple[str, ...]]] = [
        ("HealthCheck", check, ("Interval", "Timeout", "HealthyThreshold", "UnhealthyThreshold"))
    ]
    for number, each in enumerate(properties.get("Listeners") or []):
        places.append((f"Listeners/{number}", each, ("LoadBalancerPort", "InstancePort")))
    for number, each in enumerate(properties.get("LBCookieStickinessPolicy") or []):
        places.append((f"LBCookieStickinessPolicy/{number}", each, ("CookieExpirationPeriod",)))
    for place, holder, names in places:
        yield from ((f"{place}/{name}", holder[name]) for name in names if name in holder)
    for number, each in enumerate(properties.get("Policies") or []):
        for name in ("InstancePorts", "LoadBalancerPorts"):
            yield from ((f"Policies/{number}/{name}", port) for port in each.get(name) or [])


def _listeners_of(properties: Params) -> dict[str, Params]:
    """By port, without the names of policies, which are set apart."""
    return {
        text(each["LoadBalancerPort"]): {name: value for name, value in each.items() if name != "PolicyNames"}
        for each in properties.get("Listeners") or []
    }


def _policies_of(properties: Params) -> dict[str, Params]:
    return {each["PolicyName"]: each for kind in _POLICIES for each in properties.get(kind) or []}


def _policy_names(balancer: Params) -> set[str]:
    found = balancer.get("Policies") or {}
    names = set(found.get("OtherPolicies") or [])
    for kind in ("AppCookieStickinessPolicies", "LBCookieStickinessPolicies"):
        names |= {each["PolicyName"] for each in found.get(kind) or []}
    return names


def _by_port(properties: Params) -> dict[int, list[str]]:
    """The policies of listeners, as those name them and as policies name their ports."""
    found: dict[int, list[str]] = {}
    for each in properties.get("Listeners") or []:
        if each.get("PolicyNames"):
            found[int(each["LoadBalancerPort"])] = list(each["PolicyNames"])
    for each in properties.get("Policies") or []:
        for port in each.get("LoadBalancerPorts") or []:
            found.setdefault(int(port), []).append(each["PolicyName"])
    return {port: list(dict.fromkeys(names)) for port, names in found.items()}


def _by_instance_port(properties: Params) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for each in properties.get("Policies") or []:
        for port in each.get("InstancePorts") or []:
            found.setdefault(int(port), []).append(each["PolicyName"])
    return found


def _attributes(properties: Params) -> Params:
    """What ModifyLoadBalancerAttributes takes."""
    wanted: dict[str, Any] = {
        "AccessLog": properties.get("AccessLoggingPolicy"),
        "ConnectionDraining": properties.get("ConnectionDrainingPolicy"),
        "ConnectionSettings": properties.get("ConnectionSettings"),
    }
    if properties.get("CrossZone") is not None:
        wanted["CrossZoneLoadBalancing"] = {"Enabled": properties["CrossZone"]}
    given = {name: value for name, value in wanted.items() if value is not None}
    params = request(_ELB, "ModifyLoadBalancerAttributes", {"LoadBalancerAttributes": given})
    found: Params = params["LoadBalancerAttributes"]
    return found

"""AWS::EC2::SecurityGroup with its separate rules, and LaunchTemplate."""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

EVERYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
_DUPLICATE = "InvalidPermission.Duplicate"
_ABSENT = "InvalidPermission.NotFound"


def permission(rule: Params) -> Params:
    """One rule of a template as the API's IpPermission."""
    found: Params = {"IpProtocol": str(rule["IpProtocol"])}
    if rule.get("FromPort") is not None:
        found["FromPort"] = int(rule["FromPort"])
    if rule.get("ToPort") is not None:
        found["ToPort"] = int(rule["ToPort"])
    said = {"Description": rule["Description"]} if rule.get("Description") else {}
    if rule.get("CidrIp"):
        found["IpRanges"] = [{"CidrIp": rule["CidrIp"]} | said]
    if rule.get("CidrIpv6"):
        found["Ipv6Ranges"] = [{"CidrIpv6": rule["CidrIpv6"]} | said]
    group = rule.get("SourceSecurityGroupId") or rule.get("DestinationSecurityGroupId")
    if group:
        found["UserIdGroupPairs"] = [{"GroupId": group} | said]
    elif rule.get("SourceSecurityGroupName"):
        found["UserIdGroupPairs"] = [{"GroupName": rule["SourceSecurityGroupName"]} | said]
    if rule.get("SourceSecurityGroupOwnerId") and "UserIdGroupPairs" in found:
        found["UserIdGroupPairs"][0]["UserId"] = str(rule["SourceSecurityGroupOwnerId"])
    prefix = rule.get("SourcePrefixListId") or rule.get("DestinationPrefixListId")
    if prefix:
        found["PrefixListIds"] = [{"PrefixListId": prefix} | said]
    return found


async def _permit(work: Work, operation: str, group_id: str, allowed: Params, harmless: str) -> Params:
    try:
        return await work.call("ec2", operation, {"GroupId": group_id, "IpPermissions": [allowed]})
    except AwsError as error:
        if error.code != harmless:
            raise
        return {}


class SecurityGroup(Handler):
    type = "AWS::EC2::SecurityGroup"
    name_property = "GroupName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    attributes = frozenset({"VpcId"})

    async def _vpc(self, work: Work) -> str:
        given = work.properties.get("VpcId")
        if given:
            return str(given)
        found = await work.call("ec2", "DescribeVpcs", {"Filters": [{"Name": "isDefault", "Values": ["true"]}]})
        if not found.get("Vpcs"):
            raise Failure("No default VPC for this user", "InvalidRequest")
        return str(found["Vpcs"][0]["VpcId"])

    async def find(self, work: Work) -> str | None:
        filters = [
            {"Name": "group-name", "Values": [work.name]},
            {"Name": "vpc-id", "Values": [await self._vpc(work)]},
        ]
        found = await work.call("ec2", "DescribeSecurityGroups", {"Filters": filters})
        groups = found.get("SecurityGroups", [])
        return str(groups[0]["GroupId"]) if groups else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {
            "GroupName": work.name,
            "Description": work.properties["GroupDescription"],
            "VpcId": await self._vpc(work),
        }
        tags = work.tag_list(system=False)
        if tags:
            params["TagSpecifications"] = [{"ResourceType": "security-group", "Tags": tags}]
        made = await work.call("ec2", "CreateSecurityGroup", params)
        return str(made["GroupId"]), {}

    async def configure(self, work: Work) -> None:
        await self._rules(work, "Ingress")
        egress, before = work.properties.get("SecurityGroupEgress"), work.old.get("SecurityGroupEgress")
        await self._rules(work, "Egress")
        # A new group lets everything out; rules of one's own take the place of that.
        everywhere = any(permission(each) == EVERYWHERE for each in egress or [])
        if egress and not before and not everywhere:
            await _permit(work, "RevokeSecurityGroupEgress", work.physical_id, EVERYWHERE, _ABSENT)
        elif before and not egress:
            await _permit(work, "AuthorizeSecurityGroupEgress", work.physical_id, EVERYWHERE, _DUPLICATE)

    async def _rules(self, work: Work, direction: str) -> None:
        key = f"SecurityGroup{direction}"
        wanted = [permission(each) for each in work.properties.get(key) or []]
        before = [permission(each) for each in work.old.get(key) or []]
        for each in before:
            if each not in wanted:
                await _permit(work, f"RevokeSecurityGroup{direction}", work.physical_id, each, _ABSENT)
        for each in wanted:
            if each not in before:
                operation = f"AuthorizeSecurityGroup{direction}"
                await _permit(work, operation, work.physical_id, each, _DUPLICATE)

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        tags = work.tag_list(system=False)
        if tags:
            await work.call("ec2", "CreateTags", {"Resources": [work.physical_id], "Tags": tags})
        stale = [
            {"Key": each["Key"]}
            for each in work.old.get("Tags") or []
            if each["Key"] not in work.all_tags(system=False)
        ]
        if stale:
            await work.call("ec2", "DeleteTags", {"Resources": [work.physical_id], "Tags": stale})
        return {}

    async def read(self, work: Work) -> Params:
        found = await work.call("ec2", "DescribeSecurityGroups", {"GroupIds": [work.physical_id]})
        group = found["SecurityGroups"][0]
        return {"GroupId": work.physical_id, "Id": work.physical_id, "VpcId": group.get("VpcId", "")}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", "DeleteSecurityGroup", {"GroupId": work.physical_id})


class _Rule(Handler):
    """A rule on its own; its id is the service's rule id."""

    direction: ClassVar[str]

    async def _group(self, work: Work) -> str:
        if work.properties.get("GroupId"):
            return str(work.properties["GroupId"])
        filters = [{"Name": "group-name", "Values": [work.properties.get("GroupName", "")]}]
        found = await work.call("ec2", "DescribeSecurityGroups", {"Filters": filters})
        if not found.get("SecurityGroups"):
            raise Failure(f"The security group '{work.properties.get('GroupName')}' does not exist", "NotFound")
        return str(found["SecurityGroups"][0]["GroupId"])

    async def find(self, work: Work) -> str | None:
        filters = [{"Name": "group-id", "Values": [await self._group(work)]}]
        found = await work.call("ec2", "DescribeSecurityGroupRules", {"Filters": filters})
        wanted = permission(work.properties)
        for each in found.get("SecurityGroupRules", []):
            if bool(each.get("IsEgress")) == (self.direction == "Egress") and _same_rule(each, wanted):
                return str(each["SecurityGroupRuleId"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        group = await self._group(work)
        params = {"GroupId": group, "IpPermissions": [permission(work.properties)]}
        made = await work.call("ec2", f"AuthorizeSecurityGroup{self.direction}", params)
        rules = made.get("SecurityGroupRules") or []
        if rules:
            return str(rules[0]["SecurityGroupRuleId"]), {}
        return await self.find(work) or f"{group}-{work.logical_id}", {}

    async def update(self, work: Work) -> Params:
        # Only the description changes in place: the rule is put there anew.
        group = await self._group(work)
        old = permission(work.old)
        await _permit(work, f"RevokeSecurityGroup{self.direction}", group, old, _ABSENT)
        operation = f"AuthorizeSecurityGroup{self.direction}"
        await _permit(work, operation, group, permission(work.properties), _DUPLICATE)
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        rule = permission(work.properties)
        await _permit(work, f"RevokeSecurityGroup{self.direction}", await self._group(work), rule, _ABSENT)


class SecurityGroupIngress(_Rule):
    type = "AWS::EC2::SecurityGroupIngress"
    direction = "Ingress"


class SecurityGroupEgress(_Rule):
    type = "AWS::EC2::SecurityGroupEgress"
    direction = "Egress"


def _same_rule(found: Params, wanted: Params) -> bool:
    if str(found.get("IpProtocol")) != wanted["IpProtocol"]:
        return False
    if wanted["IpProtocol"] != "-1" and any(
        found.get(key) != wanted.get(key) for key in ("FromPort", "ToPort") if key in wanted
    ):
        return False
    source: Any = None
    if "IpRanges" in wanted:
        return bool(found.get("CidrIpv4") == wanted["IpRanges"][0]["CidrIp"])
    if "Ipv6Ranges" in wanted:
        return bool(found.get("CidrIpv6") == wanted["Ipv6Ranges"][0]["CidrIpv6"])
    if "UserIdGroupPairs" in wanted:
        source = wanted["UserIdGroupPairs"][0].get("GroupId")
        return bool(source and (found.get("ReferencedGroupInfo") or {}).get("GroupId") == source)
    if "PrefixListIds" in wanted:
        return bool(found.get("PrefixListId") == wanted["PrefixListIds"][0]["PrefixListId"])
    return False


class LaunchTemplate(Handler):
    type = "AWS::EC2::LaunchTemplate"
    name_property = "LaunchTemplateName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    volatile = frozenset({"LatestVersionNumber"})

    async def find(self, work: Work) -> str | None:
        filters = [{"Name": "launch-template-name", "Values": [work.name]}]
        found = await work.call("ec2", "DescribeLaunchTemplates", {"Filters": filters})
        templates = found.get("LaunchTemplates", [])
        return str(templates[0]["LaunchTemplateId"]) if templates else None

    async def _describe(self, work: Work) -> Params:
        found = await work.call("ec2", "DescribeLaunchTemplates", {"LaunchTemplateIds": [work.physical_id]})
        if not found.get("LaunchTemplates"):
            raise Failure(f"The launch template {work.physical_id} does not exist.", "NotFound")
        template: Params = found["LaunchTemplates"][0]
        return template

    async def baseline(self, work: Work) -> Params:
        if not work.physical_id:
            return {}
        return {"latest": int((await self._describe(work))["LatestVersionNumber"])}

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ec2", "CreateLaunchTemplate", work.properties)
        params |= {"LaunchTemplateName": work.name, "ClientToken": work.token}
        made = await work.call("ec2", "CreateLaunchTemplate", params)
        return str(made["LaunchTemplate"]["LaunchTemplateId"]), {}

    async def update(self, work: Work) -> Params:
        present = int((await self._describe(work))["LatestVersionNumber"])
        if present == work.state.get("latest", present):
            params = request("ec2", "CreateLaunchTemplateVersion", work.properties)
            params |= {"LaunchTemplateId": work.physical_id, "ClientToken": work.token}
            await work.call("ec2", "CreateLaunchTemplateVersion", params)
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        return {
            "LaunchTemplateId": work.physical_id,
            "LatestVersionNumber": str(found["LatestVersionNumber"]),
            "DefaultVersionNumber": str(found["DefaultVersionNumber"]),
        }

    async def delete(self, work: Work) -> None:
        await work.call("ec2", "DeleteLaunchTemplate", {"LaunchTemplateId": work.physical_id})

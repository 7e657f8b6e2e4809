"""AWS::IAM::Role, InstanceProfile, Policy and ManagedPolicy."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Handler, Work, is_missing
from portside.cloud.services.cloudformation.resources.naming import PLAIN, POLICY, SHORT, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request, text, versioned

VERSIONS_KEPT = 5


async def _quietly(work: Work, operation: str, params: Params) -> None:
    """A call whose work may be done already."""
    try:
        await work.call("iam", operation, params)
    except AwsError as error:
        if not is_missing(error):
            raise


def document_of(policy: Any, *, managed: bool = False) -> str:
    """A policy as JSON, which a template may give as text too. That a managed one names the first version is
    refused by IAM."""
    read = policy
    if isinstance(policy, str):
        try:
            read = json.loads(policy)
        except ValueError:
            return policy
    if not isinstance(read, dict) or (managed and "Version" in read):
        return text(policy)
    return text(versioned(read))


class Role(Handler):
    type = "AWS::IAM::Role"
    name_property = "RoleName"
    name_style: ClassVar[NameStyle | None] = SHORT
    tagged = True

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("iam", "GetRole", {"RoleName": work.name})
        except AwsError as error:
            if is_missing(error):
                return None
            raise
        return work.name

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("iam", "CreateRole", work.properties) | {"RoleName": work.name}
        params["Tags"] = work.tag_list(system=False)
        await work.call("iam", "CreateRole", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        name = {"RoleName": work.physical_id}
        for each in work.properties.get("Policies") or []:
            document = document_of(each["PolicyDocument"])
            await work.call(
                "iam", "PutRolePolicy", name | {"PolicyName": each["PolicyName"], "PolicyDocument": document}
            )
        for arn in work.properties.get("ManagedPolicyArns") or []:
            await work.call("iam", "AttachRolePolicy", name | {"PolicyArn": arn})

    async def update(self, work: Work) -> Params:
        given, old, name = work.properties, work.old, {"RoleName": work.physical_id}
        document = document_of(given["AssumeRolePolicyDocument"])
        await work.call("iam", "UpdateAssumeRolePolicy", name | {"PolicyDocument": document})
        if any(given.get(key) != old.get(key) for key in ("Description", "MaxSessionDuration")):
            params = {"Description": "", "MaxSessionDuration": 3600} | request("iam", "UpdateRole", given)
            await work.call("iam", "UpdateRole", params | name)
        boundary = given.get("PermissionsBoundary")
        if boundary and boundary != old.get("PermissionsBoundary"):
            await work.call("iam", "PutRolePermissionsBoundary", name | {"PermissionsBoundary": boundary})
        elif old.get("PermissionsBoundary") and not boundary:
            await _quietly(work, "DeleteRolePermissionsBoundary", name)
        await self.configure(work)
        kept = {each["PolicyName"] for each in given.get("Policies") or []}
        for each in old.get("Policies") or []:
            if each["PolicyName"] not in kept:
                await _quietly(work, "DeleteRolePolicy", name | {"PolicyName": each["PolicyName"]})
        for arn in old.get("ManagedPolicyArns") or []:
            if arn not in (given.get("ManagedPolicyArns") or []):
                await _quietly(work, "DetachRolePolicy", name | {"PolicyArn": arn})
        tags = work.tag_list(system=False)
        if tags:
            await work.call("iam", "TagRole", name | {"Tags": tags})
        listed = await work.call("iam", "ListRoleTags", name)
        stale = [each["Key"] for each in listed.get("Tags", []) if each["Key"] not in work.all_tags(system=False)]
        if stale:
            await work.call("iam", "UntagRole", name | {"TagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        role = (await work.call("iam", "GetRole", {"RoleName": work.physical_id}))["Role"]
        return {"Arn": role["Arn"], "RoleId": role["RoleId"]}

    async def delete(self, work: Work) -> None:
        name = {"RoleName": work.physical_id}
        attached = await work.call("iam", "ListAttachedRolePolicies", name)
        for each in attached.get("AttachedPolicies", []):
            await _quietly(work, "DetachRolePolicy", name | {"PolicyArn": each["PolicyArn"]})
        inline = await work.call("iam", "ListRolePolicies", name)
        for policy in inline.get("PolicyNames", []):
            await _quietly(work, "DeleteRolePolicy", name | {"PolicyName": policy})
        await work.call("iam", "DeleteRole", name)


class InstanceProfile(Handler):
    type = "AWS::IAM::InstanceProfile"
    name_property = "InstanceProfileName"
    name_style: ClassVar[NameStyle | None] = PLAIN

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("iam", "GetInstanceProfile", {"InstanceProfileName": work.name})
        except AwsError as error:
            if is_missing(error):
                return None
            raise
        return work.name

    async def create(self, work: Work) -> tuple[str, Params]:
        params = {"InstanceProfileName": work.name}
        if work.properties.get("Path"):
            params["Path"] = work.properties["Path"]
        await work.call("iam", "CreateInstanceProfile", params)
        return work.name, {}

    async def _roles(self, work: Work) -> list[str]:
        found = await work.call("iam", "GetInstanceProfile", {"InstanceProfileName": work.physical_id})
        return [each["RoleName"] for each in found["InstanceProfile"].get("Roles", [])]

    async def configure(self, work: Work) -> None:
        name = {"InstanceProfileName": work.physical_id}
        wanted, present = work.properties.get("Roles") or [], await self._roles(work)
        for role in present:
            if role not in wanted:
                await _quietly(work, "RemoveRoleFromInstanceProfile", name | {"RoleName": role})
        for role in wanted:
            if role not in present:
                await work.call("iam", "AddRoleToInstanceProfile", name | {"RoleName": role})

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        return {}

    async def read(self, work: Work) -> Params:
        found = await work.call("iam", "GetInstanceProfile", {"InstanceProfileName": work.physical_id})
        return {"Arn": found["InstanceProfile"]["Arn"]}

    async def delete(self, work: Work) -> None:
        name = {"InstanceProfileName": work.physical_id}
        for role in await self._roles(work):
            await _quietly(work, "RemoveRoleFromInstanceProfile", name | {"RoleName": role})
        await work.call("iam", "DeleteInstanceProfile", name)


_HOLDERS = (("Roles", "Role"), ("Users", "User"), ("Groups", "Group"))


class Policy(Handler):
    """An inline policy of roles, users and groups; nothing of its own exists but those copies."""

    type = "AWS::IAM::Policy"
    name_style: ClassVar[NameStyle | None] = POLICY

    async def create(self, work: Work) -> tuple[str, Params]:
        return work.name, {}

    async def configure(self, work: Work) -> None:
        name = work.properties["PolicyName"]
        for members, holder in _HOLDERS:
            for each in work.properties.get(members) or []:
                await work.call(
                    "iam",
                    f"Put{holder}Policy",
                    {
                        f"{holder}Name": each,
                        "PolicyName": name,
                        "PolicyDocument": document_of(work.properties["PolicyDocument"]),
                    },
                )

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        renamed = work.old.get("PolicyName") != work.properties["PolicyName"]
        for members, holder in _HOLDERS:
            for each in work.old.get(members) or []:
                if renamed or each not in (work.properties.get(members) or []):
                    await _quietly(
                        work,
                        f"Delete{holder}Policy",
                        {f"{holder}Name": each, "PolicyName": work.old["PolicyName"]},
                    )
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        for members, holder in _HOLDERS:
            for each in work.properties.get(members) or []:
                params = {f"{holder}Name": each, "PolicyName": work.properties["PolicyName"]}
                await _quietly(work, f"Delete{holder}Policy", params)


class ManagedPolicy(Handler):
    type = "AWS::IAM::ManagedPolicy"
    name_property = "ManagedPolicyName"
    name_style: ClassVar[NameStyle | None] = PLAIN

    def _arn(self, work: Work) -> str:
        return f"arn:aws:iam::{work.caller.account}:policy{work.properties.get('Path', '/')}{work.name}"

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("iam", "GetPolicy", {"PolicyArn": self._arn(work)})
        except AwsError as error:
            if is_missing(error):
                return None
            raise
        return self._arn(work)

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("iam", "CreatePolicy", work.properties) | {"PolicyName": work.name}
        params["PolicyDocument"] = document_of(work.properties["PolicyDocument"], managed=True)
        made = await work.call("iam", "CreatePolicy", params)
        return str(made["Policy"]["Arn"]), {}

    async def configure(self, work: Work) -> None:
        arn = {"PolicyArn": work.physical_id}
        for members, holder in _HOLDERS:
            for each in work.properties.get(members) or []:
                await work.call("iam", f"Attach{holder}Policy", arn | {f"{holder}Name": each})

    async def update(self, work: Work) -> Params:
        arn = {"PolicyArn": work.physical_id}
        if work.properties["PolicyDocument"] != work.old.get("PolicyDocument"):
            versions = (await work.call("iam", "ListPolicyVersions", arn)).get("Versions", [])
            if len(versions) >= VERSIONS_KEPT:
                spare = [each["VersionId"] for each in versions if not each["IsDefaultVersion"]]
                oldest = min(spare, key=lambda version: int(version.lstrip("v")))
                await _quietly(work, "DeletePolicyVersion", arn | {"VersionId": oldest})
            document = document_of(work.properties["PolicyDocument"], managed=True)
            await work.call("iam", "CreatePolicyVersion", arn | {"PolicyDocument": document, "SetAsDefault": True})
        await self.configure(work)
        for members, holder in _HOLDERS:
            for each in work.old.get(members) or []:
                if each not in (work.properties.get(members) or []):
                    await _quietly(work, f"Detach{holder}Policy", arn | {f"{holder}Name": each})
        return {}

    async def read(self, work: Work) -> Params:
        policy = (await work.call("iam", "GetPolicy", {"PolicyArn": work.physical_id}))["Policy"]
        return {
            "PolicyArn": work.physical_id,
            "PolicyId": policy.get("PolicyId"),
            "DefaultVersionId": policy.get("DefaultVersionId"),
        }

    async def delete(self, work: Work) -> None:
        arn = {"PolicyArn": work.physical_id}
        holders = await work.call("iam", "ListEntitiesForPolicy", arn)
        for _, holder in _HOLDERS:
            for each in holders.get(f"Policy{holder}s", []):
                await _quietly(work, f"Detach{holder}Policy", arn | {f"{holder}Name": each[f"{holder}Name"]})
        for each in (await work.call("iam", "ListPolicyVersions", arn)).get("Versions", []):
            if not each["IsDefaultVersion"]:
                await _quietly(work, "DeletePolicyVersion", arn | {"VersionId": each["VersionId"]})
        await work.call("iam", "DeletePolicy", arn)

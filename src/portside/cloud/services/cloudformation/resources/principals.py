"""AWS::IAM::User, Group, AccessKey, UserToGroupAddition, ServiceLinkedRole, and inline policies on their own.

Users and groups are kept and shown; who may do what is decided for roles only
(docs/decisions/0012-who-may-do-what.md).
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work, is_missing
from portside.cloud.services.cloudformation.resources.iam import document_of
from portside.cloud.services.cloudformation.resources.naming import PLAIN, SHORT, NameStyle


async def _quietly(work: Work, operation: str, params: Params) -> None:
    try:
        await work.call("iam", operation, params)
    except AwsError as error:
        if not is_missing(error):
            raise


class _Holder(Handler):
    """What users and groups have in common: inline and managed policies."""

    noun: ClassVar[str]

    @property
    def _key(self) -> str:
        return f"{self.noun}Name"

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("iam", f"Get{self.noun}", {self._key: work.name})
        except AwsError as error:
            if is_missing(error):
                return None
            raise
        return work.name

    async def configure(self, work: Work) -> None:
        holder = {self._key: work.physical_id}
        given, old = work.properties, work.old
        for each in given.get("Policies") or []:
            params = {"PolicyName": each["PolicyName"], "PolicyDocument": document_of(each["PolicyDocument"])}
            await work.call("iam", f"Put{self.noun}Policy", holder | params)
        for arn in given.get("ManagedPolicyArns") or []:
            await work.call("iam", f"Attach{self.noun}Policy", holder | {"PolicyArn": arn})
        names = {each["PolicyName"] for each in given.get("Policies") or []}
        for each in old.get("Policies") or []:
            if each["PolicyName"] not in names:
                params = {"PolicyName": each["PolicyName"]}
                await _quietly(work, f"Delete{self.noun}Policy", holder | params)
        for arn in old.get("ManagedPolicyArns") or []:
            if arn not in (given.get("ManagedPolicyArns") or []):
                await _quietly(work, f"Detach{self.noun}Policy", holder | {"PolicyArn": arn})

    async def update(self, work: Work) -> Params:
        if work.properties.get("Path", "/") != work.old.get("Path", "/"):
            params = {self._key: work.physical_id, "NewPath": work.properties.get("Path", "/")}
            await work.call("iam", f"Update{self.noun}", params)
        await self.configure(work)
        return {}

    async def read(self, work: Work) -> Params:
        found = await work.call("iam", f"Get{self.noun}", {self._key: work.physical_id})
        return {"Arn": found[self.noun]["Arn"]}

    async def delete(self, work: Work) -> None:
        holder = {self._key: work.physical_id}
        attached = await work.call("iam", f"ListAttached{self.noun}Policies", holder)
        for each in attached.get("AttachedPolicies", []):
            await _quietly(work, f"Detach{self.noun}Policy", holder | {"PolicyArn": each["PolicyArn"]})
        for name in (await work.call("iam", f"List{self.noun}Policies", holder)).get("PolicyNames", []):
            await _quietly(work, f"Delete{self.noun}Policy", holder | {"PolicyName": name})
        await work.call("iam", f"Delete{self.noun}", holder)


class User(_Holder):
    type = "AWS::IAM::User"
    noun = "User"
    name_property = "UserName"
    name_style: ClassVar[NameStyle | None] = SHORT
    tagged = True

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"UserName": work.name, "Tags": work.tag_list(system=False)}
        for name in ("Path", "PermissionsBoundary"):
            if work.properties.get(name):
                params[name] = work.properties[name]
        await work.call("iam", "CreateUser", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        await super().configure(work)
        user, given, old = {"UserName": work.physical_id}, work.properties, work.old
        for group in given.get("Groups") or []:
            await work.call("iam", "AddUserToGroup", user | {"GroupName": group})
        for group in old.get("Groups") or []:
            if group not in (given.get("Groups") or []):
                await _quietly(work, "RemoveUserFromGroup", user | {"GroupName": group})
        login, before = given.get("LoginProfile"), old.get("LoginProfile")
        if login and login != before:
            reset = str(login.get("PasswordResetRequired", "false")).lower() == "true"
            params = user | {"Password": login["Password"], "PasswordResetRequired": reset}
            try:
                await work.call("iam", "CreateLoginProfile", params)
            except AwsError as error:
                if error.code != "EntityAlreadyExists":
                    raise
                await work.call("iam", "UpdateLoginProfile", params)
        elif before and not login:
            await _quietly(work, "DeleteLoginProfile", user)

    async def update(self, work: Work) -> Params:
        await super().update(work)
        user, boundary = {"UserName": work.physical_id}, work.properties.get("PermissionsBoundary")
        if boundary and boundary != work.old.get("PermissionsBoundary"):
            await work.call("iam", "PutUserPermissionsBoundary", user | {"PermissionsBoundary": boundary})
        elif work.old.get("PermissionsBoundary") and not boundary:
            await _quietly(work, "DeleteUserPermissionsBoundary", user)
        wanted = work.all_tags(system=False)
        if wanted:
            await work.call("iam", "TagUser", user | {"Tags": work.tag_list(system=False)})
        stale = [each["Key"] for each in work.old.get("Tags") or [] if each["Key"] not in wanted]
        if stale:
            await work.call("iam", "UntagUser", user | {"TagKeys": stale})
        return {}

    async def delete(self, work: Work) -> None:
        user = {"UserName": work.physical_id}
        await _quietly(work, "DeleteLoginProfile", user)
        for each in (await work.call("iam", "ListGroupsForUser", user)).get("Groups", []):
            await _quietly(work, "RemoveUserFromGroup", user | {"GroupName": each["GroupName"]})
        await super().delete(work)


class Group(_Holder):
    type = "AWS::IAM::Group"
    noun = "Group"
    name_property = "GroupName"
    name_style: ClassVar[NameStyle | None] = PLAIN

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"GroupName": work.name}
        if work.properties.get("Path"):
            params["Path"] = work.properties["Path"]
        await work.call("iam", "CreateGroup", params)
        return work.name, {}

    async def delete(self, work: Work) -> None:
        found = await work.call("iam", "GetGroup", {"GroupName": work.physical_id})
        for each in found.get("Users", []):
            params = {"GroupName": work.physical_id, "UserName": each["UserName"]}
            await _quietly(work, "RemoveUserFromGroup", params)
        await super().delete(work)


class AccessKey(Handler):
    """Its secret is told only once, when it is made, and is kept with the resource as on AWS."""

    type = "AWS::IAM::AccessKey"

    async def _keys(self, work: Work) -> list[str]:
        found = await work.call("iam", "ListAccessKeys", {"UserName": work.properties["UserName"]})
        return [str(each["AccessKeyId"]) for each in found.get("AccessKeyMetadata", [])]

    async def baseline(self, work: Work) -> Params:
        return {} if work.physical_id else {"known": await self._keys(work)}

    async def find(self, work: Work) -> str | None:
        if "known" not in work.state:
            return None
        fresh = [each for each in await self._keys(work) if each not in work.state["known"]]
        if fresh:
            # The secret of this one was never heard: it is of no use.
            params = {"UserName": work.properties["UserName"], "AccessKeyId": fresh[0]}
            await _quietly(work, "DeleteAccessKey", params)
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        made = await work.call("iam", "CreateAccessKey", {"UserName": work.properties["UserName"]})
        key = made["AccessKey"]
        return str(key["AccessKeyId"]), {"secret": key["SecretAccessKey"]}

    async def configure(self, work: Work) -> None:
        status = work.properties.get("Status")
        if status and (status != "Active" or work.old):
            params = {"UserName": work.properties["UserName"], "AccessKeyId": work.physical_id, "Status": status}
            await work.call("iam", "UpdateAccessKey", params)

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id, "SecretAccessKey": work.state.get("secret", "")}

    async def delete(self, work: Work) -> None:
        params = {"UserName": work.properties["UserName"], "AccessKeyId": work.physical_id}
        await work.call("iam", "DeleteAccessKey", params)

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        if properties.get("Status") not in (None, "Active", "Inactive"):
            raise Failure(f"Value {properties['Status']} at 'status' is not Active or Inactive", "InvalidRequest")


class UserToGroupAddition(Handler):
    type = "AWS::IAM::UserToGroupAddition"
    name_style: ClassVar[NameStyle | None] = PLAIN

    async def create(self, work: Work) -> tuple[str, Params]:
        return work.name, {}

    async def configure(self, work: Work) -> None:
        group = {"GroupName": work.properties["GroupName"]}
        for user in work.properties["Users"]:
            await work.call("iam", "AddUserToGroup", group | {"UserName": user})

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        moved = work.old.get("GroupName") != work.properties["GroupName"]
        for user in work.old.get("Users") or []:
            if moved or user not in work.properties["Users"]:
                params = {"GroupName": work.old["GroupName"], "UserName": user}
                await _quietly(work, "RemoveUserFromGroup", params)
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        for user in work.properties["Users"]:
            params = {"GroupName": work.properties["GroupName"], "UserName": user}
            await _quietly(work, "RemoveUserFromGroup", params)


class ServiceLinkedRole(Handler):
    type = "AWS::IAM::ServiceLinkedRole"

    async def _roles(self, work: Work) -> list[str]:
        prefix = f"/aws-service-role/{work.properties['AWSServiceName']}/"
        params: Params = {"PathPrefix": prefix}
        found = (await work.call("iam", "ListRoles", params)).get("Roles", [])
        suffix = work.properties.get("CustomSuffix")
        names = [str(each["RoleName"]) for each in found if str(each["Path"]) == prefix]
        return [each for each in names if each.endswith(f"_{suffix}")] if suffix else names

    async def find(self, work: Work) -> str | None:
        names = await self._roles(work)
        return names[0] if names else None

    async def create(self, work: Work) -> tuple[str, Params]:
        made = await work.call("iam", "CreateServiceLinkedRole", dict(work.properties))
        return str(made["Role"]["RoleName"]), {}

    async def update(self, work: Work) -> Params:
        params = {"RoleName": work.physical_id, "Description": work.properties.get("Description", "")}
        await work.call("iam", "UpdateRole", params)
        return {}

    async def read(self, work: Work) -> Params:
        return {"RoleName": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("iam", "DeleteServiceLinkedRole", {"RoleName": work.physical_id})


class _Inline(Handler):
    """An inline policy that is a resource of its own: AWS names it by policy and holder."""

    noun: ClassVar[str]

    def _names(self, work: Work) -> Params:
        return {
            f"{self.noun}Name": work.properties[f"{self.noun}Name"],
            "PolicyName": work.properties["PolicyName"],
        }

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("iam", f"Get{self.noun}Policy", self._names(work))
        except AwsError as error:
            if is_missing(error):
                return None
            raise
        return "|".join(reversed(list(self._names(work).values())))

    async def _put(self, work: Work) -> None:
        document = document_of(work.properties.get("PolicyDocument", {}))
        await work.call("iam", f"Put{self.noun}Policy", self._names(work) | {"PolicyDocument": document})

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._put(work)
        return "|".join(reversed(list(self._names(work).values()))), {}

    async def update(self, work: Work) -> Params:
        await self._put(work)
        return {}

    async def delete(self, work: Work) -> None:
        await work.call("iam", f"Delete{self.noun}Policy", self._names(work))


class RolePolicy(_Inline):
    type = "AWS::IAM::RolePolicy"
    noun = "Role"


class UserPolicy(_Inline):
    type = "AWS::IAM::UserPolicy"
    noun = "User"


class GroupPolicy(_Inline):
    type = "AWS::IAM::GroupPolicy"
    noun = "Group"

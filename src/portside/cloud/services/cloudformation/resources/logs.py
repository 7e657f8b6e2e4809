"""AWS::Logs::LogGroup, LogStream and ResourcePolicy."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work, optional
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import text

# What calls of their own set, after the one that makes the group.
_LATER = ("RetentionInDays", "FieldIndexPolicies", "ResourcePolicyDocument", "DataProtectionPolicy")


class LogGroup(Handler):
    type = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True

    unoffered: ClassVar = {
        "BearerTokenAuthenticationEnabled": "log events are taken by PutLogEvents alone.",
    }

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        if len(properties.get("FieldIndexPolicies") or []) > 1:
            raise Failure("A log group has one field index policy at most.", "InvalidRequest")

    async def find(self, work: Work) -> str | None:
        return work.name if await self._describe(work, work.name) is not None else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        params: Params = {"logGroupNamePrefix": name}
        while True:
            found = await work.call("logs", "DescribeLogGroups", params)
            for each in found.get("logGroups", []):
                if each["logGroupName"] == name:
                    group: Params = each
                    return group
            if not found.get("nextToken"):
                return None
            params["nextToken"] = found["nextToken"]

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"logGroupName": work.name}
        tags = work.all_tags(system=False)
        if tags:
            params["tags"] = tags
        for name, member in (("KmsKeyId", "kmsKeyId"), ("LogGroupClass", "logGroupClass")):
            if work.properties.get(name):
                params[member] = work.properties[name]
        if _true(work.properties.get("DeletionProtectionEnabled")):
            params["deletionProtectionEnabled"] = True
        await work.call("logs", "CreateLogGroup", params)
        return work.name, {}

    def complete_at_once(self, work: Work) -> bool:
        return not any(work.properties.get(each) for each in _LATER)

    async def configure(self, work: Work) -> None:
        await self._retention(work)
        await self._index(work)
        await self._policy(work)
        await self._mask(work)

    def known(self, work: Work) -> Params | None:
        # The call that made it answers nothing; its ARN is made of its name.
        return {"Arn": f"{self._arn(work)}:*"}

    async def _retention(self, work: Work) -> None:
        days = work.properties.get("RetentionInDays")
        if days:
            params = {"logGroupName": work.physical_id, "retentionInDays": int(days)}
            await work.call("logs", "PutRetentionPolicy", params)
        elif work.old.get("RetentionInDays"):
            await work.call("logs", "DeleteRetentionPolicy", {"logGroupName": work.physical_id})

    async def _index(self, work: Work) -> None:
        group = {"logGroupIdentifier": work.physical_id}
        wanted = work.properties.get("FieldIndexPolicies") or []
        if wanted:
            await work.call("logs", "PutIndexPolicy", group | {"policyDocument": text(wanted[0])})
        elif work.old.get("FieldIndexPolicies"):
            await optional(work, "logs", "DeleteIndexPolicy", group)

    async def _mask(self, work: Work) -> None:
        group = {"logGroupIdentifier": work.physical_id}
        wanted, before = work.properties.get("DataProtectionPolicy"), work.old.get("DataProtectionPolicy")
        if wanted and wanted != before:
            await work.call("logs", "PutDataProtectionPolicy", group | {"policyDocument": text(wanted)})
        elif before and not wanted:
            await optional(work, "logs", "DeleteDataProtectionPolicy", group)

    async def _policy(self, work: Work) -> None:
        wanted = work.properties.get("ResourcePolicyDocument")
        if not wanted and not work.old.get("ResourcePolicyDocument"):
            return
        arn = {"resourceArn": self._arn(work)}
        listed = (await work.call("logs", "DescribeResourcePolicies", arn)).get("resourcePolicies")
        known = arn | ({"expectedRevisionId": listed[0]["revisionId"]} if listed else {})
        if wanted:
            await work.call("logs", "PutResourcePolicy", known | {"policyDocument": text(wanted)})
        elif listed:
            await work.call("logs", "DeleteResourcePolicy", known)

    def _arn(self, work: Work) -> str:
        return f"arn:aws:logs:{work.caller.region}:{work.caller.account}:log-group:{work.physical_id}"

    async def _protection(self, work: Work) -> None:
        wanted = _true(work.properties.get("DeletionProtectionEnabled"))
        if wanted != _true(work.old.get("DeletionProtectionEnabled")):
            params = {"logGroupIdentifier": work.physical_id, "deletionProtectionEnabled": wanted}
            await work.call("logs", "PutLogGroupDeletionProtection", params)

    async def _key(self, work: Work) -> None:
        wanted, group = work.properties.get("KmsKeyId"), {"logGroupName": work.physical_id}
        if wanted and wanted != work.old.get("KmsKeyId"):
            await work.call("logs", "AssociateKmsKey", group | {"kmsKeyId": wanted})
        elif work.old.get("KmsKeyId") and not wanted:
            await work.call("logs", "DisassociateKmsKey", group)

    async def update(self, work: Work) -> Params:
        if _class(work.properties) != _class(work.old):
            raise Failure("The class of a log group cannot be changed.", "NotUpdatable")
        await self.configure(work)
        await self._protection(work)
        await self._key(work)
        arn = self._arn(work)
        wanted = work.all_tags(system=False)
        present = (await work.call("logs", "ListTagsForResource", {"resourceArn": arn})).get("tags", {})
        stale = [key for key in present if key not in wanted]
        if wanted != present and wanted:
            await work.call("logs", "TagResource", {"resourceArn": arn, "tags": wanted})
        if stale:
            await work.call("logs", "UntagResource", {"resourceArn": arn, "tagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        if found is None:
            raise Failure(f"The specified log group {work.physical_id} does not exist.", "NotFound")
        return {"Arn": str(found["arn"]).removesuffix(":*") + ":*"}

    async def delete(self, work: Work) -> None:
        await work.call("logs", "DeleteLogGroup", {"logGroupName": work.physical_id})


def _true(value: object) -> bool:
    return value in (True, "true")


def _class(properties: Params) -> str:
    return str(properties.get("LogGroupClass") or "STANDARD")


class LogStream(Handler):
    """Its physical id is its name, as in the log group."""

    type = "AWS::Logs::LogStream"
    name_property = "LogStreamName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    name_is_unique = False

    async def find(self, work: Work) -> str | None:
        params = {"logGroupName": work.properties["LogGroupName"], "logStreamNamePrefix": work.name}
        found = await work.call("logs", "DescribeLogStreams", params)
        names = {each["logStreamName"] for each in found.get("logStreams", [])}
        return work.name if work.name in names else None

    def _names(self, work: Work, name: str) -> Params:
        return {"logGroupName": work.properties["LogGroupName"], "logStreamName": name}

    async def create(self, work: Work) -> tuple[str, Params]:
        await work.call("logs", "CreateLogStream", self._names(work, work.name))
        return work.name, {}

    async def delete(self, work: Work) -> None:
        await work.call("logs", "DeleteLogStream", self._names(work, work.physical_id))


class ResourcePolicy(Declared):
    type = "AWS::Logs::ResourcePolicy"
    service = "logs"
    name_property = "PolicyName"
    creates = Call("PutResourcePolicy", {"policyName": "$name"})
    listing = Listing(
        Call("DescribeResourcePolicies", {}, "resourcePolicies"),
        "policyName",
        {"policyName": "$name"},
        unique=True,
    )
    updates = (Call("PutResourcePolicy", {"policyName": "$id"}),)
    deletes = Call("DeleteResourcePolicy", {"policyName": "$id"})

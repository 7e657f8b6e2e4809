"""AWS::Logs::LogGroup, LogStream and ResourcePolicy."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle


class LogGroup(Handler):
    type = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True

    unoffered: ClassVar = dict.fromkeys(
        (
            "BearerTokenAuthenticationEnabled", "DataProtectionPolicy", "DeletionProtectionEnabled",
            "FieldIndexPolicies", "ResourcePolicyDocument",
        ),
        "",
    )  # fmt: skip

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
        await work.call("logs", "CreateLogGroup", params)
        return work.name, {}

    def complete_at_once(self, work: Work) -> bool:
        return not work.properties.get("RetentionInDays")

    async def configure(self, work: Work) -> None:
        await self._retention(work)

    def known(self, work: Work) -> Params | None:
        # The call that made it answers nothing; its ARN is made of its name.
        return {"Arn": f"arn:aws:logs:{work.caller.region}:{work.caller.account}:log-group:{work.physical_id}:*"}

    async def _retention(self, work: Work) -> None:
        days = work.properties.get("RetentionInDays")
        if days:
            params = {"logGroupName": work.physical_id, "retentionInDays": int(days)}
            await work.call("logs", "PutRetentionPolicy", params)
        elif work.old.get("RetentionInDays"):
            await work.call("logs", "DeleteRetentionPolicy", {"logGroupName": work.physical_id})

    async def update(self, work: Work) -> Params:
        await self._retention(work)
        arn = str((await self.read(work))["Arn"]).removesuffix(":*")
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

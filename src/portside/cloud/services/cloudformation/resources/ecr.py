"""AWS::ECR::Repository."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Handler, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle, Suffix
from portside.cloud.services.cloudformation.resources.shapes import request, text

_RENAMED = {
    "ImageTagMutabilityExclusionFilterType": "filterType",
    "ImageTagMutabilityExclusionFilterValue": "filter",
}


class Repository(Handler):
    type = "AWS::ECR::Repository"
    name_property = "RepositoryName"
    name_style: ClassVar[NameStyle | None] = NameStyle(suffix=Suffix.LOWER, limit=256, lower=True)
    tagged = True

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("ecr", "DescribeRepositories", {"repositoryNames": [work.name]})
        except AwsError as error:
            if error.code == "RepositoryNotFoundException":
                return None
            raise
        return work.name

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ecr", "CreateRepository", work.properties, _RENAMED)
        params |= {"repositoryName": work.name, "tags": work.tag_list()}
        await work.call("ecr", "CreateRepository", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        await self._policies(work)

    async def update(self, work: Work) -> Params:
        name = {"repositoryName": work.physical_id}
        given = work.properties
        params = request("ecr", "PutImageTagMutability", given, _RENAMED)
        if given.get("ImageTagMutability") != work.old.get("ImageTagMutability") or given.get(
            "ImageTagMutabilityExclusionFilters"
        ) != work.old.get("ImageTagMutabilityExclusionFilters"):
            await work.call("ecr", "PutImageTagMutability", {"imageTagMutability": "MUTABLE"} | params | name)
        if given.get("ImageScanningConfiguration") != work.old.get("ImageScanningConfiguration"):
            scanning = request("ecr", "PutImageScanningConfiguration", given)
            await work.call(
                "ecr",
                "PutImageScanningConfiguration",
                {"imageScanningConfiguration": {"scanOnPush": False}} | scanning | name,
            )
        await self._policies(work)
        arn = await self._arn(work)
        await work.call("ecr", "TagResource", {"resourceArn": arn, "tags": work.tag_list()})
        await self._untag(work, arn)
        return {}

    async def _policies(self, work: Work) -> None:
        name = {"repositoryName": work.physical_id}
        given, old = work.properties, work.old
        lifecycle = (given.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        if lifecycle:
            await work.call("ecr", "PutLifecyclePolicy", name | {"lifecyclePolicyText": text(lifecycle)})
        elif old.get("LifecyclePolicy"):
            await self._without(work, "DeleteLifecyclePolicy")
        if given.get("RepositoryPolicyText"):
            policy = text(given["RepositoryPolicyText"])
            await work.call("ecr", "SetRepositoryPolicy", name | {"policyText": policy})
        elif old.get("RepositoryPolicyText"):
            await self._without(work, "DeleteRepositoryPolicy")

    async def _without(self, work: Work, operation: str) -> None:
        try:
            await work.call("ecr", operation, {"repositoryName": work.physical_id})
        except AwsError as error:
            if not error.code.endswith("PolicyNotFoundException"):
                raise

    async def _untag(self, work: Work, arn: str) -> None:
        present = await work.call("ecr", "ListTagsForResource", {"resourceArn": arn})
        stale = [each["Key"] for each in present.get("tags", []) if each["Key"] not in work.all_tags()]
        if stale:
            await work.call("ecr", "UntagResource", {"resourceArn": arn, "tagKeys": stale})

    async def _arn(self, work: Work) -> str:
        return str((await self.read(work))["Arn"])

    async def read(self, work: Work) -> Params:
        found = await work.call("ecr", "DescribeRepositories", {"repositoryNames": [work.physical_id]})
        repository = found["repositories"][0]
        return {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}

    async def delete(self, work: Work) -> None:
        force = bool(work.properties.get("EmptyOnDelete", False))
        await work.call("ecr", "DeleteRepository", {"repositoryName": work.physical_id, "force": force})

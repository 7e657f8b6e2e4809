"""AWS::S3::Bucket and BucketPolicy.

The parts of a bucket's configuration are in `s3_parts.py`. A property that is not there, and whatever of one the
API's shapes do not take, fails the resource by name.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work, is_missing
from portside.cloud.services.cloudformation.resources.naming import BUCKET, NameStyle
from portside.cloud.services.cloudformation.resources.s3_parts import PARTS
from portside.cloud.services.cloudformation.resources.shapes import lost, request, text

_OTHERS = frozenset({"BucketName", "Tags", "ObjectLockEnabled"})


class Bucket(Handler):
    type = "AWS::S3::Bucket"
    name_property = "BucketName"
    name_style: ClassVar[NameStyle | None] = BUCKET
    tagged = True

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("s3", "HeadBucket", {"Bucket": work.name})
        except AwsError as error:
            if is_missing(error) or error.status == 404:
                return None
            raise
        return work.name

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        unknown = [name for name in properties if name not in PARTS and name not in _OTHERS]
        for name, part in PARTS.items():
            if properties.get(name):
                unknown += [f"{name}: {each}" for each in lost("s3", part.sets, part.convert(properties[name]))]
        if unknown:
            raise self.not_offered(unknown)

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"Bucket": work.name}
        if work.caller.region != "us-east-1":
            params["CreateBucketConfiguration"] = {"LocationConstraint": work.caller.region}
        if work.properties.get("ObjectLockEnabled"):
            params["ObjectLockEnabledForBucket"] = True
        await work.call("s3", "CreateBucket", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        bucket = {"Bucket": work.physical_id}
        for name, part in PARTS.items():
            given, before = work.properties.get(name), work.old.get(name)
            if given == before:
                continue
            if given is not None:
                await work.call("s3", part.sets, request("s3", part.sets, part.convert(given)) | bucket)
            elif part.removes:
                await work.call("s3", part.removes, bucket)
            elif part.empty is not None:
                await work.call("s3", part.sets, bucket | part.empty)
            else:
                raise Failure(f"{name} cannot be taken from a bucket.", "NotUpdatable")
        tags = work.tag_list(system=False)
        if tags:
            await work.call("s3", "PutBucketTagging", bucket | {"Tagging": {"TagSet": tags}})
        elif work.old.get("Tags"):
            await work.call("s3", "DeleteBucketTagging", bucket)

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        return {}

    async def read(self, work: Work) -> Params:
        name, region = work.physical_id, work.caller.region
        return {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
        }

    async def delete(self, work: Work) -> None:
        await work.call("s3", "DeleteBucket", {"Bucket": work.physical_id})


class BucketPolicy(Handler):
    type = "AWS::S3::BucketPolicy"

    async def find(self, work: Work) -> str | None:
        bucket = str(work.properties["Bucket"])
        try:
            await work.call("s3", "GetBucketPolicy", {"Bucket": bucket})
        except AwsError as error:
            if is_missing(error):
                return None
            raise
        return bucket

    async def _put(self, work: Work) -> None:
        policy = text(work.properties["PolicyDocument"])
        await work.call("s3", "PutBucketPolicy", {"Bucket": work.properties["Bucket"], "Policy": policy})

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._put(work)
        return str(work.properties["Bucket"]), {}

    async def update(self, work: Work) -> Params:
        await self._put(work)
        return {}

    async def delete(self, work: Work) -> None:
        await work.call("s3", "DeleteBucketPolicy", {"Bucket": work.physical_id})

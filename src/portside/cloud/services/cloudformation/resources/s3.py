"""AWS::S3::Bucket and BucketPolicy.

The parts of a bucket's configuration are in `s3_parts.py`, those that come in lists in `s3_lists.py`. A property
that is not there, and whatever of one the API's shapes do not take, fails the resource by name.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work, is_missing, optional
from portside.cloud.services.cloudformation.resources.naming import BUCKET, NameStyle
from portside.cloud.services.cloudformation.resources.s3_lists import LISTS, Listed
from portside.cloud.services.cloudformation.resources.s3_parts import PARTS
from portside.cloud.services.cloudformation.resources.shapes import lost, request, text

_OTHERS = frozenset({"BucketName", "BucketNamePrefix", "BucketNamespace", "Tags", "ObjectLockEnabled"})
_REGIONAL = "account-regional"
# Room for what such a name ends with: `-000000000000-ap-southeast-1-an`.
_LONGEST_SUFFIX = 32
_SHORTER = replace(BUCKET, limit=BUCKET.limit - _LONGEST_SUFFIX)


class Bucket(Handler):
    type = "AWS::S3::Bucket"
    name_property = "BucketName"
    name_style: ClassVar[NameStyle | None] = BUCKET
    tagged = True

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        if properties.get("BucketNamePrefix"):
            return str(properties["BucketNamePrefix"])
        if regional(properties) and not properties.get("BucketName"):
            return _SHORTER.make(ids, stack_name, logical_id)
        return super().choose_name(ids, stack_name, logical_id, properties)

    def may_exist(self, work: Work) -> bool:
        return "BucketNamePrefix" in work.properties or super().may_exist(work)

    async def find(self, work: Work) -> str | None:
        name = full_name(work)
        try:
            await work.call("s3", "HeadBucket", {"Bucket": name})
        except AwsError as error:
            if is_missing(error) or error.status == 404:
                return None
            raise
        return name

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        # Switched off is how it is.
        off = {"AbacStatus"} if properties.get("AbacStatus") == "Disabled" else set()
        unknown = [name for name in properties if name not in PARTS.keys() | LISTS.keys() | _OTHERS | off]
        for name, listed in LISTS.items():
            for item in properties.get(name) or []:
                unknown += [f"{name}: {each}" for each in lost("s3", listed.sets, listed.request(item))]
        for name, part in PARTS.items():
            if properties.get(name):
                unknown += [f"{name}: {each}" for each in lost("s3", part.sets, part.convert(properties[name]))]
        if unknown:
            raise self.not_offered(unknown)
        if properties.get("BucketNamePrefix"):
            if properties.get("BucketName"):
                raise Failure("BucketName and BucketNamePrefix cannot be used together.", "InvalidRequest")
            if not regional(properties):
                raise Failure(
                    "BucketNamePrefix makes a name of the account's regional namespace, and BucketNamespace is "
                    "global.",
                    "InvalidRequest",
                )

    async def create(self, work: Work) -> tuple[str, Params]:
        name = full_name(work)
        params: Params = {"Bucket": name}
        if regional(work.properties):
            params["BucketNamespace"] = _REGIONAL
        if work.caller.region != "us-east-1":
            params["CreateBucketConfiguration"] = {"LocationConstraint": work.caller.region}
        if work.properties.get("ObjectLockEnabled"):
            params["ObjectLockEnabledForBucket"] = True
        await work.call("s3", "CreateBucket", params)
        return name, {}

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
        for name, listed in LISTS.items():
            await self._list(work, listed, work.properties.get(name) or [], work.old.get(name) or [])
        tags = work.tag_list(system=False)
        if tags:
            await work.call("s3", "PutBucketTagging", bucket | {"Tagging": {"TagSet": tags}})
        elif work.old.get("Tags"):
            await work.call("s3", "DeleteBucketTagging", bucket)

    async def _list(self, work: Work, listed: Listed, wanted: list[Params], old: list[Params]) -> None:
        bucket = {"Bucket": work.physical_id}
        before = {each["Id"]: each for each in old}
        for each in wanted:
            if before.pop(each["Id"], None) != each:
                await work.call("s3", listed.sets, request("s3", listed.sets, listed.request(each)) | bucket)
        for gone in before:
            await optional(work, "s3", listed.removes, bucket | {"Id": gone})

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


def regional(properties: Params) -> bool:
    """Whether the bucket lies in the namespace that only this account has in the region."""
    default = _REGIONAL if properties.get("BucketNamePrefix") else ""
    return str(properties.get("BucketNamespace", default)) == _REGIONAL


def full_name(work: Work) -> str:
    """What was chosen, or what it begins with in the account's regional namespace."""
    if not regional(work.properties) or work.properties.get("BucketName"):
        return work.name
    return f"{work.name}-{work.caller.account}-{work.caller.region}-an"


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

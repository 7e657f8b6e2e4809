"""AWS::S3::Bucket and BucketPolicy.

The parts of a bucket's configuration are tables of (property, operation, conversion): CloudFormation's shapes
differ from the API's in most of them. A property that no table names fails the resource by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Handler, Work, is_missing
from portside.cloud.services.cloudformation.resources.naming import BUCKET, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request, text

ACLS = {
    "Private": "private",
    "PublicRead": "public-read",
    "PublicReadWrite": "public-read-write",
    "AuthenticatedRead": "authenticated-read",
    "LogDeliveryWrite": "log-delivery-write",
    "BucketOwnerRead": "bucket-owner-read",
    "BucketOwnerFullControl": "bucket-owner-full-control",
    "AwsExecRead": "aws-exec-read",
}


def _encryption(found: Params) -> Params:
    rules = []
    for each in found["ServerSideEncryptionConfiguration"]:
        rule = {}
        if "ServerSideEncryptionByDefault" in each:
            rule["ApplyServerSideEncryptionByDefault"] = each["ServerSideEncryptionByDefault"]
        if "BucketKeyEnabled" in each:
            rule["BucketKeyEnabled"] = each["BucketKeyEnabled"]
        rules.append(rule)
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _lifecycle(found: Params) -> Params:
    return {"LifecycleConfiguration": {"Rules": [_lifecycle_rule(each) for each in found["Rules"]]}}


def _lifecycle_rule(rule: Params) -> Params:
    made: Params = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if rule.get("Id"):
        made["ID"] = rule["Id"]
    if rule.get("ExpirationInDays") is not None:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    elif rule.get("ExpirationDate"):
        made["Expiration"] = {"Date": rule["ExpirationDate"]}
    elif rule.get("ExpiredObjectDeleteMarker") is not None:
        made["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    noncurrent = rule.get("NoncurrentVersionExpiration") or {}
    days = noncurrent.get("NoncurrentDays", rule.get("NoncurrentVersionExpirationInDays"))
    if days is not None:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(days)}
        if "NewerNoncurrentVersions" in noncurrent:
            made["NoncurrentVersionExpiration"]["NewerNoncurrentVersions"] = noncurrent["NewerNoncurrentVersions"]
    if rule.get("AbortIncompleteMultipartUpload"):
        made["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    steps = rule.get("Transitions") or ([rule["Transition"]] if rule.get("Transition") else [])
    if steps:
        made["Transitions"] = [
            {"Days": int(each["TransitionInDays"]), "StorageClass": each["StorageClass"]} for each in steps
        ]
    tags = rule.get("TagFilters")
    if tags:
        made["Filter"] = {"And": {"Prefix": rule.get("Prefix", ""), "Tags": tags}}
    return made


def _cors(found: Params) -> Params:
    names = {"ExposedHeaders": "ExposeHeaders", "Id": "ID", "MaxAge": "MaxAgeSeconds"}
    rules = [{names.get(key, key): value for key, value in each.items()} for each in found["CorsRules"]]
    return {"CORSConfiguration": {"CORSRules": rules}}


def _website(found: Params) -> Params:
    made: Params = {}
    if found.get("IndexDocument"):
        made["IndexDocument"] = {"Suffix": found["IndexDocument"]}
    if found.get("ErrorDocument"):
        made["ErrorDocument"] = {"Key": found["ErrorDocument"]}
    if found.get("RedirectAllRequestsTo"):
        made["RedirectAllRequestsTo"] = found["RedirectAllRequestsTo"]
    return {"WebsiteConfiguration": made}


def _logging(found: Params) -> Params:
    if not found.get("DestinationBucketName"):
        return {"BucketLoggingStatus": {}}
    enabled = {"TargetBucket": found["DestinationBucketName"], "TargetPrefix": found.get("LogFilePrefix", "")}
    return {"BucketLoggingStatus": {"LoggingEnabled": enabled}}


def _notification(found: Params) -> Params:
    made: Params = {}
    for kind, source, target in (
        ("LambdaConfigurations", "Function", "LambdaFunctionArn"),
        ("QueueConfigurations", "Queue", "QueueArn"),
        ("TopicConfigurations", "Topic", "TopicArn"),
    ):
        if found.get(kind):
            api_kind = "LambdaFunctionConfigurations" if kind == "LambdaConfigurations" else kind
            made[api_kind] = [{target: each[source], "Events": [each["Event"]]} for each in found[kind]]
    if "EventBridgeConfiguration" in found:
        made["EventBridgeConfiguration"] = {}
    return {"NotificationConfiguration": made}


# property: (operation that sets it, conversion, operation that takes it away or None)
PARTS: dict[str, tuple[str, Callable[[Any], Params], str | None]] = {
    "VersioningConfiguration": (
        "PutBucketVersioning",
        lambda found: {"VersioningConfiguration": {"Status": found["Status"]}},
        None,
    ),
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock",
        lambda found: {"PublicAccessBlockConfiguration": found},
        "DeletePublicAccessBlock",
    ),
    "OwnershipControls": (
        "PutBucketOwnershipControls",
        lambda found: {"OwnershipControls": found},
        "DeleteBucketOwnershipControls",
    ),
    "BucketEncryption": ("PutBucketEncryption", _encryption, "DeleteBucketEncryption"),
    "LifecycleConfiguration": ("PutBucketLifecycleConfiguration", _lifecycle, "DeleteBucketLifecycle"),
    "CorsConfiguration": ("PutBucketCors", _cors, "DeleteBucketCors"),
    "WebsiteConfiguration": ("PutBucketWebsite", _website, "DeleteBucketWebsite"),
    "LoggingConfiguration": ("PutBucketLogging", _logging, None),
    "NotificationConfiguration": ("PutBucketNotificationConfiguration", _notification, None),
    "AccelerateConfiguration": (
        "PutBucketAccelerateConfiguration",
        lambda found: {"AccelerateConfiguration": {"Status": found["AccelerationStatus"]}},
        None,
    ),
    "AccessControl": ("PutBucketAcl", lambda found: {"ACL": ACLS[found]}, None),
}
_OTHERS = frozenset({"BucketName", "Tags"})


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
        if unknown:
            raise self.not_offered(unknown)

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"Bucket": work.name}
        if work.caller.region != "us-east-1":
            params["CreateBucketConfiguration"] = {"LocationConstraint": work.caller.region}
        await work.call("s3", "CreateBucket", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        bucket = {"Bucket": work.physical_id}
        for name, (operation, convert, undo) in PARTS.items():
            given, before = work.properties.get(name), work.old.get(name)
            if given == before:
                continue
            if given is not None:
                params = request("s3", operation, convert(given)) | bucket
                await work.call("s3", operation, params)
            elif undo is not None:
                await work.call("s3", undo, bucket)
            elif name == "VersioningConfiguration":
                off = {"VersioningConfiguration": {"Status": "Suspended"}}
                await work.call("s3", operation, bucket | off)
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

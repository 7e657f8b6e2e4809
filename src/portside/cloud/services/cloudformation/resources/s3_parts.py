"""The parts of a bucket's configuration: which operation sets each, and CloudFormation's shapes as the API's.

Pure. What a conversion does not know it hands on under its own name, so that `s3.py` finds it and refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portside.cloud.services.calls import Params

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


@dataclass(frozen=True, slots=True)
class Part:
    """`sets` is the operation, `removes` the one that takes the part away; else `empty` is set in its place."""

    sets: str
    convert: Callable[[Any], Params]
    removes: str = ""
    empty: Params | None = None


def _renamed(found: Params, names: dict[str, str]) -> Params:
    return {names.get(key, key): value for key, value in found.items()}


def _encryption(found: Params) -> Params:
    names = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    rules = [_renamed(each, names) for each in found["ServerSideEncryptionConfiguration"]]
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _lifecycle(found: Params) -> Params:
    made: Params = {
        "LifecycleConfiguration": {"Rules": [_lifecycle_rule(each) for each in found.get("Rules") or []]}
    }
    smallest = found.get("TransitionDefaultMinimumObjectSize")
    return made | ({"TransitionDefaultMinimumObjectSize": smallest} if smallest else {})


def _lifecycle_rule(rule: Params) -> Params:
    left = dict(rule)
    made: Params = {"Status": left.pop("Status"), "Filter": _lifecycle_filter(left)}
    if "Id" in left:
        made["ID"] = left.pop("Id")
    days, date = left.pop("ExpirationInDays", None), left.pop("ExpirationDate", None)
    marker = left.pop("ExpiredObjectDeleteMarker", None)
    if days is not None:
        made["Expiration"] = {"Days": int(days)}
    elif date:
        made["Expiration"] = {"Date": date}
    elif marker is not None:
        made["Expiration"] = {"ExpiredObjectDeleteMarker": marker}
    old = left.pop("NoncurrentVersionExpirationInDays", None)
    noncurrent = left.pop("NoncurrentVersionExpiration", None) or (
        {"NoncurrentDays": old} if old is not None else {}
    )
    if noncurrent:
        made["NoncurrentVersionExpiration"] = noncurrent
    for one, many, names in (
        ("Transition", "Transitions", {"TransitionInDays": "Days", "TransitionDate": "Date"}),
        ("NoncurrentVersionTransition", "NoncurrentVersionTransitions", {"TransitionInDays": "NoncurrentDays"}),
    ):
        single = left.pop(one, None)
        steps = left.pop(many, None) or ([single] if single else [])
        if steps:
            made[many] = [_renamed(each, names) for each in steps]
    return made | left


def _lifecycle_filter(left: Params) -> Params:
    """What the rule is about; several conditions are joined by And."""
    wanted: Params = {"Prefix": left.pop("Prefix", "")}
    tags = left.pop("TagFilters", None)
    for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan"):
        if left.get(name) is not None:
            wanted[name] = int(left.pop(name))
    if tags:
        wanted["Tags"] = tags
    return wanted if len(wanted) == 1 else {"And": wanted}


def _cors(found: Params) -> Params:
    names = {"ExposedHeaders": "ExposeHeaders", "Id": "ID", "MaxAge": "MaxAgeSeconds"}
    return {"CORSConfiguration": {"CORSRules": [_renamed(each, names) for each in found["CorsRules"]]}}


def _website(found: Params) -> Params:
    left = dict(found)
    made: Params = {}
    if "IndexDocument" in left:
        made["IndexDocument"] = {"Suffix": left.pop("IndexDocument")}
    if "ErrorDocument" in left:
        made["ErrorDocument"] = {"Key": left.pop("ErrorDocument")}
    if "RoutingRules" in left:
        names = {"RedirectRule": "Redirect", "RoutingRuleCondition": "Condition"}
        made["RoutingRules"] = [_renamed(each, names) for each in left.pop("RoutingRules")]
    return {"WebsiteConfiguration": made | left}


def _logging(found: Params) -> Params:
    names = {"DestinationBucketName": "TargetBucket", "LogFilePrefix": "TargetPrefix"}
    if not found.get("DestinationBucketName"):
        return {"BucketLoggingStatus": {}}
    return {"BucketLoggingStatus": {"LoggingEnabled": {"TargetPrefix": ""} | _renamed(found, names)}}


def _notification(found: Params) -> Params:
    left = dict(found)
    made: Params = {}
    for kind, api_kind, source, target in (
        ("LambdaConfigurations", "LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
        ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
        ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
    ):
        listed = left.pop(kind, None)
        if listed:
            made[api_kind] = [_notified(each, source, target) for each in listed]
    bridge = left.pop("EventBridgeConfiguration", None)
    if bridge is not None and bridge.get("EventBridgeEnabled", True):
        made["EventBridgeConfiguration"] = {}
    return {"NotificationConfiguration": made | left}


def _notified(each: Params, source: str, target: str) -> Params:
    left = dict(each)
    made: Params = {target: left.pop(source), "Events": [left.pop("Event")]}
    chosen = left.pop("Filter", None)
    if chosen:
        made["Filter"] = {"Key": {"FilterRules": (chosen.get("S3Key") or {}).get("Rules") or []}}
    return made | left


def _replication(found: Params) -> Params:
    return {"ReplicationConfiguration": found | {"Rules": [_replicated(each) for each in found["Rules"]]}}


def _replicated(rule: Params) -> Params:
    made = _renamed(rule, {"Id": "ID"})
    chosen = made.get("Filter")
    if isinstance(chosen, dict):
        chosen = _renamed(chosen, {"TagFilter": "Tag"})
        if isinstance(chosen.get("And"), dict):
            chosen["And"] = _renamed(chosen["And"], {"TagFilters": "Tags"})
        made["Filter"] = chosen
    return made


def _same(name: str) -> Callable[[Any], Params]:
    return lambda found: {name: found}


PARTS: dict[str, Part] = {
    "VersioningConfiguration": Part(
        "PutBucketVersioning",
        _same("VersioningConfiguration"),
        empty={"VersioningConfiguration": {"Status": "Suspended"}},
    ),
    "PublicAccessBlockConfiguration": Part(
        "PutPublicAccessBlock", _same("PublicAccessBlockConfiguration"), "DeletePublicAccessBlock"
    ),
    "OwnershipControls": Part(
        "PutBucketOwnershipControls", _same("OwnershipControls"), "DeleteBucketOwnershipControls"
    ),
    "BucketEncryption": Part("PutBucketEncryption", _encryption, "DeleteBucketEncryption"),
    "LifecycleConfiguration": Part("PutBucketLifecycleConfiguration", _lifecycle, "DeleteBucketLifecycle"),
    "CorsConfiguration": Part("PutBucketCors", _cors, "DeleteBucketCors"),
    "WebsiteConfiguration": Part("PutBucketWebsite", _website, "DeleteBucketWebsite"),
    "LoggingConfiguration": Part("PutBucketLogging", _logging, empty={"BucketLoggingStatus": {}}),
    "NotificationConfiguration": Part(
        "PutBucketNotificationConfiguration", _notification, empty={"NotificationConfiguration": {}}
    ),
    "AccelerateConfiguration": Part(
        "PutBucketAccelerateConfiguration",
        lambda found: {"AccelerateConfiguration": {"Status": found["AccelerationStatus"]}},
        empty={"AccelerateConfiguration": {"Status": "Suspended"}},
    ),
    "AccessControl": Part("PutBucketAcl", lambda found: {"ACL": ACLS[found]}, empty={"ACL": "private"}),
    "ObjectLockConfiguration": Part("PutObjectLockConfiguration", _same("ObjectLockConfiguration")),
    "ReplicationConfiguration": Part("PutBucketReplication", _replication, "DeleteBucketReplication"),
}

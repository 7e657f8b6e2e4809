"""Buckets of stacks: names in the account's namespace, and the configurations that come in lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_ancillary import Cloud, of, showing
from portside.testing.server import ACCOUNT

SUFFIX = f"-{ACCOUNT}-us-east-1-an"


async def test_names_of_the_accounts_own_namespace(cloud: Cloud) -> None:
    resources = {
        "Prefixed": of("S3::Bucket", BucketNamePrefix="assets"),
        "Made": of("S3::Bucket", BucketNamespace="account-regional"),
        "Named": of("S3::Bucket", BucketNamespace="account-regional", BucketName=f"mine{SUFFIX}"),
        "Plain": of("S3::Bucket", BucketNamespace="global"),
    }
    out = await cloud.create(showing(resources, "Prefixed.Arn"))
    assert out["Prefixed"] == f"assets{SUFFIX}" and out["PrefixedArn"] == f"arn:aws:s3:::assets{SUFFIX}"
    assert out["Made"].startswith("web-made-") and out["Made"].endswith(SUFFIX) and len(out["Made"]) <= 63
    assert out["Named"] == f"mine{SUFFIX}"
    assert out["Plain"].startswith("web-plain-") and not out["Plain"].endswith("-an")
    # Another prefix is another bucket.
    resources["Prefixed"] = of("S3::Bucket", BucketNamePrefix="other")
    assert (await cloud.update(showing(resources)))["Prefixed"] == f"other{SUFFIX}"
    names = {each["Name"] for each in (await cloud.ask("s3", "ListBuckets"))["Buckets"]}
    assert f"other{SUFFIX}" in names and f"assets{SUFFIX}" not in names
    await cloud.delete()


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"BucketNamePrefix": "a", "BucketName": "bbb"}, "cannot be used together"),
        ({"BucketNamePrefix": "a", "BucketNamespace": "global"}, "regional namespace"),
        ({"BucketName": "bbb", "BucketNamespace": "account-regional"}, "namespace suffix"),
        ({"AbacStatus": "Enabled"}, "does not offer AbacStatus"),
        ({"BucketNamePrefix": "taken"}, "already exists"),
    ],
)
async def test_names_and_switches_that_are_refused(cloud: Cloud, properties: Any, reason: str) -> None:
    await cloud.ask("s3", "CreateBucket", Bucket=f"taken{SUFFIX}", BucketNamespace="account-regional")
    template = json.dumps({"Resources": {"Bucket": of("S3::Bucket", **properties)}})
    cloud.id = (await cloud.do("CreateStack", StackName="web", TemplateBody=template))["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any(reason in each for each in await cloud.reasons()), await cloud.reasons()


async def test_what_comes_in_lists(cloud: Cloud) -> None:
    place = {"BucketArn": "arn:aws:s3:::reports", "Format": "Parquet", "Prefix": "daily"}
    inventory: dict[str, Any] = {
        "Id": "all",
        "Enabled": True,
        "IncludedObjectVersions": "Current",
        "ScheduleFrequency": "Daily",
        "OptionalFields": ["Size", "StorageClass"],
        "Destination": place,
    }
    properties: dict[str, Any] = {
        "BucketName": "web-assets",
        "AbacStatus": "Disabled",
        "InventoryConfigurations": [inventory, inventory | {"Id": "some", "Prefix": "a/", "Enabled": False}],
        "MetricsConfigurations": [{"Id": "EntireBucket"}],
        "AnalyticsConfigurations": [
            {
                "Id": "a",
                "TagFilters": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}],
                "StorageClassAnalysis": {"DataExport": {"OutputSchemaVersion": "V_1", "Destination": place}},
            }
        ],
        "IntelligentTieringConfigurations": [
            {
                "Id": "t",
                "Status": "Enabled",
                "Tierings": [
                    {"AccessTier": "ARCHIVE_ACCESS", "Days": 90},
                    {"AccessTier": "DEEP_ARCHIVE_ACCESS", "Days": 180},
                ],
            }
        ],
    }
    bucket = {"Bucket": "web-assets"}
    await cloud.create(showing({"Bucket": of("S3::Bucket", **properties)}))
    found = await cloud.ask("s3", "ListBucketInventoryConfigurations", **bucket)
    assert [each["Id"] for each in found["InventoryConfigurationList"]] == ["all", "some"]
    one = (await cloud.ask("s3", "GetBucketInventoryConfiguration", Id="some", **bucket))["InventoryConfiguration"]
    assert (one["IncludedObjectVersions"], one["Filter"], one["IsEnabled"]) == ("Current", {"Prefix": "a/"}, False)
    assert one["OptionalFields"] == ["Size", "StorageClass"]
    tiers = await cloud.ask("s3", "ListBucketIntelligentTieringConfigurations", **bucket)
    (tier,) = tiers["IntelligentTieringConfigurationList"]
    assert [each["Days"] for each in tier["Tierings"]] == [90, 180]
    assert await cloud.drifted() == []

    await cloud.ask("s3", "DeleteBucketMetricsConfiguration", Id="EntireBucket", **bucket)
    assert await cloud.drifted() == ["/MetricsConfigurations/0"]
    properties["InventoryConfigurations"] = [inventory | {"ScheduleFrequency": "Weekly"}]
    del properties["AnalyticsConfigurations"], properties["MetricsConfigurations"]
    await cloud.update(showing({"Bucket": of("S3::Bucket", **properties)}))
    found = await cloud.ask("s3", "ListBucketInventoryConfigurations", **bucket)
    assert [each["Schedule"] for each in found["InventoryConfigurationList"]] == [{"Frequency": "Weekly"}]
    left = await cloud.ask("s3", "ListBucketAnalyticsConfigurations", **bucket)
    assert left.get("AnalyticsConfigurationList", []) == []
    assert await cloud.drifted() == []
    await cloud.delete()

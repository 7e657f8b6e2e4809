"""Inventories, metrics, analyses and tiers of a bucket, from CloudFormation's form to the API's and back."""

from __future__ import annotations

from typing import Any

import pytest

from portside.cloud.services.cloudformation.resources.s3_lists import LISTS
from portside.cloud.services.cloudformation.resources.shapes import lost

TAGS = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
PLACE = {"BucketArn": "arn:aws:s3:::reports", "Format": "CSV", "BucketAccountId": "000000000000", "Prefix": "p/"}
INVENTORY = {
    "Id": "i",
    "Enabled": True,
    "IncludedObjectVersions": "Current",
    "ScheduleFrequency": "Weekly",
    "OptionalFields": ["Size", "ETag"],
    "Destination": PLACE,
}
ANALYSIS = {"DataExport": {"OutputSchemaVersion": "V_1", "Destination": PLACE}}


@pytest.mark.parametrize(
    ("kind", "item", "filtered"),
    [
        ("MetricsConfigurations", {"Id": "m"}, None),
        ("MetricsConfigurations", {"Id": "m", "Prefix": "a/"}, {"Prefix": "a/"}),
        ("MetricsConfigurations", {"Id": "m", "TagFilters": TAGS[:1]}, {"Tag": TAGS[0]}),
        ("MetricsConfigurations", {"Id": "m", "TagFilters": TAGS}, {"And": {"Tags": TAGS}}),
        ("MetricsConfigurations", {"Id": "m", "AccessPointArn": "arn"}, {"AccessPointArn": "arn"}),
        (
            "MetricsConfigurations",
            {"Id": "m", "Prefix": "a/", "TagFilters": TAGS[:1]},
            {"And": {"Prefix": "a/", "Tags": TAGS[:1]}},
        ),
        ("InventoryConfigurations", INVENTORY, None),
        ("InventoryConfigurations", INVENTORY | {"Prefix": "a/"}, {"Prefix": "a/"}),
        ("AnalyticsConfigurations", {"Id": "a", "StorageClassAnalysis": {}}, None),
        (
            "AnalyticsConfigurations",
            {"Id": "a", "StorageClassAnalysis": ANALYSIS, "TagFilters": TAGS},
            {"And": {"Tags": TAGS}},
        ),
        (
            "IntelligentTieringConfigurations",
            {
                "Id": "t",
                "Status": "Enabled",
                "Prefix": "a/",
                "Tierings": [{"AccessTier": "ARCHIVE_ACCESS", "Days": 90}],
            },
            {"Prefix": "a/"},
        ),
    ],
)
def test_there_and_back(kind: str, item: dict[str, Any], filtered: Any) -> None:
    listed = LISTS[kind]
    request = listed.request(item)
    assert request["Id"] == item["Id"] and lost("s3", listed.sets, request) == []
    assert request[listed.name].get("Filter") == filtered
    shown = {name: value for name, value in listed.shown(request[listed.name]).items() if value is not None}
    assert shown == item

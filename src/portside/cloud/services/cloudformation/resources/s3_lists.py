"""The configurations of a bucket that come in lists, each under an id: inventories, metrics, analyses, tiers.

Pure. Every item is set and removed by a call of its own, and is converted both ways, for drift is looked for in
them as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portside.cloud.services.calls import Params


@dataclass(frozen=True, slots=True)
class Listed:
    """The operations are `PutBucket`, `DeleteBucket` and `ListBucket` with `name` (and an s)."""

    name: str
    convert: Callable[[Params], Params]
    shown: Callable[[Params], Params]

    @property
    def sets(self) -> str:
        return f"PutBucket{self.name}"

    @property
    def removes(self) -> str:
        return f"DeleteBucket{self.name}"

    @property
    def lists(self) -> str:
        return f"ListBucket{self.name}s"

    def request(self, item: Params) -> Params:
        """One item as the parameters that set it, but for the bucket."""
        return {"Id": item["Id"], self.name: self.convert(item)}


def _moved(found: Params, names: dict[str, str]) -> Params:
    return {names.get(key, key): value for key, value in found.items()}


def _back(found: Params, names: dict[str, str]) -> Params:
    return _moved(found, {new: old for old, new in names.items()})


def _filtered(item: Params) -> Params:
    """With a Filter in the place of Prefix, TagFilters and AccessPointArn; several are joined by And."""
    left = dict(item)
    wanted = {name: left.pop(name) for name in ("Prefix", "AccessPointArn") if left.get(name)}
    tags = left.pop("TagFilters", None) or []
    if len(tags) == 1 and not wanted:
        return left | {"Filter": {"Tag": tags[0]}}
    if tags:
        wanted["Tags"] = tags
    if not wanted:
        return left
    return left | {"Filter": wanted if len(wanted) == 1 and not tags else {"And": wanted}}


def _unfiltered(item: Params) -> Params:
    left = dict(item)
    found = left.pop("Filter", None) or {}
    found = dict(found.get("And") or found)
    tags = found.pop("Tags", None) or ([found.pop("Tag")] if "Tag" in found else None)
    shown = left | {"Prefix": None, "TagFilters": None} | found
    return shown | ({"TagFilters": tags} if tags else {})


_INVENTORY = {"Enabled": "IsEnabled"}
_INVENTORY_PLACE = {"BucketArn": "Bucket", "BucketAccountId": "AccountId"}
_ANALYTICS_PLACE = {"BucketArn": "Bucket"}


def _inventory(item: Params) -> Params:
    left = _moved(item, _INVENTORY)
    left["Destination"] = {"S3BucketDestination": _moved(left["Destination"], _INVENTORY_PLACE)}
    left["Schedule"] = {"Frequency": left.pop("ScheduleFrequency")}
    prefix = left.pop("Prefix", None)
    return left | ({"Filter": {"Prefix": prefix}} if prefix else {})


def _inventory_shown(item: Params) -> Params:
    left = _back(item, _INVENTORY)
    left["Destination"] = _back(left["Destination"]["S3BucketDestination"], _INVENTORY_PLACE)
    left["ScheduleFrequency"] = left.pop("Schedule")["Frequency"]
    left["Prefix"] = (left.pop("Filter", None) or {}).get("Prefix")
    return left


def _analytics(item: Params) -> Params:
    left = _filtered(item)
    export = (left.get("StorageClassAnalysis") or {}).get("DataExport")
    if export:
        place = {"S3BucketDestination": _moved(export["Destination"], _ANALYTICS_PLACE)}
        left["StorageClassAnalysis"] = left["StorageClassAnalysis"] | {
            "DataExport": export | {"Destination": place}
        }
    return left


def _analytics_shown(item: Params) -> Params:
    left = _unfiltered(item)
    export = (left.get("StorageClassAnalysis") or {}).get("DataExport")
    if export:
        place = _back(export["Destination"]["S3BucketDestination"], _ANALYTICS_PLACE)
        left["StorageClassAnalysis"] = left["StorageClassAnalysis"] | {
            "DataExport": export | {"Destination": place}
        }
    return left


LISTS: dict[str, Listed] = {
    "AnalyticsConfigurations": Listed("AnalyticsConfiguration", _analytics, _analytics_shown),
    "IntelligentTieringConfigurations": Listed("IntelligentTieringConfiguration", _filtered, _unfiltered),
    "InventoryConfigurations": Listed("InventoryConfiguration", _inventory, _inventory_shown),
    "MetricsConfigurations": Listed("MetricsConfiguration", _filtered, _unfiltered),
}

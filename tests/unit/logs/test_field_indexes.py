"""What an index policy may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.logs.field_indexes import check


@pytest.mark.parametrize(
    "document",
    [
        {"Fields": ["a"]},
        {"FieldsV2": {"a": {"type": "FACET"}, "b": {"type": "FIELD_INDEX"}}},
        {"Fields": [f"f{number}" for number in range(20)]},
        {"Fields": ["x" * 100]},
    ],
)
def test_index_policies(document: Any) -> None:
    check(json.dumps(document))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "must be a JSON object"),
        ({"Field": ["a"]}, "must be a JSON object"),
        ({"Fields": "a"}, "is a list of names"),
        ({"Fields": []}, "at least one field"),
        ({"Fields": [f"f{number}" for number in range(21)]}, "as many as 20 fields"),
        ({"Fields": ["x" * 101]}, "1 to 100 characters"),
        ({"Fields": [1]}, "1 to 100 characters"),
        ({"Fields": ["a"], "FieldsV2": {"a": {"type": "FACET"}}}, "named once"),
        ({"FieldsV2": {"a": {"type": "TREE"}}}, "one of FACET, FIELD_INDEX"),
    ],
)
def test_what_is_none(document: Any, message: str) -> None:
    with pytest.raises(AwsError, match=message):
        check(json.dumps(document))


def test_what_is_not_json() -> None:
    with pytest.raises(AwsError, match="must be a JSON object"):
        check("{")

"""What the comparison with answers recorded from AWS puts aside, and what it must not."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from matching import Matcher

ACCOUNT = "000000000000"
IDS = ("0996d20a-f076-4df0-9fd0-ca5dfcfc0321", "b0d1d9ac-0ed7-49bf-9a9c-f4f4f78d1b7d")


def differences(recorded: Any, here: Any) -> list[str]:
    matcher = Matcher(ACCOUNT)
    matcher.compare(recorded, here)
    return [each.path for each in matcher.found]


@pytest.mark.parametrize(
    ("recorded", "here"),
    [
        ("timestamp", datetime(2026, 1, 1, tzinfo=UTC)),
        ("arn:aws:sns:us-east-1:111111111111:a", f"arn:aws:sns:us-east-1:{ACCOUNT}:a"),
        (f"Topic-{IDS[0]}", f"Topic-{IDS[1]}"),
        (f"arn:aws:sns:us-east-1:111111111111:a:{IDS[0]}", f"arn:aws:sns:us-east-1:{ACCOUNT}:a:{IDS[1]}"),
        ("stack-Topic-Cur1yIDv6qoL", "stack-Topic-PchkIKB8uZgV"),
        ("Topic-CREATE_COMPLETE-date", "Topic-CREATE_COMPLETE-2026-01-01T00:00:00.000Z"),
        ({"a": "<name:1>", "b": "<name:1>-x"}, {"a": "one", "b": "one-x"}),
        ([{"Key": "a", "Value": "1"}, {"Key": "b"}], [{"Key": "b"}, {"Key": "a", "Value": "1"}]),
    ],
)
def test_what_aws_draws_at_random_is_put_aside(recorded: Any, here: Any) -> None:
    assert differences(recorded, here) == []


@pytest.mark.parametrize(
    ("recorded", "here"),
    [
        (f"Topic-{IDS[0]}", f"Other-{IDS[1]}"),
        (f"Topic-{IDS[0]}", "Topic-Cur1yIDv6qoL"),
        ("stack-Topic-Cur1yIDv6qoL", "stack-Other-PchkIKB8uZgV"),
        ("Topic-CREATE_COMPLETE-date", "Topic-CREATE_FAILED-2026-01-01T00:00:00.000Z"),
        ({"a": "<name:1>", "b": "<name:1>-x"}, {"a": "one", "b": "two-x"}),
        ({"a": 1}, {"a": "1"}),
        ({"a": "b"}, {}),
        ({}, {"a": "b"}),
        (["a"], ["a", "b"]),
        ("timestamp", "soon"),
        ("No updates are to be performed.", "No updates."),
    ],
)
def test_everything_else_is_a_difference(recorded: Any, here: Any) -> None:
    assert len(differences(recorded, here)) == 1


def test_what_is_shown_of_a_difference_is_the_same_at_every_run() -> None:
    found = []
    for drawn in ("Cur1yIDv6qoL", "PchkIKB8uZgV"):
        matcher = Matcher(ACCOUNT)
        matcher.compare({"a": "gone"}, {"a": f"Parameter CFN-Name-{drawn} not found, nor that-Configuration."})
        found += matcher.found
    assert found[0] == found[1]
    assert found[0].here == "Parameter CFN-Name-suffix not found, nor that-Configuration."

"""Filter patterns, and what is kept of a flood of events."""

from __future__ import annotations

from pathlib import Path

import pytest

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.logs import patterns
from portside.cloud.services.logs.api import LogsApi
from portside.cloud.services.logs.retention_loop import Bounds
from portside.testing.clock import VirtualClock
from portside.testing.server import quiet_log

CALLER = Caller.root("000000000000", "us-east-1")
DAY = 86_400


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR disk", "disk ERROR", True),
        ("ERROR disk", "ERROR", False),
        ('"disk full"', "the disk full of", True),
        ('"disk full"', "full disk", False),
        ("?a ?b", "b", True),
        ("?a ?b", "c", False),
        ("ERROR -timeout", "ERROR timeout", False),
        ('-"timed out"', "it timed out", False),
        ('"say \\"hi\\""', 'say "hi"', True),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert patterns.parse(pattern).matches(text) is expected


@pytest.mark.parametrize("pattern", ["{ $.a = 1 }", "[ip, user]", "%a.b%", '"open'])
def test_patterns_that_are_not_offered_are_refused(pattern: str) -> None:
    with pytest.raises(patterns.Unsupported):
        patterns.parse(pattern)


class Lab:
    def __init__(self, path: Path, bounds: Bounds) -> None:
        self.clock = VirtualClock()
        self.database = Database(path / "state.db")
        self.api = LogsApi(database=self.database, ids=Ids(1), clock=self.clock, log=quiet_log(), bounds=bounds)

    @classmethod
    async def with_a_group(cls, path: Path, bounds: Bounds) -> Lab:
        lab = cls(path, bounds)
        await lab.api.service().operations["CreateLogGroup"](CALLER, {"logGroupName": "g"})
        return lab

    def call(self, operation: str, params: Params) -> Params:
        answer = self.api.service().operations[operation](CALLER, params)
        assert isinstance(answer, dict)
        return answer

    def put(self, stream: str, *texts: str, at: float | None = None) -> None:
        when = int((self.clock.now() if at is None else at) * 1000)
        events = [{"timestamp": when, "message": text} for text in texts]
        self.call("PutLogEvents", {"logGroupName": "g", "logStreamName": stream, "logEvents": events})

    def texts(self, stream: str) -> list[str]:
        answer = self.call("GetLogEvents", {"logGroupName": "g", "logStreamName": stream, "startFromHead": True})
        return [event["message"] for event in answer["events"]]


async def test_a_stream_keeps_its_newest_events(tmp_path: Path) -> None:
    lab = await Lab.with_a_group(tmp_path, Bounds(stream_bytes=10_000))
    lab.call("CreateLogStream", {"logGroupName": "g", "logStreamName": "s"})
    for number in range(50):
        lab.put("s", *(f"{number:03d}-{index:02d} {'x' * 68}" for index in range(10)))
    kept = lab.texts("s")
    assert 80 <= len(kept) <= 100
    assert kept[-1].startswith("049-09")
    assert kept == sorted(kept)
    group = lab.call("DescribeLogGroups", {})["logGroups"][0]
    assert group["storedBytes"] == len(kept) * 101
    lab.database.close()


async def test_all_streams_together_are_bounded(tmp_path: Path) -> None:
    lab = await Lab.with_a_group(tmp_path, Bounds(stream_bytes=10_000, total_bytes=30_000))
    for name in "abcdef":
        lab.call("CreateLogStream", {"logGroupName": "g", "logStreamName": name})
        lab.put(name, *("x" * 74 for _ in range(80)))
        await lab.clock.advance(1)
    await lab.api.retention.turn("retention")
    counts = {name: len(lab.texts(name)) for name in "abcdef"}
    assert counts["a"] == counts["b"] == 0, "those written to least recently go first"
    assert counts["f"] == 80
    assert sum(counts.values()) == 300
    lab.database.close()


async def test_retention_drops_what_is_too_old(tmp_path: Path) -> None:
    lab = await Lab.with_a_group(tmp_path, Bounds())
    lab.call("CreateLogStream", {"logGroupName": "g", "logStreamName": "s"})
    lab.put("s", "first")
    await lab.clock.advance(2 * DAY)
    lab.put("s", "second")
    lab.call("PutRetentionPolicy", {"logGroupName": "g", "retentionInDays": 1})
    async with lab.api.retention.loop:
        lab.api.retention.wake()
        await lab.clock.idle()
        assert lab.texts("s") == ["second"]
        await lab.clock.advance(2 * DAY)
        assert lab.texts("s") == []
    lab.database.close()


async def test_the_token_and_the_events_are_stored_together(tmp_path: Path) -> None:
    lab = await Lab.with_a_group(tmp_path, Bounds())
    lab.call("CreateLogStream", {"logGroupName": "g", "logStreamName": "s"})
    event = {"timestamp": int(lab.clock.now() * 1000), "message": "x"}
    params = {"logGroupName": "g", "logStreamName": "s", "logEvents": [event], "sequenceToken": "container:1.0:3"}
    assert lab.call("PutLogEvents", params)["nextSequenceToken"] == "container:1.0:3"
    stream = lab.call("DescribeLogStreams", {"logGroupName": "g"})["logStreams"][0]
    assert stream["uploadSequenceToken"] == "container:1.0:3"
    lab.database.close()

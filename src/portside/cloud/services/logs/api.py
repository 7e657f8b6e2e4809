"""CloudWatch Logs: streams, and the events that containers, builds and users write.

Owns the operations on them, and hands out those of `groups.py`, `resource_policies.py`, `field_indexes.py` and
`data_protection.py`, by which events are masked. Output of containers is voluminous, so what is kept is bounded:
see `retention_loop.py`. The tables and their SQL are in `records.py`, filter patterns in `patterns.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import pairwise

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.calls import Caller, Handler, Params, Service, operation, operations_of
from portside.cloud.services.logs import patterns, records, requests
from portside.cloud.services.logs.data_protection import DataProtection
from portside.cloud.services.logs.field_indexes import FieldIndexes
from portside.cloud.services.logs.groups import Groups
from portside.cloud.services.logs.records import EVENT_OVERHEAD, Group, Key, LogEvent, Stream
from portside.cloud.services.logs.requests import bad, group_name, page
from portside.cloud.services.logs.resource_policies import ResourcePolicies
from portside.cloud.services.logs.retention_loop import Bounds, RetentionLoop

EVENTS_PAGE = 10_000
PAGE_BYTES = 1024 * 1024
BATCH_BYTES = 1_048_576
LONGEST_SCAN = 100_000
DAY = 86_400_000
TOO_NEW = 2 * 3_600_000
TOO_OLD = 14 * DAY
FAR = 2**62


class LogsApi:
    """The operations. `async with api.retention.loop` enforces what is kept; `bounds` says how much that is."""

    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, log: Log, bounds: Bounds | None = None
    ) -> None:
        database.migrate("logs", records.MIGRATIONS)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._bounds = bounds or Bounds()
        self.retention = RetentionLoop(database=database, clock=clock, log=log, bounds=self._bounds)
        groups = Groups(database=database, clock=clock, wake=self.retention.wake)
        policies = ResourcePolicies(database=database, clock=clock, ids=ids)
        indexes = FieldIndexes(database=database, clock=clock)
        self._protection = DataProtection(database=database, clock=clock)
        self._parts = (self, groups, policies, indexes, self._protection)

    def service(self) -> Service:
        operations: dict[str, Handler] = {}
        for part in self._parts:
            operations |= operations_of(part)
        return Service("logs", operations, _invalid)

    # Streams

    @operation("CreateLogStream")
    def create_log_stream(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params["logGroupName"])
        name = params["logStreamName"]
        with self._database.write() as tx:
            if records.stream(tx, caller.region, group.name, name) is not None:
                raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")
            records.create_stream(tx, caller.region, group.name, name, self._now())
        return {}

    @operation("DeleteLogStream")
    def delete_log_stream(self, caller: Caller, params: Params) -> Params:
        stream = self._stream(caller, params["logGroupName"], params["logStreamName"])
        with self._database.write() as tx:
            records.delete_stream(tx, stream)
        return {}

    @operation("DescribeLogStreams")
    def describe_log_streams(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, group_name(params))
        prefix = params.get("logStreamNamePrefix") or ""
        by_time = params.get("orderBy") == "LastEventTime"
        if by_time and prefix:
            raise bad("Cannot order by LastEventTime with a logStreamNamePrefix.")
        found = [
            each
            for each in records.streams(self._database, caller.region, group.name)
            if each.name.startswith(prefix)
        ]
        if by_time:
            found.sort(key=lambda each: (each.last_at or each.created_at, each.name))
        if params.get("descending"):
            found.reverse()
        shown, token = page([each.name for each in found], params)
        by_name = {each.name: each for each in found}
        return {"logStreams": [_shown_stream(group, by_name[name]) for name in shown], "nextToken": token}

    # Events

    @operation("PutLogEvents")
    def put_log_events(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params["logGroupName"])
        stream = self._stream(caller, group.name, params["logStreamName"])
        events = [(each["timestamp"], each["message"]) for each in params["logEvents"]]
        if any(later[0] < earlier[0] for earlier, later in pairwise(events)):
            raise bad("Log events in a single PutLogEvents request must be in chronological order.")
        size = sum(len(message.encode()) + EVENT_OVERHEAD for _, message in events)
        if size > BATCH_BYTES:
            raise bad(f"Upload too large: {size} bytes exceeds limit of {BATCH_BYTES}")
        now = self._now()
        kept, rejected = _acceptable(events, now, group.retention)
        # The token is ours to choose; clients need none. Whoever gives one finds it again at the stream, written
        # together with the events: the followers of containers keep their position in it.
        token = params.get("sequenceToken") or self._ids.digits(56)
        with self._database.write() as tx:
            records.append(tx, stream, kept, now, token)
            surplus = stream.bytes + size - self._bounds.stream_bytes
            if surplus > 0:
                fresh = records.stream(tx, caller.region, group.name, stream.name)
                assert fresh is not None
                # A tenth more than needed, so that a full stream is not trimmed at every call.
                records.drop_oldest(tx, fresh, surplus + self._bounds.stream_bytes // 10)
        self.retention.written(size)
        return {"nextSequenceToken": token, "rejectedLogEventsInfo": rejected or None}

    @operation("GetLogEvents")
    def get_log_events(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, group_name(params))
        stream = self._stream(caller, group.name, params["logStreamName"])
        shown = self._protection.shower(group, unmask=bool(params.get("unmask")))
        limit = params.get("limit") or EVENTS_PAGE
        start, end = params.get("startTime") or 0, params.get("endTime")
        end = FAR if end is None else end
        given = params.get("nextToken")
        if given is not None:
            direction, key = _read_token(given)
        else:
            direction = "f" if params.get("startFromHead") else "b"
            key = records.START if direction == "f" else records.END
        if direction == "f":
            events = _fitting(records.after(self._database, stream.id, key, start, end, limit))
        else:
            found = records.before(self._database, stream.id, key, start, end, limit)
            events = list(reversed(_fitting(list(reversed(found)))))
        if events:
            forward, backward = _token("f", events[-1].key), _token("b", events[0].key)
        else:
            # At either end the token stays the same: that is how clients know.
            at = key if given is not None else Key(stream.last_at or 0, stream.events)
            forward, backward = _token("f", at), _token("b", at)
        return {
            "events": [
                {"timestamp": each.key.at, "message": shown(each), "ingestionTime": each.ingested_at}
                for each in events
            ],
            "nextForwardToken": forward,
            "nextBackwardToken": backward,
        }

    @operation("FilterLogEvents")
    def filter_log_events(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, group_name(params))
        try:
            pattern = patterns.parse(params.get("filterPattern") or "")
        except patterns.Unsupported as error:
            raise bad(str(error)) from None
        names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix")
        if names and prefix:
            raise bad("logStreamNames and logStreamNamePrefix cannot be used together.")
        streams = {
            each.id: each
            for each in records.streams(self._database, caller.region, group.name)
            if (not names or each.name in names) and each.name.startswith(prefix or "")
        }
        missing = set(names or ()) - {each.name for each in streams.values()}
        if missing:
            raise _no_stream()
        shown = self._protection.shower(group, unmask=bool(params.get("unmask")))
        limit = params.get("limit") or EVENTS_PAGE
        start, last = params.get("startTime") or 0, params.get("endTime")
        end = FAR if last is None else last + 1
        found: list[Params] = []
        size, token = 0, None
        for number, event in enumerate(self._merged(streams, params.get("nextToken"), start, end), start=1):
            # What is masked is not found either.
            message = shown(event)
            if pattern.matches(message):
                found.append(_shown_event(streams[event.stream], event, message))
                size += len(event.message) + EVENT_OVERHEAD
            if len(found) >= limit or size >= PAGE_BYTES or number >= LONGEST_SCAN:
                token = f"{event.key.at}-{event.stream}-{event.key.number}"
                break
        return {"events": found, "searchedLogStreams": [], "nextToken": token}

    def _merged(self, streams: dict[int, Stream], token: str | None, start: int, end: int) -> Iterator[LogEvent]:
        """The events of all streams by (time, stream, number), from behind `token`."""
        at, after_stream, after_number = -1, -1, -1
        if token:
            try:
                at, after_stream, after_number = (int(part) for part in token.split("-"))
            except ValueError:
                raise bad("The specified nextToken is invalid.") from None
        walks = []
        for stream_id in sorted(streams):
            if stream_id < after_stream:
                key = Key(at, FAR)
            elif stream_id == after_stream:
                key = Key(at, after_number)
            else:
                key = Key(at, -1)
            walks.append(records.walk(self._database, stream_id, key, start, end))
        return heapq.merge(*walks, key=lambda each: (each.key.at, each.stream, each.key.number))

    # Looking things up

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    def _group(self, caller: Caller, name: str) -> Group:
        return requests.group(self._database, caller, name)

    def _stream(self, caller: Caller, group: str, name: str) -> Stream:
        self._group(caller, group)
        found = records.stream(self._database, caller.region, group, name)
        if found is None:
            raise _no_stream()
        return found


def _acceptable(
    events: list[tuple[int, str]], now: int, retention: int | None
) -> tuple[list[tuple[int, str]], Params]:
    """The events that may be stored, and what AWS says of the others."""
    oldest = now - TOO_OLD
    expired = now - retention * DAY if retention is not None else None
    rejected: Params = {}
    kept = []
    for index, (at, message) in enumerate(events):
        if expired is not None and at < expired:
            rejected["expiredLogEventEndIndex"] = index + 1
        elif at < oldest:
            rejected["tooOldLogEventEndIndex"] = index + 1
        elif at > now + TOO_NEW:
            rejected.setdefault("tooNewLogEventStartIndex", index)
        else:
            kept.append((at, message))
    return kept, rejected


def _fitting(events: list[LogEvent]) -> list[LogEvent]:
    """As many from the front as go into one answer, and at least one."""
    size = 0
    for index, each in enumerate(events):
        size += len(each.message) + EVENT_OVERHEAD
        if size > PAGE_BYTES and index:
            return events[:index]
    return events


def _token(direction: str, key: Key) -> str:
    return f"{direction}/{key.at:020d}{key.number:036d}"


def _read_token(token: str) -> tuple[str, Key]:
    direction, _, digits = token.partition("/")
    if direction not in ("f", "b") or len(digits) != 56 or not digits.isdigit():
        raise bad("The specified nextToken is invalid.")
    return direction, Key(int(digits[:20]), int(digits[20:]))


def _shown_stream(group: Group, each: Stream) -> Params:
    return {
        "logStreamName": each.name,
        "creationTime": each.created_at,
        "firstEventTimestamp": each.first_at,
        "lastEventTimestamp": each.last_at,
        "lastIngestionTime": each.ingested_at,
        "uploadSequenceToken": each.token or None,
        "arn": f"{group.arn}:log-stream:{each.name}",
        "storedBytes": 0,  # AWS has not filled it since 2019
    }


def _shown_event(stream: Stream, event: LogEvent, message: str) -> Params:
    return {
        "logStreamName": stream.name,
        "timestamp": event.key.at,
        "message": message,
        "ingestionTime": event.ingested_at,
        "eventId": f"{event.key.at:020d}{stream.id:018d}{event.key.number:018d}",
    }


def _no_stream() -> AwsError:
    return AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def _invalid(found: list[Violation]) -> AwsError:
    return bad(describe(found))

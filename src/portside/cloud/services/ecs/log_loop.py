"""Carries what containers print into CloudWatch Logs.

One follower per container with the awslogs driver. The engine keeps the output; a follower reads it from where
the log stream left off, so that an interruption of either side neither doubles nor loses a line. Where that is,
the Logs service keeps with the events themselves, as the stream's sequence token: events and position become
durable in one transaction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import Done, Loop, TurnResult
from portside.cloud.machine.engine import Engine, LogLine, Missing, Unavailable
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs import blueprints, store
from portside.cloud.services.ecs.blueprints import AwsLogs
from portside.cloud.services.ecs.names import account_of
from portside.cloud.services.ecs.records import Container, ContainerStatus, TaskStatus
from portside.cloud.services.ecs.wakes import Wakes

BATCH_EVENTS = 5000
BATCH_BYTES = 900_000
EVENT_BYTES = 256 * 1024 - 26
QUEUED_LINES = 20_000
RETRY = 2.0
FINISH_SECONDS = 5.0
# The two output streams are stamped apart, so lines may come out of order by a little.
DISORDER = 0.25


@dataclass(frozen=True, slots=True)
class Position:
    """All lines stamped before `since` are delivered, and the first `skip` of the others."""

    since: float = 0.0
    skip: int = 0

    @staticmethod
    def read(token: str) -> Position:
        kind, _, rest = token.partition(":")
        since, _, skip = rest.partition(":")
        try:
            return Position(float(since), int(skip)) if kind == "container" else Position()
        except ValueError:
            return Position()

    @property
    def token(self) -> str:
        return f"container:{self.since!r}:{self.skip}"


class Progress:
    """Follows the position while lines pass by, those delivered in an earlier life included."""

    def __init__(self, position: Position) -> None:
        self._since = position.since
        self._recent: deque[float] = deque()
        self._newest = 0.0

    def passed(self, line: LogLine) -> None:
        self._recent.append(line.at)
        self._newest = max(self._newest, line.at)

    def position(self) -> Position:
        since = self._newest - DISORDER
        if since > self._since:
            self._since = since
            self._recent = deque(at for at in self._recent if at >= since)
        return Position(self._since, len(self._recent))


class LogLoop:
    """Keys are container ARNs."""

    def __init__(
        self, *, database: Database, clock: Clock, calls: Calls, log: Log, engine: Engine, wakes: Wakes
    ) -> None:
        self._database = database
        self._clock = clock
        self._calls = calls
        self._log = log.bind(service="ecs")
        self._engine = engine
        self._wakes = wakes
        self._followers: dict[str, asyncio.Task[None]] = {}
        self.loop = Loop("ecs-logs", self.turn, clock, log)

    def resume(self) -> None:
        for task in store.live_tasks(self._database):
            for container in store.containers_of(self._database, task.arn):
                if not container.logged and container.engine_id:
                    self.loop.wake(container.arn)

    async def close(self) -> None:
        followers = list(self._followers.values())
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)

    async def finish(self, key: str) -> None:
        """Carry over the rest of a stopped container's output, for the end of the whole cloud."""
        follower = self._start(key)
        if follower is None:
            return
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await follower
        except TimeoutError:
            self._log.warning("output is lost: the logs did not take it in time", container=key)

    async def turn(self, key: str) -> TurnResult:
        """See to it that the container has a follower as long as there is something to follow."""
        self._start(key)
        return Done()

    def _start(self, key: str) -> asyncio.Task[None] | None:
        follower = self._followers.get(key)
        if follower is not None and not follower.done():
            return follower
        self._followers.pop(key, None)
        container = store.containers.get(self._database, key)
        started = (ContainerStatus.RUNNING, ContainerStatus.STOPPED, ContainerStatus.CREATED)
        if container is None or container.logged or not container.engine_id or container.status not in started:
            return None
        task = store.tasks.get(self._database, container.task)
        definition = store.definitions.get(self._database, task.definition) if task is not None else None
        if task is None or definition is None or task.status is TaskStatus.STOPPED:
            return None
        logs = blueprints.read(definition.spec).container(container.name).logs
        if logs is None:
            self._finished(key)
            return None
        account = account_of(task.arn)
        caller = Caller.root(account, logs.region or task.region)
        follower = self._followers[key] = asyncio.create_task(
            self._follow(container, logs, caller), name=f"ecs-logs:{container.name}"
        )
        return follower

    async def _follow(self, container: Container, logs: AwsLogs, caller: Caller) -> None:
        try:
            await self._copy(container, logs, caller)
        except Missing:
            self._finished(container.arn)  # nothing is left to read
        except Unavailable as error:
            self._log.info("output is not followed", container=container.arn, reason=error.reason)
            self._again(container.arn)
        except AwsError as error:
            self._log.warning(
                "output is not taken by the logs", container=container.arn, reason=f"{error.code}: {error.message}"
            )
            self._again(container.arn)
        except Exception as error:
            self._log.error("follower failed", container=container.arn, error=repr(error), exc_info=error)
            self._again(container.arn)

    def _again(self, key: str) -> None:
        self._followers.pop(key, None)
        self.loop.wake(key, RETRY)

    async def _copy(self, container: Container, logs: AwsLogs, caller: Caller) -> None:
        """From the last position to the end of the output, which is there when the container has exited."""
        position = await self._position(container, logs, caller)
        progress = Progress(position)
        skip = position.skip
        queue: asyncio.Queue[LogLine | Exception | None] = asyncio.Queue(QUEUED_LINES)
        # Reading ahead while a batch is written; a full queue makes the engine wait, nothing is dropped.
        reader = asyncio.create_task(_read(self._engine.logs(container.engine_id, position.since, True), queue))
        try:
            ended = False
            while not ended:
                batch: list[LogLine] = []
                size = 0
                item = await queue.get()
                while True:
                    if isinstance(item, Exception):
                        await self._deliver(container, logs, caller, batch, progress)
                        raise item
                    if item is None:
                        ended = True
                        break
                    progress.passed(item)
                    if skip:
                        skip -= 1
                    else:
                        batch.append(item)
                        size += len(item.text) + 26
                    if len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES or queue.empty():
                        break
                    item = queue.get_nowait()
                await self._deliver(container, logs, caller, batch, progress)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        await self._end(container)

    async def _end(self, container: Container) -> None:
        state = await self._engine.inspect(container.engine_id)
        if state.finished_at or state.exit_code is not None:
            self._finished(container.arn)
        else:
            # The stream ended although the container has not: perhaps it has not started yet.
            self._again(container.arn)

    async def _position(self, container: Container, logs: AwsLogs, caller: Caller) -> Position:
        answer = await self._calls(
            "logs",
            "DescribeLogStreams",
            {"logGroupName": logs.group, "logStreamNamePrefix": container.log_stream},
            caller,
        )
        for stream in answer.get("logStreams") or []:
            if stream["logStreamName"] == container.log_stream:
                return Position.read(stream.get("uploadSequenceToken") or "")
        return Position()

    async def _deliver(
        self, container: Container, logs: AwsLogs, caller: Caller, batch: list[LogLine], progress: Progress
    ) -> None:
        if not batch:
            return
        events: list[Params] = [
            {"timestamp": int(line.at * 1000), "message": _clip(line.text)} for line in batch if line.text
        ]
        token = progress.position().token
        if events:
            events.sort(key=lambda each: each["timestamp"])
            await self._calls(
                "logs",
                "PutLogEvents",
                {
                    "logGroupName": logs.group,
                    "logStreamName": container.log_stream,
                    "logEvents": events,
                    "sequenceToken": token,
                },
                caller,
            )

    def _finished(self, key: str) -> None:
        self._followers.pop(key, None)
        with self._database.write() as tx:
            container = store.containers.get(tx, key)
            if container is None:
                return
            store.containers.save(tx, replace(container, logged=True))
        self._wakes.task(container.task)


async def _read(lines: AsyncIterator[LogLine], queue: asyncio.Queue[LogLine | Exception | None]) -> None:
    try:
        async for line in lines:
            await queue.put(line)
    except Exception as error:
        await queue.put(error)
    else:
        await queue.put(None)


def _clip(text: str) -> str:
    """An event is 256 KiB at most; AWS's driver cuts longer lines in the same way."""
    raw = text.encode()
    return text if len(raw) <= EVENT_BYTES else raw[:EVENT_BYTES].decode("utf-8", "ignore")

"""ECS Exec: a process in a running container, carried over a WebSocket.

Owns the sessions: ExecuteCommand writes one and answers with the address of its stream and the token that opens
it, once. The stream speaks Session Manager's data channel. The process ends when the client hangs up. Source: the
ECS Developer Guide, "Using Amazon ECS Exec".
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine import Engine, EngineError, Terminal
from portside.cloud.protocol.asgi import Receive, Send
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecs import errors, names, store
from portside.cloud.services.ecs.clusters import active_cluster
from portside.cloud.services.ecs.records import ContainerStatus
from portside.datachannel import FIN, SYN, Kind, Malformed, Message, Payload, unpack

MIGRATIONS = (
    "CREATE TABLE ecs_exec (id TEXT PRIMARY KEY, token TEXT NOT NULL, container TEXT NOT NULL,"
    " command TEXT NOT NULL, made_at REAL NOT NULL);",
)
STREAM_PATH = "/_portside/exec/"
OPENED_WITHIN = 60.0  # how long a token waits for its client
DISABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute "
    "command agent isn't running. Wait and try again or run a new task with execute command enabled and try again."
)


class ExecApi:
    """The operation, and the WebSocket application behind it."""

    def __init__(self, database: Database, ids: Ids, clock: Clock, engine: Engine, log: Log) -> None:
        database.migrate("ecs-exec", MIGRATIONS)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._engine = engine
        self._log = log.bind(service="ecs")

    @operation("ExecuteCommand")
    def execute_command(self, caller: Caller, params: Params) -> Params:
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        task = store.tasks.get(self._database, names.task_arn(caller, cluster.name, params["task"]))
        if task is None:
            raise errors.invalid("The referenced task was not found.")
        if not params["interactive"]:
            raise errors.invalid("Interactive must be 'true'.")
        containers = store.containers_of(self._database, task.arn)
        wanted = params.get("container")
        if wanted is None and len(containers) > 1:
            raise errors.invalid("A container name is required when a task has multiple containers.")
        found = next((each for each in containers if wanted in (None, each.name)), None)
        if found is None:
            raise errors.invalid(f"The container {wanted} does not exist in the task.")
        if not task.network.get("execute") or found.status is not ContainerStatus.RUNNING:
            raise errors.invalid(DISABLED)
        try:
            shlex.split(params["command"])
        except ValueError as error:
            raise errors.invalid(f"The command cannot be read: {error}.") from None
        session, token = f"ecs-execute-command-{self._ids.alnum(17).lower()}", self._ids.alnum(64)
        now = self._clock.now()
        with self._database.write() as tx:
            tx.execute("DELETE FROM ecs_exec WHERE made_at < ?", (now - OPENED_WITHIN,))
            tx.execute(
                "INSERT INTO ecs_exec VALUES (?, ?, ?, ?, ?)",
                (session, token, found.engine_id, params["command"], now),
            )
        address = caller.endpoint.replace("http", "ws", 1)
        return {
            "clusterArn": cluster.arn,
            "containerArn": found.arn,
            "containerName": found.name,
            "interactive": True,
            "session": {
                "sessionId": session,
                "streamUrl": f"{address}{STREAM_PATH}{session}",
                "tokenValue": token,
            },
            "taskArn": task.arn,
        }

    # The stream

    async def stream(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI application for the WebSocket of a session."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        session = str(connection["path"]).removeprefix(STREAM_PATH)
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                opening = await receive()
            command, container = self._open(session, str(opening.get("text") or ""))
            terminal = await self._engine.execute(container, command, terminal=True)
        except (TimeoutError, AwsError, EngineError) as error:
            why = getattr(error, "message", "") or getattr(error, "reason", "") or "no client opened the session"
            await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
            return
        channel = _Channel(send, self._ids, self._clock)
        try:
            await _carry(channel, terminal, receive, session)
        finally:
            await terminal.close()

    def _open(self, session: str, opening: str) -> tuple[tuple[str, ...], str]:
        """The command and the container of a session; a token opens it once."""
        try:
            token = str(json.loads(opening)["TokenValue"])
        except (ValueError, KeyError, TypeError):
            raise errors.invalid("The first message must hold the session's TokenValue.") from None
        with self._database.write() as tx:
            rows = tx.read("SELECT * FROM ecs_exec WHERE id = ? AND token = ?", (session, token))
            tx.execute("DELETE FROM ecs_exec WHERE id = ?", (session,))
        if not rows or self._clock.now() - rows[0]["made_at"] > OPENED_WITHIN:
            raise errors.invalid("There is no such session, or it has been opened already.")
        return tuple(shlex.split(rows[0]["command"])), str(rows[0]["container"])


class _Channel:
    """The agent's side of the data channel: numbers and sends messages."""

    def __init__(self, send: Send, ids: Ids, clock: Clock) -> None:
        self._send = send
        self._ids = ids
        self._clock = clock
        self._next = 0

    async def output(self, payload: bytes, kind: Payload = Payload.OUTPUT) -> None:
        flags = SYN if self._next == 0 else 0
        message = self._message(Kind.OUTPUT, self._next, payload, kind, flags)
        self._next += 1
        await self._send({"type": "websocket.send", "bytes": message.pack()})

    async def acknowledge(self, received: Message) -> None:
        document = {
            "AcknowledgedMessageType": received.kind,
            "AcknowledgedMessageId": _dashed(received.id),
            "AcknowledgedMessageSequenceNumber": received.sequence,
            "IsSequentialMessage": True,
        }
        message = self._message(Kind.ACKNOWLEDGE, 0, json.dumps(document).encode(), Payload.NONE, SYN | FIN)
        await self._send({"type": "websocket.send", "bytes": message.pack()})

    async def closed(self, session: str, code: int) -> None:
        document = {
            "MessageType": str(Kind.CLOSED),
            "SessionId": session,
            "SchemaVersion": 1,
            "Output": "",
            "ExitCode": code,
        }
        message = self._message(Kind.CLOSED, 0, json.dumps(document).encode(), Payload.NONE, SYN | FIN)
        await self._send({"type": "websocket.send", "bytes": message.pack()})
        await self._send({"type": "websocket.close", "code": 1000})

    def _message(self, kind: Kind, sequence: int, payload: bytes, payload_type: Payload, flags: int) -> Message:
        created = int(self._clock.now() * 1000)
        return Message(kind, sequence, self._ids.hex(32), created, payload, payload_type, flags)


def _dashed(identifier: str) -> str:
    parts = (0, 8, 12, 16, 20, 32)
    return "-".join(identifier[begin:end] for begin, end in itertools.pairwise(parts))


async def _carry(channel: _Channel, terminal: Terminal, receive: Receive, session: str) -> None:
    """Both directions until the process ends or the client hangs up."""
    handshake = {
        "AgentVersion": "3.3.0.0",
        "RequestedClientActions": [
            {
                "ActionType": "SessionType",
                "ActionParameters": {"SessionType": "InteractiveCommands", "Properties": {}},
            }
        ],
    }
    await channel.output(json.dumps(handshake).encode(), Payload.HANDSHAKE_REQUEST)
    agreed = asyncio.Event()
    inward = asyncio.create_task(_inward(channel, terminal, receive, agreed), name="exec:input")
    outward = asyncio.create_task(_outward(channel, terminal, agreed), name="exec:output")
    try:
        await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
        if outward.done() and outward.exception() is None:
            await channel.closed(session, await terminal.exit_code())
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _outward(channel: _Channel, terminal: Terminal, agreed: asyncio.Event) -> None:
    await agreed.wait()
    while (data := await terminal.receive()) is not None:
        await channel.output(data)


async def _inward(
    channel: _Channel, terminal: Terminal, receive: Callable[[], Awaitable[dict[str, Any]]], agreed: asyncio.Event
) -> None:
    expected = 0
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        try:
            message = unpack(event.get("bytes") or b"")
        except Malformed:
            return
        if message.kind != Kind.INPUT:
            continue
        await channel.acknowledge(message)
        if message.sequence < expected:
            continue  # sent again, because our acknowledgement came late
        expected = message.sequence + 1
        match message.payload_type:
            case Payload.HANDSHAKE_RESPONSE:
                complete = {"HandshakeTimeToComplete": 0, "CustomerMessage": ""}
                await channel.output(json.dumps(complete).encode(), Payload.HANDSHAKE_COMPLETE)
                agreed.set()
            case Payload.SIZE:
                size = json.loads(message.payload)
                await terminal.resize(int(size["cols"]), int(size["rows"]))
            case _:
                await terminal.send(message.payload)

"""A command in a running container of the app, by ECS Exec.

Owns the choice of the task, the call, and the two ways of carrying a terminal: on the local cloud this speaks the
data channel itself; on AWS Session Manager's own plugin does, as for the AWS CLI.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portside.datachannel import SYN, Kind, Malformed, Message, Payload, unpack
from portside.deploy.api import Aws
from portside.deploy.deployment import find
from portside.deploy.errors import DeployError, Unreachable
from portside.deploy.status import service_arn

PLUGIN = "session-manager-plugin"


@dataclass(frozen=True, slots=True)
class Running:
    """A container that a command can run in. `runtime` is the engine's id of it."""

    cluster: str
    task: str
    container: str
    runtime: str


def choose(aws: Aws, service_stack: str, task: str = "", container: str = "") -> Running:
    """The container of the newest running task, or of the one whose id begins with `task`."""
    arn = service_arn(aws, service_stack) if find(aws, service_stack) is not None else ""
    if arn.count("/") < 2:
        raise DeployError(f"{service_stack} has no service", "", "Deploy it with `portside up`.")
    cluster, service = arn.split("/")[-2:]
    ecs = aws.client("ecs")
    with aws.errors(f"the tasks of {service} cannot be read"):
        arns = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="RUNNING")["taskArns"]
        found = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
    tasks = [each for each in found if each["lastStatus"] == "RUNNING" and _id(each).startswith(task)]
    if not tasks:
        what = f"whose id begins with {task}" if task else "of the app"
        raise DeployError(f"no task {what} is running", "", "See `portside status`.")
    newest = max(tasks, key=lambda each: each["startedAt"])
    if not newest.get("enableExecuteCommand"):
        raise DeployError(
            "commands cannot be run in the app's containers",
            "the task was started without ECS Exec",
            "Set `exec = true` below [service] in portside.toml and run `portside up`.",
        )
    named = {each["name"]: each for each in newest["containers"]}
    if container and container not in named:
        raise DeployError(f"the task has no container {container}", f"it has {', '.join(sorted(named))}", "")
    chosen = named[container] if container else newest["containers"][0]
    return Running(cluster, newest["taskArn"], chosen["name"], chosen.get("runtimeId", ""))


def _id(task: dict[str, Any]) -> str:
    return str(task["taskArn"]).rpartition("/")[2]


def start(aws: Aws, place: Running, command: str) -> dict[str, str]:
    """The session that carries the command: `sessionId`, `streamUrl`, `tokenValue`."""
    with aws.errors("the command cannot be run"):
        answer = aws.client("ecs").execute_command(
            cluster=place.cluster, task=place.task, container=place.container, interactive=True, command=command
        )
    session: dict[str, str] = answer["session"]
    return session


def by_plugin(aws: Aws, place: Running, session: dict[str, str]) -> int:
    """On AWS: what the AWS CLI does."""
    if shutil.which(PLUGIN) is None:
        raise DeployError(
            f"{PLUGIN} is not installed",
            "AWS carries the terminal over Session Manager",
            "Install it from AWS's Systems Manager documentation.",
        )
    target = f"ecs:{place.cluster}_{_id({'taskArn': place.task})}_{place.runtime}"
    words = [PLUGIN, json.dumps(session), aws.region, "StartSession", "", json.dumps({"Target": target})]
    return subprocess.run([*words, f"https://ssm.{aws.region}.amazonaws.com"], check=False).returncode


class Channel:
    """The client's side of a data channel on the local cloud.

    `output` takes what the process prints; `size` tells the terminal's columns and rows. Use `run`, and `typed`
    for what a person types.
    """

    def __init__(
        self, session: dict[str, str], output: Callable[[bytes], None], size: Callable[[], tuple[int, int]]
    ) -> None:
        self._session = session
        self._output = output
        self._size = size
        self._socket: Any = None
        self._next = 0
        self.open = asyncio.Event()

    async def run(self) -> int:
        """Until the process has ended; its exit code. Raises Unreachable when the connection is lost."""
        import aiohttp

        opening = {
            "MessageSchemaVersion": "1.0",
            "RequestId": os.urandom(16).hex(),
            "TokenValue": self._session["tokenValue"],
            "ClientId": os.urandom(16).hex(),
        }
        try:
            async with (
                aiohttp.ClientSession(trust_env=False) as http,
                http.ws_connect(self._session["streamUrl"], max_msg_size=0) as socket,
            ):
                self._socket = socket
                await socket.send_str(json.dumps(opening))
                while True:
                    received = await socket.receive()
                    if received.type in (
                        aiohttp.WSMsgType.CLOSE,
                        aiohttp.WSMsgType.CLOSED,
                        aiohttp.WSMsgType.ERROR,
                    ):
                        raise Unreachable(
                            "the session has ended", str(received.extra or "the connection is lost"), ""
                        )
                    if received.type is aiohttp.WSMsgType.BINARY:
                        code = await self._received(unpack(received.data))
                        if code is not None:
                            return code
        except (aiohttp.ClientError, OSError, Malformed) as error:
            raise Unreachable("the session cannot be carried", str(error), "") from None

    async def _received(self, message: Message) -> int | None:
        if message.kind == Kind.CLOSED:
            return int(json.loads(message.payload).get("ExitCode", 0))
        if message.kind != Kind.OUTPUT:
            return None
        match message.payload_type:
            case Payload.HANDSHAKE_REQUEST:
                actions = [
                    {"ActionType": each["ActionType"], "ActionStatus": 1, "ActionResult": {}, "Error": ""}
                    for each in json.loads(message.payload)["RequestedClientActions"]
                ]
                answer = {"ClientVersion": "1.2.0.0", "ProcessedClientActions": actions, "Errors": []}
                await self._send(json.dumps(answer).encode(), Payload.HANDSHAKE_RESPONSE)
            case Payload.HANDSHAKE_COMPLETE:
                await self.resized()
                self.open.set()
            case _:
                self._output(message.payload)
        return None

    async def typed(self, data: bytes) -> None:
        await self.open.wait()
        await self._send(data, Payload.OUTPUT)

    async def resized(self) -> None:
        columns, rows = self._size()
        await self._send(json.dumps({"cols": columns, "rows": rows}).encode(), Payload.SIZE)

    async def _send(self, payload: bytes, kind: Payload) -> None:
        now = int(time.time() * 1000)  # noqa: TID251 - a time stamp of the protocol
        identifier = os.urandom(16).hex()
        flags = SYN if self._next == 0 else 0
        message = Message(Kind.INPUT, self._next, identifier, now, payload, kind, flags)
        self._next += 1
        if self._socket is not None and not self._socket.closed:
            await self._socket.send_bytes(message.pack())

"""What containers ask the agent over HTTP: the credentials of their task's role, and metadata.

Two ASGI applications below `/_portside/`. An id in the path is the only key that there is, as on AWS; whoever does
not know it learns nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from portside.cloud.kernel.database import Database
from portside.cloud.machine.engine import Engine, EngineError
from portside.cloud.protocol.asgi import Receive, Send
from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import metadata, store
from portside.cloud.services.ecs.environment import CREDENTIALS_PATH, METADATA_PATH
from portside.cloud.services.ecs.identities import Identities
from portside.cloud.services.ecs.records import Container

Connection = dict[str, object]


class AgentPages:
    def __init__(self, database: Database, identities: Identities, engine: Engine) -> None:
        self._database = database
        self._identities = identities
        self._engine = engine

    async def credentials(self, connection: Connection, receive: Receive, send: Send) -> None:
        found = await self._identities.credentials(str(connection["path"]).removeprefix(CREDENTIALS_PATH))
        if found is None:
            unknown = {"code": "InvalidIdInRequest", "message": "CredentialsV2Request: ID not found"}
            await _answer(send, 404, unknown)
            return
        expires = datetime.fromtimestamp(found["Expiration"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await _answer(send, 200, found | {"Expiration": expires})

    async def metadata(self, connection: Connection, receive: Receive, send: Send) -> None:
        identifier, _, rest = str(connection["path"]).removeprefix(METADATA_PATH).partition("/")
        found = metadata.find(self._database, identifier)
        if found is None:
            await _answer(send, 404, "V4 container metadata handler: unable to get container ID from request")
            return
        task, container = found
        match rest.rstrip("/"):
            case "":
                await _answer(send, 200, metadata.container(self._database, task, container))
            case "task":
                await _answer(send, 200, metadata.task(self._database, task))
            case "taskWithTags":
                await _answer(send, 200, metadata.task(self._database, task, tags=True))
            case "stats":
                await _answer(send, 200, await self._stats(container))
            case "task/stats":
                shown = {
                    each.engine_id: await self._stats(each)
                    for each in store.containers_of(self._database, task.arn)
                    if each.engine_id
                }
                await _answer(send, 200, shown)
            case _:
                await _answer(send, 404, f"The local cloud does not offer the metadata path '/{rest}'.")

    async def _stats(self, container: Container) -> Params | None:
        """What the engine says of its use; null, as from the agent, when it does not run."""
        try:
            return dict((await self._engine.stats(container.engine_id)).document)
        except EngineError:
            return None


async def _answer(send: Send, status: int, document: Params | str | None) -> None:
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""SignalResource, and the address at which handles of wait conditions take their messages.

Both only write down what came; `waits.py` sees it at the stack's next turn.
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.asgi import Receive, Send, read_body
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudformation import answers, handles, rows, signals
from portside.cloud.services.cloudformation.base import Operations
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.records import Resource, Stack, StackStatus
from portside.cloud.services.cloudformation.signals import FAILURE, UNPARSABLE, Signal

LONGEST_MESSAGE = 64 * 1024


class SignalCalls(Operations):
    @operation("SignalResource")
    def signal_resource(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        logical_id, unique_id, status = params["LogicalResourceId"], params["UniqueId"], params["Status"]
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            if now is None or now.status not in (StackStatus.CREATE_IN_PROGRESS, *_UPDATING):
                raise invalid(f"Stack:{stack.id} is in {stack.status} state and can not be signaled.")
            found = rows.resources(tx, stack.id).get(logical_id)
            if found is None:
                raise invalid(f"Resource {logical_id} does not exist for stack {stack.name}")
            if found.step is None or not found.status.busy:
                raise invalid(f"Resource {logical_id} is in {found.status} state and can not be signaled.")
            before = signals.received(tx, found.step.token).get(unique_id)
            if before is not None and status != FAILURE:
                raise invalid(
                    f"Signal with ID {unique_id} for resource {logical_id} already exists. Signals may only be "
                    "updated with a FAILURE status."
                )
            signals.add(tx, found.step.token, Signal(unique_id, status, time=self._clock.now()))
            text = f"Received {status} signal with UniqueId {unique_id}"
            self._journal.resource_event(
                tx, now, logical_id, found.type, found.applied.physical_id, found.status, text,
                shown=found.step.shown,
            )  # fmt: skip
            self._hurry(tx, now, found)
        return {}

    def _hurry(self, tx: Transaction, stack: Stack, waiting: Resource) -> None:
        """Let what waits look again. If its turn runs right now this is lost, and it looks when it meant to."""
        if waiting.step is not None and waiting.step.due > self._clock.now():
            rows.save_resource(tx, replace(waiting, step=replace(waiting.step, due=0.0)))
        tx.after_commit(lambda: self._wake(stack.id))

    async def page(self, connection: Params, receive: Receive, send: Send) -> None:
        """What a handle's URL answers: 200 to every message, for a bad one is the wait condition's trouble."""
        query = connection.get("query_string", b"").decode("latin-1")
        custom = connection["path"].startswith(f"{answers.PAGE}/")
        found = handles.parts(f"{connection['path']}?{query}")
        code = 403
        if connection.get("method") != "PUT":
            code = 405
        elif custom:
            stack_id = unquote(connection["path"].removeprefix(f"{answers.PAGE}/"))
            request = parse_qs(query).get("Signature", [""])[0]
            code = 200 if self._answered(stack_id, request, await read_body(receive, LONGEST_MESSAGE)) else 403
        elif found is not None:
            body = await read_body(receive, LONGEST_MESSAGE)
            code = 200 if self._take(*found, body) else 403
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _answered(self, stack_id: str, request: str, body: bytes) -> bool:
        """Whether a stack waits for the answer to such a request; it is kept then."""
        with self._db.write() as tx:
            stack = rows.stack_by_id(tx, stack_id)
            if stack is None or not request:
                return False
            asking = [each for each in rows.resources(tx, stack_id).values() if each.step is not None]
            waiting = [each for each in asking if each.step is not None and each.step.token == request]
            leaving = [each for each in rows.leftovers(tx, stack_id) if each.step and each.step.token == request]
            if not waiting and not leaving:
                return False
            answers.keep(tx, request, body.decode("utf-8", "replace"))
            for each in waiting:
                self._hurry(tx, stack, each)
            tx.after_commit(lambda: self._wake(stack.id))
        return True

    def _take(self, stack_id: str, logical_id: str, signature: str, body: bytes) -> bool:
        with self._db.write() as tx:
            stack = rows.stack_by_id(tx, stack_id)
            handle = rows.resources(tx, stack_id).get(logical_id) if stack is not None else None
            if stack is None or handle is None or handle.status.gone:
                return False
            known = handles.parts(handle.applied.physical_id)
            if known is None or known[2] != signature:
                return False
            message = handles.message(body, self._clock.now())
            if message is None:
                message = Signal(UNPARSABLE, UNPARSABLE, time=self._clock.now())
            signals.add(tx, signature, message)
            for each in rows.resources(tx, stack_id).values():
                if each.status.busy and each.applied.properties.get("Handle") == handle.applied.physical_id:
                    self._hurry(tx, stack, each)
        return True


_UPDATING = (StackStatus.UPDATE_IN_PROGRESS, StackStatus.UPDATE_ROLLBACK_IN_PROGRESS)

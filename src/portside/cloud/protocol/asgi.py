"""The words of ASGI, and the one way to read a request's body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from portside.cloud.protocol.errors import AwsError

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


async def read_body(receive: Receive, most: int | None = None) -> bytes:
    """The whole body, `most` bytes at the most. AwsError if it is larger, or if the client goes away meanwhile."""
    chunks = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise AwsError("RequestTimeout", "The client went away before the request was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if most is not None and size > most:
            raise too_large(most)
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def too_large(most: int) -> AwsError:
    return AwsError("RequestEntityTooLarge", f"A request may have {most} bytes at most.", 413)

"""Answers go out in one write."""

from __future__ import annotations

import asyncio
from typing import Any

from portside.cloud.gateway.server import HELD_BYTES, Gathering


class Recorder:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def _made() -> tuple[Any, Recorder]:
    recorder: Any = Recorder()
    return Gathering(recorder), recorder


async def test_what_is_written_in_one_round_goes_out_at_once() -> None:
    transport, recorder = _made()
    transport.write(b"head")
    transport.write(b"body")
    assert recorder.written == []
    await asyncio.sleep(0)
    assert recorder.written == [b"headbody"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert recorder.written == [b"headbody", b"next"]


async def test_a_long_answer_is_not_held_back() -> None:
    transport, recorder = _made()
    transport.write(b"a" * HELD_BYTES)
    assert recorder.written == []
    transport.write(b"b")
    assert recorder.written == [b"a" * HELD_BYTES + b"b"]
    await asyncio.sleep(0)
    assert len(recorder.written) == 1


async def test_closing_writes_what_is_held_first() -> None:
    transport, recorder = _made()
    transport.write(b"last words")
    transport.close()
    assert recorder.written == [b"last words"]
    assert transport.is_closing()


async def test_nothing_is_written_to_a_connection_that_was_lost() -> None:
    transport, recorder = _made()
    transport.write(b"too late")
    recorder.closed = True
    await asyncio.sleep(0)
    assert recorder.written == []

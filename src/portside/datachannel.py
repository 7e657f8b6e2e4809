"""The messages of a Session Manager data channel, by which ECS Exec carries a terminal over a WebSocket.

Pure. Both ends use it: the command line as the client, the local cloud as the agent. A message is a header of 120
bytes and a payload. The layout is the one that Session Manager's own plugin reads: numbers are big-endian, the
halves of the message id are swapped, and `digest` is the SHA-256 of the payload.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum

_HEADER = struct.Struct(">I32sIQqQ16s32sII")
_HEADER_LENGTH = 116  # without the payload's length, as the field is defined
SCHEMA_VERSION = 1
SYN, FIN = 1, 2


class Kind(StrEnum):
    INPUT = "input_stream_data"
    OUTPUT = "output_stream_data"
    ACKNOWLEDGE = "acknowledge"
    CLOSED = "channel_closed"


class Payload(IntEnum):
    """What the payload of a stream message is."""

    NONE = 0
    OUTPUT = 1
    SIZE = 3
    HANDSHAKE_REQUEST = 5
    HANDSHAKE_RESPONSE = 6
    HANDSHAKE_COMPLETE = 7


class Malformed(Exception):
    """Bytes that are no message."""


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is 32 hexadecimal digits, `created` milliseconds since 1970."""

    kind: str
    sequence: int
    id: str
    created: int
    payload: bytes = b""
    payload_type: int = Payload.NONE
    flags: int = 0

    def pack(self) -> bytes:
        raw = bytes.fromhex(self.id)
        return (
            _HEADER.pack(
                _HEADER_LENGTH,
                self.kind.encode().ljust(32),
                SCHEMA_VERSION,
                self.created,
                self.sequence,
                self.flags,
                raw[8:] + raw[:8],
                hashlib.sha256(self.payload).digest(),
                self.payload_type,
                len(self.payload),
            )
            + self.payload
        )


def unpack(data: bytes) -> Message:
    """Raises Malformed."""
    if len(data) < _HEADER.size:
        raise Malformed(f"a message has {_HEADER.size} bytes at least, not {len(data)}")
    _, kind, _, created, sequence, flags, raw, digest, payload_type, size = _HEADER.unpack_from(data)
    payload = data[_HEADER.size : _HEADER.size + size]
    if len(payload) != size:
        raise Malformed(f"the payload has {len(payload)} bytes instead of {size}")
    if hashlib.sha256(payload).digest() != digest:
        raise Malformed("the payload does not have the digest that the header says")
    name = kind.rstrip(b" \0").decode("ascii", "replace")
    return Message(name, sequence, (raw[8:] + raw[:8]).hex(), created, payload, payload_type, flags)

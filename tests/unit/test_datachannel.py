"""The messages of a data channel, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portside.datachannel import Kind, Malformed, Message, Payload, unpack

messages = st.builds(
    Message,
    kind=st.sampled_from([str(each) for each in Kind]),
    sequence=st.integers(0, 2**62),
    id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    created=st.integers(0, 2**62),
    payload=st.binary(max_size=200),
    payload_type=st.sampled_from([int(each) for each in Payload]),
    flags=st.integers(0, 3),
)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert unpack(message.pack()) == message


def test_the_layout_is_the_documented_one() -> None:
    packed = Message(Kind.INPUT, 7, "00112233445566778899aabbccddeeff", 1, b"ls\n", Payload.OUTPUT).pack()
    assert packed[:4] == (116).to_bytes(4, "big")
    assert packed[4:36] == b"input_stream_data" + b" " * 15
    assert packed[48:56] == (7).to_bytes(8, "big")
    assert packed[64:80].hex() == "8899aabbccddeeff0011223344556677"
    assert packed[116:120] == (3).to_bytes(4, "big")
    assert packed[120:] == b"ls\n"


@pytest.mark.parametrize("spoil", [lambda b: b[:50], lambda b: b[:-1], lambda b: b[:-1] + b"!"])
def test_broken_bytes_are_refused(spoil) -> None:
    with pytest.raises(Malformed):
        unpack(spoil(Message(Kind.OUTPUT, 0, "00" * 16, 0, b"text").pack()))

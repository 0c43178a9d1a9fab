"""Messages as bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.service_pb2 import InferParameter

from service.errors import InvalidInput
from service.grpc.messages import read_message, varint


@given(st.integers(1, 2**64 - 1))
def test_a_varint_is_protobufs(value: int) -> None:
    assert InferParameter(uint64_param=value).SerializeToString() == b"\x28" + varint(value)


@given(st.binary())
def test_any_bytes_are_a_message_or_an_error(content: bytes) -> None:
    with suppress(InvalidInput):
        read_message(InferParameter, content)


def test_no_message() -> None:
    with pytest.raises(InvalidInput, match="the message is no InferParameter"):
        read_message(InferParameter, b"\xff")

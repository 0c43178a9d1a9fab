"""Messages as bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.service_pb2 import InferParameter, ModelInferRequest

from service.errors import InvalidInput
from service.grpc.messages import read_message, varint
from service.middleware.body_budget import SMALL_BODY_BYTES


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


@given(st.integers(0, 2**64 - 1), st.binary(max_size=8), st.floats(allow_nan=False))
def test_a_large_message_is_read_as_a_small_one(number: int, raw: bytes, fraction: float) -> None:
    sent = ModelInferRequest(id="x" * SMALL_BODY_BYTES, raw_input_contents=[raw])
    sent.inputs.add(name="image", shape=[1, -1, number >> 1]).contents.fp64_contents.append(
        fraction
    )
    sent.parameters["number"].uint64_param = number
    sent.parameters["fraction"].double_param = fraction
    assert read_message(ModelInferRequest, sent.SerializeToString()) == sent


@pytest.mark.parametrize("repeated", [b"\x2a\x00", b"\x2a\x02\x22\x00", b"\x22\x00", b"\x3a\x00"])
def test_a_message_of_too_many_fields(repeated: bytes) -> None:
    """Inputs, parameters of inputs, parameters, and raw contents."""
    with pytest.raises(InvalidInput, match="the message has more than 10,000 fields"):
        read_message(ModelInferRequest, repeated * SMALL_BODY_BYTES)
    assert read_message(ModelInferRequest, repeated * 9000)


def test_too_many_fields_within_one_message() -> None:
    inner = b"\x22\x00" * SMALL_BODY_BYTES
    with pytest.raises(InvalidInput, match="the message has more than 10,000 fields"):
        read_message(ModelInferRequest, b"\x2a" + varint(len(inner)) + inner)


@given(st.binary(min_size=1, max_size=40))
def test_any_large_bytes_are_a_message_or_an_error(content: bytes) -> None:
    with suppress(InvalidInput):
        read_message(ModelInferRequest, content * (SMALL_BODY_BYTES // len(content) + 1))

"""The body of a request: whole, within its limit to the byte, or an error."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.errors import TooLarge
from service.http.request_body import read_body

MOST = 1000


def chunk(size: int, more: bool) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


def read(messages: Sequence[Message], length: str | None = None) -> bytes:
    """The body of these messages; waiting for another one is an error."""
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    headers = [] if length is None else [(b"content-length", length.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_body(request, MOST))


@pytest.mark.parametrize("length", [None, "1000", "0" * 30 + "1000"])
@pytest.mark.parametrize(
    "sizes", [[MOST], [MOST - 1, 1], [1, MOST - 1, 0], [0] * 10 + [MOST]], ids=str
)
def test_a_body_of_exactly_the_limit_is_whole(sizes: list[int], length: str | None) -> None:
    messages = [chunk(size, more=n < len(sizes)) for n, size in enumerate(sizes, 1)]
    assert read(messages, length) == b"x" * MOST


@pytest.mark.parametrize(
    "messages",
    [
        [chunk(MOST + 1, more=False)],
        [chunk(MOST, more=True), chunk(1, more=False)],
        [chunk(MOST, more=True), chunk(1, more=True)],  # and reads no more
    ],
)
def test_a_byte_more_is_too_much(messages: list[Message]) -> None:
    with pytest.raises(TooLarge, match=r"^the body has more than 1,000 bytes, the limit$"):
        read(messages)


@pytest.mark.parametrize(
    ("length", "shown"),
    [("1001", "1,001"), ("9" * 18, f"{10**18 - 1:,}"), ("1" + "0" * 18, "1" + "0" * 17 + "...")],
)
def test_a_length_above_the_limit_is_refused_before_the_body(length: str, shown: str) -> None:
    with pytest.raises(TooLarge) as caught:
        read([], length)
    assert str(caught.value) == f"the body has {shown} bytes, 1,000 are the limit"


@pytest.mark.parametrize("received", [[], [chunk(1, more=True)], [chunk(1, True), chunk(1, True)]])
def test_a_client_that_leaves_within_its_body_has_sent_none(received: list[Message]) -> None:
    with pytest.raises(ClientDisconnect):
        read([*received, {"type": "http.disconnect"}])

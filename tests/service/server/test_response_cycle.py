"""An answer's head and body in one write, and the same bytes as uvicorn writes in two."""

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.server.response_cycle import OneWriteCycle

LENGTH = (b"content-length", b"3")


class Recorder:
    """Replaces a socket, and records each system call."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def written(
    messages: list[dict[str, Any]], joined: bool, keep_alive: bool = True, expect: bool = False
) -> Recorder:
    """What uvicorn's cycle writes for these messages."""
    recorder: Any = Recorder()
    logger = logging.getLogger(__name__)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if expect:
            cycle.more_body = False
            cycle.message_event.set()
            await receive()
        for message in messages:
            await send(message)

    async def run() -> None:
        await cycle.run_asgi(app)

    kind = OneWriteCycle if joined else RequestResponseCycle
    cycle = kind(
        scope={"type": "http", "method": "POST"},  # type: ignore[typeddict-item]
        transport=recorder,
        flow=FlowControl(recorder),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=expect,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )
    cycle.flow.resume_reading = lambda: None  # type: ignore[method-assign]
    asyncio.run(run())
    found: Recorder = recorder
    return found


@pytest.mark.parametrize(
    "messages",
    [
        [start(LENGTH), body(b"abc")],
        [start((b"x-name", b"value"), LENGTH, status=404), body(b"abc")],
        [start((b"content-length", b"0")), body(b"")],
        [start(status=204), body(b"")],
        [start(), body(b"abc")],
        [start(), body(b"abc", more=True), body(b"de", more=True), body(b"")],
        [start(LENGTH), body(b"a", more=True), body(b"bc")],
        [start(LENGTH, (b"connection", b"close")), body(b"abc")],
        [start((b"transfer-encoding", b"chunked")), body(b"abc")],
    ],
    ids=["length", "404", "empty", "204", "none", "stream", "pieces", "close", "chunked"],
)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_an_answer_is_written_at_once_and_as_before(
    messages: list[dict[str, Any]], keep_alive: bool
) -> None:
    found = written(messages, joined=True, keep_alive=keep_alive)
    expected = written(messages, joined=False, keep_alive=keep_alive)
    assert b"".join(found.writes) == b"".join(expected.writes)
    closes = b"connection: close\r\n" in b"".join(found.writes)
    assert found.closed == expected.closed == closes
    assert closes or keep_alive


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("content", [b"", b"abc", bytes(100_000)])
def test_a_complete_answer_is_one_write(content: bytes, keep_alive: bool) -> None:
    messages = [start((b"content-length", b"%d" % len(content))), body(content)]
    assert len(written(messages, joined=True, keep_alive=keep_alive).writes) == 1


def test_100_continue_does_not_wait() -> None:
    found = written([start(LENGTH), body(b"abc")], joined=True, expect=True)
    assert found.writes[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert len(found.writes) == 2


@pytest.mark.parametrize("header", [(b"x-name", b"a\r\nset-cookie: b"), (b"x-name", b"a\0b")])
def test_a_header_with_control_characters_is_not_written(header: tuple[bytes, bytes]) -> None:
    found = written([start(LENGTH, header), body(b"abc")], joined=True)
    assert b"x-name" not in b"".join(found.writes)
    assert found.closed


@pytest.mark.parametrize("content", [b"ab", b"abcd"])
def test_a_body_of_another_length_closes_the_connection(content: bytes) -> None:
    assert written([start(LENGTH), body(content)], joined=True).closed


def test_a_head_that_nothing_follows_is_an_error() -> None:
    found = written([start(LENGTH)], joined=True)
    assert b"".join(found.writes).startswith(b"HTTP/1.1 500 ")
    assert found.closed

"""httptools: the order of its callbacks, and what it raises if a callback raises.

Stood on by `service.server.http_protocol`.
"""

from typing import Any

import pytest
from httptools import HttpParserCallbackError, HttpParserError, HttpRequestParser

CALLS = ("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body")


class Noting:
    """Records what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in (*CALLS, "on_message_complete"):
            raise AttributeError(name)
        return lambda *given: self.calls.append((name, *given))


def test_the_head_is_told_before_the_body_and_both_before_the_end() -> None:
    noting = Noting()
    parser = HttpRequestParser(noting)
    for byte in b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab":
        parser.feed_data(bytes([byte]))
    assert [call[0] for call in noting.calls if call[0] not in ("on_url", "on_body")] == [
        *("on_message_begin", "on_header", "on_header"),
        *("on_headers_complete", "on_message_complete"),
    ]
    assert b"".join(call[1] for call in noting.calls if call[0] == "on_url") == b"/a"
    assert b"".join(call[1] for call in noting.calls if call[0] == "on_body") == b"ab"


def test_what_a_callback_raises_is_the_context_of_what_the_parser_raises() -> None:
    class Raising:
        def on_headers_complete(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(HttpParserCallbackError) as caught:
        HttpRequestParser(Raising()).feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert isinstance(caught.value, HttpParserError)

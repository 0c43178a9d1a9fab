"""A connection that sends what no client library would."""

import http.client
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import orjson

SECONDS = 600.0  # for a server that hangs


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def error(self) -> str:
        """The text of `{"error": text}`.

        Raises:
            AssertionError: it is no such JSON.
        """
        assert self.headers["content-type"] == "application/json"
        found = orjson.loads(self.content)
        assert list(found) == ["error"], found
        text = found["error"]
        assert isinstance(text, str)
        return text


def exchange(port: int, pieces: Iterable[bytes], method: str = "POST") -> Answer:
    """Send a request over its own connection until the server stops reading; read the answer.

    Raises:
        http.client.HTTPException, OSError: the connection broke before an answer was whole.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # answered, and then closed
            for piece in pieces:
                connection.sendall(piece)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return Answer(answer.status, answer.msg, answer.read())

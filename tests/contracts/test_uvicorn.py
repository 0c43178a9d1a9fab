"""uvicorn: a connection, its requests, and the server that has them.

Stood on by `service.server.http_protocol`, `service.server.response_cycle`,
`service.server.draining`, `service.server.worker` and `service.middleware.admission`.
"""

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from tests.service.asgi_host import SECONDS, connected, eventually, read_all

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"

CONNECTION = {
    *("config", "server_state", "connections", "tasks", "loop", "transport", "flow", "parser"),
    *("cycle", "scope", "headers", "url", "pipeline", "access_log", "timeout_keep_alive_task"),
}
REQUEST = {
    *("scope", "transport", "response_started", "response_complete", "expected_content_length"),
    *("keep_alive", "disconnected", "message_event", "more_body", "body", "flow", "send"),
    *("default_headers", "waiting_for_100_continue", "on_response"),
}
FLOW = {"read_paused", "write_paused", "pause_reading", "resume_reading"}
CALLBACKS = {
    *("connection_made", "connection_lost", "data_received", "send_400_response", "shutdown"),
    *("on_message_begin", "on_url", "on_header", "on_headers_complete"),
    *("on_body", "on_message_complete", "on_response_complete"),
}


class Server:
    """A real one in a thread, whose requests wait until the test lets them continue."""

    def __init__(self, protocol: type[HttpToolsProtocol]) -> None:
        config = uvicorn.Config(
            self.answer, interface="asgi3", log_config=None, lifespan="off", http=protocol
        )
        self.server = uvicorn.Server(config)
        self.go = threading.Event()
        self.scopes: list[Scope] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await asyncio.to_thread(self.go.wait, SECONDS)
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    def connection(self) -> Any:
        """The only one, once its request runs."""
        eventually(lambda: len(self.scopes) > 0)
        (found,) = self.server.server_state.connections
        return found


@contextmanager
def running(protocol: type[HttpToolsProtocol] = HttpToolsProtocol) -> Iterator[Server]:
    server = Server(protocol)
    with server.listener:
        thread = threading.Thread(target=server.server.run, args=([server.listener],))
        thread.start()
        try:
            yield server
        finally:
            server.go.set()
            server.server.should_exit = True
            thread.join(SECONDS)


def missing(thing: object, names: set[str]) -> list[str]:
    return sorted(name for name in names if not hasattr(thing, name))


def test_a_connection_and_its_request_have_what_we_use() -> None:
    with running() as server, connected(server.port, GET):
        connection = server.connection()
        assert missing(connection, CONNECTION | CALLBACKS) == []
        assert missing(connection.cycle, REQUEST) == []
        assert missing(connection.flow, FLOW) == []
        assert connection.scope is connection.cycle.scope is server.scopes[0]
        assert (connection.url, connection.headers) == (b"/a?b", [(b"host", b"x")])
        assert connection.cycle.transport is connection.transport
        assert not connection.cycle.response_started
        assert connection.timeout_keep_alive_task is None
        server.go.set()
        eventually(lambda: connection.cycle.response_complete)
        eventually(lambda: connection.timeout_keep_alive_task is not None)


def test_the_tasks_are_the_requests_that_run() -> None:
    with running() as server, connected(server.port, GET) as client:
        connection = server.connection()
        state = server.server.server_state
        assert connection.server_state is state
        assert connection.tasks is state.tasks
        assert len(state.tasks) == 1
        server.go.set()
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        eventually(lambda: not state.tasks)


def test_a_second_request_waits_in_the_pipeline() -> None:
    with running() as server, connected(server.port, GET + GET):
        connection = server.connection()
        eventually(lambda: len(connection.pipeline) == 1)
        assert connection.flow.read_paused


def test_a_large_body_pauses_the_reading() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with running() as server, connected(server.port, head + bytes(200_000)):
        connection = server.connection()
        eventually(lambda: connection.flow.read_paused)


def test_a_cycle_is_of_the_class_that_the_module_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named(RequestResponseCycle):
        pass

    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", Named)
    with running() as server, connected(server.port, GET):
        assert type(server.connection().cycle) is Named


def test_the_head_and_the_body_of_an_answer_are_written_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This is why we join them; if they are joined by uvicorn, our code can be deleted."""
    uvicorns = [c for c in RequestResponseCycle.mro() if c.__module__ == httptools_impl.__name__]
    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", uvicorns[0])
    writes: list[bytes] = []

    class Noting(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            self.cycle.transport = self  # type: ignore[assignment]

        def write(self, content: bytes) -> None:
            writes.append(content)
            self.transport.write(content)

        def is_closing(self) -> bool:
            return self.transport.is_closing()

    with running(Noting) as server, connected(server.port, GET) as client:
        server.go.set()
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        eventually(lambda: len(writes) == 2)
    assert writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert writes[1] == b"ok"


@pytest.mark.parametrize("broken", [b"no HTTP\r\n\r\n", GET])
def test_what_the_parser_did_not_take_is_the_exception_of_its_answer(broken: bytes) -> None:
    found: list[BaseException | None] = []

    class Refusing(HttpToolsProtocol):
        def on_headers_complete(self) -> None:
            raise ZeroDivisionError

        def send_400_response(self, msg: str) -> None:
            error = sys.exception()
            found.append(error.__context__ if broken is GET and error else error)
            super().send_400_response(msg)

    with running(Refusing) as server, connected(server.port, broken) as client:
        assert read_all(client).startswith(STATUS_LINE[400])
    (error,) = found
    kind = ZeroDivisionError if broken is GET else Exception
    assert isinstance(error, kind)


def test_a_server_takes_sigterm_by_a_method_of_its_own() -> None:
    """It handles signals only in the main thread."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        seen.append(getattr(signal.getsignal(signal.SIGTERM), "__self__", None))
        server.handle_exit(signal.SIGTERM, None)
        await send({"type": message["type"] + ".complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", port=0))
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # which it raises again at its end
    try:
        server.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [server]
    assert server.should_exit


def test_a_header_in_the_configuration_is_in_every_answer_a_second_later() -> None:
    def answer() -> bytes:
        with connected(server.port, GET) as client:
            return client.recv(65536)

    with running() as server:
        server.go.set()
        assert b"x-more: 1" not in answer()
        server.server.config.encoded_headers.append((b"x-more", b"1"))
        eventually(lambda: b"x-more: 1" in answer())


def test_the_protocol_is_looked_up_by_the_name_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HTTP_PROTOCOLS, "auto", "service.server.http_protocol:LimitedHttpProtocol")
    config = uvicorn.Config(lambda: None, log_config=None)
    config.load()
    assert config.http_protocol_class.__module__ == "service.server.http_protocol"

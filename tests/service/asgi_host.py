"""An ASGI application on a real uvicorn with our connections, in a thread of the test."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.scope import CONNECTION
from service.server.http_parsing import CONTINUE
from service.server.http_protocol import LimitedHttpProtocol

SECONDS = 600  # a last resort


@contextmanager
def hosted(app: ASGIApp, **more: Any) -> Iterator[int]:
    """Serve an application with these settings of its connections, and yield the port."""
    protocol: Any = partial(LimitedHttpProtocol, **more)
    # Not "auto", which takes an application that is wrapped for one of ASGI 2.
    config = uvicorn.Config(app, log_config=None, lifespan="off", http=protocol, interface="asgi3")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()


@contextmanager
def connected(port: int, *pieces: bytes) -> Iterator[socket.socket]:
    """A connection on which something has been sent."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        for piece in pieces:
            connection.sendall(piece)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Read one answer: its status, headers and JSON, without `100 Continue`."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, f"closed after {head!r}"
        head = (head + byte).removeprefix(CONTINUE)
    first, *lines = head.decode().split("\r\n")[:-2]
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(first.split()[1]), headers, json.loads(body)


def eventually(met: Callable[[], bool]) -> None:
    """Wait for something that the server does without a response."""
    waiting = threading.Event()
    for _ in range(SECONDS * 100):
        if met():
            return
        waiting.wait(0.01)
    raise AssertionError("it never was")


async def answer(send: Send, content: Any, status: int = 200) -> None:
    """Answer as JSON."""
    body = json.dumps(content).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_request(receive: Receive) -> bytes:
    """Read a body; nothing more of it comes if the client has left."""
    body, more = b"", True
    while more:
        message: Message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path, the body, and whether the request is a task of its server."""
    body = await read_request(receive)
    own = asyncio.current_task() in scope[CONNECTION].tasks
    await answer(send, {"path": scope["path"], "body": body.decode(), "own": own})

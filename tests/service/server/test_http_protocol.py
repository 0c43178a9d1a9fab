"""The limits of a connection: heads, bodies and answers that are too long, slow or malformed."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.http.scope import ON_DISCONNECT
from service.server import http_protocol
from service.server.http_protocol import HEAD_BYTES
from tests.service.asgi_host import (
    SECONDS,
    answer,
    connected,
    echo,
    eventually,
    hosted,
    read_all,
    read_answer,
)
from tests.serving import SERVE, Server, serving, wait_until

MEBI = 2**20
FEW_DESCRIPTORS = 192
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ONE_BYTE = CHUNKED + b"1\r\na\r\n"


@pytest.fixture
def port() -> Iterator[int]:
    with hosted(echo) as port:
        yield port


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "STALL_TIMEOUT_SECONDS", 0.2)


def header(length: int) -> bytes:
    return b"X-Long: " + b"a" * length + b"\r\n"


def error(status: int, content: bytes) -> str:
    """The message of the one answer that a connection gave before it was closed."""
    head, _, body = content.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-type: application/json" in head
    (message,) = json.loads(body).values()
    return str(message)


def read_dribbling(connection: socket.socket, piece: bytes) -> bytes:
    """Send pieces slowly until the server closes; return its answer."""
    connection.settimeout(0.02)
    content = b""
    with suppress(ConnectionError):
        for _ in range(SECONDS * 50):
            try:
                if not (found := connection.recv(65536)):
                    return content
                content += found
            except TimeoutError:
                connection.sendall(piece)
        raise AssertionError("the server does not close")
    return content


def test_200_megabytes_of_headers_are_not_kept(server: Server) -> None:
    (worker,) = server.workers()
    httpx.get(f"{server.url}/livez")
    before, most = worker.memory_info().rss, 0
    with connected(server.port, GET) as connection, suppress(ConnectionError):
        for _ in range(200):
            connection.sendall(header(MEBI))
            most = max(most, worker.memory_info().rss)
    print(f"{most - before:,} bytes")
    assert most - before < 5 * MEBI


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        ([GET + header(HEAD_BYTES) + b"\r\n"], 431, "the headers are too long"),
        ([GET] + [header(1000)] * 40, 431, "the headers are too long"),
        ([b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n"], 414, "the URL is too long"),
        ([b"GET /"] + [b"a" * 1000] * 40, 414, "the URL is too long"),
        ([ONE_BYTE + b"0\r\n"] + [header(1000)] * 400, 431, "the headers are too long"),
    ],
)
def test_a_head_is_no_longer_than_it_may_be(
    port: int, sent: list[bytes], status: int, message: str
) -> None:
    with connected(port, *sent) as connection:
        assert error(status, read_all(connection)).startswith(message)


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_head_as_long_as_it_may_be_is_taken(server: Server, pieces: int) -> None:
    with connected(server.port, GET, *[header(4000)] * pieces, b"\r\n") as connection:
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("seconds", [1.0, 3600.0])
def test_a_connection_waits_for_its_next_request_as_long_as_it_is_told_to(seconds: float) -> None:
    with (
        hosted(echo, keep_alive_seconds=seconds) as port,
        connected(port, GET + b"\r\n") as connection,
    ):
        assert read_answer(connection)[0] == 200
        connection.settimeout(6)  # uvicorn's own limit is 5 s
        if seconds < 5:
            assert read_all(connection) == b""
        else:
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_a_servers_setting_is_what_its_connections_are_told(tmp_path: Path) -> None:
    settings = {"FASHION_DEVICE": "cpu", "FASHION_KEEP_ALIVE_SECONDS": "0.5"}
    with serving(tmp_path, **settings) as server, connected(server.port, GET + b"\r\n") as idle:
        assert read_answer(idle)[0] == 200
        begun = time.monotonic()
        assert read_all(idle) == b""
        assert time.monotonic() - begun < 60  # where it would be 75


def test_a_large_body_beside_its_head_is_no_long_head(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with connected(port, head + b"a" * 100_000 + GET, b"\r\n") as connection:
        assert len(read_answer(connection)[2]["body"]) == 100_000
        assert read_answer(connection)[2]["path"] == "/livez"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"NONSENSE\r\n\r\n", "this is not an HTTP/1.1 request: Invalid method encountered"),
        (b"BREW /pot HTTP/1.1\r\n\r\n", "this is not an HTTP/1.1 request: Invalid method"),
        (b"GET /livez HTTP/9.9\r\n\r\n", "this is not an HTTP/1.1 request: Invalid HTTP version"),
        (
            b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
            "this is not an HTTP/1.1 request: Invalid header",
        ),
        (b"\x16\x03\x01\x02\x00\x01", "this is not an HTTP/1.1 request: Invalid method"),
        (
            b"GET http://host HTTP/1.1\r\nHost: host\r\n\r\n",
            "the request line's target is not a path",
        ),
        (CHUNKED + b"zz\r\n", "this is not an HTTP/1.1 request: Invalid character in chunk size"),
    ],
)
def test_what_is_no_http_is_400_in_json(server: Server, sent: bytes, message: str) -> None:
    with connected(server.port, sent) as connection:
        assert error(400, read_all(connection)).startswith(message)


def test_what_the_protocol_refuses_is_counted_too(server: Server) -> None:
    def counted(status: int) -> float:
        text = httpx.get(f"{server.url}/metrics").text
        found = re.search(
            rf'^fashion_requests_total{{route="other",status="{status}"}} (.*)$', text, re.M
        )
        return float(found[1]) if found else 0.0

    for status, head in ((400, b"no HTTP\r\n\r\n"), (431, header(HEAD_BYTES + 1))):
        before = counted(status)
        with connected(server.port, b"GET /livez HTTP/1.1\r\nHost: x\r\n" * (status > 400) + head):
            wait_until(lambda: counted(status) == before + 1, server)  # noqa: B023


def test_what_was_asked_for_before_nonsense_is_answered_first(port: int) -> None:
    with connected(port, GET + b"\r\nNONSENSE\r\n\r\n") as connection:
        assert read_answer(connection)[0] == 200
        assert read_all(connection) == b""
    with connected(port, GET + b"\r\n") as connection:
        assert read_answer(connection)[0] == 200
        connection.sendall(b"NONSENSE\r\n\r\n")
        error(400, read_all(connection))


@pytest.mark.parametrize("sent", [b"GET /", GET, b"\r\n", GET + b"\r\nGET /"])
@pytest.mark.usefixtures("impatient")
def test_a_head_that_comes_a_byte_at_a_time_is_cut_off(port: int, sent: bytes) -> None:
    with connected(port, sent) as connection:
        content = read_dribbling(connection, b"\r\n" if sent == b"\r\n" else b"a")
    if sent != b"\r\n":
        content = content[content.rindex(b"HTTP/1.1 4") :]
        assert error(408, content) == "the request head was not complete after 0.2 s"


@pytest.mark.usefixtures("impatient")
def test_a_connection_on_which_nothing_comes_is_closed(port: int) -> None:
    with connected(port) as connection:
        assert read_all(connection) == b""


@pytest.mark.usefixtures("impatient")
def test_a_body_that_nobody_wants_does_not_hold_a_connection() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, {}, 415)

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    with hosted(refuse) as port, connected(port, head) as connection:
        assert read_answer(connection)[0] == 415
        read_dribbling(connection, b"a")


@pytest.mark.usefixtures("impatient")
def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    ended = threading.Event()

    async def answer_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ON_DISCONNECT] = ended.set
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not ended.is_set():
            await send({"type": "http.response.body", "body": bytes(MEBI), "more_body": True})

    with hosted(answer_for_ever) as port, connected(port, GET + b"\r\n"):
        assert ended.wait(SECONDS)


@pytest.mark.usefixtures("impatient")
def test_a_request_that_takes_long_is_not_cut_off() -> None:
    leave = threading.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(leave.wait, SECONDS)
        await answer(send, {})

    with hosted(wait) as port, connected(port, GET + b"\r\n") as connection:
        leave.wait(1)  # five times the patience that clients get
        leave.set()
        assert read_answer(connection)[0] == 200


def test_one_connection_too_many_is_told_so(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(http_protocol, "MAX_REJECTED_CONNECTIONS", 1)
    with ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connected(port, GET + b"\r\n"))
            assert read_answer(connection)[0] == 200
        with connected(port, GET + b"\r\n") as refused:
            status, headers, content = read_answer(refused)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert content == {"error": "this worker has 3 connections, the maximum: try again"}
            with connected(port) as dropped, suppress(ConnectionError):
                assert dropped.recv(1) == b""

    def served() -> bool:
        with connected(port, GET + b"\r\n") as connection, suppress(OSError, AssertionError):
            return read_answer(connection)[0] == 200
        return False

    eventually(served)


def test_a_worker_never_runs_out_of_descriptors(tmp_path: Path) -> None:
    command = ("prlimit", f"--nofile={FEW_DESCRIPTORS}", *SERVE)
    with serving(tmp_path, command=command, FASHION_DEVICE="cpu") as server, ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), SECONDS))
            for _ in range(2 * FEW_DESCRIPTORS)
        ]
        refused = 0
        for connection in opened[FEW_DESCRIPTORS // 2 :]:
            with suppress(ConnectionError):
                refused += connection.recv(12) == b"HTTP/1.1 503"
        assert refused > 0
        opened[0].sendall(GET + b"\r\n")
        assert read_answer(opened[0])[0] == 200
        stack.close()
        eventually(lambda: httpx.get(f"{server.url}/livez", timeout=SECONDS).status_code == 200)
        assert "Too many open files" not in server.log()


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
        (CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: x\r\n\r\n", "a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", "ab"),
    ],
)
def test_bodies_come_as_they_were_sent(port: int, sent: bytes, body: str) -> None:
    for pieces in ([sent + sent], [bytes([byte]) for byte in sent + sent]):
        with connected(port, *pieces) as connection:
            for _ in range(2):  # pipelined
                assert read_answer(connection)[2] == {"path": "/", "body": body, "own": True}


def test_a_client_that_asks_whether_to_send_is_told_to(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    with connected(port, head) as connection:
        assert connection.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"a")
        assert read_answer(connection)[2]["body"] == "a"

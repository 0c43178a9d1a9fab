"""Requests with upgrade offers, half-closed connections, and pipelining."""

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from service.http.scope import ON_DISCONNECT
from service.server.http_parsing import ALL_HELD_BYTES, FEW, HELD_BYTES, Parsing
from tests.pages import run
from tests.service.asgi_host import (
    SECONDS,
    answer,
    connected,
    echo,
    eventually,
    hosted,
    read_all,
    read_answer,
    read_request,
)
from tests.serving import Server

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
JAVA = (  # as java.net.http.HttpClient sends it
    b"POST /java HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n%b"
    b"Host: localhost\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"Upgrade: h2c\r\nUser-Agent: Java-http-client/21.0.4\r\nX: y\r\n\r\n%b"
)
WEBSOCKET = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def sized(body: bytes) -> bytes:
    return JAVA % (b"Content-Length: %d\r\n" % len(body), body)


def post(body: bytes) -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(*chunks: bytes) -> bytes:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return JAVA % (b"Transfer-Encoding: chunked\r\n", pieces + b"0\r\n\r\n")


def offering(upgrade: bytes, more: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST / HTTP/%b\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %b\r\n"
    return head % (version, upgrade) + more + b"Content-Length: 3\r\n\r\nabc"


def cut(content: bytes, size: int) -> Iterable[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.fixture
def port() -> Iterator[int]:
    with hosted(echo) as port:
        yield port


@pytest.mark.parametrize("size", [1, 7, 10**7])
@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (sized(b"abc"), "abc"),
        (sized(b""), ""),
        (chunked(b"a", b"bc"), "abc"),
        (JAVA % (b"", b""), ""),
        (offering(b"TLS/1.0"), "abc"),
        (offering(b"h2c, websocket"), "abc"),
        (offering(b"websocket"), "abc"),  # without a key
        (offering(b"websocket", WEBSOCKET), "abc"),
        (offering(b"h2c", b"Upgrade: TLS/1.3, HTTP/1.1\r\n"), "abc"),
        (offering(b"h2c", b"Connection: Upgrade\r\n"), "abc"),
    ],
)
def test_an_offer_of_another_protocol_is_passed_over(
    port: int, sent: bytes, body: str, size: int
) -> None:
    with connected(port, *cut(sent + GET + sent, size)) as connection:
        for expected in (body, "", body):  # the connection goes on, and requests in a row
            status, headers, content = read_answer(connection)
            assert (status, content["body"]) == (200, expected)
            assert "upgrade" not in headers


@pytest.mark.parametrize("size", [1000, 10**7])
@pytest.mark.parametrize("make", [sized, chunked])
def test_a_large_body_behind_an_offer_is_whole(port: int, make: object, size: int) -> None:
    body = bytes(range(128)) * 8192
    with connected(port, *cut(make(body), size)) as connection:  # type: ignore[operator]
        assert read_answer(connection)[2]["body"] == body.decode()


def test_curl_may_offer_http_2(server: Server, ankle_boot_file: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl on the PATH")
    for sent in (
        ("-F", f"image=@{ankle_boot_file}"),
        ("-H", "Content-Type: image/png", "--data-binary", f"@{ankle_boot_file}"),
        ("-H", "Transfer-Encoding: chunked", "-F", f"image=@{ankle_boot_file}"),
    ):
        out = run([curl, "--http2", "-sS", *sent, f"{server.url}/classify"], Path.cwd(), {})
        assert json.loads(out)["label"] == "Ankle boot"


@pytest.mark.parametrize("count", [1, 3, 100])
def test_a_client_that_has_sent_all_is_answered_and_then_closed(port: int, count: int) -> None:
    with connected(port, *[sized(b"abc"), GET] * count) as connection:
        connection.shutdown(socket.SHUT_WR)
        for _ in range(count):
            assert read_answer(connection)[2]["body"] == "abc"
            assert read_answer(connection)[2]["path"] == "/livez"
        assert read_all(connection) == b""


@pytest.mark.parametrize(
    "request_line", [b"GET /livez HTTP/1.1\r\nHost: x", b"GET /livez HTTP/1.0"]
)
def test_a_slow_answer_reaches_a_client_that_has_sent_all(request_line: bytes) -> None:
    leave, entered = threading.Event(), threading.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await asyncio.to_thread(leave.wait, SECONDS)
        await answer(send, "slow")

    with hosted(wait) as port, connected(port, request_line + b"\r\n\r\n") as connection:
        connection.shutdown(socket.SHUT_WR)
        assert entered.wait(SECONDS)
        leave.wait(0.5)
        leave.set()
        content = read_all(connection)
    continues, _, final = content.rpartition(b"HTTP/1.1 200 OK\r\n")
    assert final.endswith(b'\r\n\r\n"slow"')
    assert continues.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == b""
    assert bool(continues) == request_line.endswith(b"x")  # HTTP/1.0 knows none


def test_a_client_that_has_closed_is_found_out_by_writing() -> None:
    entered, left = threading.Event(), threading.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ON_DISCONNECT] = left.set
        entered.set()
        await asyncio.to_thread(left.wait, SECONDS)

    with hosted(wait) as port:
        with connected(port, GET):
            assert entered.wait(SECONDS)
        assert left.wait(SECONDS)


@pytest.mark.parametrize(
    "half", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n", sized(b"abc")[:-1], b"\r\n", b""]
)
def test_half_a_request_is_not_waited_for(half: bytes) -> None:
    ended = threading.Semaphore(0)

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_request(receive)
        ended.release()
        await answer(send, body.decode())

    with hosted(note) as port:
        with connected(port, half) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b""
        with connected(port, GET + half) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert read_answer(connection)[0] == 200
            assert read_all(connection) == b""
        for _ in range(3 if half.endswith(b"ab") else 1):
            assert ended.acquire(timeout=SECONDS)


@pytest.mark.parametrize("make", [lambda n: GET, lambda n: sized(b"%d" % n)])
def test_few_requests_are_made_ahead_of_those_that_are_answered(make: object) -> None:
    leave, entered = threading.Event(), threading.Event()
    held: list[int] = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_request(receive)
        held.append(len(scope["fashion_lenet.connection"].pipeline))
        entered.set()
        await asyncio.to_thread(leave.wait, SECONDS)
        await answer(send, body.decode())

    count = 1000
    sent = [make(n) for n in range(count)]  # type: ignore[operator]
    with hosted(wait) as port, connected(port, b"".join(sent)) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert entered.wait(SECONDS)
        leave.set()
        bodies = [read_answer(connection)[2] for _ in range(count)]
        assert read_all(connection) == b""
    assert bodies == [str(n) if b"POST" in sent[0] else "" for n in range(count)]
    assert max(held) <= 2 * FEW
    assert Parsing.held_bytes == 0


# What a body may have in it: ends of heads, heads, and more bytes than are read at once.
PIECES = st.sampled_from(
    [b"\r\n\r\n", b"\r\n", GET, b"0\r\n\r\n", b"a", b"b" * 5000, b"c" * 300_000]
)
BODIES = st.lists(PIECES, max_size=12).map(b"".join)


@given(
    st.lists(
        st.one_of(st.just((GET, b"")), BODIES.map(lambda body: (post(body), body))),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([7, 1000, 4096, 10**7]),
)
def check_that_bodies_hold_no_requests(
    port: int, sent: list[tuple[bytes, bytes]], size: int
) -> None:
    content = b"".join(request for request, _ in sent)
    size = max(size, len(content) // 1000)  # or it would take long
    with connected(port) as connection:
        thread = threading.Thread(target=lambda: [*map(connection.sendall, cut(content, size))])
        thread.start()
        found = [read_answer(connection)[2]["body"] for _ in sent]
        thread.join()
    assert found == [body.decode() for _, body in sent]


def test_bodies_hold_no_requests(port: int) -> None:
    check_that_bodies_hold_no_requests(port)


def test_what_waits_to_be_parsed_is_forgotten_with_its_connection() -> None:
    leave = threading.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(leave.wait, SECONDS)
        await answer(send, "")

    with hosted(wait) as port:
        with connected(port, GET * 2000):
            eventually(lambda: Parsing.held_bytes > 0)
            assert Parsing.held_bytes < HELD_BYTES < ALL_HELD_BYTES
        leave.set()
        eventually(lambda: Parsing.held_bytes == 0)


def test_trailers_are_no_headers() -> None:
    seen: list[bytes] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        await read_request(receive)
        seen.extend(name for name, _ in scope["headers"])
        await answer(send, "")

    sent = chunked(b"a").removesuffix(b"\r\n") + b"Authorization: Bearer x\r\nHost: y\r\n\r\n"
    with hosted(note) as port, connected(port, sent + GET) as connection:
        assert [read_answer(connection)[0] for _ in range(2)] == [200, 200]
    assert b"authorization" not in seen
    assert seen.count(b"host") == 2


def test_all_answers_to_an_offer_are_those_without_it(server: Server) -> None:
    def status(content: bytes) -> bytes:
        with connected(server.port, content) as connection:
            return connection.recv(12)

    offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + WEBSOCKET
    for line in (b"GET /livez", b"GET /nothing", b"GET /classify", b"OPTIONS /", b"HEAD /livez"):
        head = line + b" HTTP/1.1\r\nHost: x\r\n"
        assert status(head + offer + b"\r\n") == status(head + b"\r\n")

"""Heads that a proxy could parse differently, or that must be rejected."""

import json
from collections.abc import Sequence

import pytest

from service.server.request_head import HeadRejected, check_head
from tests.service.asgi_host import connected, eventually, read_all
from tests.serving import Server

HOST = (b"host", b"localhost:3000")


def refused(
    *framing: tuple[bytes, bytes], version: str = "1.1", method: bytes = b"POST"
) -> HeadRejected:
    with pytest.raises(HeadRejected) as caught:
        check_head(version, method, framing)
    return caught.value


@pytest.mark.parametrize("version", ["1.0", "0.9"])
def test_old_clients_name_no_host(version: str) -> None:
    check_head(version, b"GET", [])
    check_head(version, b"GET", [HOST])


@pytest.mark.parametrize(
    "value",
    ["x", "", "localhost", "localhost:3000", "a-b_c.example.", "1.2.3.4:80", "[::1]", "[::1]:3000",
     "[fe80::1%25eth0]", "x:", "%C3%A9.example", "x" * 5000],
)  # fmt: skip
def test_names_and_addresses_are_hosts(value: str) -> None:
    if "%25" in value:  # RFC 6874 was withdrawn
        refused((b"host", value.encode()))
    else:
        check_head("1.1", b"GET", [(b"host", value.encode())])


@pytest.mark.parametrize(
    "value", ["[", "a b", "a:b:c", "é", "a/b", "a?b", "a#b", "user@x", "x:80a", "::1", 'x"', "<x>"]
)
def test_anything_else_is_none(value: str) -> None:
    error = refused((b"host", value.encode()))
    assert error.status == 400
    assert "expected one like localhost:3000" in str(error)


def test_one_host_is_named_and_no_more() -> None:
    assert str(refused()) == "the request has 0 Host headers, expected one"
    assert str(refused(HOST, HOST)) == "the request has 2 Host headers, expected one"
    assert refused(HOST, HOST, version="1.0").status == 400


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b" chunked"])
def test_chunked_is_served(value: bytes) -> None:
    check_head("1.1", b"POST", [HOST, (b"transfer-encoding", value)])


@pytest.mark.parametrize(
    "values",
    [[b"gzip"], [b"gzip", b"chunked"], [b"gzip, chunked"], [b"chunked, gzip"], [b"identity"], [b""],
     [b"chunked", b"chunked"], [b"xchunked"], [b"chunked;q=1"]],
)  # fmt: skip
def test_no_other_coding_is(values: Sequence[bytes]) -> None:
    error = refused(HOST, *((b"transfer-encoding", value) for value in values))
    assert error.status == 501
    assert str(error) == "the Transfer-Encoding is not served, expected chunked or none"


def test_no_coding_is_of_http_1_0() -> None:
    assert refused((b"transfer-encoding", b"chunked"), version="1.0").status == 400


def test_there_are_no_tunnels() -> None:
    assert refused(HOST, method=b"CONNECT").status == 501


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n"
         b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: cow\r\n\r\n", 501),
        (b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nSSH-2.0", 501),
        (b"\0\r\n" * 50, 400),
    ],
)  # fmt: skip
def test_a_refusal_is_json_with_headers_and_one_line_of_the_log(
    sent: bytes, status: int, server: Server
) -> None:
    def lines() -> list[str]:
        return [line for line in server.log().splitlines() if f" status={status} " in line]

    before = len(lines())
    with connected(server.port, sent) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    for header in (b"x-content-type-options: nosniff", b"connection: close", b"application/json"):
        assert header in head.lower()
    (message,) = json.loads(body).values()
    eventually(lambda: len(lines()) > before)
    (line,) = lines()[before:]
    assert line.endswith(f" error={json.dumps(message)}")
    assert "Invalid HTTP request" not in server.log()  # uvicorn's own line

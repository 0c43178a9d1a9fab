"""The log's line for each request, as a real server writes it."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.telemetry.access_log import PIPE_BUF, AccessLog
from service.telemetry.request_id import SCOPE_KEY as REQUEST_ID
from service.telemetry.request_timing import RequestTiming
from tests.service.pictures import encode
from tests.serving import Server, serving

PNG = {"Content-Type": "image/png"}
REQUESTS = 400
VALUE = r'"(?:[^"\\]|\\.)*"|[^ "=\\]+'
FIELDS = (
    *("time", "request_id", "client", "method", "path", "status"),
    *("decode_ms", "inference_ms", "total_ms"),
)
TEXT = re.compile(" ".join(f"{name}=({VALUE})" for name in FIELDS) + f"(?: error=({VALUE}))?")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@pytest.fixture(scope="module")
def json_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that write JSON to one file."""
    folder = tmp_path_factory.mktemp("json")
    settings = {"FASHION_DEVICE": "cpu", "FASHION_WORKERS": "2", "FASHION_ACCESS_LOG": "json"}
    with serving(folder, **settings) as server:
        yield server


def write(log: AccessLog, scope: Any, *request_ids: str, error: str = "") -> None:
    """Have the log write a line for each request, all in one turn of an event loop."""

    async def turn() -> None:
        for request_id in request_ids or ["7"]:
            log.write(scope | {REQUEST_ID: request_id}, 200, RequestTiming(), error)
        await asyncio.sleep(0)

    asyncio.run(turn())


def written(
    style: Any,
    path: bytes,
    client: str = "1.2.3.4",
    method: str = "GET",
    request_id: str = "7",
    error: str = "",
) -> bytes:
    """What the log writes of one request."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines, os.fdopen(writer, "wb") as end:
        scope = {"method": method, "raw_path": path, "client": (client, 1)}
        write(AccessLog(style, end.fileno()), scope, request_id, error=error)
        end.close()
        return lines.read()


def test_the_text_has_every_field(
    server: Server, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    answer = client.post(
        "/classify?top_k=3",
        content=encode(ankle_boot),
        headers=PNG | {"X-Request-ID": "every-field", "Authorization": "a secret of this test"},
    )
    assert answer.status_code == 200
    found = TEXT.fullmatch(server.line("every-field"))
    assert found
    fields = dict(zip(FIELDS, found.groups()[:-1], strict=True))
    assert before <= datetime.fromisoformat(fields["time"]) <= datetime.now(UTC)
    assert fields["client"] == "127.0.0.1"
    assert (fields["method"], fields["path"], fields["status"]) == ("POST", "/classify", "200")
    times = [float(fields[name]) for name in ("decode_ms", "inference_ms", "total_ms")]
    assert 0 < times[0] < times[2]
    assert 0 < times[1] < times[2]
    # Other tests' errors, in the same log, name the parameters there are.
    assert "top_k" not in found[0]
    assert "?top_k=3" not in server.log()
    assert "a secret of this test" not in server.log()


def test_lines_of_two_workers_are_whole_and_one_for_each_request(
    json_server: Server, ankle_boot: NDArray[np.uint8]
) -> None:
    content = encode(ankle_boot)
    long = "/" + "x" * 3000
    context = httpx.create_ssl_context()  # takes longer than a request

    def ask(n: int) -> None:  # by a connection of its own, which either worker may take
        headers = PNG | {"X-Request-ID": f"whole-{n}"}
        path = "/classify" if n % 2 else long
        with httpx.Client(base_url=json_server.url, timeout=60, verify=context) as client:
            client.post(path, content=content, headers=headers)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(ask, range(REQUESTS)))
    json_server.stop()  # both have written their last line
    lines = [line for line in json_server.log().splitlines() if "whole-" in line]
    found = [json.loads(line) for line in lines]
    assert {fields["request_id"] for fields in found} == {f"whole-{n}" for n in range(REQUESTS)}
    assert len(found) == REQUESTS
    for fields in found:
        assert tuple(fields) == (*FIELDS, *(["error"] if fields["status"] == 404 else []))
        assert fields["status"] == (404 if int(fields["request_id"][6:]) % 2 == 0 else 200)
        assert fields["total_ms"] > 0


def test_off_writes_no_line(tmp_path: Path) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_ACCESS_LOG="off") as server:
        httpx.get(f"{server.url}/nothing", headers={"X-Request-ID": "unwritten"})
        server.stop()  # all that it writes is written
    assert "unwritten" not in server.log()
    assert "/nothing" not in server.log()


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        ("/a%0Atime=forged", '"/a%0Atime=forged"'),
        ("/a%22b", "/a%22b"),
        ("/a\\b", '"/a\\\\b"'),
        ("/a%20status=200", '"/a%20status=200"'),
        ("/%00%1b%5b2J", "/%00%1b%5b2J"),
        ("/%E2%80%A8%C2%9B", "/%E2%80%A8%C2%9B"),
        ("/%ff", "/%ff"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/" + "x" * 5000, "/" + "x" * 499 + "..."),
    ],
)
def test_a_path_cannot_forge_a_line(
    sent: str, logged: str, server: Server, client: httpx.Client
) -> None:
    url = client.base_url.copy_with(raw_path=sent.encode())  # as it stands, not normalised
    made = client.get(url).headers["X-Request-ID"]
    found = TEXT.fullmatch(server.line(f"request_id={made} "))
    assert found
    assert found[FIELDS.index("path") + 1] == logged


def test_an_address_that_a_proxy_passes_on_cannot_forge_a_field(
    server: Server, client: httpx.Client
) -> None:
    forged = '6.6.6.6" status=200 path=/other'
    answer = client.get("/nothing", headers={"X-Forwarded-For": forged})
    made = answer.headers["X-Request-ID"]
    found = TEXT.fullmatch(server.line(f"request_id={made} "))
    assert found
    assert json.loads(found[FIELDS.index("client") + 1]) == forged
    assert found[FIELDS.index("status") + 1] == "404"


@given(st.binary(max_size=3000), TEXTS, TEXTS)
def test_whatever_is_sent_is_one_line_that_is_read_back(
    path: bytes, client: str, error: str
) -> None:
    for style in ("text", "json"):
        line = written(style, b"/" + path, client, error=error)
        assert line.isascii()
        assert line.count(b"\n") == 1
        assert len(line) <= PIPE_BUF
    text = written("text", b"/" + path, client, error=error).decode().removesuffix("\n")
    found = TEXT.fullmatch(text)
    assert found
    assert found[FIELDS.index("status") + 1] == "200"
    assert (found[FIELDS.index("status") + 5] is None) == (error == "")
    fields = json.loads(written("json", b"/" + path, client, error=error))
    shown = (b"/" + path).decode("ascii", "backslashreplace")
    assert fields["path"] in (shown, shown[:500] + "...")


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        ("no key", "no key"),
        ("mode is 'a\\n', one is right", "mode is 'a\\n', one is right"),
        ('a" status=200\ntime=forged', 'a" status=200\\ntime=forged'),
        ("\x1b[2J\u2028\x9b é \U0001f600", "\\x1b[2J\\u2028\\x9b \\xe9 \\U0001f600"),
        ("x" * 301, "x" * 300 + "..."),
        ("\0" * 5000, "\\x00" * 75 + "..."),
    ],
)
def test_an_error_is_written_in_short_and_cannot_forge_a_line(error: str, logged: str) -> None:
    fields = json.loads(written("json", b"/", error=error))
    assert fields["error"] == logged
    found = TEXT.fullmatch(written("text", b"/", error=error).decode().removesuffix("\n"))
    assert found
    assert found.groups()[-1] in (logged, json.dumps(logged))


@pytest.mark.parametrize(
    ("method", "path", "kind", "content", "status"),
    [
        ("GET", "/nothing", "", b"", 404),
        ("DELETE", "/classify", "", b"", 405),
        ("POST", "/classify", "image/png", b"no picture", 400),
        ("POST", "/classify?topk=3", "image/png", b"", 400),
        ("POST", "/classify", "text/plain", b"", 415),
        ("POST", "/classify", "image/png", bytes(11 * 2**20), 413),
        ("POST", "/predict", "application/json", b"{}", 400),
        ("POST", "/v2/models/fashion_lenet/infer", "application/json", b"[", 400),
        ("POST", "/v2/models/other/infer", "application/json", b"", 404),
        ("GET", "/ui/nothing", "", b"", 404),
    ],
)
def test_every_refusal_has_its_reason_in_its_line(
    method: str, path: str, kind: str, content: bytes, status: int, server: Server
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = httpx.request(method, server.url + path, content=content, headers=headers)
    assert answer.status_code == status
    line = server.line(f"request_id={answer.headers['X-Request-ID']} ")
    found = TEXT.fullmatch(line)
    assert found
    told = answer.json()["error"]
    assert json.loads(found.groups()[-1]) == (told if len(told) <= 300 else told[:300] + "...")


def test_a_request_of_no_address_is_written_too() -> None:
    reader, writer = os.pipe()
    scope = {"method": "GET", "path": "/é", "client": None}
    write(AccessLog("json", writer), scope)
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        fields = json.loads(lines.read())
    assert fields["client"] is None
    assert fields["path"] == "/\\xc3\\xa9"


def test_a_line_that_cannot_be_written_is_told_and_nothing_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Path("/dev/full").open("wb") as full:
        scope = {"method": "GET", "raw_path": b"/", "client": None}
        write(AccessLog("text", full.fileno()), scope)
    assert caplog.messages == [
        "Lines of the access log are lost (1): [Errno 28] No space left on device"
    ]


def test_lines_of_one_turn_leave_in_order_and_in_pieces_that_stay_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda descriptor, piece: pieces.append(piece))
    ids = [f"request-{n}" for n in range(100)]
    write(AccessLog("json"), {"method": "GET", "raw_path": b"/" + b"x" * 600, "client": None}, *ids)
    assert 1 < len(pieces) < len(ids) / 2
    assert all(0 < len(piece) <= PIPE_BUF and piece.endswith(b"\n") for piece in pieces)
    lines = b"".join(pieces).splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ids

"""No secret that a client sends appears in the log, the metrics or an error."""

import signal
import socket
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.pictures import encode
from tests.serving import ROOT, SERVE, serving, start

KEY, OTHER = "secret-key-0123456789", "secret-second-0123456789"
WRONG = "secret-wrong-0123456789"
MARK = "secret-"
PNG = {"Content-Type": "image/png"}
SENT: tuple[dict[str, str], ...] = (
    {"X-API-Key": KEY},
    {"Authorization": f"Bearer {KEY}"},
    {"X-API-Key": WRONG},
    {"Authorization": f"Bearer {WRONG}"},
    {"Authorization": "Basic secret-basic"},
    {"Proxy-Authorization": "Basic secret-proxy", "X-API-Key": OTHER},
    {"Cookie": "session=secret-cookie", "X-API-Key": KEY},
    {"Referer": "https://secret-page.example/", "User-Agent": "secret-agent", "X-API-Key": KEY},
    {"X-Request-ID": "not an id: secret-id", "X-API-Key": KEY},
)
PATHS = (
    "/classify",
    "/classify?key=secret-query",
    "/classify?secret-query",
    "/nothing?token=secret-query",
    "/v2?secret-query",
)


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_secret_is_logged_counted_or_answered(
    style: str, ankle_boot: NDArray[np.uint8], tmp_path: Path
) -> None:
    settings = {
        "FASHION_DEVICE": "cpu",
        "FASHION_API_KEY": f"{KEY},{OTHER}",
        "FASHION_ACCESS_LOG": style,
    }
    answers = []
    with serving(tmp_path, **settings) as server, httpx.Client(base_url=server.url) as client:
        for headers in SENT:
            for path in PATHS:
                answers += [client.get(path, headers=headers)]
                for body in (encode(ankle_boot), b"secret-body", b'{"secret-json": '):
                    for kind in (PNG, {"Content-Type": "application/json"}):
                        answers += [client.post(path, content=body, headers=headers | kind)]
        for line in (f"GET /?{KEY} HTTP/9\r\nX-API-Key: {KEY}\r\n\r\n", f"{KEY}\r\n\r\n"):
            answers += [_say(server.port, line)]
        metrics = client.get("/metrics", headers={"X-API-Key": KEY}).text
        described = client.get("/docs.json", headers={"X-API-Key": KEY}).text
        server.process.send_signal(signal.SIGHUP)  # what is read again is not written
        assert client.get("/livez").status_code == 200
        server.stop()
        log = server.log()
    statuses = {answer.status_code for answer in answers if isinstance(answer, httpx.Response)}
    assert statuses >= {200, 400, 401, 404, 405, 415}
    assert log.count("status") >= len(SENT) * len(PATHS)
    assert MARK not in log
    assert MARK not in metrics + described
    for answer in answers:
        text = answer.text + str(answer.headers) if isinstance(answer, httpx.Response) else answer
        assert MARK not in text


def _say(port: int, words: str) -> str:
    """Send invalid HTTP; return the answer."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(words.encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def test_a_server_with_a_wrong_key_says_so_without_it(tmp_path: Path) -> None:
    settings = {"FASHION_DEVICE": "cpu", "FASHION_API_KEY": f"{KEY},secret-short"}
    server = start(tmp_path, SERVE, ROOT, settings)
    assert server.process.wait(120) == 1
    assert "FASHION_API_KEY: Value error, key 2 of 2 has 12 characters" in server.log()
    assert MARK not in server.log()
    assert "Traceback" not in server.log()

"""SIGTERM: not ready, still answering, then an end after all requests in flight."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from tests.service.pictures import encode
from tests.serving import Server, serving, wait_until
from tests.traffic import traffic

READINESS = (
    *("/readyz", "/healthz", "/v2/health/ready"),
    *("/v2/models/fashion_lenet/ready", "/v2/models/fashion_lenet/versions/1.1.0/ready"),
)
STILL = ("/livez", "/v2/health/live", "/v2/models/fashion_lenet", "/metrics", "/")
SECONDS = 600


@contextmanager
def uploading(server: Server, picture: bytes) -> Iterator[socket.socket]:
    """A connection on which all of a request but its last byte has been sent."""
    head = (
        "POST /classify HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(picture)}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", server.port), SECONDS)) as connection:
        connection.sendall(head.encode() + picture[:-1])
        yield connection


def finish(connection: socket.socket, picture: bytes) -> bytes:
    """Send the last byte, and return the whole answer, behind which the server closes."""
    connection.sendall(picture[-1:])
    with connection.makefile("rb") as file:
        return file.read()


def listeners(server: Server) -> list[psutil.Process]:
    """The workers that take new connections."""
    return [
        worker
        for worker in server.workers()
        if any(taken.status == psutil.CONN_LISTEN for taken in worker.net_connections("tcp"))
    ]


def test_a_server_that_drains_is_not_ready_and_answers_all_the_same(
    tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    picture = encode(ankle_boot)
    seconds = 20  # in which a busy machine does all of this
    settings = {
        "FASHION_DRAIN_SECONDS": str(seconds),
        "FASHION_WORKERS": "2",
        "FASHION_DEVICE": "cpu",
    }
    with (
        serving(tmp_path, **settings) as server,
        uploading(server, picture) as begun_before,
        traffic(server, picture) as seen,
    ):
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.log().count("Draining: ") == 2, server)
        with httpx.Client(base_url=server.url) as client:
            for _ in range(4):  # of both workers
                for path in READINESS:
                    answer = client.get(path)
                    assert answer.status_code == 503
                    assert answer.json()["error"].startswith("draining: ")
                    assert answer.headers["Connection"] == "close"
                    assert answer.headers["Retry-After"] == "5"
                for path in STILL:
                    assert client.get(path).status_code == 200
        with uploading(server, picture) as begun_meanwhile:
            count = seen.answers.total()
            wait_until(lambda: seen.answers.total() > count + 50, server)
            assert len(listeners(server)) == 2
            seen.stop()
            assert not seen.failures
            assert seen.statuses == {200}
            wait_until(lambda: not listeners(server), server)
            assert time.monotonic() - start > seconds
            assert server.process.poll() is None
            for connection in (begun_before, begun_meanwhile):
                answer_bytes = finish(connection, picture)
                assert answer_bytes.startswith(b"HTTP/1.1 200 ")
                assert b"Ankle boot" in answer_bytes
        assert server.process.wait(SECONDS) == 0
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl+C"])
def test_what_has_begun_is_finished_without_draining_too(
    number: int, tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    picture = encode(ankle_boot)
    with (
        serving(tmp_path, FASHION_DEVICE="cpu", FASHION_DRAIN_SECONDS="0") as server,
        uploading(server, picture) as connection,
    ):
        server.process.send_signal(number)
        wait_until(lambda: not listeners(server), server)
        assert finish(connection, picture).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(SECONDS) == 0
    assert "Traceback" not in server.log()


def test_the_second_signal_ends_a_server_at_once(
    tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    with (
        serving(tmp_path, FASHION_DEVICE="cpu", FASHION_DRAIN_SECONDS="600") as server,
        uploading(server, encode(ankle_boot)),
    ):
        (worker,) = server.workers()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Draining: the server stops in 600 s." in server.log(), server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        assert not worker.is_running()


def test_a_worker_can_be_drained_alone_and_another_takes_its_place(tmp_path: Path) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_DRAIN_SECONDS="0") as server:
        (before,) = server.workers()
        before.terminate()
        wait_until(lambda: not before.is_running(), server)
        assert httpx.get(f"{server.url}/readyz", timeout=SECONDS).status_code == 200
        (after,) = server.workers()
        assert after != before

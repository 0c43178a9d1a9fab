"""A real server that is overloaded, or whose clients disconnect."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.hostile.png import RGB, black
from tests.service.asgi_host import connected, eventually, read_answer
from tests.service.pictures import encode
from tests.serving import Server, serving

pytestmark = pytest.mark.serial  # it takes the whole machine

CLIENTS = 60
PROBES = ("/livez", "/readyz", "/v2/health/ready", "/metrics")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("busy")
    with serving(folder, FASHION_DEVICE="cpu", FASHION_MAX_CONCURRENCY="2") as server:
        yield server


@pytest.fixture(scope="module")
def large_picture() -> bytes:
    """Nearly as large as a picture may be: decoding it takes more than half a second."""
    return black(5656, 8, RGB, interlaced=1)


def request(content: bytes) -> bytes:
    head = "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def counted(server: Server, status: int) -> float:
    """How many requests for /classify had a status, as /metrics says."""
    wanted = f'fashion_requests_total{{route="/classify",status="{status}"}} '
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def test_what_is_too_much_is_refused_and_the_rest_is_done(
    busy: Server, large_picture: bytes, ankle_boot: NDArray[np.uint8]
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(busy.port)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(request(large_picture))
        for path in PROBES:
            assert httpx.get(busy.url + path, timeout=60).status_code == 200
        answers = [read_answer(client) for client in clients]
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 429}
    for status, headers, content in answers:
        if status == 429:
            assert headers["retry-after"] == "1"
            assert content["error"].endswith("requests in flight, the maximum is 2: try again")
    eventually(lambda: counted(busy, 429) == statuses.count(429))
    content = encode(ankle_boot)
    answer = httpx.post(f"{busy.url}/classify", files={"image": content}, timeout=60)
    assert answer.json()["label"] == "Ankle boot"


def test_small_requests_are_refused_too(busy: Server, ankle_boot: NDArray[np.uint8]) -> None:
    """These never await, so that a count of started requests would show no load."""
    content = request(encode(ankle_boot))

    async def ask() -> set[bytes]:
        pairs = [await asyncio.open_connection("127.0.0.1", busy.port) for _ in range(CLIENTS)]
        for _, writer in pairs:
            writer.write(content)
        first = {await reader.readexactly(12) for reader, _ in pairs}
        for _, writer in pairs:
            writer.close()
        return first

    found: set[bytes] = set()

    def both() -> bool:
        found.update(asyncio.run(ask()))
        return found == {b"HTTP/1.1 200", b"HTTP/1.1 429"}

    eventually(both)


def test_requests_whose_clients_have_left_make_room(
    busy: Server, large_picture: bytes, ankle_boot: NDArray[np.uint8]
) -> None:
    before = counted(busy, 499)

    def cancelled() -> bool:  # not every time: one that is decoded too soon is answered with 200
        content = request(large_picture)
        with connected(busy.port, content), connected(busy.port, content):
            pass
        return counted(busy, 499) > before

    eventually(cancelled)
    files = {"image": encode(ankle_boot)}
    eventually(lambda: httpx.post(f"{busy.url}/classify", files=files, timeout=60).is_success)


def test_a_picture_that_takes_too_long_is_504(
    tmp_path: Path, large_picture: bytes, ankle_boot: NDArray[np.uint8]
) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu", FASHION_TIMEOUT_SECONDS="0.1") as server:
        with connected(server.port, request(large_picture)) as connection:
            status, headers, content = read_answer(connection)
            assert (status, content) == (
                504,
                {"error": "there was no answer after 0.1 s: send fewer or smaller images"},
            )
            assert headers["x-request-id"]
        content = encode(ankle_boot)

        def classified() -> bool:  # a tenth of a second may be too short where others compute too
            answer = httpx.post(f"{server.url}/classify", files={"image": content}, timeout=60)
            return answer.is_success and answer.json()["label"] == "Ankle boot"

        eventually(classified)
        assert "Traceback" not in server.log()

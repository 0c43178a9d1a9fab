"""Bad input to a real server: the right 4xx with a reason, and the next picture is classified."""

import http.client
import itertools
import pickle
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from service.preprocessing.formats import MEDIA_TYPES, SERVED
from tests.service.pictures import encode, png_header
from tests.serving import Server

LIMIT = 10 * 2**20
MEBIBYTE = bytes(2**20)
PNG = {"Content-Type": "image/png"}


@pytest.fixture(autouse=True)
def serves_on(client: httpx.Client, server: Server, png: bytes) -> Iterator[None]:
    """After any request, the same worker still classifies."""
    before = [worker.pid for worker in server.workers()]
    yield
    answer = client.post("/classify", content=png, headers=PNG)
    assert answer.json()["label"] == "Ankle boot"
    assert [worker.pid for worker in server.workers()] == before
    assert len(before) == 1


@pytest.fixture
def png(ankle_boot: NDArray[np.uint8]) -> bytes:
    return encode(ankle_boot)


def refused(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            {"picture": b"x"},
            "has 0 fields called 'image' and should have one; its fields: 'picture'",
        ),
        ({"Image": b"x"}, "has 0 fields called 'image' and should have one; its fields: 'Image'"),
        ({"image": b""}, f"the image is empty: send a {SERVED} file"),
        ({"image": b"no picture"}, f"the image (10 bytes) is not a {SERVED} file"),
        ([("image", b"x"), ("image", b"y")], "has 2 fields called 'image' and should have one"),
    ],
)
def test_a_form_without_the_one_picture(client: httpx.Client, files: Any, reason: str) -> None:
    refused(client.post("/classify", files=files), 400, reason)


def test_a_form_with_no_field(client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post("/classify", content=b"--b--\r\n", headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


def test_an_empty_form(client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(client.post("/classify", content=b"", headers=headers), 400, "multipart body")


def test_a_form_without_a_boundary(client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    refused(client.post("/classify", content=b"--b--", headers=headers), 400, "has no boundary")


def test_a_form_that_is_none(client: httpx.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post("/classify", content=b"a=1&b=2", headers=headers)
    refused(answer, 400, "the multipart body is malformed")


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the image is empty"), (b"\0" * 100, f"the image (100 bytes) is not a {SERVED} file")],
)
def test_a_body_that_is_no_picture(
    client: httpx.Client, media_type: str, content: bytes, reason: str
) -> None:
    answer = client.post("/classify", content=content, headers={"Content-Type": media_type})
    refused(answer, 400, reason)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_that_is_cut_off(
    client: httpx.Client, kind: str, ankle_boot: NDArray[np.uint8]
) -> None:
    content = encode(ankle_boot, kind)
    half = content[: len(content) // 2]
    refused(client.post("/classify", files={"image": half}), 400, "is broken or cut off: ")
    refused(client.post("/classify", content=half, headers=PNG), 400, "is broken or cut off: ")


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("application/vnd.bentoml+pickle", pickle.dumps({"image": b"x"})),
        ("application/x-pickle", pickle.dumps(1)),
        ("application/json", b'{"image": "http://127.0.0.1/secret.png"}'),
        ("application/x-www-form-urlencoded", b"image=http%3A%2F%2F127.0.0.1%2Fsecret.png"),
        ("text/plain", b"http://127.0.0.1/secret.png"),
        ("multipart/mixed; boundary=b", b"--b--"),
        ("image", b"x"),
        ("imagepng", b"x"),
    ],
)
def test_a_type_that_is_not_served(client: httpx.Client, media_type: str, content: bytes) -> None:
    answer = client.post("/classify", content=content, headers={"Content-Type": media_type})
    shown = media_type.partition(";")[0]
    refused(answer, 415, f"Content-Type {shown} is not served: send multipart/form-data with a")


UNSURE = (
    *("image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "image/tif", "image/*", "*/*"),
    *("application/octet-stream", "binary/octet-stream", "IMAGE/JPG; q=1", "image/svg+xml", ""),
)


@pytest.mark.parametrize("media_type", UNSURE)
@pytest.mark.parametrize("path", ["/classify", "/ui/seen"])
def test_the_bytes_decide_what_a_picture_is(
    client: httpx.Client, media_type: str, path: str, ankle_boot: NDArray[np.uint8]
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    for kind in ("PNG", "TIFF", "BMP"):
        content = encode(ankle_boot, kind)
        assert client.post(path, content=content, headers=headers).status_code == 200
        part = {"image": ("x", content, media_type or None)}
        assert client.post(path, files=part).status_code == 200
    refused(
        client.post(path, content=b"x", headers=headers), 400, "the image (1 bytes) is not a PNG"
    )


@pytest.mark.parametrize("media_type", UNSURE)
def test_the_bytes_decide_in_a_batch_too(client: httpx.Client, media_type: str, png: bytes) -> None:
    part = ("images", ("x", png, media_type or None))
    answer = client.post("/classify_batch", files=[part, part])
    assert [one["label"] for one in answer.json()] == ["Ankle boot"] * 2


@pytest.mark.parametrize(
    ("path", "field"),
    [("/classify", "image"), ("/classify_batch", "images"), ("/ui/seen", "image")],
)
def test_a_form_may_choose(client: httpx.Client, path: str, field: str, png: bytes) -> None:
    def ask(query: str = "", **fields: str) -> httpx.Response:
        return client.post(path + query, files={field: png}, data=fields)

    for mode, top_k in (("photo", "3"), ('"photo"', "3"), ("photo", '"3"')):  # plain, or as JSON
        by_form, by_query = ask(mode=mode, top_k=top_k), ask("?mode=photo&top_k=3")
        assert by_form.status_code == 200, by_form.text
        assert by_form.content == by_query.content
    assert ask(mode="null", top_k="null").content == ask().content
    refused(ask(mode="other"), 400, "mode is 'other', expected one of auto, raw, photo")
    refused(ask(top_k="11"), 400, "top_k is '11', expected one of 1, 2")
    refused(ask("?mode=raw", mode="raw"), 400, "mode is given twice")


def test_a_url_is_no_picture_and_is_not_fetched(client: httpx.Client) -> None:
    """CVE-2025-54381: BentoML would fetch it, from within the server's network."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/secret.png".encode()
        refused(client.post("/classify", files={"image": url}), 400, f"is not a {SERVED} file")
        refused(
            client.post("/classify", files={"image": (None, url)}), 400, f"is not a {SERVED} file"
        )
        refused(client.post("/classify", content=url, headers=PNG), 400, f"is not a {SERVED} file")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_too_many_pixels(client: httpx.Client) -> None:
    answer = client.post("/classify", files={"image": png_header(60_000, 60_000)})
    refused(answer, 413, "60000 x 60000 = 3,600,000,000 pixels, 64,000,000 are the limit")


def test_a_body_that_says_that_it_is_too_long_is_not_read(server: Server) -> None:
    """The answer comes before a single byte of the body was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/classify")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", str(30 * 2**20))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"the body has 31,457,280 bytes, 10,485,760 are the limit" in answer.read()
    connection.close()


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=b"])
def test_the_limit_is_exact(client: httpx.Client, kind: str) -> None:
    headers = {"Content-Type": kind}
    largest = client.post("/classify", content=bytes(LIMIT), headers=headers)
    assert largest.status_code == 400
    refused(
        client.post("/classify", content=bytes(LIMIT + 1), headers=headers),
        413,
        "the body has 10,485,761 bytes, 10,485,760 are the limit",
    )


def test_a_body_in_chunks_is_cut_at_the_limit(server: Server) -> None:
    status, content, _ = send_chunks(server, 30)
    assert status == 413
    assert content == b'{"error":"the body has more than 10,485,760 bytes, the limit"}'


def test_300_mb_in_chunks_do_not_fill_the_memory(server: Server) -> None:
    (worker,) = server.workers()
    before = worker.memory_info().rss
    status, _, highest = send_chunks(server, 300, worker)
    assert status == 413
    assert max(highest, worker.memory_info().rss) - before < 60 * 2**20


def send_chunks(
    server: Server, mebibytes: int, watched: psutil.Process | None = None
) -> tuple[int, bytes, int]:
    """Send a body of unknown length for as long as the server takes it.

    Returns:
        the answer's status and body, and the most memory that a process took meanwhile.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", "/classify")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    highest = 0
    try:
        for _ in range(mebibytes):
            connection.send(b"%x\r\n%b\r\n" % (len(MEBIBYTE), MEBIBYTE))
            highest = max(highest, watched.memory_info().rss if watched else 0)
        connection.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has answered and closed
    try:
        answer = connection.getresponse()
        return answer.status, answer.read(), highest
    finally:
        connection.close()


def test_a_client_that_leaves_in_the_middle_harms_nobody(
    server: Server, client: httpx.Client
) -> None:
    for sent in (b"", b"\x89PNG", b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                b"Content-Length: 200000\r\n\r\n" + sent
            )
    assert client.get("/readyz").status_code == 200
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "request_text",
    [
        b"nonsense\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbroken header\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(server: Server, request_text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request_text)
        assert connection.recv(1000).startswith(b"HTTP/1.1 4")


def test_many_bad_requests_leave_no_trace_in_the_log(client: httpx.Client, server: Server) -> None:
    for content, media_type in itertools.product((b"", b"x"), ("image/png", "text/plain")):
        client.post("/classify", content=content, headers={"Content-Type": media_type})
    assert "Traceback" not in server.log()

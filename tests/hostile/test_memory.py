"""Bodies over the limit are rejected while they arrive, and take little memory."""

import gzip
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.hostile.cases import TIFF, picture
from tests.hostile.connection import Answer, exchange
from tests.hostile.gif_bmp_webp import still
from tests.hostile.numbers import IMAGE, INFER, gzip_bomb, of
from tests.hostile.png import GOOD as PNG
from tests.hostile.png import RGBA, SIGNATURE, black, header
from tests.hostile.tiff import compressed
from tests.serving import Server, wait_until

pytestmark = pytest.mark.serial  # it measures memory

MIB = 2**20
LIMIT = 10 * MIB
KEPT = 20 * MIB


LARGE: list[tuple[Callable[[], bytes], str]] = [
    (lambda: black(5656, 16, RGBA), "image/png"),
    (lambda: still("WEBP", "RGBA", 3460), "image/webp"),
    (lambda: still("GIF", "P", 5656), "image/gif"),
    (lambda: compressed("tiff_adobe_deflate", "RGBA"), TIFF),
]


class Watch:
    """The most resident memory that a process has had since."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.start = process.memory_info().rss
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak begins here

    def peak(self) -> int:
        """How many bytes above the start it went."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 - self.start


@pytest.fixture
def worker(server: Server) -> psutil.Process:
    (process,) = server.workers()
    exchange(server.port, [picture("", PNG, 200).request()])
    return process


def head(path: str, kind: str, *lines: str) -> bytes:
    fields = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *lines)
    return "\r\n".join(fields).encode() + b"\r\n\r\n"


def chunks(content: bytes, count: int) -> Iterator[bytes]:
    return itertools.repeat(b"%x\r\n%b\r\n" % (len(content), content), count)


WHERE = pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/classify", "image/png"),
        ("/classify", "multipart/form-data; boundary=b"),
        ("/classify_batch", "multipart/form-data; boundary=b"),
        ("/ui/seen", "image/png"),
        ("/predict", "application/json"),
        (INFER, "application/json"),
        (INFER, "application/octet-stream"),
    ],
)


def is_cut(answer: Answer) -> None:
    assert answer.status == 413
    assert f"{LIMIT:,}" in answer.error


@WHERE
def test_300_mb_in_chunks_are_cut(
    path: str, kind: str, server: Server, worker: psutil.Process
) -> None:
    watch = Watch(worker)
    first = head(path, kind, "Transfer-Encoding: chunked")
    is_cut(exchange(server.port, itertools.chain([first], chunks(bytes(MIB), 300))))
    assert watch.peak() < 3 * LIMIT
    assert worker.memory_info().rss - watch.start < KEPT


@WHERE
@pytest.mark.parametrize("length", [LIMIT + 1, 10**12, 10**18 - 1])
def test_a_length_over_the_limit_is_refused_before_the_body(
    length: int, path: str, kind: str, server: Server, worker: psutil.Process
) -> None:
    watch = Watch(worker)
    is_cut(exchange(server.port, [head(path, kind, f"Content-Length: {length}")]))
    assert watch.peak() < MIB


@WHERE
def test_chunks_of_a_byte_are_counted_too(
    path: str, kind: str, server: Server, worker: psutil.Process
) -> None:
    watch = Watch(worker)
    first = head(path, kind, "Transfer-Encoding: chunked")
    many = chunks(b"x", 10_000)
    answer = exchange(server.port, [first, b"".join(many), b"0\r\n\r\n"])
    assert answer.status == 400
    assert watch.peak() < 5 * MIB
    is_cut(exchange(server.port, itertools.chain([first], chunks(bytes(1000), 10_500))))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_10_gb_in_10_mb_are_cut(coding: str, server: Server, worker: psutil.Process) -> None:
    body = gzip_bomb(10 * 10**9)
    if coding == "deflate":
        body = b"\x78\xda" + body[10:]
    assert LIMIT * 0.9 < len(body) < LIMIT
    watch = Watch(worker)
    first = head(
        INFER, "application/json", f"Content-Encoding: {coding}", f"Content-Length: {len(body)}"
    )
    answer = exchange(server.port, [first, body])
    assert answer.status == 413
    assert "inflates to more than 10,485,760 bytes" in answer.error
    assert watch.peak() < 5 * LIMIT


def test_what_inflates_to_the_limit_is_taken(server: Server) -> None:
    text = of([IMAGE])
    body = gzip.compress(text + b" " * (LIMIT - len(text)))
    first = head(
        INFER, "application/json", "Content-Encoding: gzip", f"Content-Length: {len(body)}"
    )
    answer = exchange(server.port, [first, body])
    assert (answer.status, answer.error) == (400, "the request has no inputs: expected a list")


@pytest.mark.parametrize("side", [8000, 60_000, 2**31])
def test_a_size_that_lies_costs_no_memory(
    side: int, server: Server, worker: psutil.Process
) -> None:
    watch = Watch(worker)
    lie = picture("", SIGNATURE + header(side, side), 413)
    assert exchange(server.port, [lie.request()]).status in (400, 413)
    assert watch.peak() < 2 * MIB


def test_large_pictures_leave_nothing(server: Server, worker: psutil.Process) -> None:
    def resident() -> int:
        processes = (worker, *worker.children(recursive=True))  # those that decode among them
        return sum(process.memory_full_info().pss for process in processes)

    def send() -> None:
        for make, kind in LARGE:
            answer = exchange(server.port, [picture("", make, 200, "", kind).request()])
            assert answer.status == 200

    send()  # what is made once is made
    before = resident()
    send()
    wait_until(lambda: resident() - before < KEPT, server)

"""Requests leave nothing in memory: the worker does not grow."""

import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from tests.hostile.cases import Case, picture
from tests.hostile.connection import SECONDS
from tests.hostile.forms import form, named, part
from tests.hostile.numbers import infer, of, predict, tensor
from tests.hostile.png import GOOD, header, png
from tests.hostile.tiff import tiff, tiff_file
from tests.service.pictures import encode
from tests.serving import Server, serving

pytestmark = pytest.mark.serial  # it measures memory, and takes the whole machine

KEPT = 20 * 2**20  # bytes
CONNECTIONS = 4
EACH = 10_000
SOME = 1000  # of each kind come first, so that what is made once is made

Make = Callable[[int], bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that no other test has used, whose memory has no free blocks yet."""
    with serving(tmp_path_factory.mktemp("growth"), FASHION_DEVICE="cpu") as server:
        yield server


def noise(index: int, length: int) -> bytes:
    """Bytes that differ for each index."""
    return np.random.default_rng(index).bytes(length)


def random_path(index: int) -> bytes:
    """A path that differs for each index."""
    name = noise(index, 8).hex()
    beginnings = ("/", "/v2/models/", "/ui/", "/v2/models/fashion_lenet/versions/", "/classify/")
    path = beginnings[index % len(beginnings)] + name + "/x" * (index % 5)
    return Case("", 404, "", method=("GET", "POST")[index % 2], path=path).request()


def bad_body(index: int) -> bytes:
    """A body of one of eight kinds that is broken in a way of its own."""
    some, text = noise(index, 200), noise(index, 8).hex()
    size = int.from_bytes(some[:3], "little")
    makers: Sequence[Callable[[], Case]] = (
        lambda: picture("", some, 400),
        lambda: picture("", png(data=some), 400),
        lambda: picture("", png(head=header(size, 9999)), 413),
        lambda: picture("", encode(np.zeros((28, 28), np.uint8), "JPEG")[: 20 + size % 200], 400),
        lambda: tiff("", tiff_file(bytes(784), (size % 65536, 7, size + 5, size), WIDTH=0), 400),
        lambda: form("", part(some, named(text)) + b"--b--", 400),
        lambda: predict("", of({text: [text] * 50}), ""),
        lambda: infer("", of([tensor(name=text)]).replace(b"images", b"inputs"), ""),
    )
    return makers[index % len(makers)]().request()


def good_request(index: int) -> bytes:
    """A picture of its own, in one of three ways."""
    pixels = np.frombuffer(noise(index, 784), np.uint8).reshape(28, 28)
    makers: Sequence[Callable[[], Case]] = (
        lambda: picture("", encode(pixels), 200),
        lambda: predict("", of([[pixels.tolist()]]), "", 200),
        lambda: form("", part(GOOD) + b"--b--\r\n", 200),
    )
    return makers[index % len(makers)]().request()


def send_all(port: int, make: Make, numbers: range) -> set[int]:
    """Send what is made of each number over one connection, and return the statuses."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    statuses = set()
    with connection, connection.makefile("rb") as answers:
        for number in numbers:
            connection.sendall(make(number))
            statuses.add(int(answers.readline().split()[1]))
            fields = itertools.takewhile(bytes.strip, answers)
            pairs = (field.split(b":", 1) for field in fields)
            length = next(int(v) for k, v in list(pairs) if k.lower() == b"content-length")
            assert len(answers.read(length)) == length
    return statuses


def send_many(port: int, make: Make, numbers: range) -> set[int]:
    """Send over several connections at once."""
    shares = [numbers[start::CONNECTIONS] for start in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return set().union(*threads.map(partial(send_all, port, make), shares))


@pytest.mark.parametrize(
    ("make", "statuses"),
    [(random_path, {404, 405}), (bad_body, {400, 413}), (good_request, {200})],
)
def test_the_worker_grows_by_nothing(make: Make, statuses: set[int], server: Server) -> None:
    (worker,) = server.workers()
    send_many(server.port, make, range(SOME))
    before = worker.memory_info().rss
    assert send_many(server.port, make, range(SOME, SOME + EACH)) <= statuses
    assert worker.memory_info().rss - before < KEPT
    assert "Warning: " not in server.log()  # each distinct one would be kept by Python

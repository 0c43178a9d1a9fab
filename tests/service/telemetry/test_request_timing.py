"""Server-Timing: the parts of a request's time."""

import re

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.telemetry.request_timing import SCOPE_KEY, RequestTiming, timing
from tests.service.pictures import encode, photograph

HEADER = re.compile(r"decode;dur=(\d+\.\d{3}), inference;dur=(\d+\.\d{3}), total;dur=(\d+\.\d{3})")
PNG = {"Content-Type": "image/png"}


def parts(answer: httpx.Response) -> tuple[float, ...]:
    """Decoding, inference and the total, in milliseconds."""
    found = HEADER.fullmatch(answer.headers["Server-Timing"])
    assert found
    return tuple(map(float, found.groups()))


def test_a_picture_takes_time_to_decode_and_to_classify(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    answer = client.post("/classify", content=encode(ankle_boot), headers=PNG)
    decode, inference, total = parts(answer)
    assert decode > 0
    assert inference > 0
    assert decode + inference <= total <= answer.elapsed.total_seconds() * 1e3


def test_numbers_need_no_decoding_of_a_picture(
    client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    answer = client.post("/predict", json={"images": images[:3, None].tolist()})
    assert answer.status_code == 200
    decode, inference, total = parts(answer)
    assert inference > 0
    assert decode + inference <= total


def test_a_photograph_takes_longer_to_decode_than_to_classify(
    client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    content = photograph(images[1], np.random.default_rng(3))
    headers = {"Content-Type": "image/jpeg"}
    found = [parts(client.post("/classify", content=content, headers=headers)) for _ in range(9)]
    decode, inference, _ = map(min, zip(*found, strict=True))  # what no other process held up
    assert inference < decode
    assert all(decode < total for decode, _, total in found)


@pytest.mark.parametrize("path", ["/nothing", "/livez", "/classify"])
def test_where_nothing_is_decoded_or_inferred_both_are_0(client: httpx.Client, path: str) -> None:
    decode, inference, total = parts(client.get(path))
    assert decode == inference == 0 < total


def test_a_picture_that_is_broken_took_time_to_decode(client: httpx.Client) -> None:
    answer = client.post("/classify", content=b"x", headers=PNG)
    assert answer.status_code == 400
    decode, inference, _ = parts(answer)
    assert inference == 0 < decode


def test_blocks_are_added_up() -> None:
    watch = RequestTiming()
    for blocks in (1, 2, 3):
        before = watch.decode
        with watch.decoding():
            sum(range(1000 * blocks))
        assert watch.decode > before
    assert watch.decode < watch.total
    assert watch.inference == 0


def test_a_block_that_fails_is_counted() -> None:
    watch = RequestTiming()
    with pytest.raises(ZeroDivisionError), watch.inferring():
        _ = 1 / 0
    assert watch.inference > 0


def test_a_request_has_one_stopwatch() -> None:
    watch = RequestTiming()
    assert timing({"type": "http", SCOPE_KEY: watch}) is watch

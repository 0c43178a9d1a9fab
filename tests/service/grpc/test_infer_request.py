"""Requests with raw contents: what is kept of one for the next, and what is not."""

import asyncio

import numpy as np
import pytest

from service.errors import InvalidInput
from service.grpc import infer_request
from service.grpc.infer_request import RequestReader
from service.oip.inference_request import InferenceRequest, RequestedOutput
from tests.service.grpc.conftest import request

GREY, COLOUR = (1, 4, 4), (3, 4, 4)
BOTH = [RequestedOutput("logits", True), RequestedOutput("probabilities", True)]


def read(
    reader: RequestReader, content: bytes, image: tuple[int, int, int] = GREY
) -> InferenceRequest:
    name, begun = reader.begin(content)
    assert name == ("fashion_lenet", None)
    return asyncio.run(reader.finish(content, begun, image))


def message(images: np.ndarray, identity: str = "") -> bytes:
    sent = request(list(images.shape), raw_input_contents=[images.tobytes()], id=identity)
    content: bytes = sent.SerializeToString()
    return content


def random_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *GREY), np.uint8)


@pytest.mark.parametrize("identity", ["", "7"])
def test_each_request_has_its_own_images(identity: str) -> None:
    reader = RequestReader()
    for seed in range(4):
        for count in (1, 2):
            images = random_images(count, seed)
            found = read(reader, message(images, identity))
            np.testing.assert_array_equal(found.images, images)
            assert (found.identity or "", found.outputs) == (identity, BOTH)


def test_images_of_a_known_head_are_the_messages_own_bytes() -> None:
    reader, content = RequestReader(), message(random_images(2))
    read(reader, content)
    found = read(reader, content)
    assert np.shares_memory(found.images, np.frombuffer(content, np.uint8))


def test_no_more_axes_are_read_than_an_error_shows() -> None:
    sent = request([1] * 1000)
    assert infer_request._described(sent.inputs[0])["shape"] == [1] * infer_request.MOST_AXES
    with pytest.raises(InvalidInput, match=r"got \[1, 1, .*\.\.\.;"):
        read(RequestReader(), sent.SerializeToString())


def test_another_models_images_are_checked_again() -> None:
    reader, content = RequestReader(), message(random_images(3))
    read(reader, content)
    with pytest.raises(InvalidInput, match=r"expected \[N, 3, 4, 4\], got \[3, 1"):
        read(reader, content, COLOUR)


def test_what_follows_the_contents_is_read_each_time() -> None:
    """Contents before the other fields, as another client might send them."""
    reader = RequestReader()
    for seed in range(2):
        images = random_images(1, seed)
        contents = request([])
        contents.Clear()
        contents.raw_input_contents.append(images.tobytes())
        rest = request([1, *GREY]).SerializeToString()
        found = read(reader, contents.SerializeToString() + rest)
        np.testing.assert_array_equal(found.images, images)
    assert reader._heads == {}


def test_few_heads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infer_request, "HEAD_CACHE_SIZE", 3)
    reader = RequestReader()
    for count in range(1, 12):
        read(reader, message(random_images(count)))
        assert 1 <= len(reader._heads) <= 3
    sent = request([1, *GREY], raw_input_contents=[bytes(16)])
    sent.parameters["note"].string_param = "x" * infer_request.HEAD_CACHE_BYTES
    reader = RequestReader()
    read(reader, sent.SerializeToString())
    assert reader._heads == {}

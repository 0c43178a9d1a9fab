"""`/classify` and `/classify_batch` over HTTP: modes, top_k, batches, and their errors."""

from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.http.multipart_form import MAX_PARTS
from service.preprocessing.formats import SERVED
from service.preprocessing.pipeline import UNCHANGED
from tests.service.pictures import encode, photograph, png_header, save

PICTURES = 40
KINDS = ("PNG", "BMP", "GIF", "TIFF")


@pytest.fixture(scope="module")
def files(images: NDArray[np.uint8]) -> list[tuple[str, tuple[str, bytes]]]:
    """The first 40 test images in several formats, as a form's fields."""
    return [
        ("images", (f"{index}.{kind}", encode(image, kind)))
        for index, image in enumerate(images[:PICTURES])
        for kind in (KINDS[index % len(KINDS)],)
    ]


def refused(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("query", ["", "?mode=photo", "?top_k=2", "?mode=raw&top_k=10"])
def test_a_batch_is_answered_as_its_pictures_are_one_by_one(
    query: str, client: httpx.Client, files: list[tuple[str, tuple[str, bytes]]]
) -> None:
    answer = client.post(f"/classify_batch{query}", files=files)
    assert answer.status_code == 200
    assert len(answer.json()) == PICTURES
    for (_, file), found in zip(files, answer.json(), strict=True):
        alone = client.post(f"/classify{query}", files={"image": file}).json()
        assert list(found["probabilities"]) == list(alone["probabilities"])
        # The last digits depend on the size of the batch.
        for key in ("probabilities", "confidence"):
            assert found.pop(key) == pytest.approx(alone.pop(key), abs=1e-6)
        assert found == alone


def test_a_batch_is_in_order_and_right(
    client: httpx.Client,
    files: list[tuple[str, tuple[str, bytes]]],
    images: NDArray[np.uint8],
    session: ort.InferenceSession,
) -> None:
    (expected,) = session.run(["probabilities"], {"image": images[:PICTURES, None]})  # (N, K)
    answer = client.post("/classify_batch", files=files).json()
    found = np.array([list(one["probabilities"].values()) for one in answer])  # (N, K)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert [one["class_id"] for one in answer] == expected.argmax(axis=1).tolist()


def test_a_batch_of_photographs_says_what_was_done_to_each(
    client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    random = np.random.default_rng(5)
    contents = [
        encode(images[0]),
        photograph(images[1], random),
        photograph(images[2], random, dark=True),
    ]
    answer = client.post("/classify_batch", files=[("images", content) for content in contents])
    assert [one["preprocessing"] for one in answer.json()] == [
        UNCHANGED,
        {"mode": "photo", "negated": True, "trimmed": True},
        {"mode": "photo", "negated": True, "trimmed": True},
    ]


def test_other_fields_of_a_form_are_left_alone(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    files: list[tuple[str, Any]] = [
        ("note", (None, b"hello")),
        ("images", encode(ankle_boot)),
        ("image", b"not this one"),
        ("images", encode(ankle_boot)),
    ]
    labels = [one["label"] for one in client.post("/classify_batch", files=files).json()]
    assert labels == ["Ankle boot", "Ankle boot"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", f"the image is empty: send a {SERVED} file"),
        (b"text", f"the image (4 bytes) is not a {SERVED} file"),
        (encode(np.zeros((90, 90), np.uint8))[:-30], "the image is broken or cut off: "),
    ],
)
@pytest.mark.parametrize("index", [0, 2])
def test_a_broken_picture_is_named(
    index: int, content: bytes, reason: str, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    files = [("images", (f"{name}.png", encode(ankle_boot))) for name in "abc"]
    files[index] = ("images", ("naïve \N{T-SHIRT}.png", content))
    answer = client.post("/classify_batch", files=files)
    refused(answer, 400, f"images[{index}] 'naïve \N{T-SHIRT}.png': {reason}")


def test_a_batch_without_pictures_is_refused(client: httpx.Client) -> None:
    reason = "the form has no field called 'images' and should have one for each picture; "
    answer = client.post("/classify_batch", files={"image": b"x"})
    refused(answer, 400, f"{reason}its fields: 'image'")


def test_a_batch_that_is_no_form_is_refused(client: httpx.Client) -> None:
    for kind in ("image/png", "application/json"):
        answer = client.post("/classify_batch", content=b"x", headers={"Content-Type": kind})
        refused(answer, 415, f"Content-Type {kind} is not served here: send multipart/form-data")


def test_the_pixels_of_a_batch_are_limited_together(client: httpx.Client) -> None:
    files = [("images", png_header(4500, 4000))] * 4
    answer = client.post("/classify_batch", files=files)
    refused(answer, 413, "the 4 images have 72,000,000 pixels together, 64,000,000 are the limit")
    one = client.post("/classify_batch", files=[("images", ("a.png", png_header(9000, 8000)))])
    refused(one, 413, "images[0] 'a.png': the image has 9000 x 8000 = 72,000,000 pixels")


def test_the_parts_of_a_form_are_limited(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    files = [("images", encode(ankle_boot))] * MAX_PARTS
    answer = client.post("/classify_batch?top_k=1", files=files)
    assert [one["class_id"] for one in answer.json()] == [9] * MAX_PARTS
    more = [*files, ("images", b"")]
    refused(client.post("/classify_batch", files=more), 413, "the form has more than 1,000 parts")


@pytest.mark.parametrize("route", ["/classify", "/classify_batch"])
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("mode=colour", "mode is 'colour', expected one of auto, raw, photo"),
        ("top_k=0", "top_k is '0', expected one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        ("top_k=11", "top_k is '11', expected one of 1"),
        ("top_k=three&mode=raw", "top_k is 'three', expected one of 1"),
    ],
)
def test_a_wrong_choice_is_refused(
    route: str, query: str, reason: str, client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    files = {"image": encode(ankle_boot), "images": encode(ankle_boot)}
    refused(client.post(f"{route}?{query}", files=files), 400, reason)


def test_the_most_probable_come_first(client: httpx.Client, ankle_boot: NDArray[np.uint8]) -> None:
    content = encode(ankle_boot)
    every = client.post("/classify", files={"image": content}).json()["probabilities"]
    best = sorted(every.items(), key=lambda item: -item[1])
    for count in (1, 3, 10):
        answer = client.post(f"/classify?top_k={count}", files={"image": content}).json()
        assert list(answer["probabilities"].items()) == best[:count]
        assert answer["label"] == best[0][0]


def test_a_light_picture_of_28_x_28_is_negated_only_as_a_photograph(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    files = {"image": encode(255 - ankle_boot)}
    answers = {
        mode: client.post(f"/classify?mode={mode}", files=files).json()
        for mode in ("auto", "raw", "photo")
    }
    assert answers["auto"] == answers["raw"]
    assert answers["raw"]["preprocessing"] == UNCHANGED
    assert answers["photo"]["preprocessing"]["negated"]
    assert answers["photo"]["label"] == "Ankle boot"


@pytest.mark.parametrize("route", ["/classify", "/classify_batch"])
def test_the_answer_says_how_long_decoding_and_inference_took(
    route: str, client: httpx.Client
) -> None:
    content = save(Image.new("RGB", (900, 900)), "JPEG")
    answer = client.post(route, files=[("image", content), ("images", content)])
    times = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    decode, inference, total = (float(times[key]) for key in ("decode", "inference", "total"))
    assert decode > inference > 0
    assert decode + inference < total
